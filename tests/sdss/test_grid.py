"""Wavelengths of the pixels of a spectrum."""

import numpy as np
import pytest

from lake.sdss.grid import Grid

LINEAR = Grid("linear", crval1=7000.0, cd1_1=-0.7)
LOG = Grid("log10", 3.9, -1e-4, written=(2.9, -1e-4))
LISTED = Grid("table", wavelength=np.array([5000.0, 4500.0, 4400.0]), note="listed")


def test_a_grid_gives_the_wavelengths_of_its_pixels():
    log = Grid("log10", 3.5, 1e-4)
    np.testing.assert_allclose(log.wavelengths(3), [10**3.5, 10**3.5001, 10**3.5002])
    assert log.at(2) == pytest.approx(10**3.5002)
    assert log.sampling(3) == pytest.approx(1 / (np.log(10) * 1e-4))
    linear = Grid("linear", crval1=4000.0, cd1_1=2.0)
    np.testing.assert_array_equal(linear.wavelengths(3), [4000, 4002, 4004])
    np.testing.assert_array_equal(linear.sampling(3), [2000, 2001, 2002])
    assert Grid("pixel-normalised").wavelengths(3) is None
    assert Grid("pixel-normalised").at(0) is None


def test_a_grid_falls_or_not():
    assert LINEAR.falls
    assert LOG.falls
    assert LISTED.falls
    for grid in (LINEAR, LOG, LISTED):
        assert not grid.reversed(3).falls
    assert not Grid("table", wavelength=np.array([5000.0])).falls
    assert not Grid("pixel-normalised").falls


def test_solutions_in_the_opposite_order_begin_with_the_last_pixel_exactly():
    # 7000 - 4562 x 0.7 in decimals, which is another number in floating-point arithmetic.
    assert LINEAR.reversed(4563) == Grid("linear", crval1=3806.6, cd1_1=0.7)
    assert 7000 - 4562 * 0.7 != 3806.6
    log = LOG.reversed(3816)
    assert (log.coeff0, log.coeff1, log.written) == (3.5185, 1e-4, (2.5185, 1e-4))
    np.testing.assert_array_equal(LISTED.reversed(3).wavelength, [4400, 4500, 5000])
    assert LISTED.reversed(3).note == "listed"
    assert LINEAR.reversed(1) == Grid("linear", crval1=7000.0, cd1_1=0.7)


@pytest.mark.parametrize("grid", [LINEAR, LOG, LISTED])
def test_pixels_in_the_opposite_order_have_the_same_wavelengths(grid):
    back = grid.reversed(3)
    np.testing.assert_allclose(back.wavelengths(3), grid.wavelengths(3)[::-1], rtol=1e-14)
    np.testing.assert_array_equal(back.reversed(3).wavelengths(3), grid.wavelengths(3))
