import itertools
import time

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import lake.xmm.cover
from lake.errors import LacusError, UsageError
from lake.xmm.boxes import CHOICES, decompose, merged_runs, row_runs
from lake.xmm.cover import maximal_rectangles
from tests.xmm.files import paint

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))
SMALL = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=4))
LABELS = arrays(
    np.int64, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 3)
)
# Two rings that touch at a corner, a hole, a step.
PICTURE = np.array(
    [
        [c == "#" for c in line]
        for line in ("####....", "#..#.##.", "####.##.", "....####", "....#.##")
    ]
)


def picture(boxes, shape):
    return paint(boxes, shape) > 0


@pytest.mark.parametrize("algorithm", CHOICES)
@settings(max_examples=60, deadline=None)
@given(mask=MASKS)
def test_every_algorithm_covers_exactly_the_mask(algorithm, mask):
    found = decompose(mask, algorithm)
    np.testing.assert_array_equal(picture(found.boxes, mask.shape), mask)
    assert (found.boxes[:, 2:] > 0).all()
    if algorithm in ("rows", "columns", "merged", "greedy"):
        assert paint(found.boxes, mask.shape).max(initial=0) <= 1


@settings(max_examples=60, deadline=None)
@given(mask=MASKS)
def test_the_default_is_never_beaten(mask):
    found = decompose(mask)
    assert found.fewest
    for other in CHOICES:
        assert len(found.boxes) <= len(decompose(mask, other).boxes)


@settings(max_examples=60, deadline=None)
@given(mask=SMALL)
def test_there_is_no_smaller_cover(mask):
    number = len(decompose(mask).boxes)
    rectangles = maximal_rectangles(mask, time.monotonic() + 60)
    for fewer in range(number):
        for some in itertools.combinations(rectangles, fewer):
            chosen = np.array(some, np.int64).reshape(-1, 4)
            assert not np.array_equal(picture(chosen, mask.shape), mask)


@pytest.mark.parametrize("algorithm", CHOICES)
@settings(max_examples=40, deadline=None)
@given(labels=LABELS)
def test_every_label_is_covered_by_its_own_boxes(algorithm, labels):
    found = decompose(labels, algorithm)
    for label in range(1, 4):
        mine = found.boxes[found.label == label]
        np.testing.assert_array_equal(picture(mine, labels.shape), labels == label)
    assert set(np.unique(found.label)) == set(np.unique(labels)) - {0}
    again = decompose(labels, algorithm)
    np.testing.assert_array_equal(found.boxes, again.boxes)


def test_numbers_of_a_picture():
    numbers = {a: len(decompose(PICTURE, a).boxes) for a in CHOICES}
    assert numbers == {
        "rows": 9, "columns": 10, "merged": 8, "greedy": 8, "cover": 7, "fewest": 7,
    }  # fmt: skip


def test_runs_are_columns_rows_and_widths():
    assert row_runs(PICTURE)[:3].tolist() == [[0, 0, 4, 1], [0, 1, 1, 1], [3, 1, 1, 1]]
    assert [5, 1, 2, 2] in merged_runs(PICTURE).tolist()


def test_what_cannot_be_searched_in_time_gets_the_best_of_the_rest():
    rng = np.random.default_rng(3)
    mask = rng.random((40, 40)) < 0.8
    found = decompose(mask, seconds=0)
    assert not found.fewest
    np.testing.assert_array_equal(picture(found.boxes, mask.shape), mask)
    assert len(found.boxes) <= len(merged_runs(mask))
    with pytest.raises(LacusError, match="no cover was found within 0 s; ask for fewest"):
        decompose(mask, "cover", seconds=0)


def test_integer_programming_and_branching_agree(monkeypatch):
    rng = np.random.default_rng(4)
    masks = [rng.random((14, 14)) < 0.8 for _ in range(6)]
    branched = [len(decompose(m).boxes) for m in masks]
    monkeypatch.setattr(lake.xmm.cover, "_branch", lambda *_: None)
    programmed = [len(decompose(m).boxes) for m in masks]
    assert branched == programmed


def test_an_unknown_algorithm_is_named():
    with pytest.raises(UsageError, match="no algorithm 'best'; there are rows, columns"):
        decompose(PICTURE, "best")


def test_an_empty_mask_has_no_boxes():
    found = decompose(np.zeros((3, 3), bool))
    assert found.boxes.shape == (0, 4)
    assert found.label.shape == (0,)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "value", "runs", "fewest"),
    [
        ("count_map_2004", 0, 159, 135),
        ("count_map_2004", 1, 149, 133),
        ("count_map_2020", 0, 56, 29),
    ],
)
def test_real_masks_take_as_few_boxes_as_is_possible(real_data, name, value, runs, fewest):
    mask = fits.getdata(real_data / f"xmm/xmmregion/count_maps/{name}.fits") == value
    assert len(decompose(mask, "rows").boxes) == runs
    found = decompose(mask)
    assert (len(found.boxes), found.fewest) == (fewest, True)
    np.testing.assert_array_equal(picture(found.boxes, mask.shape), mask)


@pytest.mark.real
def test_no_real_mask_takes_more_boxes_than_the_row_runs(real_data):
    for path in sorted((real_data / "xmm").rglob("count_map_*.fits")):
        for value in (0, 1):
            mask = fits.getdata(path) == value
            found = decompose(mask)
            assert found.fewest
            assert len(found.boxes) <= len(row_runs(mask))
            np.testing.assert_array_equal(picture(found.boxes, mask.shape), mask)
