import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lake.xmm
from lake.xmm import esas
from lake.xmm.contains import contains
from lake.xmm.shapes import SHAPES, make


def one(shape, *r, angle=(), vertices=None, include=True, component=1):
    corners = {} if vertices is None else {0: np.array(vertices, float)}
    return make([shape], [0], [0], [list(r)], [list(angle)], include, component, corners)


@pytest.mark.parametrize(
    ("region", "inside", "outside"),
    [
        (one("CIRCLE", 2), (1.4, 1.4), (1.5, 1.5)),
        (one("ANNULUS", 1, 2), (1.5, 0), (0.5, 0)),
        (one("BOX", 4, 2), (1.9, 0.9), (0.9, 1.1)),
        (one("ROTBOX", 4, 2, angle=[90]), (0.9, 1.9), (1.1, 0.9)),
        # Counter-clockwise from +X.
        (one("ROTBOX", 4, 0.2, angle=[45]), (1, 1), (1, -1)),
        (one("ELLIPSE", 2, 1, angle=[90]), (0, 1.9), (1.1, 0)),
        (one("ELLIPTANNULUS", 1, 0.5, 4, 2, angle=[0, 0]), (3, 0), (0.9, 0)),
        (one("PIE", 1, 2, angle=[315, 45]), (1.5, 0.2), (-1.5, 0.2)),
        (one("SECTOR", angle=[80, 100]), (0, 9), (9, 0)),
        (one("POLYGON", vertices=[(-1, -1), (1, -1), (0, 2)]), (0, 1), (0.9, 1)),
        (one("RECTANGLE", vertices=[(-1, -2), (1, 2)]), (0.9, 1.9), (1.1, 0)),
        (one("ROTRECTANGLE", angle=[90], vertices=[(-1, -2), (1, 2)]), (0.9, 1.9), (1.1, 0)),
        (one("POINT"), (0, 0), (0, 0.1)),
    ],
    ids=lambda v: str(v.shape[0]) if hasattr(v, "shape") else "",
)
def test_a_shape_holds_what_it_should(region, inside, outside):
    x, y = np.array([inside, outside], float).T
    assert contains(region, x, y).tolist() == [True, False]


def test_every_shape_is_known():
    assert set(SHAPES) == {
        "POINT", "CIRCLE", "ANNULUS", "ELLIPSE", "ELLIPTANNULUS", "BOX", "ROTBOX", "RECTANGLE",
        "ROTRECTANGLE", "PIE", "SECTOR", "POLYGON",
    }  # fmt: skip


def circles(x, include, component):
    n = len(x)
    return make(["CIRCLE"] * n, x, [0] * n, [[1.0]] * n, [[np.nan]] * n, include, component)


X = np.array([0.0, 5, 10, 20])


def test_components_are_or_and_their_regions_are_and():
    assert contains(circles([0, 10], True, [1, 2]), X, X * 0).tolist() == [True, False, True, False]
    # Two circles that lie apart have nothing in common.
    assert not contains(circles([0, 10], True, 1), X, X * 0).any()
    out = circles([0, 10], False, 1)
    assert contains(out, X, X * 0).tolist() == [False, True, False, True]
    # Without components, what is excluded holds for all that is included.
    mixed = circles([0, 10, 10], [True, True, False], [1, 2, 0])
    assert contains(mixed, X, X * 0).tolist() == [True, False, False, False]
    assert contains(circles([0], False, 0), X, X * 0).tolist() == [False, True, True, True]
    # Components that are counted from 0.
    counted = circles([0, 10], True, [0, 1])
    assert contains(counted, X, X * 0).tolist() == [True, False, True, False]


def test_without_regions_everything_is_selected():
    assert contains(circles([], True, 1), X, X).all()


@given(
    st.lists(
        st.tuples(st.integers(-9, 9), st.booleans(), st.integers(1, 3)), min_size=1, max_size=6
    )
)
def test_selection_is_that_of_a_plain_evaluation(rows):
    x = np.linspace(-12, 12, 97)
    place, include, component = (np.array(v) for v in zip(*rows, strict=True))
    expected = np.zeros(len(x), bool)
    for c in set(component.tolist()):
        held = np.ones(len(x), bool)
        for centre, taken in zip(place[component == c], include[component == c], strict=True):
            inside = np.abs(x - centre) <= 1
            held &= inside if taken else ~inside
        expected |= held
    np.testing.assert_array_equal(contains(circles(place, include, component), x, x * 0), expected)


def test_a_table_of_a_file_is_taken_too(tmp_path):
    path = tmp_path / "t.fits"
    path.write_bytes(esas.table_bytes(circles([0, 10], False, 1), "det", name="t.fits"))
    assert lake.xmm.contains(path, X, X * 0).tolist() == [False, True, False, True]


@pytest.mark.real
def test_real_events_were_selected_by_their_table(real_data):
    from lake.formats import read_fits_file

    path = real_data / "xmm/xmmregion/mos2S002-corev.fits.gz"
    events = read_fits_file(path)["EVENTS"]
    detx, dety = (np.asarray(events.column(n), float) for n in ("DETX", "DETY"))
    inside = contains(path, detx, dety)
    # Detector pixels of events are whole numbers, the regions' edges are not.
    assert inside.mean() > 0.999
