import numpy as np
import pytest

from lake.xmm.contains import contains
from lake.xmm.shapes import (
    concatenate,
    make,
    of_detector,
    of_sky_pixels,
    to_detector,
    to_sky_pixels,
)
from lake.xmm.sky import SkyPixels
from tests.xmm.test_geometry import exposure

MINE = exposure("EPN")
FRAME = MINE.nominal_frame()
CORNERS = np.array([(30000.0, 30000), (31000, 30000), (30500, 31500)])


def every_shape():
    """One region of each shape, sky pixels."""
    names = ["CIRCLE", "ROTBOX", "ELLIPSE", "ANNULUS", "ELLIPTANNULUS", "PIE", "POLYGON", "POINT"]
    x, y = np.arange(20000.0, 28000, 1000), np.arange(24000.0, 32000, 1000)
    x[6] = np.nan
    r = [[300], [1800, 600], [500, 200], [100, 400], [100, 200, 300, 500], [100, 700], [], []]
    angle = [[], [30], [70], [], [20, 40], [300, 40], [], []]
    fill = [np.array([*v, *[np.nan] * (4 - len(v))]) for v in r]
    turn = [np.array([*v, *[np.nan] * (2 - len(v))]) for v in angle]
    return make(names, x, y, fill, turn, vertices={6: CORNERS})


def same(a, b, tolerance):
    for name in ("x", "y", "r", "rotang"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=0, atol=tolerance)
    for row, corners in a.vertices.items():
        np.testing.assert_allclose(corners, b.vertices[row], rtol=0, atol=tolerance)
    assert list(a.shape) == list(b.shape)


def test_every_shape_goes_to_the_sky_and_back():
    given = every_shape()
    on_sky = of_sky_pixels(given, MINE.sky)
    assert on_sky.r[0, 0] == pytest.approx(15, rel=1e-4)
    same(to_sky_pixels(on_sky, MINE.sky), given, 1e-5)


def test_every_shape_goes_to_the_detector_and_back():
    given = every_shape()
    same(of_detector(to_detector(given, MINE.sky, FRAME), MINE.sky, FRAME), given, 1e-6)


@pytest.mark.parametrize("sky", [MINE.sky, SkyPixels(MINE.ra + 0.1, MINE.dec - 0.1)])
def test_both_frames_select_the_same_points(sky):
    given = every_shape()
    x, y = np.random.default_rng(0).uniform(18000, 33000, (2, 200_000))
    det = to_detector(given, sky, FRAME)
    for row in range(len(given)):
        one = np.array([row])
        in_sky = contains(given.take(one), x, y)
        in_det = contains(det.take(one), *FRAME.of_sky_pixels(sky, x, y))
        assert in_sky.any() or given.shape[row] == "POINT"
        # But for those within a rounding of the edge.
        assert (in_sky != in_det).sum() <= 2


def test_boxes_are_turned_as_the_sky_is_far_from_the_pointing():
    box = make(["BOX"], [MINE.ra + 0.25], [MINE.dec], [[90, 30]], [[np.nan, np.nan]])
    (angle,) = to_sky_pixels(box, MINE.sky).rotang[:, 0]
    # East of the pointing, south of the equator, north leans to the east: counter-clockwise.
    lean = -0.25 * np.sin(np.radians(MINE.dec))
    assert angle == pytest.approx(lean, abs=1e-3)
    assert list(to_sky_pixels(box, MINE.sky).shape) == ["ROTBOX"]


def test_rectangles_become_boxes_in_other_frames():
    corners = np.array([(20000.0, 20000), (21000, 20400)])
    given = make(["RECTANGLE"], [0], [0], [[]], [[]], vertices={0: corners})
    det = to_detector(given, MINE.sky, FRAME)
    assert list(det.shape) == ["ROTBOX"]
    np.testing.assert_allclose(det.r[0, :2], [1000, 400])
    x, y = np.random.default_rng(0).uniform(19000, 22000, (2, 5000))
    np.testing.assert_array_equal(
        contains(given, x, y), contains(det, *FRAME.of_sky_pixels(MINE.sky, x, y))
    )


def test_sets_are_joined_and_taken_with_their_vertices():
    given = every_shape()
    both = concatenate([given, given])
    assert len(both) == 16
    taken = both.take(np.array([14, 1]))
    np.testing.assert_array_equal(taken.vertices[0], CORNERS)
    assert list(taken.shape) == ["POLYGON", "ROTBOX"]
    assert taken.as_included().component.tolist() == [1, 2]
    assert taken.as_excluded().include.tolist() == [False, False]
