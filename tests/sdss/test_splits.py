"""Splits by plate."""

import numpy as np
import pytest

from lake.errors import LacusError
from lake.sdss.splits import SPLITS, assign, cautions, without_class


def a_survey(seed=0, plates=60, rows=900):
    rng = np.random.default_rng(seed)
    groups = rng.integers(1000, 1000 + plates, rows)
    classes = rng.choice(["A0", "G2", "K3", "M4"], rows, p=[0.1, 0.5, 0.3, 0.1])
    return groups, classes


def test_no_plate_is_on_two_sides():
    groups, classes = a_survey()
    split = assign(groups, classes, seed=3)
    for plate in np.unique(groups):
        assert len(set(split[groups == plate])) == 1


def test_shares_are_kept_in_every_class_as_well_as_plates_allow():
    groups, classes = a_survey()
    split = assign(groups, classes, seed=3)
    for side, share in zip(SPLITS, (0.7, 0.15, 0.15), strict=True):
        assert abs(np.mean(split == side) - share) < 0.05
        for name in np.unique(classes):
            assert abs(np.mean(split[classes == name] == side) - share) < 0.18, (name, side)


def test_it_does_not_depend_on_the_order_of_rows():
    groups, classes = a_survey()
    split = assign(groups, classes, seed=3)
    order = np.random.default_rng(1).permutation(len(groups))
    np.testing.assert_array_equal(assign(groups[order], classes[order], seed=3), split[order])


def test_the_seed_decides_among_equals():
    groups, classes = a_survey()
    assert (assign(groups, classes, 1) != assign(groups, classes, 2)).any()


def test_a_class_on_one_or_two_plates_stays_in_training():
    groups = [1, 1, 2, 2, 3, 3, *range(10, 60)]
    classes = ["CV", "G2", "A0", "A0", "A0", "A0", *["G2"] * 50]
    split = assign(groups, classes, seed=0)
    assert set(split[:6]) == {"train"}
    missing = without_class(split, classes)
    assert missing == {"train": [], "validation": ["A0", "CV"], "test": ["A0", "CV"]}


def test_every_class_is_trained_however_plates_mix():
    for seed in range(50):
        rng = np.random.default_rng(seed)
        groups, classes = rng.integers(0, 8, 20), rng.choice(list("ABCDEFG"), 20)
        assert not without_class(assign(groups, classes, seed), classes)["train"]


def test_tiny_inputs():
    assert assign([], [], 0).shape == (0,)
    assert assign([7], ["G2"], 0).tolist() == ["train"]


def test_groups_may_be_text():
    groups = np.array(["a", "b"] * 20, dtype=object)
    assert set(assign(groups, ["x"] * 40, 0)) == {"train"}


def test_wrong_input_is_refused():
    with pytest.raises(LacusError, match="do not go with"):
        assign([1, 2], ["A"], 0)
    with pytest.raises(LacusError, match="no shares"):
        assign([1], ["A"], 0, (0.5, 0.5, 0.5))


def test_what_a_network_cannot_know_of_itself_is_said():
    classes = np.array(["A0", "G2"] * 60)
    split = np.array(["train"] * 80 + ["validation"] * 20 + ["test"] * 20)
    assert cautions(split, classes, 0.95) == []
    (few,) = cautions(split, classes, 0.96)
    assert few.startswith("20 of the 23 spectra that an accuracy of 0.96")
    validation, test = cautions(np.array(["train"] * 7), classes[:7], 0.95)
    assert "not calibrated" in validation
    assert "no spectrum is left for a test" in test
    classes[80:][classes[80:] == "A0"] = "G2"
    assert cautions(split, classes, 0.95) == [
        "no validation spectrum is of class A0", "no test spectrum is of class A0",
    ]  # fmt: skip
