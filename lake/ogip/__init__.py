"""OGIP spectra and responses of any X-ray and gamma-ray mission: sparse, and without loss."""

from typing import TYPE_CHECKING

from lake.inputs import RecordRole
from lake.later import later
from lake.ogip.files import records
from lake.ogip.write import write_files

if TYPE_CHECKING:
    from lake.ogip.flags import with_flags
    from lake.ogip.fold import compose
    from lake.ogip.picture import plot
    from lake.ogip.readers import read_arf, read_pha, read_rmf, read_rsp

__all__ = [
    "CITATIONS",
    "EXPORTS",
    "ROLES",
    "compose",
    "plot",
    "read_arf",
    "read_pha",
    "read_rmf",
    "read_rsp",
    "with_flags",
]

_TABLES = (
    "ogip.spectra", "ogip.ebounds", "ogip.responses", "ogip.redistribution",
    "ogip.effective_area",
)  # fmt: skip

ROLES = {
    "spectra": RecordRole(
        name="spectra",
        table="ogip.hdus",
        also=_TABLES,
        some=_TABLES,
        records=records,
        # Spectra and responses have any ending; what a file is, its content says.
        suffixes=("",),
        version=4,
        options={
            "background": "file of the background spectrum, where a spectrum names none",
            "response": "file of the response (RMF or RSP), where a spectrum names none",
            "area": "file of the effective area (ARF), where a spectrum names none",
        },
    ),
}

#: Tables whose rows can be written as the files that they came from.
EXPORTS = dict.fromkeys(
    ("ogip.spectra", "ogip.responses", "ogip.effective_area", "ogip.ebounds"), write_files
)

#: What to cite for products made from this mission's tables.
CITATIONS = (
    "Arnaud, George & Tennant 2009, OGIP/92-007: the OGIP spectral file format",
    "George, Arnaud, Pence & Ruamsuwan 1998, CAL/GEN/92-002: the calibration requirements for "
    "spectral analysis",
)

_LATER = {
    "compose": "fold", "plot": "picture", "read_arf": "readers", "read_pha": "readers",
    "read_rmf": "readers", "read_rsp": "readers", "with_flags": "flags",
}  # fmt: skip

__getattr__ = later(__name__, _LATER)
