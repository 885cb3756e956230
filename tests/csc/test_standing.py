"""How long a model stands; what it does to the lake is in tests/pipelines/test_standing.py."""

import math
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from lake.csc import standing
from lake.csc.changes import Changes


def model(**given: Any) -> dict[str, Any]:
    return {
        "release": "R", "trained_release": "R", "detections": 1000, "labelled_rows": 100,
        "changed_detections": 0, "changed_labelled": 0,
        "trained_at": datetime(2026, 1, 2, 3, 4, tzinfo=UTC), **given,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "share"),
    [
        ({}, 0.0),
        ({"changed_detections": 20}, 0.02),
        ({"changed_detections": 20, "changed_labelled": 1}, 0.02),
        ({"changed_detections": 20, "changed_labelled": 9}, 0.09),  # few, but most of the labels
        ({"labelled_rows": 0, "changed_detections": 20}, 0.02),
        ({"labelled_rows": 0, "changed_labelled": 1}, math.inf),  # the first labels
        ({"changed_detections": None}, math.inf),
    ],
)
def test_the_larger_share_counts(given, share):
    assert standing.drift(model(**given)) == share


def test_a_row_of_an_older_version_does_not_tell():
    assert standing.drift({"release": "R", "labelled_rows": 5}) == math.inf
    assert standing.tell({"release": "R", "labelled_rows": 5}) is None


def test_changes_add_up():
    nothing = pa.table({"name": pa.array([], pa.string())})
    row = model(changed_detections=3, changed_labelled=1)
    more = standing.counted(row, Changes(nothing, nothing, 5, 4, 2))
    assert (more["changed_detections"], more["changed_labelled"]) == (8, 3)
    assert row["changed_detections"] == 3


def test_it_is_told_in_words():
    assert standing.tell(model()) is None
    assert standing.tell(model(changed_detections=8)) == (
        "the model of 2026-01-02 03:04 UTC stands: 0.8 % of what it was trained on has changed"
        " since"
    )
    taken = standing.tell(model(changed_detections=8, release="S"))
    assert "03:04 UTC, trained on R, stands: 0.8 %" in str(taken)
