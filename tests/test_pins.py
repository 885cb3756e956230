"""Pins keep the products of their snapshot as they were."""

import hashlib
from datetime import timedelta
from pathlib import Path

import pytest

from lake import pins
from lake.errors import UsageError
from lake.home import Home
from lake.upkeep import clean
from lake.whole import write_whole

TABLE = "xmm/R/mask/0123.fits"
FIGURE = "csc/R/confusion.svg"


def make(home: Home, **contents: str) -> int:
    """Write products anew, as a run does, and name them; gives the snapshot."""
    paths = {"figure": FIGURE, "table": TABLE}
    rows = []
    for kind, content in contents.items():
        file = home.products / paths[kind]
        write_whole(file, content)
        rows.append(home.product(file, paths[kind][:3], "R", kind))
    with home.store.commit("products") as commit:
        for row in rows:
            commit.delete("meta.products", "path = ?", [row["path"]])
        commit.insert("meta.products", rows)
    return home.store.snapshot()


def copies(home: Home) -> dict[str, str]:
    """Text of all that is kept, by path below the folder of pins."""
    files = (path for path in home.pinned.rglob("*") if path.is_file())
    return {file.relative_to(home.pinned).as_posix(): file.read_text() for file in files}


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path / "home")


def test_products_of_a_pin_stay_what_they_were(home):
    first = make(home, figure="old figure", table="old table")
    found = pins.pin(home, "submitted")
    assert found == pins.Pinned(first, home.pinned / str(first), [FIGURE, TABLE], [])
    make(home, figure="new figure", table="new table")
    assert (home.products / FIGURE).read_text() == "new figure"
    kept = copies(home)
    assert kept[f"{first}/{FIGURE}"] == "old figure"
    assert kept[f"{first}/{TABLE}"] == "old table"
    sums = dict(reversed(line.split("  ")) for line in kept[f"{first}/SHA256SUMS"].splitlines())
    assert sums == {
        path: hashlib.sha256(kept[f"{first}/{path}"].encode()).hexdigest()
        for path in (FIGURE, TABLE)
    }


def test_a_product_that_was_written_anew_is_not_taken_for_the_old_one(home):
    first = make(home, figure="old figure", table="old table")
    make(home, figure="new figure")
    found = pins.pin(home, "late", first)
    assert (found.kept, found.lost) == ([TABLE], [FIGURE])
    assert copies(home).keys() == {f"{first}/{TABLE}", f"{first}/SHA256SUMS"}
    assert FIGURE not in copies(home)[f"{first}/SHA256SUMS"]


def test_no_folder_is_left_if_no_product_is_what_it_was(home):
    first = make(home, figure="old figure")
    make(home, figure="new figure")
    assert pins.pin(home, "late", first).lost == [FIGURE]
    assert not (home.pinned / str(first)).exists()


def test_a_second_pin_of_a_snapshot_finds_the_copies_of_the_first(home):
    first = make(home, figure="old figure", table="old table")
    pins.pin(home, "draft", first)
    before = copies(home)
    make(home, figure="new figure", table="new table")
    found = pins.pin(home, "paper", first)
    assert (found.kept, found.lost) == ([FIGURE, TABLE], [])
    assert copies(home) == before


def test_a_clean_up_takes_the_copies_with_their_last_pin(home):
    first = make(home, figure="old figure")
    pins.pin(home, "draft", first)
    pins.pin(home, "paper", first)
    make(home, figure="new figure")
    (home.pinned / str(first) / "mine.txt").write_text("the user's own")
    before = copies(home)
    home.store.unpin("draft")
    clean(home, timedelta(0))
    assert copies(home) == before
    home.store.unpin("paper")
    told = clean(home, timedelta(0), dry_run=True)
    assert copies(home) == before
    assert clean(home, timedelta(0)).files == told.files
    assert [file.path.name for file in told.files if file.kind == "copy"] == [
        "confusion.svg", "SHA256SUMS",
    ]  # fmt: skip
    assert copies(home) == {f"{first}/mine.txt": "the user's own"}


def test_a_clean_up_finds_the_copies_of_a_pin_that_was_killed(home, monkeypatch):
    first = make(home, figure="old figure", table="old table")

    def killed(path: Path, content: str | bytes) -> None:
        write_whole(path, content)
        if path.name == Path(FIGURE).name:
            raise KeyboardInterrupt

    monkeypatch.setattr(pins, "write_whole", killed)
    with pytest.raises(KeyboardInterrupt):
        pins.pin(home, "paper")
    assert copies(home).keys() == {f"{first}/{FIGURE}", f"{first}/SHA256SUMS"}
    clean(home, timedelta(0))
    assert copies(home) == {}


def test_snapshots_without_products_leave_no_folder(home):
    home.store.migrate()
    assert pins.pin(home, "empty").kept == []
    assert pins.pin(home, "before there were tables", 0).kept == []
    assert not home.pinned.exists()


def test_a_name_that_is_taken_leaves_nothing(home):
    make(home, figure="old figure")
    pins.pin(home, "paper")
    again = make(home, figure="new figure")
    with pytest.raises(UsageError, match="there is a pin 'paper' already"):
        pins.pin(home, "paper")
    assert not (home.pinned / str(again)).exists()
