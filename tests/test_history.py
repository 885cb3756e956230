"""What every commit did is told with it."""

import pyarrow as pa
import pytest

from lake import history, upkeep
from lake.history import Change
from lake.home import Home


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    home = Home(tmp_path_factory.mktemp("history") / "home")
    for release, number in (("R", 3), ("S", 2), ("R", 5)):
        rows = pa.table({"release": [release] * number, "k": pa.array(range(number), pa.int32())})
        home.store.replace(
            release, ["csc.model_selection"], [("csc.model_selection", rows)],
            fingerprint=str(number), code_version="1", message=f"{release} {number}",
        )  # fmt: skip
    home.store.pin("first", 2)
    home.store.pin("again", 2)
    return home


def test_the_newest_is_last_and_says_what_it_changed(home):
    found = history.entries(home.store)
    assert [e.snapshot.id for e in found] == list(range(7))
    assert [e.changes for e in found] == [
        [], [], [Change("csc.model_selection", "R", 3, None)],
        [Change("csc.model_selection", "S", 2, None)],
        [Change("csc.model_selection", "R", 5, 3)], [], [],
    ]  # fmt: skip
    assert {e.snapshot.id: e.pins for e in found if e.pins} == {2: ["again", "first"]}


def test_it_is_told_of_what_a_clean_up_left(home):
    upkeep.clean(home, upkeep.age("0d"))
    found = history.entries(home.store)
    assert [(e.snapshot.id, len(e.changes), e.pins) for e in found] == [
        (2, 1, ["again", "first"]), (6, 0, []),
    ]  # fmt: skip
