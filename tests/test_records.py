"""Files of records: opened once, taken in chunks, and taken up again after an interruption.

A toy reader stands for a mission's: ``name,number`` lines become spectra of that many pixels.
"""

import gzip
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lake import contracts, gathering, inputs, records
from lake.composition import Composition
from lake.errors import InputError
from lake.formats import source
from lake.home import Home, Source
from lake.ingest import ingest
from lake.inputs import RecordRole
from lake.plan import plan

CONSERVATION = """
SELECT f.sha256, f.rows_committed, count(s.spec_id) AS stored
FROM meta.files AS f FULL JOIN sdss.spectra AS s ON s.file_sha256 = f.sha256
WHERE f.mission = 'sdss' AND f.role = 'spectra' AND f.status = 'committed'
GROUP BY ALL HAVING f.rows_committed IS DISTINCT FROM count(s.spec_id)
"""
opened: list[str] = []


def read(file: inputs.InputFile, data: bytes):
    opened.append(file.path.name)
    rows = {name: [] for name in ROLE.tables}
    rejected = []
    for number, line in enumerate(data.decode().splitlines(), 1):
        name, _, size = line.partition(",")
        if size == "bad":
            rejected.append({"file_row": number, "reason": "it is bad"})
            continue
        if size == "worse":
            raise InputError(file.path, "is worse than bad", f"row {number}")
        if size == "crash":
            raise KeyError("size")
        pixels = np.arange(int(size), dtype=">f4")
        rows["sdss.spectra"].append(
            {
                "spec_id": name or None,
                "wavelength_grid": file.options.get("grid", "table"),
                "n_pixels": "many" if size == "7" else len(pixels),
                "flux": pixels,
                "and_mask": pixels.astype(">i4") if len(pixels) else None,
                "file_row": number,
            }
        )
        rows["sdss.loading_log"].append(
            {
                "spec_id": name, "step_order": "last" if size == "713" else 1,
                "step_name": "load", "params_json": "{}", "timestamp": records_time,
            }
        )  # fmt: skip
    return {**rows, "rejected": rejected}


records_time = np.datetime64("2026-01-01T00:00:00", "us").item()
ROLE = RecordRole(
    name="spectra",
    table="sdss.spectra",
    also=("sdss.loading_log",),
    records=read,
    suffixes=(".txt",),
    options={"grid": "how wavelengths are given"},
)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Home:
    import lake.sdss

    monkeypatch.setattr(lake.sdss, "ROLES", {"spectra": ROLE})
    opened.clear()
    home = Home(tmp_path / "home")
    (tmp_path / "in").mkdir()
    home.add(Source("sdss", "R", "spectra", (tmp_path / "in",)))
    return home


@pytest.fixture
def write(tmp_path, home):
    def write(name: str, text: str) -> Path:
        path = tmp_path / "in" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
        return path

    return write


def run(home: Home, **options):
    outcome = ingest(home, "sdss", "R", **options)
    assert home.sql(CONSERVATION).fetchall() == []
    staging = home.store.directory / "staging"
    assert not list(staging.glob("*")) if staging.exists() else True
    return outcome


def stored(home: Home, columns: str = "spec_id, n_pixels", table: str = "sdss.spectra"):
    return home.sql(f"SELECT {columns} FROM {table} ORDER BY ALL").fetchall()


def reasons(outcome) -> dict[str, str]:
    return {r.file.path.name: r.reason for r in outcome.rejected}


def test_one_read_feeds_all_tables(home, write):
    path = write("a.txt", "A,3\nB,0\n")
    write("sub/c.txt.gz", "C,1\n")
    outcome = run(home)
    assert outcome.describe() == "2 files in (3 rows), 0 unchanged, 0 out, 0 rejected"
    assert sorted(opened) == ["a.txt", "c.txt.gz"]
    rows = stored(home, "spec_id, flux, and_mask, ivar, file_row, file_sha256")
    assert rows[:2] == [
        ("A", [0.0, 1.0, 2.0], [0, 1, 2], None, 1, inputs.sha256(path)),
        ("B", [], None, None, 2, inputs.sha256(path)),
    ]
    assert [row[0] for row in rows] == ["A", "B", "C"]
    assert stored(home, "spec_id, file_row", "sdss.loading_log") == [("A", 1), ("B", 2), ("C", 1)]
    assert home.store.fingerprints("R")["sdss.loading_log"]


def test_equal_files_are_one(home, write):
    write("a.txt", "A,3\n")
    write("b.txt", "A,3\n")
    write("c.txt", "X,many\n")
    write("d.txt", "X,many\n")
    outcome = run(home)
    assert stored(home) == [("A", 3)]
    assert outcome.describe() == "1 files in (1 rows), 0 unchanged, 0 out, 1 rejected"
    opened.clear()
    assert run(home).describe() == "0 files in (0 rows), 1 unchanged, 0 out, 1 rejected"
    assert not opened


def test_a_copy_is_read_once(home, write, tmp_path):
    write("a.txt", "A,3\n")
    run(home)
    write("another name.txt", "A,3\n")
    assert plan(home, "sdss", "R").changed
    opened.clear()
    assert run(home).describe() == "0 files in (0 rows), 1 unchanged, 0 out, 0 rejected"
    assert run(home).snapshot is None
    assert opened == ["another name.txt"]
    assert not plan(home, "sdss", "R").changed
    (tmp_path / "in" / "a.txt").unlink()  # now it is the only one
    outcome = run(home)
    assert outcome.describe() == "0 files in (0 rows), 1 unchanged, 0 out, 0 rejected"
    write("another name.txt", "A,4\n")
    assert plan(home, "sdss", "R").changed
    run(home)
    assert stored(home) == [("A", 4)]
    assert opened == ["another name.txt"] * 2


def test_a_copy_that_is_kept_of_a_file_before_it_changes(home, write):
    write("a.txt", "A,3\n")
    run(home)
    write("as it was.txt", "A,3\n")
    write("a.txt", "B,4\n")
    run(home)
    assert stored(home) == [("A", 3), ("B", 4)]
    opened.clear()
    assert not plan(home, "sdss", "R").changed
    assert run(home).snapshot is None
    assert not opened


def test_what_is_there_is_not_opened_again(home, write, tmp_path):
    write("a.txt", "A,3\n")
    write("b.txt", "B,3\n")
    run(home)
    opened.clear()
    assert run(home).snapshot is None
    os.utime(tmp_path / "in" / "a.txt", ns=(1, 1))
    write("c.txt", "C,2\n")
    (tmp_path / "in" / "b.txt").rename(tmp_path / "in" / "moved and renamed.txt")
    outcome = run(home)
    assert outcome.describe() == "1 files in (1 rows), 2 unchanged, 0 out, 0 rejected"
    assert opened == ["c.txt"]
    assert not plan(home, "sdss", "R").changed
    assert stored(home) == [("A", 3), ("B", 3), ("C", 2)]


def test_a_file_that_only_moved_writes_nothing(home, write, tmp_path):
    write("a.txt", "A,3\n")
    run(home)
    (tmp_path / "in" / "a.txt").rename(tmp_path / "in" / "b.txt")
    assert run(home).snapshot is None
    assert stored(home) == [("A", 3)]


def test_a_changed_file_replaces_its_rows_in_all_tables(home, write, tmp_path):
    write("a.txt", "A,3\nB,1\n")
    write("b.txt", "C,2\n")
    run(home)
    write("a.txt", "A,4\n")
    (tmp_path / "in" / "b.txt").unlink()
    outcome = run(home)
    assert outcome.describe() == "1 files in (1 rows), 0 unchanged, 2 out, 0 rejected"
    assert stored(home) == [("A", 4)]
    assert stored(home, "spec_id", "sdss.loading_log") == [("A",)]


def test_bad_files_are_rejected_and_the_others_go_on(home, write):
    write("good.txt", "A,3\n")
    write("worse.txt", "B,worse\n")
    write("empty.txt", "")
    write("all bad.txt", "C,bad\n")
    write("crash.txt", "D,crash\n")
    write("some bad.txt", "E,1\nF,bad\nG,bad\n")
    write("type.txt", "H,7\n")
    write("null.txt", ",2\n")
    write("twice.txt", "I,1\nJ,1\nI,2\n")
    write("zip.txt.gz", "K,1\n").write_bytes(b"\x1f\x8b broken")
    outcome = run(home)
    assert stored(home) == [("A", 3), ("E", 1)]
    assert stored(home, "spec_id", "sdss.loading_log") == [("A",), ("E",)]
    assert reasons(outcome) == {
        "worse.txt": "row 1: is worse than bad",
        "empty.txt": "the file is empty",
        "all bad.txt": "1 row left out: row 1: it is bad",
        "crash.txt": "the reader failed: KeyError: 'size'",
        "type.txt": "sdss.spectra, column 'n_pixels': 'many' is not of type int32",
        "null.txt": "sdss.spectra, column 'spec_id': null, but this column must have a value",
        "twice.txt": "row 3: repeats the key (spec_id) of row 1",
        "zip.txt.gz": reasons(outcome)["zip.txt.gz"],
    }
    assert "gzip" in reasons(outcome)["zip.txt.gz"]
    (partly,) = outcome.partly_rejected
    assert (partly.rows_read, partly.rows_committed) == (3, 1)
    assert partly.reason == "2 rows left out: row 2: it is bad, and so on"


def test_a_key_in_two_files_rejects_the_second(home, write):
    write("a.txt", "A,3\n")
    write("b/again.txt", "B,1\nA,2\n")
    write("c.txt", "C,1\n")
    outcome = run(home)
    assert reasons(outcome) == {"again.txt": "row 2: has the key (spec_id) of row 1 of a.txt"}
    assert stored(home) == [("A", 3), ("C", 1)]
    assert stored(home, "spec_id", "sdss.loading_log") == [("A",), ("C",)]
    assert len(run(home).rejected) == 1


def test_tables_of_labels_come_in_beside_new_records(home, write, tmp_path, monkeypatch):
    import lake.sdss
    from lake.sdss.label_catalogue import LABELS_ROLE

    monkeypatch.setattr(lake.sdss, "ROLES", {"spectra": ROLE, "labels": LABELS_ROLE})
    write("a.txt", "A,3\n")
    labels = tmp_path / "labels.csv"
    labels.write_text("spec_id,class\nA,K3III\nB,A0\n")
    home.add(Source("sdss", "R", "labels", (labels,)))
    assert run(home).describe() == "2 files in (3 rows), 0 unchanged, 0 out, 0 rejected"
    assert stored(home, "object_id, class_original", "sdss.label_catalogue") == [
        ("A", "K3III"), ("B", "A0"),
    ]  # fmt: skip
    write("b.txt", "B,3\n")
    again = tmp_path / "again.csv"
    again.write_text("spec_id,class\nA,K4III\n")
    home.add(Source("sdss", "R", "labels", (again,)))
    assert run(home).describe() == "2 files in (2 rows), 2 unchanged, 0 out, 0 rejected"
    assert stored(home, "count(*)", "sdss.label_catalogue") == [(3,)]


@pytest.mark.parametrize("chunk", [2, 1000], ids=["in two chunks", "in one chunk"])
def test_equal_bytes_count_once(home, write, monkeypatch, chunk):
    monkeypatch.setattr(records, "_CHUNK", chunk)
    for name in "abcde":
        write(f"{name}.txt", "A,3\n" if name in "bd" else f"{name},1\n")
    outcome = run(home)
    assert outcome.describe() == "4 files in (4 rows), 0 unchanged, 0 out, 0 rejected"
    assert stored(home) == [("A", 3), ("a", 1), ("c", 1), ("e", 1)]
    assert run(home).snapshot is None


def interrupt(home: Home, monkeypatch) -> None:
    """Read and stage all files, and end before they are committed."""
    with monkeypatch.context() as broken:
        broken.setattr(Composition, "settle", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ingest(home, "sdss", "R")
    opened.clear()


@pytest.mark.parametrize("interrupted", [False, True])
@pytest.mark.parametrize("chunk", [2, 1000], ids=["in chunks", "in one chunk"])
def test_equal_bytes_count_once_with_the_first_options(
    home, write, tmp_path, monkeypatch, chunk, interrupted
):
    monkeypatch.setattr(records, "_CHUNK", chunk)
    folders = (tmp_path / "more", tmp_path / "beside")
    write("a.txt", "A,3\n")
    write("part/b.txt", "B,2\nC,1\n")
    write("../more/b.txt", "B,2\nC,1\n")
    write("../beside/a.txt", "A,3\n")
    write("../beside/d.txt", "D,1\n")
    write("../beside/e.txt", "D,1\n")
    home.add(Source("sdss", "R", "spectra", folders, {"grid": "log10"}))
    for name in ("f.txt", "part/f.txt", "../more/f.txt"):
        write(name, "F,worse\n")
    if interrupted:
        interrupt(home, monkeypatch)
    told = []
    outcome = run(home, progress=lambda what, done, total: told.append((done, total)))
    assert not (interrupted and opened), "what was staged before the interruption is used"
    assert outcome.describe() == "3 files in (4 rows), 0 unchanged, 0 out, 1 rejected"
    assert stored(home, "spec_id, wavelength_grid") == [
        ("A", "table"), ("B", "table"), ("C", "table"), ("D", "log10"),
    ]  # fmt: skip
    assert stored(home, "spec_id", "sdss.loading_log") == [("A",), ("B",), ("C",), ("D",)]
    assert interrupted or told[-1] == (9, 9)
    assert run(home).snapshot is None


@pytest.mark.parametrize("pixels", ["worse", "7"], ids=["reader", "contract"])
def test_equal_bytes_are_refused_together(home, write, pixels):
    for name in "ab":
        write(f"{name}.txt", f"A,{pixels}\n")
    write("c.txt", "C,1\n")
    outcome = run(home)
    assert len(outcome.rejected) == 1
    assert stored(home) == [("C", 1)]


def test_a_rejected_change_leaves_the_former_rows(home, write):
    write("a.txt", "A,3\n")
    run(home)
    write("a.txt", "A,worse\n")
    assert reasons(run(home)) == {"a.txt": "row 1: is worse than bad"}
    assert stored(home) == [("A", 3)]
    assert run(home).snapshot is None


def test_an_interrupted_ingest_is_taken_up(home, write, monkeypatch):
    monkeypatch.setattr(records, "_CHUNK", 3)
    for i in range(10):
        write(f"{i}.txt", f"S{i},{i if i != 7 else 8}\n")

    def interrupt(what, done, total):
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(home, "sdss", "R", interrupt)
    assert stored(home) == []
    assert opened == [f"{i}.txt" for i in range(6)]
    opened.clear()
    # The second chunk was interrupted before its note; a file of the first one has changed.
    write("1.txt", "S1,11\n")
    outcome = run(home)
    assert len(outcome.committed) == 10
    assert sorted(opened) == [f"{i}.txt" for i in range(10)]
    assert ("S1", 11) in stored(home)


def test_finished_chunks_are_not_read_again(home, write, monkeypatch):
    monkeypatch.setattr(records, "_CHUNK", 3)
    for i in range(8):
        write(f"{i}.txt", f"S{i},2\n" if i != 4 else "S4,worse\n")

    def interrupt(what, done, total):
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(home, "sdss", "R", interrupt)
    opened.clear()
    outcome = run(home)
    assert sorted(opened) == ["6.txt", "7.txt"]
    assert len(outcome.committed) == 7
    assert reasons(outcome) == {"4.txt": "row 1: is worse than bad"}
    assert stored(home, "count(*)") == [(7,)]


def test_progress_and_resume_end_in_the_same_lake(home, write, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "_CHUNK", 2)
    for i in range(5):
        write(f"{i}.txt", f"S{i},{i + 1}\n")
    told = []
    run(home, progress=lambda *what: told.append(what))
    assert told[-1] == ("sdss R spectra: files", 5, 5)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    undisturbed = stored(home, "* EXCLUDE (file_row)")
    shutil.rmtree(home.store.directory)
    home.store.refresh()

    def interrupt(what, done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(home, "sdss", "R", interrupt)
    run(home)
    assert stored(home, "* EXCLUDE (file_row)") == undisturbed


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_file_that_is_refused_late_leaves_no_pixels(home, write, monkeypatch, interrupted):
    monkeypatch.setattr(gathering, "_LIST_BYTES", 20)  # pixels are staged after every file
    for name, size in (("a", 10), ("b", 713), ("c", 12), ("d", 713)):
        write(f"{name}.txt", f"{name},{size}\n")
    if interrupted:
        interrupt(home, monkeypatch)
    outcome = run(home)
    assert not (interrupted and opened), "what was staged before the interruption is used"
    assert set(reasons(outcome)) == {"b.txt", "d.txt"}
    for table in ROLE.tables:
        assert home.sql(f"SELECT spec_id FROM {table} ORDER BY 1").fetchall() == [("a",), ("c",)]


def test_a_file_that_changes_while_it_is_read_is_refused(home, write, monkeypatch):
    path = write("a.txt", "A,3\n")
    write("b.txt", "B,3\n")

    def changed(paths, contents=records.contents):
        paths = list(paths)
        for name, (raw, found) in zip(paths, contents(paths), strict=True):
            if name == path:
                path.write_text("A,4\nC,5\n", encoding="utf-8")
                found = path.stat()
            yield raw, found

    monkeypatch.setattr(records, "contents", changed)
    assert reasons(run(home)) == {"a.txt": "was changed while it was being read"}
    monkeypatch.undo()


def test_a_file_that_cannot_be_read_is_named(home, write, monkeypatch):
    path = write("a.txt", "A,3\n")
    write("b.txt", "B,3\n")

    def broken(name, opened=source._opened):
        return 1 / 0 if name == path else opened(name)

    monkeypatch.setattr(source, "_opened", broken)
    with pytest.raises(ZeroDivisionError):
        ingest(home, "sdss", "R")

    def denied(name, opened=source._opened):
        if name == path:
            raise PermissionError(13, "Permission denied")
        return opened(name)

    monkeypatch.undo()
    monkeypatch.setattr("lake.sdss.ROLES", {"spectra": ROLE})
    monkeypatch.setattr(source, "_opened", denied)
    outcome = ingest(home, "sdss", "R")
    assert reasons(outcome) == {"a.txt": "cannot be read: Permission denied"}


def test_cycles_are_searched_for_rarely_while_files_are_read(home, write, monkeypatch):
    import gc

    write("a.txt", "A,3")
    seen = []

    def watched(file, data):
        seen.append(gc.get_threshold()[0])
        return read(file, data)

    monkeypatch.setattr("lake.sdss.ROLES", {"spectra": replace(ROLE, records=watched)})
    before = gc.get_threshold()
    ingest(home, "sdss", "R")
    assert seen[0] > before[0]
    assert gc.get_threshold() == before


def test_a_column_that_is_not_declared_is_a_defect(home, write, monkeypatch):
    from lake.columns import Columns
    from lake.errors import LacusError

    columns = Columns(contracts.table("sdss.spectra"), "R")
    with pytest.raises(LacusError, match=r"sdss\.spectra declares no column colour"):
        columns.extend([{"spec_id": "A", "colour": "red"}], "sha")


def test_processes_give_what_one_gives(tmp_path):
    """Real spec files, since worker processes know nothing of this module's reader."""
    from lake.sample.sdss import write_sample

    paths = write_sample(tmp_path / "sample", size="small", seed=1)
    tables = {}
    for processes in (1, 2):
        home = Home(tmp_path / f"home{processes}")
        home.add(Source("sdss", "R", "spectra", (paths["spectra"],), {"created_at": "2026-01-01"}))
        monkey = pytest.MonkeyPatch()
        monkey.setattr(records, "_CHUNK", 60)
        outcome = ingest(home, "sdss", "R", processes=processes)
        monkey.undo()
        assert outcome.rejected == []
        tables[processes] = home.sql(
            "SELECT * FROM sdss.spectra JOIN sdss.spectra_manifest USING (release, spec_id)"
            " ORDER BY spec_id"
        ).fetchall()
    assert tables[1] == tables[2]
