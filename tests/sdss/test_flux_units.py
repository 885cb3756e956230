"""Units of flux density."""

import pytest

from lake.sdss.flux_units import factor


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("1E-17 erg/cm^2/s/Ang", 1),
        ("1.0E-17 erg/cm/s/Ang", 1),
        ("10**-17 erg.s**-1.cm**-2.Angstrom**-1", 1),
        ("Flux (10^-17 erg/s/cm^2/Ang)", 1),
        ("10^(-17) erg/s/cm^2/Ang", 1),
        ("1e-17 erg / (Angstrom s cm2)", 1),
        ("1e-17 erg cm-2 s-1 AA-1", 1),
        ("10^-17 ergs/s/cm^2/A", 1),
        # spec files of DR18 to DR20; row-stacked spectra and cubes of MaNGA
        ("10^-17 ergs/s/cm^2/Angs", 1),
        ("1E-17 erg/s/cm^2/Ang/fiber", 1),
        ("10^{-17} erg/s/cm^{2}/angstrom/spaxel", 1),
        ("1.e-17 erg/s/cm2/A", 1),
        ("1e-16 erg s^-1 cm^-2 Angstrom^-1", 10),
        ("erg/s/cm^2/A", 1e17),
        ("erg cm^{-2} s^{-1} A^{-1}", 1e17),
        ("FLAM", 1e17),
        # 1 W m-2 um-1 = 1e7 erg s-1 / (1e4 cm2 x 1e4 Angstrom)
        ("W m-2 um-1", 1e16),
        ("W/m^2/nm", 1e19),
        ("mW m-2 um-1", None),
        ("ADU", None),
        ("Jy", None),
        ("erg cm-2 s-1 Hz-1", None),
        ("erg/s/cm^2", None),
        ("10+3 Jy", None),
        ("", None),
    ],
)
def test_units_as_surveys_write_them(unit, expected):
    assert factor(unit) == (expected if expected is None else pytest.approx(expected, rel=1e-9))
