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


def rows(store: Store, a: int, b: int, table: str = "csc.detections") -> list[dict]:
    return diff.differences(store, a, b, table).rows.to_pylist()


def test_rows_added_removed_and_changed(lake_of_three):
    store, at = lake_of_three
    found = rows(store, at["first"], at["second"])
    assert [(r["change"], r["name"], r["obsid"], r["columns"]) for r in found] == [
        ("added", "E", 5, None),
        ("changed", "B", 2, "ra"),
        ("removed", "A", 1, None),
    ]


def test_rows_of_the_same_files_are_not_read(lake_of_three, monkeypatch):
    """A table that nothing happened to is not compared."""
    store, at = lake_of_three
    asked = []
    query = diff._query

    def noted(*given):
        asked.append(query(*given))
        return asked[-1]

    monkeypatch.setattr(diff, "_query", noted)
    for first, last, compared in (
        (at["third"], store.snapshot(), False),
        (at["second"], at["third"], True),
    ):
        found = diff.differences(store, first, last, "csc.detections")
        assert (sum(found.counts.values()), found.rows.num_rows) == (compared, compared)
        assert {"change", "name", "obsid"} <= set(found.rows.column_names)
        assert ("WHERE FALSE" in asked.pop()) is not compared


def test_the_other_way_round(lake_of_three):
    store, at = lake_of_three
    found = rows(store, at["second"], at["first"])
    assert [(r["change"], r["name"]) for r in found] == [
        ("added", "A"), ("changed", "B"), ("removed", "E"),
    ]  # fmt: skip


def test_provenance_alone_is_no_change(lake_of_three):
    """D and C lie in other rows of the file now; NaN is NaN."""
    store, at = lake_of_three
    found = rows(store, at["first"], at["second"])
    assert not {"C", "D"} & {row["name"] for row in found}


def test_views_are_compared_as_they_were(lake_of_three):
    store, at = lake_of_three
    found = rows(store, at["second"], at["third"], "csc.features")
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
        (0, "first", "snapshot 0 is that of the empty lake"),
    ],
)
def test_snapshots_that_cannot_be_compared(a, b, told, lake_of_three):
    store, at = lake_of_three
    with pytest.raises(UsageError, match=told):
        diff.summary(store, at.get(a, a), at.get(b, b))


def test_tables_that_cannot_be_compared(lake_of_three):
    store, at = lake_of_three
    with pytest.raises(UsageError, match=r"no table csc\.nope"):
        diff.differences(store, at["first"], at["second"], "csc.nope")
    with pytest.raises(UsageError, match=r"there is no csc\.labels in snapshot 0"):
        diff.differences(store, 0, at["second"], "csc.labels")
    with pytest.raises(UsageError, match="same snapshot"):
        diff.differences(store, "paper", at["first"], "csc.labels")


def probabilities(*given: tuple[str, int, str, str | None, float | None], model: str) -> pa.Table:
    rows = [
        {"release": "R", "name": name, "obsid": obsid, "method": method, "detection_class": label,
         "runner_up": model, "p_qso": p, "p_agn": None if p is None else 1 - p,
         "model_id": model, "file_sha256": model, "file_row": i}
        for i, (name, obsid, method, label, p) in enumerate(given, 1)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, contracts.table("csc.class_probabilities").schema())


def predictions(model: str, *given: tuple[str, str]) -> pa.Table:
    rows = [
        {"release": "R", "spec_id": spec_id, "model_id": model, "model_release": release,
         "predicted_class": label, "probability": 0.75, "entropy": 0.0, "abstained": False,
         "file_sha256": "f"}
        for spec_id, release, label in given
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, contracts.table("sdss.cnn_predictions").schema())


@pytest.fixture(scope="module")
def classified(tmp_path_factory) -> tuple[Store, int, int]:
    """A lake whose detections and spectra were classified by one model and then by another."""
    store = Store(tmp_path_factory.mktemp("home") / "lake")

    def put(table: str, rows: pa.Table) -> int:
        return store.replace(
            "R", [table], [(table, rows)], fingerprint=str(rows), code_version="1", message="put"
        )

    same = ("S", 9, "softmin", "QSO", 0.75)
    put("csc.class_probabilities", probabilities(
        ("A", 1, "softmin", "QSO", 0.875), ("A", 2, "softmin", "QSO", 0.625),
        ("B", 1, "softmin", "AGN", 0.25), ("B", 1, "posterior", "AGN", 0.25),
        ("C", 1, "softmin", None, None), ("D", 1, "softmin", "QSO", 0.75), same, model="old",
    ))  # fmt: skip
    first = put("sdss.cnn_predictions", predictions(
        "m1", ("1", "R", "A0"), ("2", "R", "A0"), ("1", "S", "F5"),
    ))  # fmt: skip
    put("csc.class_probabilities", probabilities(
        ("A", 1, "softmin", "AGN", 0.125), ("A", 2, "softmin", "AGN", 0.375),
        ("B", 1, "softmin", "AGN", 0.375), ("B", 1, "posterior", "QSO", 0.5),
        ("C", 1, "softmin", "QSO", 0.75), ("E", 1, "softmin", "QSO", 0.75), same, model="new",
    ))  # fmt: skip
    last = put("sdss.cnn_predictions", predictions(
        "m2", ("1", "R", "A0"), ("2", "R", "F5"), ("1", "S", "F5"),
    ))  # fmt: skip
    return store, first, last


def test_reclassified_sources_are_counted_by_class_and_method(classified):
    found = diff.differences(*classified, "csc.class_probabilities")
    assert found.counts == {"added": 1, "removed": 1, "reclassified": 4, "changed": 2}
    assert [tuple(row.values()) for row in found.classes.to_pylist()] == [
        ("R", "softmin", "QSO", "AGN", 2, 1),  # two detections of one source
        ("R", "posterior", "AGN", "QSO", 1, 1),
        ("R", "softmin", None, "QSO", 1, 1),
    ]
    assert found.classes.column_names == [
        "release", "method", "detection_class_a", "detection_class_b", "rows", "objects",
    ]  # fmt: skip


def test_reclassified_rows_show_both_classes_with_their_probabilities(classified):
    found = diff.differences(*classified, "csc.class_probabilities").rows.to_pylist()
    shown = {
        (row["change"], row["name"], row["obsid"], row["method"]): (
            row["detection_class_a"], row["detection_class_b"],
            row["probability_a"], row["probability_b"],
        )
        for row in found
    }  # fmt: skip
    assert shown["reclassified", "A", 2, "softmin"] == ("QSO", "AGN", 0.625, 0.625)
    assert shown["reclassified", "C", 1, "softmin"] == (None, "QSO", None, 0.75)
    assert shown["removed", "D", 1, "softmin"] == ("QSO", None, 0.75, None)
    assert shown["added", "E", 1, "softmin"] == (None, "QSO", None, 0.75)
    assert shown["changed", "B", 1, "softmin"] == ("AGN", "AGN", 0.75, 0.625)
    (both,) = [row["columns"] for row in found if (row["name"], row["obsid"]) == ("A", 2)]
    assert both == "detection_class, p_agn, p_qso, runner_up"


def test_a_spectrum_that_another_model_classifies_is_the_same_spectrum(classified):
    found = diff.differences(*classified, "sdss.cnn_predictions")
    assert found.counts == {"added": 0, "removed": 0, "reclassified": 1, "changed": 0}
    assert [tuple(row.values()) for row in found.classes.to_pylist()] == [("R", "R", "A0", "F5", 1)]


def test_views_of_classes_are_compared_as_tables_are(classified):
    found = diff.differences(*classified, "csc.source_probabilities")
    assert found.counts["reclassified"] >= 2
    assert {"soft_master_class_a", "probability_b"} <= set(found.rows.column_names)


def test_keys_that_only_the_model_tells_apart_are_kept_apart(classified):
    store, _, last = classified
    rows = pa.concat_tables(
        [predictions("m3", ("7", "R", "A0")), predictions("m4", ("7", "R", "F5"))]
    )
    store.replace(
        "R", ["sdss.cnn_predictions"], [("sdss.cnn_predictions", rows)],
        fingerprint="3", code_version="1", message="two models of one release",
    )  # fmt: skip
    found = diff.differences(store, last, store.snapshot(), "sdss.cnn_predictions")
    assert found.counts == {"added": 2, "removed": 3, "reclassified": 0, "changed": 0}


def test_a_table_without_classes_has_none(lake_of_three):
    store, at = lake_of_three
    found = diff.differences(store, at["first"], at["second"], "csc.detections")
    assert found.classes is None
    assert found.counts == {"added": 1, "removed": 1, "changed": 1}
