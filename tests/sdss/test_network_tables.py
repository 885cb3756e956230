import pyarrow as pa
import pytest

from lake import contracts
from lake.errors import LacusError
from lake.formats.columns import metadata
from lake.sdss import network_tables as tables
from lake.sdss.configuration import CONFIGURATIONS


def models():
    rows = [
        {
            "release": "DR17", "model_id": f"{name}-0123456789", "configuration_name": name,
            "recipe": "default", "classes": ["A0", "M1"], "n_parameters": 1000, "n_train": 70,
            "n_validation": 15, "n_test": 15, "n_epochs": 9, "temperature": 1.25,
            "abstention_threshold": None, "accuracy": 0.98, "letter_accuracy": 1.0,
            "expected_calibration_error": 0.03, "log_loss": 0.1,
            "configuration_json": CONFIGURATIONS[name].to_json(), "history_json": "{}",
            "data_fingerprint": "ab", "data_snapshot": 3, "seed": 0, "train_seconds": 12.0,
            "library_versions": "{}", "path": "models/a.keras",
        }
        for name in ("seed", "default")
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, contracts.table("sdss.cnn_models").schema())


def test_configurations():
    default, seed = tables.network_configurations(models()).to_pylist()
    assert default["model"] == "default-"
    assert (default["augmentation"], seed["augmentation"]) == (True, False)
    assert default["learning_rate"] == CONFIGURATIONS["default"].learning_rate
    assert seed["dropout"] == 0.2
    assert seed["class_weights"] is False


def test_scores_keep_nulls_and_say_their_units():
    made = tables.network_scores(models())
    assert made["configuration_name"].to_pylist() == ["default", "seed"]
    assert made["abstention_threshold"].to_pylist() == [None, None]
    assert made["accuracy"].to_pylist() == [0.98, 0.98]
    assert metadata(made.schema.field("train_seconds"), b"unit") == "s"


def confusion(model="m"):
    rows = [("M1", "M1", 3), ("M1", "A0", 1), ("A0", "A0", 2), ("CV", "A0", 1)]
    return pa.Table.from_pylist(
        [
            {"release": "DR17", "model_id": model, "class_mk": t, "predicted_class": p, "n": n}
            for t, p, n in rows
        ]
    )


def test_class_scores():
    made = tables.class_scores(confusion()).to_pylist()
    assert [tuple(row.values()) for row in made] == [
        ("A0", 1.0, 0.5, pytest.approx(2 / 3), 2),
        ("M1", 0.75, 1.0, pytest.approx(6 / 7), 4),
        ("CV", 0.0, None, 0.0, 1),
    ]


def test_models_are_not_mixed():
    with pytest.raises(LacusError, match="one release and model_id, not DR17 a, DR17 b"):
        tables.class_scores(pa.concat_tables([confusion("b"), confusion("a")]))


def test_no_predictions_no_rows():
    assert len(tables.class_scores(confusion().slice(0, 0))) == 0


def test_ablation_has_the_default_first_and_noise_from_strong_to_none():
    rows = [
        {
            "release": "DR17", "study": "recipe", "variant": variant, "snr_level": level,
            "n_test": 10, "n_parameters": 5, "n_epochs": 2, "accuracy": 0.5,
            "letter_accuracy": 0.6, "macro_f1": 0.4, "expected_calibration_error": 0.1, "seed": 0,
        }
        for variant in ("a", "default")
        for level in ("as observed", "20", "5")
    ]  # fmt: skip
    made = tables.ablation(pa.Table.from_pylist(rows))
    assert list(zip(*made.select(["variant", "snr_level"]).to_pydict().values(), strict=True)) == [
        (variant, level) for variant in ("default", "a") for level in ("5", "20", "as observed")
    ]
    assert "seed" not in made.column_names
