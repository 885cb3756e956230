"""Results for people and programs."""

import io
import json
import math
import os
import weakref
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console

from lake.formats.reader import TableReader
from pipelines import progress, show


def test_a_table_is_as_wide_as_it_needs_where_no_terminal_is(capsys):
    rows = [("a" * 200, 1, None), ("[bold]b[/]\nc", 123_456, 0.000_123_456_789)]
    show.table(["name", "n", "x"], rows, right=["n"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"name{' ' * 196}        n  x"
    assert lines[1] == f"{'a' * 200}        1  -"
    assert lines[2] == f"[bold]b[/] c{' ' * 188}  123,456  0.000123457"


def test_a_table_without_rows_has_its_header(capsys):
    show.table(["name", "n"], [])
    assert capsys.readouterr().out == "name  n\n"


def test_characters_that_take_two_cells_stay_in_their_column(capsys):
    show.table(["name", "n"], [("星", 1), ("ab", 2)])
    assert capsys.readouterr().out.splitlines()[1:] == ["星    1", "ab    2"]


def test_a_table_on_a_terminal_is_folded_and_shows_brackets(monkeypatch):
    sink = io.StringIO()
    terminal = Console(
        file=sink, force_terminal=True, width=40, soft_wrap=True, color_system=None,
        highlight=False, markup=False,
    )  # fmt: skip
    monkeypatch.setattr(show, "out", terminal)
    show.table(["name", "unit"], [("a long description " * 5, "[keV]")])
    lines = sink.getvalue().splitlines()
    assert len(lines) > 3
    assert max(map(len, lines)) <= 40
    assert "[keV]" in sink.getvalue()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"), (True, "yes"), (False, "no"), (0.1 + 0.2, "0.3"), (1e-20, "1e-20"),
        (99_999, "99999"), (100_000, "100,000"), ("[x]", "[x]"),
        (datetime(2026, 1, 2, 3, 4, 5, 6, UTC), "2026-01-02 03:04:05"),
    ],
)  # fmt: skip
def test_values_for_people(value, text):
    assert show.text(value) == text


def test_digits():
    assert show.text(0.123456, 3) == "0.123"


def test_json_has_neither_nan_nor_infinity(capsys):
    show.as_json(
        {"a": [1.5, math.nan, math.inf], "t": datetime(2026, 1, 2, tzinfo=UTC), "b": b"\1"}
    )
    told = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert told == {"a": [1.5, None, None], "t": "2026-01-02T00:00:00+00:00", "b": "01"}


def test_a_table_of_many_rows_says_that_it_is_cut(capsys):
    show.arrow(pa.table({"x": range(1000)}), "table")
    assert "1000 rows" in capsys.readouterr().out


def test_messages_go_to_stderr_as_they_are(capsys):
    for say in (show.done, show.warn, show.failed):
        say("/path/[bold]x[/] " + "y" * 200)
    told = capsys.readouterr()
    assert told.out == ""
    assert [line[0] for line in told.err.splitlines()] == ["✓", "!", "✗"]
    assert told.err.count("/path/[bold]x[/] yyy") == 3


def test_nothing_spins_where_no_terminal_is(capsys):
    with progress.shown("at work"):
        progress.report("still at work")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (12_345, "12,345 rows")]
)
def test_count(number, text):
    assert show.count(number, "row") == text


def batches(number: int, taken: list[int]) -> TableReader:
    """Batches of 4,000 rows, each noted when it is asked for."""
    rows = pa.record_batch({"x": list(range(4000)), "t": [datetime(2026, 1, 2)] * 4000})

    def made():
        for i in range(number):
            taken.append(i)
            yield rows

    return TableReader(rows.schema, made())


def test_a_table_for_people_reads_no_more_than_it_counts(capsys):
    taken: list[int] = []
    show.arrow(batches(100, taken), "table")
    assert len(taken) == 3
    assert ">9999 rows, 40 shown" in capsys.readouterr().out


@pytest.mark.parametrize("rows", [0, 1, 3000])
def test_rows_in_json_are_those_of_their_objects(capsys, rows):
    data = pa.table({"x": [math.nan, 1.0, None] * 1000, "s": ['"é"', None, "["] * 1000})[:rows]
    show.as_json(data.to_pylist())
    whole = capsys.readouterr().out
    show.arrow(data, "json")
    assert capsys.readouterr().out == whole


@pytest.mark.parametrize("form", ["json", "csv", "parquet"])
def test_batches_are_asked_for_one_by_one(monkeypatch, form):
    """Each is written before the next is made."""
    taken: list[int] = []
    alive: list[weakref.ref[pa.RecordBatch]] = []

    def made():
        for i in range(5):
            taken.append(sum(ref() is not None for ref in alive))
            batch = pa.record_batch({"x": list(range(i, i + 10))})
            alive.append(weakref.ref(batch))
            yield batch
            del batch

    monkeypatch.setattr(show, "_pass_on", lambda write: write(Path(os.devnull)))
    show.arrow(TableReader(pa.schema({"x": pa.int64()}), made()), form)
    assert len(taken) == 5
    assert max(taken) <= 1
