"""What changed between two states of a release, and between two releases."""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pytest

from lake import contracts
from lake.csc.changes import Changes, between, changes
from lake.csc.features import FEATURES
from lake.store import Store

Row = dict[str, Any]


def detection(name: str, obsid: int = 1, **given: Any) -> Row:
    features = dict.fromkeys(FEATURES, 0.5)
    return {"name": name, "obsid": obsid, "file_sha256": "f", "file_row": 1, **features, **given}


def label(name: str, main_type: str, obsid: int | None = None, row: int = 1) -> Row:
    said = {"main_type": main_type, "file_sha256": "l", "file_row": row}
    return {"name": name, "obsid": obsid, **said}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(tmp_path_factory.mktemp("home") / "lake")


def put(store: Store, rows: Iterable[Row], given: Iterable[Row] = (), release: str = "R") -> int:
    """Make detections and labels the release's; returns the snapshot."""
    parts = [
        (name, pa.Table.from_pylist([{"release": release, **row} for row in part],
         contracts.table(name).schema()))
        for name, part in (("csc.detections", rows), ("csc.labels", given))
    ]  # fmt: skip
    return store.replace(
        release, [p[0] for p in parts], parts, fingerprint="f", code_version="1", message="put"
    )


def told(found: Changes | None) -> tuple[list[str], list[tuple[str, int]], int, int, int]:
    assert found is not None
    rows = [(row["name"], row["obsid"]) for row in found.rows.to_pylist()]
    names = found.names["name"].to_pylist()
    return names, rows, found.detections, found.moved, found.labelled


BASE = [detection("A"), detection("A", 2), detection("B"), detection("C"), detection("D")]
LABELS = [label("B", "QSO"), label("C", "Star")]
NOTHING = ([], [], 0, 0, 0)


@pytest.mark.parametrize(
    ("rows", "labels", "expected"),
    [
        (BASE[::-1], LABELS[::-1], NOTHING),  # all rows were written again and say the same
        ([*BASE, detection("A", 3)], LABELS, (["A"], [("A", 1), ("A", 2), ("A", 3)], 1, 1, 0)),
        (BASE[:4], LABELS, (["D"], [], 1, 1, 0)),
        ([*BASE[1:], detection("A", bb_kt=1.0)], LABELS, (["A"], [("A", 1), ("A", 2)], 1, 1, 0)),
        ([*BASE[1:], detection("A", bb_kt=None)], LABELS, (["A"], [("A", 1), ("A", 2)], 1, 1, 0)),
        # Another file says the same: the row is another, the detection is not.
        ([*BASE[:4], detection("D", file_sha256="g")], LABELS, (["D"], [("D", 1)], 0, 0, 0)),
        (BASE, LABELS[1:], (["B"], [("B", 1)], 1, 0, 1)),
        (BASE, [*LABELS, label("A", "AGN", 2)], (["A"], [("A", 1), ("A", 2)], 1, 0, 1)),
        (BASE, [*LABELS, label("A", "AGN")], (["A"], [("A", 1), ("A", 2)], 2, 0, 2)),
        (BASE, [LABELS[0], label("C", "X")], (["C"], [("C", 1)], 1, 0, 0)),
        (BASE, [*LABELS, label("no such source", "QSO")], NOTHING),
        # A label that goes after another says nothing.
        (BASE, [*LABELS, label("B", "AGN", row=2)], NOTHING),
        # A key that is there twice.
        ([*BASE, detection("D", file_row=2)], LABELS, (["D"], [("D", 1), ("D", 1)], 1, 1, 0)),
        ([], [], (["A", "B", "C", "D"], [], 5, 5, 1)),
    ],
)  # fmt: skip
def test_changes_of_a_release(rows, labels, expected, store):
    then = put(store, BASE, LABELS)
    put(store, [detection("A")], release="S")  # of which nothing is told
    now = put(store, rows, labels)
    assert told(changes(store, "R", then, now)) == expected


def test_a_change_that_is_taken_back_is_none(store):
    then = put(store, BASE, LABELS)
    put(store, [*BASE[1:], detection("A", bb_kt=1.0)])
    assert told(changes(store, "R", then, put(store, BASE, LABELS))) == NOTHING


def test_an_incomplete_detection_teaches_no_class(store):
    then = put(store, [*BASE, detection("E", bb_kt=None)], LABELS)
    now = put(store, [*BASE, detection("E", bb_kt=None)], [*LABELS, label("E", "QSO")])
    assert told(changes(store, "R", then, now)) == (["E"], [("E", 1)], 1, 0, 0)


def test_what_cannot_be_told(store):
    then = put(store, BASE)
    now = put(store, BASE[1:])
    assert changes(store, "R", None, now) is None
    assert changes(store, "R", now + 1, now) is None
    with store.connect(read_only=False) as connection:
        connection.execute(f"CALL ducklake_expire_snapshots('lake', versions => [{then}])")
    store.refresh()
    assert changes(store, "R", then, now) is None


def test_a_view_that_reads_otherwise_now(store):
    then = put(store, BASE)
    with store.commit("another view") as commit:
        sql = "SELECT release, name, obsid, obi, region_id FROM lake.csc.detections"
        commit.connection.execute(f"CREATE OR REPLACE VIEW lake.csc.features AS {sql}")
    assert changes(store, "R", then, put(store, BASE[1:])) is None


def test_two_releases(store):
    put(store, BASE, LABELS)
    now = put(store, [*BASE[1:], detection("A", bb_kt=1.0)], LABELS[1:], release="T")
    found = between(store, "R", "T", now)
    assert (found.detections, found.moved, found.labelled) == (2, 1, 1)
    assert between(store, "R", "R", now).detections == 0
