"""What is known of many spectra -> columns of the tables that describe them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lake.columns import by_column
from lake.inputs import InputFile
from lake.sdss.metadata import INTERNAL, Metadata
from lake.sdss.pixels import Pixels
from lake.sdss.spectrum import Spectrum

_NOT_COLUMNS = ("survey", *INTERNAL)
_Columns = dict[str, Sequence[Any]]


@dataclass(slots=True)
class Taken:
    """A spectrum that is taken, and what there is to know of it.

    Attributes
    ----------
    file : InputFile
    spectrum : Spectrum
    pixels : Pixels
    about : Metadata
    spec_id : str
    resolution_source : str or None
        How the resolution was found.
    common : dict
        What the registration says of all its files, by option.
    at : datetime
        When it was read.
    notes, warnings : str or None
        For the manifest, and for the log.
    """

    file: InputFile
    spectrum: Spectrum
    pixels: Pixels
    about: Metadata
    spec_id: str
    resolution_source: str | None
    common: dict[str, Any]
    at: datetime
    notes: str | None
    warnings: str | None

    @property
    def nbytes(self) -> int:
        """Bytes of its pixels."""
        return sum(int(values.nbytes) for values in self.pixels.arrays.values())


def columns(spectra: Sequence[Taken]) -> dict[str, _Columns]:
    """Columns of the tables that describe spectra.

    Parameters
    ----------
    spectra : sequence of Taken
        With an identifier of their own within their file.

    Returns
    -------
    dict of str to dict of str to sequence
        By table and column a value for each spectrum; pixels are NumPy arrays of any byte order.
        release and file_sha256 are left out, and columns that none has a value for may be.
    """
    grids = [each.spectrum.grid for each in spectra]
    kind, coeff0, coeff1, crval1, cd1_1, wavelength, written, _ = zip(*grids, strict=True)
    identifiers: _Columns = {
        "spec_id": [each.spec_id for each in spectra],
        "file_row": [each.spectrum.row for each in spectra],
    }
    solution: _Columns = {"wavelength_grid": kind, "coeff0": coeff0, "coeff1": coeff1}
    metadata = _metadata(spectra)
    firsts = [
        pair or (first, step) for pair, first, step in zip(written, crval1, cd1_1, strict=True)
    ]
    own: dict[str, _Columns] = {
        "sdss.spectra": {
            **solution,
            "crval1": crval1,
            "cd1_1": cd1_1,
            "n_pixels": [each.pixels.size for each in spectra],
            "wavelength": wavelength,
            **by_column([each.pixels.arrays for each in spectra]),
        },
        "sdss.spectra_manifest": {
            **solution,
            "survey": [
                each.about.values.get("survey") or each.common.get("survey") for each in spectra
            ],
            "data_release": metadata["data_release"],
            "source_path": metadata["file_path"],
            "checksum": [each.file.sha256 for each in spectra],
            "wavelength_frame": metadata["wavelength_frame"],
            "crval1": [first for first, _ in firsts],
            "cd1_1": [step for _, step in firsts],
            "flux_unit": metadata["flux_unit"],
            "created_at": [each.common.get("created_at", each.at) for each in spectra],
            "notes": [each.notes for each in spectra],
        },
        "sdss.spectra_metadata": metadata,
        "sdss.loading_log": {
            "step_order": [1] * len(spectra),
            "step_name": ["load_spectrum"] * len(spectra),
            "params_json": [
                f'{{"layout": "{each.spectrum.layout}", "hdu": {each.spectrum.hdu}, '
                f'"row": {each.spectrum.row}, "flux_factor": {each.pixels.factor:g}}}'
                for each in spectra
            ],
            "result_hash": [each.pixels.digest() for each in spectra],
            "timestamp": [each.at for each in spectra],
            "warnings": [each.warnings for each in spectra],
        },
    }
    return {table: {**identifiers, **values} for table, values in own.items()}


def _metadata(spectra: Sequence[Taken]) -> _Columns:
    """Columns of `sdss.spectra_metadata`: of keywords, of pixels, and of the registration."""
    found = by_column([each.about.values for each in spectra])
    common = [each.common for each in spectra]
    ends = [(each.spectrum.grid, *each.pixels.extent()) for each in spectra]
    return {
        **dict.fromkeys(("wavelength_frame", "data_release"), [None] * len(spectra)),
        **{name: values for name, values in found.items() if name not in _NOT_COLUMNS},
        "resolution_source": [each.resolution_source for each in spectra],
        "file_path": [str(each.file.path) for each in spectra],
        "quality_flags": [each.about.flags_json for each in spectra],
        "flux_unit": [each.spectrum.flux_unit for each in spectra],
        "survey_wavelength_calibrated": [
            each.common.get(
                "survey_wavelength_calibrated", each.spectrum.grid.kind != "pixel-normalised"
            )
            for each in spectra
        ],
        "survey_flux_calibrated": [
            each.common.get("survey_flux_calibrated", each.pixels.calibrated) for each in spectra
        ],
        **{
            name: [options.get(name) for options in common]
            for name in ("retrieval_date", "post_processing_steps", "calibration_references")
        },
        "wavelength_min_A": [grid.at(first) for grid, first, _ in ends],
        "wavelength_max_A": [grid.at(last) for grid, _, last in ends],
        "keyword_sources": [f"{{{', '.join(each.about.sources)}}}" for each in spectra],
    }
