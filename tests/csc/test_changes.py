"""What changed between two states of a release, and between two releases."""

import itertools
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

# Source by source: detections before and after, labels before and after, and what is told of it:
# whether it differs, and how many of its detections count as changed, moved and labelled.
CASES: dict[str, tuple[list[Row], list[Row], list[Row], list[Row], tuple[bool, int, int, int]]] = {}


def case(name: str, rows: tuple[list[Row], list[Row]], labels: Any, *expected: Any) -> None:
    named = [[{**row, "name": name} for row in part] for part in (*rows, *labels)]
    CASES[name] = (*named, expected)


ONE, TWO = detection("", 1), detection("", 2)
QSO, STAR = label("", "QSO"), label("", "Star")
case("same", ([ONE, TWO], [TWO, ONE]), ([QSO], [QSO]), False, 0, 0, 0)
case("one more", ([ONE], [ONE, TWO]), ([], []), True, 1, 1, 0)
case("one less", ([ONE, TWO], [TWO]), ([], []), True, 1, 1, 0)
case("gone", ([ONE, TWO], []), ([QSO], [QSO]), True, 2, 2, 2)
case("moved", ([ONE, TWO], [{**ONE, "bb_kt": 1.0}, TWO]), ([], []), True, 1, 1, 0)
case("now null", ([ONE], [{**ONE, "bb_kt": None}]), ([], []), True, 1, 1, 0)
case("in another file", ([ONE], [{**ONE, "file_sha256": "g"}]), ([], []), True, 0, 0, 0)
case("twice", ([ONE], [ONE, {**ONE, "file_row": 2}]), ([], []), True, 1, 1, 0)
case("label gone", ([ONE, TWO], [ONE, TWO]), ([QSO], []), True, 2, 0, 2)
case("label of one", ([ONE, TWO], [ONE, TWO]), ([], [{**QSO, "obsid": 2}]), True, 1, 0, 1)
case("no class", ([ONE], [ONE]), ([STAR], [{**STAR, "main_type": "X"}]), True, 1, 0, 0)
case("no detection", ([], []), ([], [QSO]), False, 0, 0, 0)
case("second label", ([ONE], [ONE]), ([QSO], [QSO, {**STAR, "file_row": 2}]), False, 0, 0, 0)
BARE = {**ONE, "bb_kt": None}  # no class is learnt from it
case("incomplete", ([BARE], [BARE]), ([], [QSO]), True, 1, 0, 0)


def test_changes_of_a_release(store):
    before, after, said, says, expected = zip(*CASES.values(), strict=True)
    flat = itertools.chain.from_iterable
    then = put(store, flat(before), flat(said))
    put(store, [detection("A")], release="S")  # of which nothing is told
    names, rows, *counts = told(changes(store, "R", then, put(store, flat(after), flat(says))))
    assert names == sorted(name for name in CASES if CASES[name][-1][0])
    assert rows == sorted((r["name"], r["obsid"]) for r in flat(after) if r["name"] in names)
    assert counts == [sum(e[i] for e in expected) for i in (1, 2, 3)]


def test_a_change_that_is_taken_back_is_none(store):
    then = put(store, BASE, LABELS)
    put(store, [*BASE[1:], detection("A", bb_kt=1.0)])
    assert told(changes(store, "R", then, put(store, BASE, LABELS))) == NOTHING


def test_what_cannot_be_told(store):
    then = put(store, BASE)
    now = put(store, BASE[1:])
    assert changes(store, "R", None, now) is None
    assert changes(store, "R", now + 1, now) is None
    with store.connect(read_only=False) as connection:
        connection.execute(f"CALL ducklake_expire_snapshots('lake', versions => [{then}])")
    store.refresh()
    assert changes(store, "R", then, now) is None


def test_a_view_that_reads_otherwise_now(tmp_path):
    store = Store(tmp_path / "lake")
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
