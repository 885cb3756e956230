import numpy as np
import pyarrow as pa
import pytest

from lake import contracts
from lake.xmm.region_rows import columns_of, groups, of_rows
from lake.xmm.shapes import make

NAN = np.nan
TRIANGLE = np.array([(0.0, 0.0), (3.0, 0.0), (0.0, 3.0)])


@pytest.fixture
def regions():
    return make(
        ["ROTBOX", "CIRCLE", "POLYGON", "PIE", "POINT"],
        [1, 2, NAN, 4, 5], [6, 7, NAN, 9, 10],
        [[3, 2], [4, NAN], [NAN, NAN], [1, 5], [NAN, NAN]],
        [[30, NAN], [NAN, NAN], [NAN, NAN], [10, 20], [NAN, NAN]],
        [False, False, True, True, True], [1, 1, 2, 3, 4], {2: TRIANGLE},
    )  # fmt: skip


def same(one, other):
    for name in ("shape", "include", "x", "y", "r", "rotang", "component"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.vertices.keys() == other.vertices.keys()
    for row, corners in one.vertices.items():
        np.testing.assert_array_equal(corners, other.vertices[row])


def test_what_a_shape_has_not_is_null(regions):
    rows = pa.table(columns_of(regions)).to_pylist()
    assert [row["r"] for row in rows] == [[3, 2], [4], None, [1, 5], None]
    assert [row["rotang"] for row in rows] == [30, None, None, 10, None]
    assert [row["rotang_2"] for row in rows] == [None, None, None, 20, None]
    assert [row["vertices_x"] for row in rows] == [None, None, [0, 3, 0], None, None]
    assert [row["vertices_y"] for row in rows] == [None, None, [0, 0, 3], None, None]
    assert [row["x"] for row in rows] == [1, 2, 1, 4, 5]


def test_rows_are_regions_again(regions):
    rows = pa.table(columns_of(regions))
    same(of_rows(rows), regions)
    parts = pa.concat_tables([rows.slice(0, 2), rows.slice(2)])
    same(of_rows(parts), regions)
    same(of_rows(rows.slice(1, 2)), regions.take(np.array([1, 2])))
    declared = contracts.table("xmm.regions").by_name
    for name, column in columns_of(regions).items():
        assert column.type == declared[name].field().type


def test_rows_of_masks_have_their_angles_in_lists(regions):
    columns = columns_of(regions) | {
        "rotang": pa.array([[30.0], None, None, [10.0, 20.0], []], pa.list_(pa.float64()))
    }
    del columns["rotang_2"]
    same(of_rows(pa.table(columns)), regions)


def test_no_regions_at_all(regions):
    none = regions.take(np.zeros(5, bool))
    assert len(of_rows(pa.table(columns_of(none)))) == 0


def test_groups_are_runs_of_equal_rows():
    rows = pa.table({"a": ["x", "x", "x", "y", "y", "x"], "b": [1, 1, 2, 2, 2, 2]})
    assert [v.tolist() for v in groups(rows, ["a", "b"])] == [[0, 2, 3, 5], [2, 1, 2, 1]]
    assert [v.tolist() for v in groups(rows, ["b"])] == [[0, 2], [2, 4]]
    assert [v.tolist() for v in groups(rows.slice(0, 0), ["a"])] == [[], []]
