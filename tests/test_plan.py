"""What an ingest has to do, told from files and records alone."""

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lake import csc, inputs
from lake import plan as planning
from lake.home import Home, Source
from lake.ingest import ingest
from lake.inputs import InputFile
from lake.plan import Record, fingerprint, plan

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def home(tmp_path) -> Home:
    (tmp_path / "in").mkdir()
    return Home(tmp_path / "home")


def write(home: Home, name: str, row: str) -> Path:
    path = home.root.parent / "in" / name
    path.write_text(f"name,obsid\n{row}\n")
    return path


def names(records: list[Record]) -> list[str]:
    return [record.file.path.name for record in records]


def test_without_a_lake_everything_is_new(home):
    write(home, "b.csv", "B,1")
    write(home, "a.csv", "A,1")
    home.add(Source("csc", "R", "labels", (home.root.parent / "in",)))
    home.add(Source("csc", "R", "detections", (home.root.parent / "in",)))
    todo = plan(home, "csc", "R")
    assert todo.changed
    # Labels are compared with detections, so these come first.
    assert [(r.file.role, r.file.path.name) for r in todo.new] == [
        ("detections", "a.csv"), ("detections", "b.csv"), ("labels", "a.csv"), ("labels", "b.csv"),
    ]  # fmt: skip
    assert (todo.gone, todo.kept, todo.refused, todo.unreadable, todo.known) == ([], [], [], [], [])
    assert not home.store.exists


def test_nothing_registered_is_nothing_to_do(home):
    assert not plan(home, "csc", "R").changed


def test_each_file_is_new_gone_or_kept(home):
    for name in ("kept", "changed", "gone"):
        write(home, f"{name}.csv", f"{name},1")
    home.add(Source("csc", "R", "detections", (home.root.parent / "in",)))
    ingest(home, "csc", "R")
    todo = plan(home, "csc", "R")
    assert (todo.changed, names(todo.kept)) == (False, ["changed.csv", "gone.csv", "kept.csv"])
    write(home, "changed.csv", "changed,2")
    write(home, "new.csv", "new,1")
    (home.root.parent / "in" / "gone.csv").unlink()
    (home.root.parent / "in" / "kept.csv").rename(home.root.parent / "in" / "renamed.csv")
    todo = plan(home, "csc", "R")
    assert todo.changed
    assert names(todo.new) == ["changed.csv", "new.csv"]
    assert names(todo.gone) == ["changed.csv", "gone.csv"]
    assert names(todo.kept) == ["kept.csv"]  # the same bytes under another name
    assert not plan(home, "csc", "S").changed


def test_a_file_below_two_registered_paths_counts_once_as_the_nearer_one_has_it(home):
    folder = home.root.parent / "in"
    for name in ("a.fits", "b.fits"):
        (folder / name).write_bytes(b"not read to be planned: " + name.encode())
    (folder / "lost.fits").symlink_to("nowhere")
    home.add(Source("sdss", "R", "spectra", (folder / "a.fits",), {"survey": "its own"}))
    home.add(Source("sdss", "R", "spectra", (folder,), {"survey": "the folder's"}))
    home.add(Source("sdss", "R", "spectra", (folder.parent,)))
    todo = plan(home, "sdss", "R")
    assert {r.file.path.name: r.file.options["survey"] for r in todo.new} == {
        "a.fits": "its own", "b.fits": "the folder's",
    }  # fmt: skip
    assert planning.describe(todo) == "files: 2 new, 1 not to be read"


def test_a_copy_of_a_file_is_on_record_and_counts_once(home):
    original = write(home, "b.csv", "B,1")
    home.add(Source("csc", "R", "detections", (home.root.parent / "in",)))
    ingest(home, "csc", "R")
    copy = original.with_name("a.csv")
    shutil.copy(original, copy)
    assert plan(home, "csc", "R").changed
    outcome = ingest(home, "csc", "R")
    assert (names(outcome.copies), outcome.committed, outcome.unchanged) == (["a.csv"], [], 1)
    assert planning.originals(home.store, "csc", "R") == {str(copy): str(original)}
    assert home.sql("SELECT name, status, reason FROM meta.files ORDER BY name").fetchall() == [
        ("a.csv", "superseded", f"has the bytes of {original}"), ("b.csv", "committed", None),
    ]  # fmt: skip
    assert not plan(home, "csc", "R").changed
    write(home, "c.csv", "C,1")
    ingest(home, "csc", "R")
    assert home.sql("SELECT count(*) FROM meta.files WHERE name = 'a.csv'").fetchone() == (1,)
    original.unlink()
    todo = plan(home, "csc", "R")
    assert (todo.changed, names(todo.kept)) == (False, ["b.csv", "c.csv"])
    write(home, "c.csv", "C,2")
    ingest(home, "csc", "R")
    # It stays on record, and what it becomes is judged as what the original becomes would be.
    assert planning.originals(home.store, "csc", "R") == {str(copy): str(original)}
    copy.write_text("no,columns\n1,2\n")
    assert names(ingest(home, "csc", "R").rejected) == ["a.csv"]
    assert home.sql("SELECT name FROM csc.detections ORDER BY name").fetchall() == [("B",), ("C",)]
    assert not plan(home, "csc", "R").changed
    copy.unlink()
    ingest(home, "csc", "R")
    assert home.sql("SELECT name FROM csc.detections").fetchall() == [("C",)]


def test_a_newer_reader_reads_one_of_two_copies(home, monkeypatch):
    for name in ("b.csv", "a.csv"):
        write(home, name, "B,1")
        home.add(Source("csc", "R", "detections", (home.root.parent / "in" / name,)))
        ingest(home, "csc", "R")
    role = inputs.roles("csc")["detections"]
    monkeypatch.setitem(csc.ROLES, "detections", replace(role, version=role.version + 1))
    assert len(ingest(home, "csc", "R").committed) == 1
    states = "SELECT name, status FROM meta.files WHERE reason IS NOT NULL OR status = 'committed'"
    assert len(set(home.sql(states).fetchall())) == 2
    assert not plan(home, "csc", "R").changed


def test_a_file_is_hashed_only_if_its_size_or_time_differ(home, monkeypatch):
    path = write(home, "a.csv", "A,1")
    same = write(home, "b.csv", "B,1")
    home.add(Source("csc", "R", "detections", (path, same)))
    ingest(home, "csc", "R")
    hashed, sha256 = [], inputs.sha256
    monkeypatch.setattr(inputs, "sha256", lambda p: hashed.append(p.name) or sha256(p))
    assert not plan(home, "csc", "R").changed
    assert hashed == []
    os.utime(path, ns=(5, 5))
    assert not plan(home, "csc", "R").changed
    assert hashed == ["a.csv"]


def test_an_unchanged_release_of_2000_files_is_planned_without_reading_them(home, monkeypatch):
    """A record for each file is put into the lake as an ingest leaves it."""
    from lake.commit import now

    paths = [write(home, f"{i}.csv", f"A{i},{i}") for i in range(2000)]
    home.add(Source("csc", "R", "detections", tuple(paths)))
    version = inputs.role("csc", "detections").version
    nothing = {"reason": None, "rows_read": 1, "rows_committed": 1, "rows_rejected": 0}
    with home.store.commit("records") as commit:
        commit.insert(
            "meta.files",
            [
                {
                    "mission": "csc", "release": "R", "role": "detections", "name": path.name,
                    "path": str(path), "size": path.stat().st_size,
                    "mtime_ns": path.stat().st_mtime_ns, "sha256": inputs.sha256(path),
                    "options": "{}", "reader_version": version, "status": "committed",
                    "ingested_at": now(), "snapshot": 1, **nothing,
                }
                for path in paths
            ],
        )  # fmt: skip
    monkeypatch.setattr(inputs, "sha256", lambda path: pytest.fail(f"hashed {path}"))
    home.store.snapshot()
    start = time.process_time()
    todo = plan(home, "csc", "R")
    assert (todo.changed, len(todo.kept)) == (False, 2000)
    assert time.process_time() - start < 2  # measured: 0.1 s; pairs of files would take minutes


def test_files_below_a_folder_that_cannot_be_listed_are_not_gone(home, monkeypatch):
    (home.root.parent / "in" / "sub").mkdir()
    for name in ("a.csv", "sub/b.csv"):
        write(home, name, f"{name},1")
    home.add(Source("csc", "R", "detections", (home.root.parent / "in",)))
    ingest(home, "csc", "R")
    scandir = os.scandir

    def closed(folder):
        if folder.endswith("sub"):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", closed)
    todo = plan(home, "csc", "R")
    assert (todo.gone, names(todo.unreadable)) == ([], ["sub"])
    assert names(todo.kept) == ["a.csv", "b.csv"]


def test_a_plan_says_in_a_few_words_what_has_changed(home):
    for name in ("a.csv", "b.csv", "c.csv", "d.csv"):
        write(home, name, f"{name},1")
    (home.root.parent / "in" / "bad.csv").write_text("nothing,of,use\n1,2,3\n")
    home.add(Source("csc", "R", "detections", (home.root.parent / "in",)))
    assert planning.describe(plan(home, "csc", "R")) == "files: 5 new"
    ingest(home, "csc", "R")
    for name in ("a.csv", "b.csv", "e.csv"):
        write(home, name, f"{name},2")
    (home.root.parent / "in" / "c.csv").unlink()
    (home.root.parent / "in" / "lost.csv").symlink_to("nowhere")
    told = planning.describe(plan(home, "csc", "R"))
    assert told == "files: 1 new, 2 changed, 1 gone, 1 refused before, 1 not to be read"
    known = [r for r in plan(home, "csc", "R").known if r.file.path.name == "d.csv"]
    older = [replace(r, version=0) for r in known]
    told = planning.describe(planning.compare(known, [], older))
    assert told == "files: 1 to be read by a newer reader"


CHANGES = {
    "nothing": lambda folder: None,
    "touched": lambda folder: os.utime(folder / "a.csv", ns=(5, 5)),
    "moved": lambda folder: (folder / "a.csv").rename(folder / "moved.csv"),
    "copied": lambda folder: shutil.copy2(folder / "a.csv", folder / "copy.csv"),
    "new": lambda folder: (folder / "new.csv").write_text("name,obsid\nN,1\n"),
    "changed": lambda folder: (folder / "a.csv").write_text("name,obsid\nN,1\n"),
    "gone": lambda folder: (folder / "b.csv").unlink(),
    "swapped": lambda folder: os.rename(folder / "b.csv", folder / "a.csv"),
    "refused gone": lambda folder: (folder / "bad.csv").unlink(),
    "refused changed": lambda folder: (folder / "bad.csv").write_text("still,bad\n1,2\n"),
    "link lost": lambda folder: (folder / "lost.csv").symlink_to(folder / "nowhere"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_quick_look_says_what_the_thorough_one_does(home, change, monkeypatch):
    """One file of the release was refused: what was refused before is no change either."""
    for name in ("a.csv", "b.csv"):
        write(home, name, f"{name},1")
    (home.root.parent / "in" / "bad.csv").write_text("nothing,of,use\n1,2,3\n")
    home.add(Source("csc", "R", "detections", (home.root.parent / "in",)))
    assert names(ingest(home, "csc", "R").rejected) == ["bad.csv"]
    CHANGES[change](home.root.parent / "in")
    compared = []
    thorough = planning.compare
    monkeypatch.setattr(planning, "compare", lambda *all_: compared.append(1) or thorough(*all_))
    todo = plan(home, "csc", "R")
    assert bool(compared) == (change != "nothing")
    monkeypatch.setattr(planning, "_all_as_they_were", lambda *_: False)
    slow = plan(home, "csc", "R")
    assert todo.changed == slow.changed == (change not in ("nothing", "touched", "moved"))
    for part in ("new", "gone", "kept", "refused", "unreadable", "known"):
        assert list(getattr(todo, part)) == list(getattr(slow, part)), part


def record(home: Home, **changes) -> Record:
    file = InputFile(Path("a"), "csc", "R", "detections", {}, 1, 1, "f" * 64)
    return Record(replace(file, **changes), 1, "committed")


def test_a_fingerprint_is_of_content_options_and_reader_alone(home):
    one, two = record(home), record(home, sha256="0" * 64)
    assert fingerprint([one, two]) == fingerprint([two, one])
    assert fingerprint([record(home, path=Path("b"), mtime_ns=9)]) == fingerprint([one])
    others = [
        [one],
        [one, two],
        [record(home, options={"duplicates": "first"})],
        [record(home, role="labels")],
        [replace(one, version=2)],
        [],
    ]
    assert len({fingerprint(records) for records in others}) == len(others)


def test_what_an_older_reader_refused_is_tried_again(home, monkeypatch):
    monkeypatch.setitem(csc.ROLES, "detections", replace(csc.ROLES["detections"], required=("x",)))
    path = write(home, "a.csv", "A,1")
    home.add(Source("csc", "R", "detections", (path,)))
    assert len(ingest(home, "csc", "R").rejected) == 1
    assert not plan(home, "csc", "R").changed
    role = replace(csc.ROLES["detections"], required=("name",))
    monkeypatch.setitem(csc.ROLES, "detections", replace(role, version=role.version + 1))
    assert plan(home, "csc", "R").changed
    outcome = ingest(home, "csc", "R")
    assert (len(outcome.committed), outcome.rejected) == (1, [])
