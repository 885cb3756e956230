"""Wavelengths of the pixels of a spectrum."""

import numpy as np
import pytest

from lake.sdss.grid import Grid


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
