"""The line list: features of stellar and nebular spectra, with their rest wavelengths."""

import csv
from functools import lru_cache
from importlib.resources import files

import numpy as np
import pyarrow as pa

from lake.sdss.steps import air_to_vacuum_wavelength

#: Columns of the line list.
SCHEMA = pa.schema(
    [
        pa.field("elem", pa.string()),
        pa.field("transition", pa.string()),
        pa.field("lambda_rest_A", pa.float64(), metadata={"unit": "Angstrom"}),
        pa.field("lambda_air_A", pa.float64(), metadata={"unit": "Angstrom"}),
        pa.field("lower_upper_levels", pa.string()),
        pa.field("ref", pa.string()),
        pa.field("use_flag", pa.bool_()),
    ]
)


@lru_cache(maxsize=1)
def line_list() -> pa.Table:
    """All lines, by wavelength.

    Wavelengths in air are those of the NIST Atomic Spectra Database (Kramida et al.,
    https://physics.nist.gov/asd; a multiplet that SDSS does not resolve has its mean) and, for
    molecules, the band heads of Pearse & Gaydon (1976, The Identification of Molecular Spectra,
    4th edition) and the centroid of the G band in the line table of SDSS DR7. Those in vacuum
    follow by the formula of Ciddor (1996).

    Returns
    -------
    pyarrow.Table
        elem, transition, lambda_rest_A (vacuum, Angstrom), lambda_air_A (Angstrom),
        lower_upper_levels (lower - upper; * marks odd parity), ref, and use_flag: false where a
        feature is not to be matched, being the edge of a band, within the resolution of a
        stronger line (He I 3888, Fe II 5169) or under telluric oxygen (K I 7664).
    """
    text = files("lake.sdss").joinpath("line_list.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    air = np.array([float(row["lambda_air_A"]) for row in rows])
    columns: dict[str, object] = {
        name: [row[name] for row in rows]
        for name in ("elem", "transition", "lower_upper_levels", "ref")
    }
    columns["lambda_rest_A"] = air_to_vacuum_wavelength(air)
    columns["lambda_air_A"] = air
    columns["use_flag"] = [row["use_flag"] == "true" for row in rows]
    return pa.table(columns, schema=SCHEMA).sort_by("lambda_rest_A")
