"""OGIP spectra and responses of any X-ray and gamma-ray mission: sparse, and without loss."""

from lake.inputs import Role

__all__ = ["CITATIONS", "ROLES"]

ROLES: dict[str, Role] = {}

#: What to cite for products made from this mission's tables.
CITATIONS = (
    "Arnaud, George & Tennant 2009, OGIP/92-007: the OGIP spectral file format",
    "George, Arnaud, Pence & Ruamsuwan 1998, CAL/GEN/92-002: the calibration requirements for "
    "spectral analysis",
)
