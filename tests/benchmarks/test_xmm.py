"""How long masks take to become boxes, and boxes region tables; run with `-m benchmark -s`."""

import time

import numpy as np
import pytest
from astropy.io import fits
from scipy.spatial import cKDTree

from lake.xmm.boxes import decompose
from lake.xmm.regions import region_tables
from tests.xmm.files import DEC, NAMES, RA, image, mask, paint

pytestmark = pytest.mark.benchmark


def cells(side: int, number: int) -> np.ndarray:
    """Labels of the cells nearest to each of some points, as adaptive binning makes them."""
    points = np.random.default_rng(0).uniform(0, side, (number, 2))
    row, column = np.indices((side, side))
    nearest = cKDTree(points).query(np.stack([row.ravel(), column.ravel()], axis=1))[1]
    return nearest.reshape(side, side) + 1


def test_ten_thousand_labels_become_boxes():
    labels = cells(900, 10_000)
    start = time.perf_counter()
    found = decompose(labels)
    seconds = time.perf_counter() - start
    proven = "fewest" if found.fewest else "not proven to be fewest"
    number = len(found.boxes)
    print(f"\n10,000 labels, 900 x 900 pixels: {number} boxes ({proven}) in {seconds:.2f} s")
    assert (paint(found.boxes, labels.shape) >= 1).all()


def test_ten_thousand_regions_become_tables(tmp_path):
    pixels = np.zeros((200, 200), np.uint8)
    pixels[::2, ::2] = 1
    path = mask(tmp_path / "m.fits", pixels, ra=RA, dec=DEC, scale=6.0)
    images = [image(tmp_path / f"{NAMES[c]}.fits", c) for c in NAMES]
    start = time.perf_counter()
    made = region_tables(path, images, tmp_path / "out", exclude="ones")
    seconds = time.perf_counter() - start
    print(f"\n10,000 regions, 3 cameras, 2 frames, with DS9 files: {seconds:.2f} s")
    for one in made.exposures:
        assert fits.getheader(one.tables[0], 1)["NAXIS2"] == 10_000


def test_a_thousand_labels_have_tables_of_their_own(tmp_path):
    path = mask(tmp_path / "l.fits", cells(300, 1000), ra=RA, dec=DEC, scale=4.0)
    images = [image(tmp_path / f"{NAMES[c]}.fits", c) for c in NAMES]
    start = time.perf_counter()
    made = region_tables(path, images, tmp_path / "out", labelled=True)
    seconds = time.perf_counter() - start
    print(f"\n1,000 labels, 3 cameras, 2 frames: {seconds:.2f} s")
    assert sum(len(one.tables) for one in made.exposures) == 6000
