"""One spectrum of a file."""

import numpy as np

from lake.sdss.grid import Grid
from lake.sdss.spectrum import Spectrum, rising

FLUX = np.array([1, 2, 3], ">f4")


def spectrum(grid):
    arrays = {"ivar": FLUX + 1, "and_mask": np.ma.MaskedArray([4, 8, 16], [True, False, False])}
    return Spectrum("image", 0, grid, FLUX, [], None, 7, arrays, {}, ["known before"])


def test_a_spectrum_whose_wavelengths_fall_is_turned_round_as_a_whole():
    before = spectrum(Grid("linear", crval1=4004.0, cd1_1=-2.0))
    turned = rising(before)
    assert turned.grid == Grid("linear", crval1=4000.0, cd1_1=2.0)
    assert turned.flux.tolist() == [3, 2, 1]
    assert turned.arrays["ivar"].tolist() == [4, 3, 2]
    assert turned.arrays["and_mask"].tolist() == [16, 8, None]
    for values in (turned.flux, *turned.arrays.values()):
        assert values.flags.c_contiguous
    assert turned.flux.dtype == FLUX.dtype
    assert turned.notes == [
        "known before", "wavelengths fall in the file: its pixels are turned round"
    ]  # fmt: skip
    assert (turned.layout, turned.row) == ("image", 7)
    # Spectra of an image share what is not theirs alone.
    assert before.notes == ["known before"]
    assert before.flux.tolist() == [1, 2, 3]


def test_other_spectra_stay_as_they_are():
    listed = Grid("table", wavelength=np.array([4000.0, 4001.0, 4003.0]))
    for grid in (Grid("log10", 3.6, 1e-4), listed, Grid("pixel-normalised")):
        before = spectrum(grid)
        assert rising(before) is before
