"""Dropped releases, and inputs that change, seen without reading them."""

import os
import time
from pathlib import Path

import pytest

from lake import watch
from lake.errors import LacusError
from lake.home import Home, Source, Watching

ROWS = "name,obsid\nA,1\n"


@pytest.fixture
def home(tmp_path) -> Home:
    home = Home(tmp_path / "home")
    home.root.mkdir()
    home.sources_file.write_text('# mine\n[watch]\nfolders = ["in"]  # here\n')
    (home.root / "in").mkdir()
    return home


def drop(home: Home, path: str, text: str = ROWS) -> Path:
    file = home.root / "in" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def soon() -> float:
    """A moment after which what was written before now has settled."""
    return time.time() + Watching.settle_seconds + 1


def test_a_dropped_release_is_registered_once_nothing_changes_any_more(home):
    file = drop(home, "csc/R1/a.csv")
    found = watch.register(home, time.time())
    assert (found.registered, found.unsettled) == ([], [file.parent])
    assert home.sources() == []
    found = watch.register(home, soon())
    assert found.registered == [Source("csc", "R1", "detections", (file.parent,))]
    assert home.sources() == found.registered
    assert watch.register(home, soon()) == watch.Dropped()
    text = home.sources_file.read_text()
    assert text.startswith('# mine\n[watch]\nfolders = ["in"]  # here\n')


def test_what_was_withdrawn_does_not_come_back_by_itself(home):
    file = drop(home, "csc/R1/a.csv")
    drop(home, "csc/R2/a.csv")
    watch.register(home, soon())
    home.forget("csc", "R1")
    found = watch.register(home, soon())
    assert found.registered == []
    assert found.strange == [f"{file.parent}: was withdrawn; `lacus add` brings it back"]
    assert home.releases() == [("csc", "R2")]
    text = home.sources_file.read_text()
    assert text.startswith('# mine\n[watch]\nfolders = ["in"]  # here\n')
    home.add(Source("csc", "R1", "detections", (file.parent,)))
    assert watch.register(home, soon()) == watch.Dropped()


def test_old_times_of_copied_files_do_not_make_them_settled(home):
    file = drop(home, "csc/R1/a.csv")
    os.utime(file, (1, 1))  # as `cp -p` and `rsync -t` leave them
    assert watch.register(home, time.time()).registered == []


def test_a_marker_says_that_a_release_is_complete(home):
    drop(home, "csc/R1/_COMPLETE", "")
    assert watch.register(home, soon()).registered == []  # of nothing
    time.sleep(0.02)  # beyond the grain of the file system's clock
    file = drop(home, "csc/R1/a.csv")
    assert watch.register(home, time.time()).registered == []  # it speaks of what was before
    time.sleep(0.02)
    drop(home, "csc/R1/_COMPLETE", "done")
    assert len(watch.register(home, time.time()).registered) == 1
    seen = watch.look(home, "csc", "R1")
    assert seen.settled(home.watching(), time.time())
    time.sleep(0.02)
    file.write_text(ROWS + "B,2\n")
    assert not watch.look(home, "csc", "R1").settled(home.watching(), time.time())
    assert watch.look(home, "csc", "R1").settled(home.watching(), soon())


def test_folders_named_like_roles_are_registered_for_them(home):
    drop(home, "csc/R1/labels/b.csv")
    assert [s.role for s in watch.register(home, soon()).registered] == ["labels"]
    drop(home, "csc/R1/detections/a.csv")
    drop(home, "csc/R1/readme/c.csv")
    found = watch.register(home, soon()).registered
    folder = home.root / "in" / "csc" / "R1"
    assert found == [Source("csc", "R1", "detections", (folder / "detections",))]
    time.sleep(0.02)
    drop(home, "csc/R1/_COMPLETE", "")
    assert watch.look(home, "csc", "R1").complete  # one marker for both


def test_what_is_no_mission_or_release_is_told_and_stops_nothing(home):
    drop(home, "radio/R1/a.csv")
    drop(home, "csc/two words/a.csv")
    drop(home, "csc/.hidden/a.csv")
    drop(home, "csc/R1/a.csv")
    (home.root / "in" / "notes.txt").write_text("x")
    found = watch.register(home, soon())
    assert [source.release for source in found.registered] == ["R1"]
    two_words, radio = sorted(found.strange)
    assert "release 'two words'" in two_words
    assert "no mission 'radio'" in radio


def test_a_watched_folder_that_is_missing_is_told(home):
    (home.root / "in").rmdir()
    assert watch.register(home, soon()).strange == [
        f"{home.root / 'in'}: No such file or directory"
    ]


def test_every_change_of_inputs_is_seen_and_nothing_else(home):
    file, other = drop(home, "csc/R1/a.csv"), drop(home, "csc/R2/a.csv")
    watch.register(home, soon())
    digests = [watch.look(home, "csc", "R1").digest]

    def changed() -> bool:
        digests.append(watch.look(home, "csc", "R1").digest)
        return digests[-1] not in digests[:-1]

    other.write_text("changed")
    drop(home, "csc/R1/notes.md")
    drop(home, "csc/R1/_COMPLETE")
    assert not changed()
    file.write_text(ROWS + "B,2\n")
    assert changed()
    os.utime(file, ns=(5, 5))
    assert changed()
    drop(home, "csc/R1/sub/b.csv")
    assert changed()
    file.unlink()
    assert changed()
    home.add(Source("csc", "R1", "detections", (file.parent,), {"duplicates": "first"}))
    assert changed()
    home.sources_file.write_text(home.sources_file.read_text().replace("R1", "R3"))
    assert changed()


def test_a_marker_is_no_input_of_a_role_that_takes_every_file(home):
    drop(home, "ogip/R1/_COMPLETE", "")
    drop(home, "ogip/R1/.DS_Store", "x")
    assert watch.register(home, soon()).registered == []
    drop(home, "ogip/R1/a.pha", "x")
    (source,) = watch.register(home, soon()).registered
    assert source.role == "spectra"
    from lake import inputs

    role = inputs.role("ogip", "spectra")
    assert [p.name for p in inputs.files_below(source.paths[0], role.suffixes)] == ["a.pha"]


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("watch = 1", r"written as \[watch\]"),
        ("[watch]\nfolder = []", "no setting 'folder'; there are folders, marker, settle_seconds"),
        ('[watch]\nfolders = "in"', "folders is a list"),
        ('[watch]\nmarker = "a.csv"', "marker is a file name like _COMPLETE"),
        ("[watch]\nsettle_seconds = -1", "-1 is no number of seconds"),
        ('[watch]\nretry_seconds = ["1"]', "'1' is no number of seconds"),
        ("[watch]\nretry_seconds = 5", "retry_seconds is a list"),
        ('[watch]\nwithdrawn = "csc:R1"', "withdrawn is a list of releases"),
    ],
)
def test_wrong_settings_are_told_with_their_file(home, table, told):
    home.sources_file.write_text(table)
    with pytest.raises(LacusError, match=rf"sources.toml: watch: .*{told}"):
        home.watching()


def test_settings_are_those_of_the_file_or_the_usual_ones(home, tmp_path):
    assert Home(tmp_path / "none").watching() == Watching()
    home.sources_file.write_text(
        '[watch]\nfolders = ["in", "/x/../y"]\nmarker = ".done"\nsettle_seconds = 5\n'
        "retry_seconds = [1, 2.5]\n"
    )
    assert home.watching() == Watching((home.root / "in", Path("/y")), ".done", 5, (1, 2.5))


def test_a_report_is_read_back_and_a_broken_one_is_told(home):
    assert watch.last_report(home) is None
    watch.report(home, 0.0, {"csc:R1": "é"})
    assert watch.last_report(home) == {"at": "1970-01-01T00:00:00+00:00", "told": {"csc:R1": "é"}}
    assert [p.name for p in home.root.iterdir() if "watch" in p.name] == ["watch.json"]
    (home.root / "watch.json").write_text("{")
    with pytest.raises(LacusError, match=r"watch.json: is not JSON"):
        watch.last_report(home)


def test_a_link_that_leads_nowhere_does_not_hold_up_a_release(home):
    file = drop(home, "csc/R1/a.csv")
    (file.parent / "lost.csv").symlink_to("nowhere.csv")
    assert watch.register(home, time.time()).unsettled == [file.parent]
    assert [source.paths for source in watch.register(home, soon()).registered] == [(file.parent,)]


def test_a_home_with_a_folder_to_go_up_from_registers_once(home):
    drop(home, "csc/R1/a.csv")
    (home.root.parent / "x").mkdir()
    other = Home(home.root.parent / "x" / ".." / "home")
    assert len(watch.register(other, soon()).registered) == 1
    assert watch.register(other, soon()).registered == []


def test_a_name_that_is_no_text_is_told(home):
    (home.root / "in" / "csc" / os.fsdecode(b"R\xff")).mkdir(parents=True)
    (told,) = watch.register(home, soon()).strange
    watch.report(home, 0.0, {told: told})
    report = watch.last_report(home)
    assert report is not None
    assert all(r"R\xff: release" in text for pair in report["told"].items() for text in pair)
