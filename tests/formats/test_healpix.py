import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.formats.healpix import DEEPEST, Tile, pixels_at_29, tiles

SIDE = 1 << DEEPEST


def pixel(ra: float, dec: float) -> int:
    """By hand, from the projection of Górski et al. 2005, sections 4 and 5, one position a call."""
    quarter, within = divmod(ra % 360 / 90, 1)
    z = math.sin(math.radians(dec))
    if abs(z) <= 2 / 3:
        along, across = SIDE * (0.5 + ra % 360 / 90), SIDE * 0.75 * z
        down, up = math.floor(along - across), math.floor(along + across)
        column, row = down // SIDE, up // SIDE
        face = column % 4 + 4 if column == row else column if column < row else row + 8
        x, y = up % SIDE, SIDE - 1 - down % SIDE
    else:
        # sqrt(3 (1 - |z|)), written so that nothing is lost near a pole
        ring = SIDE * math.sqrt(6) * math.sin(math.radians(90 - abs(dec)) / 2)
        right = min(math.floor(within * ring), SIDE - 1)
        left = min(math.floor((1 - within) * ring), SIDE - 1)
        face = int(quarter) + (8 if z < 0 else 0)
        x, y = (right, left) if z < 0 else (SIDE - 1 - left, SIDE - 1 - right)
    digits = [(x >> i & 1) + 2 * (y >> i & 1) for i in range(DEEPEST)]
    return face * SIDE * SIDE + sum(digit << 2 * i for i, digit in enumerate(digits))


def test_pixels_are_those_of_the_projection():
    rng = np.random.default_rng(5)
    ra = rng.uniform(0, 360, 3000)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, 3000)))
    dec[:500] = 90 - 10 ** rng.uniform(-9, 0, 500)
    dec[500:1000] = 10 ** rng.uniform(-9, 0, 500) - 90
    found = pixels_at_29(ra, dec)
    assert found.dtype == np.int64
    assert found.tolist() == [pixel(*place) for place in zip(ra, dec, strict=True)]


def test_poles_and_turns():
    ra = np.array([0.0, 360.0, 720.0, -360.0, -10.0, 350.0, 45.0, 45.0])
    dec = np.array([0.1, 0.1, 0.1, 0.1, 5.0, 5.0, 90.0, -90.0])
    found = pixels_at_29(ra, dec)
    assert found[:4].tolist() == [pixel(0, 0.1)] * 4
    assert found[4] == found[5] == pixel(350, 5)
    # The poles are the last corner of face 0 and the first of face 8.
    assert found[6:].tolist() == [4**DEEPEST - 1, 8 * 4**DEEPEST]
    assert pixels_at_29(np.zeros(0), np.zeros(0)).tolist() == []


def cut(pixels, most_rows) -> list[Tile]:
    numbers = np.sort(np.array(pixels, np.int64))

    def count(start, stop):
        first, last = np.searchsorted(numbers, [start, stop])
        return int(last - first)

    return list(tiles(count, most_rows))


@given(
    st.lists(st.integers(0, 12 * 4**DEEPEST - 1) | st.integers(7, 40), max_size=40),
    st.integers(1, 8),
)
def test_tiles_are_the_largest_that_hold_few_enough(pixels, most_rows):
    found = cut(pixels, most_rows)
    assert sum(tile.rows for tile in found) == len(pixels)
    spans = [tile.span for tile in found]
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
    for tile in found:
        start, stop = tile.span
        assert stop - start == 4 ** (DEEPEST - tile.order)
        assert tile.rows == sum(start <= p < stop for p in pixels) > 0
        assert tile.rows <= most_rows or tile.order == DEEPEST
        if tile.order:
            start, stop = Tile(tile.order - 1, tile.pixel // 4, 0).span
            assert sum(start <= p < stop for p in pixels) > most_rows


@pytest.mark.parametrize("most_rows", [1, 3])
def test_rows_at_one_position_stay_together(most_rows):
    assert cut([123] * 4, most_rows) == [Tile(29, 123, 4)]
    assert cut([123] * 4, 4) == [Tile(0, 0, 4)]
