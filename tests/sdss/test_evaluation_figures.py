import numpy as np
import pyarrow as pa
import pytest

from lake.errors import LacusError
from lake.figures import save
from lake.sdss import evaluation_figures as figures

CLASSES = ["A0", "K3", "M1"]


def predictions(n=60):
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, n)
    probabilities = random.dirichlet([1, 1, 1], n) * 0.6
    probabilities[np.arange(n), truth] += 0.4
    chosen = probabilities.argmax(axis=1)
    names = np.array(CLASSES)
    return pa.table(
        {
            "class_mk": names[truth],
            "sn_median": pa.array([None, *random.uniform(1, 80, n - 1)], pa.float64()),
            "predicted_class": names[chosen],
            "probability": probabilities.max(axis=1),
            "classes": [CLASSES] * n,
            "probabilities": list(probabilities),
        }
    )


LEVELS = pa.table(
    {
        "snr_level": ["as observed", "20", "5"],
        "accuracy": [0.99, 0.9, 0.4],
        "letter_accuracy": [1.0, 0.95, 0.7],
    }
)


def lines(axes):
    return {line.get_label(): line for line in axes.lines}


def test_best_epoch_is_the_last_of_the_lowest_validation_loss():
    history = {
        "loss": [3.0, 2.0, 1.0, 0.5],
        "accuracy": [0.1, 0.4, 0.6, 0.9],
        "val_loss": [3.0, 1.5, 1.5, 2.0],
        "val_accuracy": [0.1, 0.5, 0.5, 0.4],
    }
    for axes in figures.training_history(history).axes:
        assert lines(axes)["best epoch, 3"].get_xdata() == [3, 3]
        assert set(lines(axes)) == {"training", "validation", "best epoch, 3"}


def test_history_without_validation():
    history = {"loss": [3.0, 2.0], "accuracy": [0.1, 0.4], "val_loss": [], "val_accuracy": []}
    axes = figures.training_history(history).axes[0]
    assert set(lines(axes)) == {"training", "best epoch, 2"}


def test_evaluation_says_the_scores():
    table = predictions()
    matrix, roc, recall, snr, reliability = figures.evaluation(table, LEVELS, "test side").axes
    right = np.mean(np.asarray(table["class_mk"]) == np.asarray(table["predicted_class"]))
    assert matrix.get_title().startswith(f"accuracy {right:.3f}, macro F1")
    assert [label.get_text() for label in matrix.get_xticklabels()] == CLASSES
    assert [line.get_label().split()[0] for line in roc.lines] == CLASSES
    assert "mean AUC" in roc.get_title()
    assert "mean AP" in recall.get_title()
    injected = lines(snr)["noise injected, class"]
    assert injected.get_xdata().tolist() == [5, 20]
    assert injected.get_ydata().tolist() == [0.4, 0.9]
    # One spectrum has no known signal-to-noise ratio.
    assert sum(int(text.get_text()) for text in snr.texts) == len(table) - 1
    assert reliability.get_xlabel() == "probability of the class"


def test_a_class_that_the_network_does_not_know():
    table = predictions()
    truth = ["WD", *table["class_mk"].to_pylist()[1:]]
    table = table.set_column(0, "class_mk", pa.array(truth))
    matrix, roc, *_ = figures.evaluation(table).axes
    assert "WD (1)" in [label.get_text() for label in matrix.get_yticklabels()]
    assert len(roc.lines) == 3


def test_only_one_class_has_no_roc(tmp_path):
    table = predictions().filter(pa.compute.field("class_mk") == "K3")
    figure = figures.evaluation(table)
    assert not figure.axes[1].lines
    assert save(figure, tmp_path / "one.png").stat().st_size > 0


def test_predictions_of_two_models_are_refused():
    other = predictions().to_pylist()
    other[1]["classes"] = ["A0", "K3", "M2"]
    with pytest.raises(LacusError, match="one model"):
        figures.evaluation(pa.Table.from_pylist(other))
    with pytest.raises(LacusError, match="no predictions"):
        figures.evaluation(predictions().slice(0, 0))


def test_evaluation_is_the_same_each_time(tmp_path):
    first, second = (
        save(figures.evaluation(predictions(), LEVELS), tmp_path / name)
        for name in ("a.svg", "b.svg")
    )
    assert first.read_bytes() == second.read_bytes()


def test_release_shift():
    columns = ("model_id", "model_release", "release", "n_labelled", "accuracy",
               "mean_probability", "abstained_share")  # fmt: skip
    rows = [("abc", "DR8", "DR17", 100, 0.7, 0.9, 0.4), ("abc", "DR8", "DR8", 40, 1.0, 0.9, 0.1),
            ("def", "DR17", "DR8", 400, 0.8, 0.9, 0.2)]  # fmt: skip
    table = pa.Table.from_pylist([dict(zip(columns, row, strict=True)) for row in rows])
    accuracy, _, abstained = figures.release_shift(table).axes
    assert [label.get_text() for label in accuracy.get_xticklabels()] == [
        "DR8\n(40 to 400)",
        "DR17\n(100)",
    ]
    drawn = [bars.lines[0] for bars in accuracy.containers]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in drawn] == [
        (0.875, 0.7), (-0.125, 1), (0.125, 0.8),
    ]  # fmt: skip
    assert [line.get_markerfacecolor() == "white" for line in drawn] == [True, False, True]
    assert [bars.lines[0].get_ydata()[0] for bars in abstained.containers] == [0.4, 0.1, 0.2]


def test_no_release_yet(tmp_path):
    empty = pa.table({"release": pa.array([], pa.string())})
    assert save(figures.release_shift(empty), tmp_path / "empty.png").stat().st_size > 0


def test_ablation_has_the_default_on_top_of_each_study():
    rows = [
        {
            "study": study, "variant": variant, "snr_level": level, "accuracy": 0.5,
            "macro_f1": 0.4, "expected_calibration_error": 0.1,
        }
        for study, variant in (
            ("recipe", "minmax"), ("recipe", "default"), ("network", "a"), ("network", "default"),
        )
        for level in ("as observed", "10")
    ]  # fmt: skip
    figure = figures.ablation(pa.Table.from_pylist(rows))
    accuracy = figure.axes[0]
    assert [label.get_text() for label in accuracy.get_yticklabels()] == [
        "network: default", "network: a", "recipe: default", "recipe: minmax",
    ]  # fmt: skip
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["S/N 10", "as observed"]
    assert lines(accuracy)["S/N 10"].get_ydata().tolist() == [3, 2, 1, 0]
