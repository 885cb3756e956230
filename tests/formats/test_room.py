"""Memory that the columns of small tables share."""

import numpy as np
import pytest

from lake.formats import room as rooms
from lake.formats.room import joined, room, turn_over

FLOAT = np.dtype("f4")


@pytest.fixture(autouse=True)
def new_block():
    turn_over()


def filled(columns: int, rows: int, start: float) -> np.ndarray:
    part = room(columns, rows, FLOAT)
    part[:] = start + np.arange(columns * rows).reshape(columns, rows)
    return part


def test_columns_of_tables_lie_one_behind_the_other():
    parts = [filled(3, rows, 100 * rows) for rows in (5, 7, 6)]
    for column in range(3):
        whole = joined([part[column] for part in parts], FLOAT)
        np.testing.assert_array_equal(whole, np.concatenate([part[column] for part in parts]))
        assert np.shares_memory(whole, parts[0])


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 2), (0, 0, 1)])
def test_what_does_not_lie_so_is_copied(order):
    parts = [filled(2, 4, 10 * i) for i in range(3)]
    chosen = [parts[i][1] for i in order]
    whole = joined(chosen, FLOAT)
    np.testing.assert_array_equal(whole, np.concatenate(chosen))
    assert not np.shares_memory(whole, parts[0])


def test_arrays_of_other_kinds_are_put_together_as_numbers():
    block = np.arange(24, dtype="f4")
    apart = [block[0:8:2], block[4:8], np.array([1, 2], ">i2"), np.array([0.5])]
    whole = joined(apart, FLOAT)
    assert whole.dtype == FLOAT
    assert whole.tolist() == [0, 2, 4, 6, 4, 5, 6, 7, 1, 2, 0.5]
    turned = np.asfortranarray(np.arange(6, dtype="f4").reshape(2, 3))
    assert joined([turned[0], turned[1]], FLOAT).tolist() == [0, 1, 2, 3, 4, 5]
    assert joined([block[:4].view("i4")], FLOAT).tolist() == block[:4].view("i4").tolist()
    with pytest.raises(TypeError):
        joined([np.array([1 + 2j])], FLOAT)


def test_a_block_is_used_again_only_when_nobody_refers_to_it():
    kept = filled(2, 9, 0)
    values = kept.copy()
    seen = set()
    for _ in range(3 * rooms._MOST):
        turn_over()
        part = filled(2, 9, 1000)
        seen.add(part.__array_interface__["data"][0])
        assert not np.shares_memory(part, kept)
        del part
    np.testing.assert_array_equal(kept, values)
    assert len(seen) == 1


def test_a_large_table_has_memory_of_its_own():
    large = room(8, 1 << 20, FLOAT)
    assert large.base is None
    assert large.shape == (8, 1 << 20)
