"""From labels to splits, from noise to scores, from predictions to rows."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from lake import contracts
from lake.errors import LacusError
from lake.sdss import learning
from lake.sdss.configuration import CONFIGURATIONS
from lake.sdss.predictions import predictions


def labelled(classes: list[str | None], plates: list[int | None] | None = None) -> pa.Table:
    n = len(classes)
    return pa.table(
        {
            "release": ["R"] * n,
            "spec_id": [f"S{i:04d}" for i in range(n)],
            "class_mk": pa.array(classes, pa.string()),
            "plate": pa.array(plates or [i % 10 for i in range(n)], pa.int32()),
            "obj_id": pa.array([None] * n, pa.string()),
            "sn_median": pa.array([10.0] * n),
            "wavelength_min_A": pa.array([3800.0] * n),
            "wavelength_max_A": pa.array([9200.0] * n),
            "data_release": pa.array(["26"] * n),
            "file_sha256": ["f"] * n,
        }
    )


def test_subclasses_are_learnt_where_there_are_enough():
    many = learning.split_table(labelled(["K3III", "A0", "CV", None] * 20), 1)
    assert set(many["class_mk"].to_pylist()) == {"K3", "A0", "CV"}
    assert many.num_rows == 60
    few = learning.split_table(labelled(["K3III", "K5V", "A0", "A7V", "CV"] * 4), 1)
    assert set(few["class_mk"].to_pylist()) == {"K", "A", "CV"}


def test_a_class_of_one_is_not_learnt():
    found = learning.split_table(labelled(["K3"] * 20 + ["A0"] * 20 + ["O5"]), 1)
    assert set(found["class_mk"].to_pylist()) == {"K3", "A0"}


def test_plates_stay_together_and_without_them_each_object_is_its_own():
    found = learning.split_table(labelled(["K3", "A0"] * 100), 1).to_pydict()
    sides = {}
    for group, side in zip(found["leakage_group"], found["split"], strict=True):
        sides.setdefault(group, set()).add(side)
    assert len(sides) == 10
    assert all(len(s) == 1 for s in sides.values())
    alone = learning.split_table(labelled(["K3", "A0"] * 100, [None] * 200), 1)
    assert len(set(alone["leakage_group"].to_pylist())) == 200


def spectra(flux: np.ndarray, ivar: np.ndarray | None = None) -> pa.Table:
    lists = [row.astype(np.float32) for row in flux]
    weights = [None] * len(flux) if ivar is None else [r.astype(np.float32) for r in ivar]
    return pa.table(
        {
            "spec_id": [str(i) for i in range(len(flux))],
            "coeff1": pa.array([1e-4] * len(flux)),
            "flux": pa.array(lists, pa.list_(pa.float32())),
            "ivar": pa.array(weights, pa.list_(pa.float32())),
        }
    )


def test_noise_is_as_strong_as_asked_for():
    """Two pixels of 1e-4 dex make one of the common grid: each has sqrt(2) times the noise."""
    flux = np.full((3, 20_000), 7.0)
    ivar = np.full_like(flux, 1e6)
    ivar[1] = 0
    noisy = learning.with_noise(spectra(flux, ivar), 10.0, seed=1)
    values = np.array(noisy["flux"].to_pylist())
    assert values.std(axis=1) == pytest.approx(7 * np.sqrt(2) / 10, rel=0.03)
    weights = np.array(noisy["ivar"].to_pylist())
    assert weights[0] == pytest.approx(1 / (1e-6 + 2 * 0.49), rel=1e-5)
    assert (weights[1] == 0).all()
    again = learning.with_noise(spectra(flux, ivar), 10.0, seed=1)
    assert again.equals(noisy)
    assert learning.with_noise(spectra(flux), 10.0, seed=1)["ivar"].null_count == 3


def trained(probabilities: np.ndarray, classes: tuple[str, ...], threshold: float = 0.5):
    noise = np.full(len(probabilities), 0.1)
    return SimpleNamespace(
        predict=lambda flux, valid, ivar: predictions(classes, probabilities, noise, threshold),
        configuration=CONFIGURATIONS["small"],
    )


def examples(classes: list[str], side: str = "test") -> learning.Examples:
    n = len(classes)
    empty = np.ones((n, 4), np.float32)
    return learning.Examples(
        empty, empty, empty.astype(bool), np.array(classes), np.array([side] * n)
    )


def test_scores_are_those_of_a_hand_computed_case():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.45, 0.45], [0.2, 0.7, 0.1], [0.0, 0.1, 0.9]])
    found = learning.score(
        trained(probabilities, ("A0", "K3", "K5")), examples(["A0", "K5", "A0", "M1"])
    )
    assert found["n"] == 4
    assert found["accuracy"] == 0.25
    assert found["letter_accuracy"] == 0.5
    assert found["accepted_share"] == 0.75
    assert found["accepted_accuracy"] == pytest.approx(1 / 3)
    expected = -np.log([0.7, 0.45, 0.2, 1e-15]).mean()
    assert found["log_loss"] == pytest.approx(expected)


def test_who_accepts_nothing_has_no_accuracy_of_it():
    found = learning.score(trained(np.array([[0.6, 0.4]]), ("A0", "K3"), 0.9), examples(["A0"]))
    assert found["accepted_accuracy"] is None


def test_predictions_become_rows_of_the_contract():
    probabilities = np.array([[0.7, 0.3], [0.4, 0.6]])
    about = pa.table({"release": ["R", "R"], "spec_id": ["a", "b"], "file_sha256": ["x", "y"]})
    found = predictions(("A0", "K3"), probabilities, np.array([0.1, 0.1]), 0.65)
    rows = learning.prediction_rows(about, found, "m", "T")
    schema = contracts.table("sdss.cnn_predictions").schema()
    first, second = rows.select(schema.names).cast(schema).to_pylist()
    assert first["predicted_class"] == "A0"
    assert (first["runner_up"], first["abstained"]) == ("K3", False)
    assert first["classes"] == ["A0", "K3"]
    assert first["novelty_p_value"] is None
    assert second["probabilities"] == [0.4, 0.6]
    assert (second["predicted_class"], second["abstained"]) == ("K3", True)
    assert second["model_release"] == "T"


def test_what_is_unlike_all_classes_is_abstained_from():
    novelty = np.array([0.009, 0.01, np.nan])
    probabilities = np.tile([0.9, 0.1], (3, 1))
    found = predictions(("A0", "K3"), probabilities, np.full(3, 0.1), 0.5, novelty)
    assert found.abstained.tolist() == [True, False, False]
    about = pa.table({name: ["x"] * 3 for name in ("release", "spec_id", "file_sha256")})
    rows = learning.prediction_rows(about, found, "m", "T")
    assert rows["novelty_p_value"].to_pylist() == [0.009, 0.01, None]


def test_one_class_is_nothing_to_learn():
    with pytest.raises(LacusError, match="fewer than two classes"):
        learning.train(examples(["A0"] * 4, "train"), CONFIGURATIONS["small"])


def test_variants_differ_from_the_whole_in_one_thing():
    found = list(learning.variants(CONFIGURATIONS["small"]))
    assert len({(study, name) for study, name, *_ in found}) == len(found)
    whole = CONFIGURATIONS["small"].to_dict()
    for _, name, recipe, configuration in found:
        changed = {k for k, v in configuration.to_dict().items() if v != whole[k]}
        assert (name == "default") == (not changed and recipe == "default")
