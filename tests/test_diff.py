"""What changed between two snapshots."""

import pyarrow as pa
import pytest

from lake import contracts, diff
from lake.errors import UsageError
from lake.store import Store


def detections(release: str, *given: tuple[str, int, float | None]) -> pa.Table:
    rows = [
        {"release": release, "name": name, "obsid": obsid, "ra": ra, "file_sha256": "f",
         "file_row": i}
        for i, (name, obsid, ra) in enumerate(given, 1)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, contracts.table("csc.detections").schema())


@pytest.fixture(scope="module")
def lake_of_three(tmp_path_factory) -> tuple[Store, dict[str, int]]:
    """A lake with three states: one release; its rows changed; a second release."""
    store = Store(tmp_path_factory.mktemp("home") / "lake")

    def put(release: str, mark: str, *given: tuple[str, int, float | None]) -> int:
        return store.replace(
            release, ["csc.detections"], [("csc.detections", detections(release, *given))],
            fingerprint=mark, code_version="1", message=mark,
        )  # fmt: skip

    nan = float("nan")
    states = {
        "first": put("R", "1", ("A", 1, 1.0), ("B", 2, None), ("C", 3, nan), ("D", 4, 4.0)),
        "second": put("R", "2", ("D", 4, 4.0), ("C", 3, nan), ("B", 2, 2.0), ("E", 5, 5.0)),
    }
    states["third"] = put("S", "3", ("A", 1, 1.0))
    store.pin("paper", states["first"])
    return store, states


def test_rows_added_removed_and_changed(lake_of_three):
    store, at = lake_of_three
    found = diff.rows(store, at["first"], at["second"], "csc.detections").to_pylist()
    assert [(r["change"], r["name"], r["obsid"], r["columns"]) for r in found] == [
        ("added", "E", 5, None),
        ("changed", "B", 2, "ra"),
        ("removed", "A", 1, None),
    ]


def test_the_other_way_round(lake_of_three):
    store, at = lake_of_three
    found = diff.rows(store, at["second"], at["first"], "csc.detections").to_pylist()
    assert [(r["change"], r["name"]) for r in found] == [
        ("added", "A"), ("changed", "B"), ("removed", "E"),
    ]  # fmt: skip


def test_provenance_alone_is_no_change(lake_of_three):
    """D and C lie in other rows of the file now; NaN is NaN."""
    store, at = lake_of_three
    found = diff.rows(store, at["first"], at["second"], "csc.detections")
    assert not {"C", "D"} & set(found["name"].to_pylist())


def test_views_are_compared_as_they_were(lake_of_three):
    store, at = lake_of_three
    found = diff.rows(store, at["second"], at["third"], "csc.features").to_pylist()
    assert [(r["change"], r["release"], r["name"]) for r in found] == [("added", "S", "A")]


def test_the_summary_names_releases_and_tables(lake_of_three):
    store, at = lake_of_three
    assert diff.summary(store, at["first"], at["third"]).to_pylist() == [
        {"table_name": "csc.detections", "release": "R", "rows_a": 4, "rows_b": 4, "changed": True},
        {"table_name": "csc.detections", "release": "S", "rows_a": None, "rows_b": 1,
         "changed": True},
    ]  # fmt: skip
    assert diff.summary(store, at["third"], "paper")["rows_b"].to_pylist() == [4, None]


def test_pins_have_changed_nothing(lake_of_three):
    store, at = lake_of_three
    assert diff.summary(store, at["third"], store.snapshot()).num_rows == 0


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [
        ("first", "first", "are the same snapshot"),
        ("first", "paper", "are the same snapshot"),
        ("first", 999, "no snapshot or pin 999"),
        ("nope", "first", "no snapshot or pin 'nope'"),
        (0, "first", "empty lake"),
    ],
)
def test_snapshots_that_cannot_be_compared(a, b, told, lake_of_three):
    store, at = lake_of_three
    with pytest.raises(UsageError, match=told):
        diff.summary(store, at.get(a, a), at.get(b, b))


def test_tables_that_cannot_be_compared(lake_of_three):
    store, at = lake_of_three
    with pytest.raises(UsageError, match=r"no table csc\.nope"):
        diff.rows(store, at["first"], at["second"], "csc.nope")
    with pytest.raises(UsageError, match=r"there is no csc\.labels in snapshot 0"):
        diff.rows(store, 0, at["second"], "csc.labels")
    with pytest.raises(UsageError, match="same snapshot"):
        diff.rows(store, "paper", at["first"], "csc.labels")
