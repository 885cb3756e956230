"""Wavelength solutions."""

import re

import numpy as np
import pytest

from lake.sdss.wavelengths import Unusable, angstroms, of_loglam, of_values


@pytest.mark.parametrize("dtype", ["f4", ">f4", "f8"])
@pytest.mark.parametrize("trimmed", [0, 1, 35, -4])
def test_exact_coefficients_hold_to_the_rounding_of_loglam(dtype, trimmed):
    start = 3.5797 + trimmed * 1e-4
    loglam = (start + 1e-4 * np.arange(3816)).astype(dtype)
    grid = of_loglam(loglam, 3.5797, 1e-4)
    assert (grid.kind, grid.coeff1) == ("log10", 1e-4)
    assert grid.coeff0 == pytest.approx(start, abs=1e-14)
    assert (grid.note is None) == (trimmed == 0)


def test_exact_coefficients_hold_where_sums_are_not_exact(monkeypatch):
    monkeypatch.setattr("lake.sdss.wavelengths._ones", lambda pixels: np.full(pixels, 1 + 1e-5))
    grid = of_loglam((3.58 + 1e-4 * np.arange(3800)).astype("f4"), 3.58, 1e-4)
    assert (grid.coeff0, grid.coeff1, grid.note) == (3.58, 1e-4, None)


def test_coefficients_that_are_wrong_are_not_believed():
    loglam = (3.58 + 2e-4 * np.arange(2000)).astype("f4")
    grid = of_loglam(loglam, 3.58, 1e-4)
    assert (grid.coeff0, grid.coeff1) == (3.58, 2e-4)
    assert "disagree" in grid.note
    # Half a pixel is not a whole number of pixels.
    shifted = of_loglam((3.58005 + 1e-4 * np.arange(2000)).astype("f4"), 3.58, 1e-4)
    assert shifted.coeff0 == pytest.approx(3.58005, abs=1e-9)
    assert "disagree" in shifted.note


def test_listed_wavelengths_that_are_regular_become_a_solution():
    pixel = np.arange(4563)
    for step in (1.0, 0.7, 1.25):
        grid = of_values(3600 + step * pixel)
        assert (grid.kind, grid.crval1, grid.cd1_1) == ("linear", 3600, step)
    assert of_values((3600 + 0.7 * pixel).astype("f4")).kind == "linear"
    assert of_values(3600 + pixel.astype("i4")).crval1 == 3600
    grid = of_values(10 ** (3.5589 + 1e-4 * pixel))
    assert (grid.kind, grid.coeff0, grid.coeff1) == ("log10", 3.5589, 1e-4)
    grid = of_values((10 ** (3.5589 + 1e-4 * pixel)).astype("f4"))
    assert (grid.kind, grid.coeff0, grid.coeff1) == ("log10", 3.5589, 1e-4)


def test_listed_wavelengths_lose_nothing():
    rounded = np.round(10 ** (3.5589 + 1e-4 * np.arange(4563)), 2)
    grid = of_values(rounded)
    assert grid.kind == "table"
    np.testing.assert_array_equal(grid.wavelength, rounded)
    bent = 3600 + np.arange(4563.0)
    bent[2000] += 1e-6
    assert of_values(bent).kind == "table"


@pytest.mark.parametrize("dtype", ["f4", ">f4", "f8"])
@pytest.mark.parametrize("late", [0, 1, 35, -4])
def test_coefficients_that_fall_hold_as_those_that_increase(dtype, late):
    start = 3.9612 - late * 1e-4
    loglam = (start - 1e-4 * np.arange(3816)).astype(dtype)
    grid = of_loglam(loglam, 3.9612, -1e-4)
    assert (grid.kind, grid.coeff1) == ("log10", -1e-4)
    assert grid.coeff0 == pytest.approx(start, abs=1e-14)
    assert (grid.note is None) == (late == 0)


def test_coefficients_that_increase_are_not_those_of_wavelengths_that_fall():
    loglam = (3.58 + 1e-4 * np.arange(2000)).astype("f4")
    grid = of_loglam(loglam[::-1], 3.58, 1e-4)
    assert grid.reversed(2000)[:3] == ("log10", 3.58, 1e-4)
    assert "COEFF0 3.58 and COEFF1 0.0001 of its header disagree with loglam" in grid.note
    assert "disagree" in of_loglam(loglam, 3.7799, -1e-4).note


@pytest.mark.parametrize(
    "rising",
    [
        3600 + 0.7 * np.arange(4563), (3600 + 0.7 * np.arange(4563)).astype("f4"),
        10 ** (3.5589 + 1e-4 * np.arange(4563)), np.array([4000.0, 4001.0, 4003.0]),
        np.array([4000, 4002]), np.array([4000.0]),
    ],
)  # fmt: skip
def test_wavelengths_that_fall_have_the_solution_of_those_that_increase(rising):
    pixels = len(rising)
    expected, grid = of_values(rising), of_values(rising[::-1])
    assert grid.falls == (pixels > 1)
    back = grid.reversed(pixels) if grid.falls else grid
    assert back._replace(wavelength=None) == expected._replace(wavelength=None)
    np.testing.assert_array_equal(back.wavelengths(pixels), expected.wavelengths(pixels))


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ([4000, 4001, np.nan], "wavelength of pixel 3 is not finite"),
        ([4000, 4002, 4001], "does not increase at pixel 3"),
        ([4000, 4000, 4001], "does not increase at pixel 2"),
        ([4000, 4001, 4000], "does not increase at pixel 3"),
        ([4001, 4000, 4000], "wavelength does not fall at pixel 3"),
        ([4001, 4002, 4000], "wavelength does not fall at pixel 2"),
        ([0.0, 1.0, 2.0], "a wavelength is 0"),
        ([200.0, 100.0, 0.0], "a wavelength is 0"),
        ([50.0, 60.0, 70.0], "expected 100 to 1e"),
        ([120.0, 110.0, 99.0], "go from 120 to 99 Angstrom, expected 100 to 1e"),
        ([1.1e6, 1e6, 9e5], "expected 100 to 1e"),
        ([1e6, 2e6, 3e6], "expected 100 to 1e"),
    ],
)
def test_absurd_wavelengths_are_refused(values, problem):
    with pytest.raises(Unusable, match=problem):
        of_values(np.array(values, float))


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        (None, 1), ("Angstrom", 1), ("ANGSTROMS", 1), ("[AA]", 1), ("A", 1), ("nm", 10),
        ("um", 1e4), ("microns", 1e4), ("m", 1e10), ("Angstrom (vacuum)", 1), ("0.1nm", 1),
        ("nm in vacuum", 10), ("Angstrom (air/vacuum)", 1), ("Wavelength (Ang)", 1),
    ],
)  # fmt: skip
def test_units_of_wavelength(unit, expected):
    assert angstroms(unit) == expected


@pytest.mark.parametrize(
    "unit", ["GHz", "cm-1", "1/cm", "um**-1", "um -1", "cm ^ -1", "/um", "m / s", "m s-1", "eV"]
)
def test_other_units_are_refused(unit):
    with pytest.raises(Unusable, match=re.escape(f"is {unit!r}, expected Angstrom, nm, um or m")):
        angstroms(unit)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1e30, 3.7])
def test_logarithms_that_are_damaged_between_the_ends_are_refused(value):
    loglam = (3.58 + 1e-4 * np.arange(3800)).astype("f4")
    loglam[1000] = value
    with pytest.raises(Unusable, match="pixel 100"):
        of_loglam(loglam, 3.58, 1e-4)
    with pytest.raises(Unusable, match="pixel 28"):
        of_loglam(loglam[::-1], 3.9599, -1e-4)


def test_wavelengths_instead_of_logarithms_are_told_as_they_are():
    wavelength = 10 ** (3.58 + 1e-4 * np.arange(100))
    with pytest.raises(Unusable, match=r"log10 of the wavelength goes from 3801\.89 to 3889\.56"):
        of_loglam(wavelength, 3.58, 1e-4)
