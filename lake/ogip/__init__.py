"""OGIP spectra and responses of any X-ray and gamma-ray mission: sparse, and without loss."""

from lake.inputs import RecordRole
from lake.ogip.files import records

__all__ = ["CITATIONS", "ROLES"]

ROLES = {
    "spectra": RecordRole(
        name="spectra",
        table="ogip.hdus",
        also=(
            "ogip.spectra",
            "ogip.ebounds",
            "ogip.responses",
            "ogip.redistribution",
            "ogip.effective_area",
        ),
        records=records,
        # Spectra and responses have any ending; what a file is, its content says.
        suffixes=("",),
        options={
            "background": "file of the background spectrum, where a spectrum names none",
            "response": "file of the response (RMF or RSP), where a spectrum names none",
            "area": "file of the effective area (ARF), where a spectrum names none",
        },
    ),
}

#: What to cite for products made from this mission's tables.
CITATIONS = (
    "Arnaud, George & Tennant 2009, OGIP/92-007: the OGIP spectral file format",
    "George, Arnaud, Pence & Ruamsuwan 1998, CAL/GEN/92-002: the calibration requirements for "
    "spectral analysis",
)
