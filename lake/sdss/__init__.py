"""SDSS spectra: pixels, labels, preprocessing, lines, and the classes that a network gives."""

from typing import TYPE_CHECKING

from lake.inputs import RecordRole
from lake.later import later
from lake.sdss.label_catalogue import LABELS_ROLE
from lake.sdss.spectra import records
from lake.sdss.spectra_columns import columns

if TYPE_CHECKING:
    from lake.sdss.archive import ARCHIVES
    from lake.sdss.own import classify_files, preprocess_files
    from lake.sdss.picture import plot
    from lake.sdss.spectra import read_spectrum

__all__ = [
    "ARCHIVES",
    "CITATIONS",
    "ROLES",
    "classify_files",
    "plot",
    "preprocess_files",
    "read_spectrum",
]

ROLES = {
    "spectra": RecordRole(
        name="spectra",
        table="sdss.spectra",
        also=("sdss.spectra_manifest", "sdss.spectra_metadata", "sdss.loading_log"),
        records=records,
        columns=columns,
        version=4,
        suffixes=(".fits", ".fit", ".fts"),
        options={
            "survey": "survey and programme, where the file does not say",
            "retrieval_date": "date of retrieval from the archive",
            "survey_wavelength_calibrated": "whether the survey calibrated the wavelengths",
            "survey_flux_calibrated": "whether the survey calibrated the flux",
            "post_processing_steps": "processing after the survey's own",
            "calibration_references": "references of the calibration",
            "notes": "what else is to be known",
            "created_at": "time to note in the manifest, ISO 8601 (default: that of the ingest)",
        },
    ),
    "labels": LABELS_ROLE,
}

#: What to cite for products made from this mission's tables.
CITATIONS = (
    "Abdurro'uf et al. 2022, ApJS 259, 35 (arXiv 2112.02026): SDSS data release 17",
    "Bolton et al. 2012, AJ 144, 144 (arXiv 1207.7326): spectral classification and redshifts",
)


_LATER = {
    "ARCHIVES": "archive", "classify_files": "own", "preprocess_files": "own", "plot": "picture",
    "read_spectrum": "spectra",
}  # fmt: skip

__getattr__ = later(__name__, _LATER)
