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


def test_places_are_found_as_duckdb_finds_them():
    query = "SELECT 'é?', ?::INTEGER, ?, $a$?$a$, '😀' -- ?\n, /* /* ? */ ? */ ?"
    assert duckdb.execute(bound(query, [1, "ü", 3])).fetchone() == ("é?", 1, "ü", "?", "😀", 3)


def test_floats_are_exact():
    values = np.random.default_rng(0).uniform(size=2000).tolist()
    query = f"SELECT {', '.join('?' * len(values))}"
    assert list(duckdb.execute(bound(query, values)).fetchone()) == values
    assert duckdb.execute(bound("SELECT ?", [np.float64(0.1)])).fetchone() == (0.1,)


@pytest.mark.parametrize("value", [0, 5, -(2**31), 2**31, -(2**63), 2**63 - 1, 0.5, "a", True])
def test_values_have_the_type_that_duckdb_binds(value):
    for query in ("SELECT typeof(?)", "SELECT typeof(127::TINYINT || ?)"):
        assert duckdb.execute(bound(query, [value])).fetchone() == (
            duckdb.execute(query, [value]).fetchone()
        )
    if type(value) is int and abs(value) < 2**62:
        query = "SELECT 255::UTINYINT + ?, typeof(100::SMALLINT * ?)"
        theirs = duckdb.execute(query, [value, value % 99]).fetchone()
        assert duckdb.execute(bound(query, [value, value % 99])).fetchone() == theirs


@pytest.mark.parametrize(
    ("query", "params"),
    [
        ("SELECT ?", [datetime.date(2026, 1, 1)]),
        ("SELECT ?", [[1, 2]]),
        ("SELECT ?", [np.int64(1)]),
        ("SELECT ?", [2**63]),
        ("SELECT ?", ["a\0b"]),
        ("SELECT ?1", ["a"]),
        ("SELECT ?2, ?1", ["a", "b"]),
        ("SELECT ?", []),
        ("SELECT 1", ["a"]),
        ("SELECT $1", ["a"]),
        ("SELECT ?, ?", ["a"]),
        ("SELECT 'not closed ?", ["a"]),
    ],
)
def test_what_has_no_plain_spelling_is_left_to_duckdb(query, params):
    assert bound(query, params) is None
