"""The views of the mission: rows in, rows out."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from lake.sdss import mk
from tests import views

Row = dict[str, Any]
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
PLAIN: dict[str, Row] = {
    "sdss.spectra_metadata": {"file_path": "p", "keyword_sources": "{}"},
    "sdss.spectra_labels": {},
    "sdss.loading_log": {
        "step_order": 1, "step_name": "load_spectrum", "params_json": "{}", "timestamp": NOON,
    },
    "sdss.recipe_log": {"params_json": "{}", "timestamp": NOON},
    "sdss.splits": {"seed": 1, "leakage_group": "266", "split": "test"},
    "sdss.cnn_predictions": {
        "model_id": "m", "model_release": "R", "probability": 0.5, "entropy": 0.1,
        "abstained": False, "classes": ["A0", "K3", "M"],
    },
}  # fmt: skip


def insert(tables: duckdb.DuckDBPyConnection, name: str, rows: Iterable[Row]) -> None:
    views.insert(tables, name, rows, {"release": "R", "file_sha256": "f"} | PLAIN[name])


def labelled(**classes: str | None) -> list[Row]:
    """Rows of spectra_labels, as `labels.match` writes them."""
    parts = mk.normalise(pa.array(list(classes.values()), pa.string()))
    parts = parts.drop_columns(["learnt_class"]).to_pylist()
    return [{"spec_id": name, **row} for name, row in zip(classes, parts, strict=True)]


def rows(tables: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return tables.sql(query).fetchall()


@pytest.mark.parametrize(
    "name",
    ["preprocessing_log", "dataset_overview", "confusion", "release_shift", "class_balance"],
)
def test_no_row_out_of_none(tables, name):
    assert rows(tables, f"SELECT * FROM sdss.{name}") == []


def test_preprocessing_log_has_loading_once_and_every_recipe(tables):
    insert(tables, "sdss.loading_log", [{"spec_id": "a", "warnings": "w"}, {"spec_id": "b"}])
    steps = [("r1", 2, "mask"), ("r1", 3, "resample"), ("r2", 2, "mask")]
    insert(
        tables,
        "sdss.recipe_log",
        [
            {"spec_id": "a", "recipe": recipe, "step_order": order, "step_name": step,
             "result_hash": f"{recipe}{order}"}
            for recipe, order, step in steps
        ],
    )  # fmt: skip
    query = (
        "SELECT spec_id, recipe, step_order, step_name, result_hash, warnings"
        " FROM sdss.preprocessing_log ORDER BY ALL"
    )
    assert rows(tables, query) == [
        ("a", "load", 1, "load_spectrum", None, "w"),
        ("a", "r1", 2, "mask", "r12", None),
        ("a", "r1", 3, "resample", "r13", None),
        ("a", "r2", 2, "mask", "r22", None),
        ("b", "load", 1, "load_spectrum", None, None),
    ]
    query = (
        "SELECT DISTINCT release, params_json, timestamp, file_sha256 FROM sdss.preprocessing_log"
    )
    assert rows(tables, query) == [("R", "{}", NOON, "f")]


def test_dataset_overview(tables):
    given = {
        "a": (266, 10.0, 3800.0, 9000.0, 1800.0, 0.1, "26"),
        "b": (266, 20.0, 3900.0, 9200.0, 2000.0, None, "v5"),
        "c": (300, 60.0, 3850.0, 9100.0, 2200.0, 0.3, "26"),
        "d": (300, None, None, None, None, None, None),
        "e": (301, 5.0, 3600.0, 10000.0, None, 0.2, "26"),
    }
    names = ("plate", "sn_median", "wavelength_min_A", "wavelength_max_A", "resolution_r",
             "ebv_sfd", "data_release")  # fmt: skip
    insert(
        tables,
        "sdss.spectra_metadata",
        [{"spec_id": key, **dict(zip(names, values, strict=True))} for key, values in given.items()]
        + [{"release": "other", "spec_id": "a", "plate": 1}],
    )
    insert(tables, "sdss.spectra_labels", labelled(a="A0", b="A0", c="A0", d="K3", e=None))
    found = rows(tables, "SELECT * FROM sdss.dataset_overview ORDER BY release DESC, class_mk")
    assert found == [
        ("other", None, 1, 1.0, 0.0, *[None] * 7, 1, None),
        ("R", "A0", 3, 0.6, 0.8, 20.0, 3800.0, 9200.0, 3850.0, 9100.0, 2000.0,
         pytest.approx(0.2), 2, "26, v5"),
        ("R", "K3", 1, 0.2, 0.8, *[None] * 7, 1, None),
        ("R", None, 1, 0.2, 0.8, 5.0, 3600.0, 10000.0, 3600.0, 10000.0, None, 0.2, 1, "26"),
    ]  # fmt: skip


def prediction(spec_id: str, class_: str, **columns: Any) -> Row:
    return {"spec_id": spec_id, "predicted_class": class_} | columns


def test_confusion_is_of_the_test_side_of_its_own_release(tables):
    truth = {"a": "K3", "b": "K3", "c": "K3", "d": "A0", "e": "A0", "f": "A0"}
    sides = {"e": "train", "f": "validation"}
    insert(
        tables,
        "sdss.splits",
        [
            {"spec_id": key, "class_mk": value, "split": sides.get(key, "test")}
            for key, value in truth.items()
        ]
        + [{"release": "S", "spec_id": "a", "class_mk": "K3"}],
    )
    found = {"a": "K3", "b": "K3", "c": "A0", "d": "A0", "e": "K3", "f": "K3", "g": "K3"}
    insert(
        tables,
        "sdss.cnn_predictions",
        [prediction(key, value) for key, value in found.items()]
        + [prediction("a", "A0", release="S"), prediction("a", "A0", model_id="n")],
    )
    assert rows(tables, "SELECT * FROM sdss.confusion ORDER BY ALL") == [
        ("R", "m", "A0", "A0", 1, 1.0),
        ("R", "m", "K3", "A0", 1, pytest.approx(1 / 3)),
        ("R", "m", "K3", "K3", 2, pytest.approx(2 / 3)),
        ("R", "n", "K3", "A0", 1, 1.0),
    ]


SHIFT = (
    "SELECT release, model_id, n_labelled, known_share, accuracy, letter_accuracy,"
    " mean_probability, calibration_gap, abstained_share FROM sdss.release_shift ORDER BY ALL"
)


def test_release_shift_takes_the_test_side_at_home_and_all_elsewhere(tables):
    classes = {"a": "K3III", "b": "A0V", "c": "K3", "d": None}
    insert(
        tables,
        "sdss.spectra_labels",
        [row | {"release": release} for release in "RS" for row in labelled(**classes)],
    )
    insert(
        tables,
        "sdss.splits",
        [
            {"spec_id": "a", "class_mk": "K3"},
            {"spec_id": "b", "class_mk": "A0"},
            {"spec_id": "c", "class_mk": "K3", "split": "train"},
            # A split of another release says nothing about what this model was trained on.
            {"release": "S", "spec_id": "c", "class_mk": "K", "split": "train"},
        ],
    )
    insert(
        tables,
        "sdss.cnn_predictions",
        [
            prediction("a", "K3", probability=0.9),
            prediction("b", "K3", probability=0.6, abstained=True),
            prediction("c", "A0", probability=0.5),
            prediction("d", "A0", probability=0.5),
            prediction("a", "K3", probability=0.9, release="S"),
            prediction("b", "A0", probability=0.8, release="S"),
            prediction("c", "M", probability=0.4, release="S", abstained=True),
            prediction("d", "A0", probability=0.1, release="S"),
        ],
    )
    home, away = rows(tables, SHIFT)
    assert home == (
        "R", "m", 2, 1.0, 0.5, 0.5, pytest.approx(0.75), pytest.approx(0.25), 0.5,
    )  # fmt: skip
    third = pytest.approx(1 / 3)
    assert away == (
        "S", "m", 3, 1.0, pytest.approx(2 / 3), pytest.approx(2 / 3), pytest.approx(0.7),
        pytest.approx(0.7 - 2 / 3), third,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("label", "predicted", "right", "right_letter", "known"),
    [
        ("K3III", "K3", True, True, True),
        ("K5V", "K3", False, True, False),
        ("M4.5III", "M", True, True, True),
        ("M4.5III", "A0", False, False, True),
        ("sdA0", "A0", True, True, True),
        ("A", "A0", False, True, False),
        ("CV", "CV", True, True, False),
        ("CV", "A0", False, False, False),
        ("Carbon", "CV", False, False, False),
        ("K3p", "Carbon", False, False, True),
    ],
)
def test_what_counts_as_right_elsewhere(tables, label, predicted, right, right_letter, known):
    insert(tables, "sdss.spectra_labels", [r | {"release": "S"} for r in labelled(a=label)])
    insert(tables, "sdss.cnn_predictions", [prediction("a", predicted, release="S")])
    query = "SELECT accuracy, letter_accuracy, known_share FROM sdss.release_shift"
    assert rows(tables, query) == [(float(right), float(right_letter), float(known))]


def test_at_home_the_class_of_the_split_is_to_be_found(tables):
    # K7 was rare and was learnt as K; K3 was not.
    insert(tables, "sdss.spectra_labels", labelled(a="K3", b="K7"))
    truth = [{"spec_id": "a", "class_mk": "K3"}, {"spec_id": "b", "class_mk": "K"}]
    insert(tables, "sdss.splits", truth)
    insert(tables, "sdss.cnn_predictions", [prediction("a", "K"), prediction("b", "K")])
    assert rows(tables, "SELECT accuracy, letter_accuracy FROM sdss.release_shift") == [(0.5, 1.0)]
    shares = rows(tables, "SELECT class_mk, predicted_class FROM sdss.confusion ORDER BY ALL")
    assert shares == [("K", "K"), ("K3", "K")]


def test_the_views_class_is_the_one_that_is_learnt(tables):
    texts = ["K3III", "B0.5Ib", "sdF3", "A", "CV", "OB", "M4.5:III (1)", "WDmagnetic"]
    given = labelled(**{f"s{i}": text for i, text in enumerate(texts)})
    insert(tables, "sdss.spectra_labels", [row | {"release": "S"} for row in given])
    learnt = mk.learnt_class(pa.array(texts)).to_pylist()
    insert(
        tables,
        "sdss.cnn_predictions",
        [prediction(f"s{i}", name, release="S") for i, name in enumerate(learnt)],
    )
    assert rows(tables, "SELECT n_labelled, accuracy FROM sdss.release_shift") == [(8, 1.0)]


def test_class_balance(tables):
    insert(
        tables,
        "sdss.splits",
        [
            {"spec_id": "a", "class_mk": "K3", "split": "train"},
            {"spec_id": "b", "class_mk": "K3", "split": "train"},
            {"spec_id": "c", "class_mk": "K3", "split": "train", "leakage_group": "267"},
            {"spec_id": "d", "class_mk": "A0", "split": "train"},
            {"spec_id": "e", "class_mk": "A0"},
            {"release": "S", "spec_id": "e", "class_mk": "A0"},
        ],
    )
    assert rows(tables, "SELECT * FROM sdss.class_balance ORDER BY ALL") == [
        ("R", "A0", "test", 1, 1.0, 1),
        ("R", "A0", "train", 1, 0.25, 1),
        ("R", "K3", "train", 3, 0.75, 2),
        ("S", "A0", "test", 1, 1.0, 1),
    ]
