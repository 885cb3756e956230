"""What checks found is kept until they pass, release by release."""

import pytest

from lake.failed_checks import FailedCheck, failed_checks, note
from lake.store import Store

RANGES, KEY = ("csc.detections", "ranges"), ("csc.detections", "contract")
WRONG = FailedCheck("csc", "R1", "csc.detections", "ranges", "one bad row")


@pytest.fixture
def store(tmp_path) -> Store:
    made = Store(tmp_path / "lake")
    note(made, "R1", {RANGES: "one bad row", KEY: None})
    return made


def test_no_lake_has_none(tmp_path):
    assert failed_checks(Store(tmp_path / "lake")) == []


def test_checks_that_pass_need_no_commit(store, tmp_path):
    before = store.snapshot()
    note(store, "R2", {RANGES: None, KEY: None})
    note(store, "R1", {RANGES: "one bad row"})
    assert store.snapshot() == before
    note(Store(tmp_path / "other"), "R1", {RANGES: None})
    assert not (tmp_path / "other").exists()


def test_another_release_that_passes_hides_nothing(store):
    assert failed_checks(store) == [WRONG]
    note(store, "R2", {RANGES: None})
    note(store, "R1", {KEY: None})
    assert failed_checks(store) == [WRONG]


def test_what_was_found_last_counts_until_the_check_passes(store):
    note(store, "R1", {RANGES: "two bad rows", KEY: None})
    assert [check.found for check in failed_checks(store)] == ["two bad rows"]
    note(store, "R1", {RANGES: None})
    assert failed_checks(store) == []
    assert [s.message for s in store.snapshots()[-3:]] == [
        "csc R1: check ranges of csc.detections fails",
        "csc R1: check ranges of csc.detections fails",
        "csc R1: check ranges of csc.detections passes",
    ]


def test_a_lake_of_older_contracts_has_none(store):
    with store.connect(read_only=False) as connection:
        connection.execute("DROP TABLE lake.meta.failed_checks")
    assert failed_checks(store) == []
