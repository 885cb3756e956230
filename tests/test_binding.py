"""Values written into queries are those that DuckDB would bind."""

import datetime
import math

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.binding import bound


@given(
    st.one_of(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(),
        st.booleans(),
        st.none(),
    )
)
def test_a_value_comes_back_as_it_was(value):
    query = "SELECT /* why? */ ? AS \"what?\", '?' AS mark, 3 - ? AS x -- really?"
    (found, mark, _) = duckdb.execute(bound(query, [value, 1]) or "").fetchone()
    same = math.isnan(found) if value != value else found == value
    assert same
    assert type(found) is type(value)
    assert mark == "?"


def test_numbers_keep_their_place_beside_operators():
    assert duckdb.execute(bound("SELECT 1-?, 2-?", [-3, -0.5])).fetchone() == (4, 2.5)
    assert duckdb.execute(bound("SELECT ? || 'b'", ["it's \\ '?'"])).fetchone() == ("it's \\ '?'b",)


@pytest.mark.parametrize(
    ("query", "params"),
    [
        ("SELECT ?", [datetime.date(2026, 1, 1)]),
        ("SELECT ?", [[1, 2]]),
        ("SELECT ?", [np.int64(1)]),
        ("SELECT ?", []),
        ("SELECT 1", ["a"]),
        ("SELECT $1", ["a"]),
        ("SELECT ?, ?", ["a"]),
        ("SELECT 'not closed ?", ["a"]),
    ],
)
def test_what_has_no_plain_spelling_is_left_to_duckdb(query, params):
    assert bound(query, params) is None
