"""The lake as a store: commits are whole or nothing, whoever writes and whatever dies."""

import contextlib
import gc
import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import duckdb
import filelock
import pyarrow as pa
import pytest

from lake import extensions, migrate, reading, writing
from lake.commit import Commit, now
from lake.errors import LacusError, UsageError
from lake.store import Part, Store

ROWS = "SELECT release, count(*), count(DISTINCT file_sha256) FROM csc.{} GROUP BY ALL ORDER BY ALL"


def detections(release: str, mark: str, rows: int = 3) -> pa.Table:
    """Some detections that all carry one mark."""
    return pa.table(
        {
            "release": [release] * rows,
            "name": [f"S{i}" for i in range(rows)],
            "obsid": pa.array(range(rows), pa.int32()),
            "file_sha256": [mark] * rows,
            "file_row": pa.array(range(1, rows + 1), pa.int64()),
        }
    )


def labels(release: str, mark: str, rows: int = 3) -> pa.Table:
    """As many labels with the same mark."""
    return detections(release, mark, rows).append_column("main_type", pa.array(["QSO"] * rows))


def put(store: Store, release: str, mark: str, rows: int = 3, message: str = "put") -> int:
    """Replace two tables of a release in one commit."""
    tables = {
        "csc.detections": detections(release, mark, rows),
        "csc.labels": labels(release, mark),
    }
    return store.replace(
        release,
        list(tables),
        tables.items(),
        fingerprint=mark,
        code_version="1",
        message=message,
    )


def tree(directory: Path) -> list[str]:
    """All Parquet files below a directory."""
    return sorted(str(p.relative_to(directory)) for p in directory.rglob("*.parquet"))


@pytest.fixture(scope="module", autouse=True)
def new_lakes():
    """Made from nothing, as anywhere but in tests."""


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    made = Store(tmp_path_factory.mktemp("home") / "lake")
    put(made, "R0", "a0")
    return made


def test_there_is_no_lake_before_the_first_commit(tmp_path):
    store = Store(tmp_path / "lake")
    assert not store.exists
    with pytest.raises(LacusError, match="there is no lake here yet"):
        store.sql("SELECT 1")
    assert store.fingerprints("R") == {}
    assert list(tmp_path.iterdir()) == []


def test_a_snapshot_says_who_why_and_from_what(store):
    with store.commit("a reason", {"fingerprint": "f", "n": 1}, author="me") as commit:
        commit.delete("csc.labels", "release = 'none'")
        commit.insert("meta.pins", [{"name": "x", "snapshot": 0, "pinned_at": now()}])
    last = store.snapshots()[-1]
    assert (last.id, last.author, last.message) == (store.snapshot(), "me", "a reason")
    assert last.info == {"fingerprint": "f", "n": 1}
    assert last.id == commit.snapshot
    assert last.time.tzinfo is not None


def test_a_query_is_streamed_a_part_at_a_time(tmp_path):
    store = Store(tmp_path / "lake")
    put(store, "R", "a", rows=5000)
    query = "SELECT name FROM csc.detections WHERE release = ? ORDER BY name"
    first, second = (store.sql(query, ["R"], apart=True).to_arrow_reader(1000) for _ in range(2))
    # Results are read beside each other, and while others are asked for.
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if store.snapshot()]
    assert max(a.num_rows for a, _ in pairs) <= 2048  # DuckDB's own parts are whole
    assert all(a.equals(b) for a, b in pairs)
    names = [name for a, _ in pairs for name in a["name"].to_pylist()]
    assert names == sorted(f"S{i}" for i in range(5000))
    assert store.sql(query, ["none"], apart=True).to_arrow_reader(1000).read_all().num_rows == 0
    with pytest.raises(UsageError, match="nowhere"):
        store.sql("FROM nowhere", apart=True)


def test_a_lake_may_be_made_before_its_first_commit(tmp_path):
    store = Store(tmp_path / "lake")
    with ThreadPoolExecutor(1) as beside:
        beside.submit(store.prepare).result()
    made = store.snapshot()
    assert store.sql("SELECT count(*) FROM csc.detections").fetchone() == (0,)
    store.prepare()
    assert store.snapshot() == made
    put(store, "A", "1")
    assert store.sql(ROWS.format("detections")).fetchall() == [("A", 3, 1)]
    assert store.snapshot() == made + 1


def test_a_lake_that_cannot_be_brought_into_line_is_let_go(tmp_path, monkeypatch):
    store = Store(tmp_path / "lake")

    def fail(connection, **options):
        connection.execute("BEGIN")
        raise LacusError("this lake needs a migration")

    monkeypatch.setattr(migrate, "sync", fail)
    for prepare in (store.prepare, lambda: put(store, "A", "1")):
        with pytest.raises(LacusError, match="needs a migration"):
            prepare()
    monkeypatch.undo()
    put(store, "A", "1")
    assert store.sql(ROWS.format("detections")).fetchall() == [("A", 3, 1)]


def test_a_release_is_replaced_and_the_former_state_stays(store):
    first = put(store, "R1", "a1")
    second = put(store, "R1", "b1", rows=5)
    query = "SELECT file_sha256, count(*) FROM csc.detections WHERE release = 'R1' GROUP BY ALL"
    assert second == first + 1
    assert store.sql(query).fetchall() == [("b1", 5)]
    assert store.sql(query, at=first).fetchall() == [("a1", 3)]
    assert store.arrow(query, at=first).to_pylist() == [{"file_sha256": "a1", "count_star()": 3}]
    assert store.fingerprints("R1") == {"csc.detections": "b1", "csc.labels": "b1"}
    recorded = "SELECT rows, snapshot FROM meta.releases WHERE release = 'R1' AND table_name = ?"
    assert store.sql(recorded, ["csc.detections"]).fetchall() == [(5, second)]
    others = "SELECT count(*) FROM csc.detections WHERE release = 'R0'"
    assert store.sql(others).fetchall() == [(3,)]


def test_releases_are_partitions(store):
    assert {Path(p).parent.name for p in tree(store.directory / "data" / "csc")} >= {"release=R0"}


def test_a_relation_outlives_its_connection(store):
    relation = store.sql("SELECT 1 AS one", at=store.snapshot())
    gc.collect()
    assert relation.fetchall() == [(1,)]


def test_pins(store):
    pinned = store.pin("Paper I")
    put(store, "R2", "a2")
    count = "SELECT count(*) FROM csc.detections WHERE release = 'R2'"
    assert store.sql(count, at="Paper I").fetchall() == [(0,)]
    assert store.resolve("Paper I") == pinned
    assert store.resolve(str(pinned)) == store.resolve(pinned) == pinned
    for taken in ("Paper I", "17", " "):
        before = store.snapshot()
        with pytest.raises(UsageError, match="pin"):
            store.pin(taken)
        assert store.snapshot() == before
    with pytest.raises(UsageError, match="no snapshot or pin 99999; there are snapshots 0 to"):
        store.pin("later", 99999)
    with pytest.raises(UsageError, match=r"no snapshot or pin 'Paper II'.*pins .*Paper I"):
        store.sql("SELECT 1", at="Paper II")


def test_a_pin_is_taken_away(store):
    pinned = store.pin("draft")
    assert store.unpin("draft") == pinned
    before = store.snapshot()
    with pytest.raises(UsageError, match="no pin 'draft'; there "):
        store.unpin("draft")
    assert store.snapshot() == before
    with pytest.raises(UsageError, match="no snapshot or pin 'draft'"):
        store.sql("SELECT 1", at="draft")


@pytest.mark.parametrize(
    "query",
    [
        "SELECT nothing FROM csc.detections",
        "SELECT * FROM csc.nowhere",
        "SELEKT 1",
        "",
        "DELETE FROM csc.detections",
        "CREATE TABLE csc.mine (a INT)",
        "SELECT ?",
    ],
)
def test_a_wrong_query_is_a_usage_error(store, query):
    before = store.snapshot()
    with pytest.raises(UsageError):
        store.sql(query)
    assert store.snapshot() == before
    assert store.sql("SELECT count(*) > 0 FROM csc.detections").fetchall() == [(True,)]


def test_a_query_that_fails_on_a_value_is_a_usage_error(store):
    with pytest.raises(UsageError, match="S0"):
        store.arrow("SELECT name::INTEGER FROM csc.detections")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_commit_that_raises_leaves_everything_as_it_was(store, error):
    rows, snapshot = store.sql(ROWS.format("detections")).fetchall(), store.snapshot()
    files = tree(store.directory)
    with store.stage("csc.detections", "R0", detections("R0", "x").schema) as stage:
        stage.write(detections("R0", "x").to_batches()[0])

    def fail():
        with store.commit("never") as commit:
            commit.delete("csc.detections", "release = 'R0'")
            commit.add(stage.staged)
            raise error("stop")

    with pytest.raises(error):
        fail()
    assert store.sql(ROWS.format("detections")).fetchall() == rows
    assert (store.snapshot(), tree(store.directory)) == (snapshot, files)
    assert put(store, "R0", "a0") == snapshot + 1


def test_a_replacement_that_fails_leaves_nothing_staged(store):
    files = tree(store.directory)
    tables = {"csc.detections": detections("R0", "x"), "csc.labels": labels("R0", "x")}
    # What is computed has no column beyond its contract.
    tables["csc.labels"] = tables["csc.labels"].append_column("odd", pa.array([1, 2, 3]))
    with pytest.raises(LacusError, match=r"csc\.labels: the contract declares no odd"):
        store.replace(
            "R0", list(tables), tables.items(), fingerprint="x", code_version="1", message="never"
        )
    assert tree(store.directory) == files
    assert store.fingerprints("R0")["csc.detections"] == "a0"


def test_products_replace_those_of_equal_path_at_once(tmp_path, monkeypatch):
    store = Store(tmp_path / "lake")

    def made(numbers, mark):
        return [
            {"mission": "csc", "release": "P", "path": f"products/{n}.fits", "kind": "table",
             "sha256": mark, "size": n, "made_at": now()}
            for n in numbers
        ]  # fmt: skip

    deleted = []
    delete = Commit.delete

    def noted(commit, table, *others):
        deleted.append(table)
        return delete(commit, table, *others)

    monkeypatch.setattr(Commit, "delete", noted)
    for numbers, mark in ((range(50), "a"), (range(20, 60), "b")):
        store.replace(
            "P", ["csc.detections"], [("csc.detections", detections("P", mark))], fingerprint=mark,
            code_version="1", message=mark, products=lambda n=numbers, m=mark: made(n, m),
        )  # fmt: skip
    found = store.sql("SELECT sha256, count(*) FROM meta.products GROUP BY ALL ORDER BY ALL")
    assert found.fetchall() == [("a", 20), ("b", 40)]
    # One statement for all: each takes as long as a region table takes to be made and written.
    assert deleted.count("meta.products") == 2


def test_a_stage_that_fails_leaves_nothing(store):
    files = tree(store.directory)

    def fail():
        with store.stage("csc.detections", "R0", detections("R0", "x").schema) as stage:
            stage.write(detections("R0", "x").to_batches()[0])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert tree(store.directory) == files


def test_an_interrupt_after_the_commit_keeps_its_files(store, monkeypatch):
    class Interrupted:
        """A connection whose COMMIT succeeds while the user presses Ctrl-C."""

        def __init__(self, connection):
            self._connection = connection

        def execute(self, query, *params):
            result = self._connection.execute(query, *params)
            if query == "COMMIT" and added:
                raise KeyboardInterrupt
            return result

        def __getattr__(self, name):
            return getattr(self._connection, name)

    added = []
    add, connect = Commit.add, store.connect

    def noting(commit, staged):
        added.append("add")
        add(commit, staged)

    monkeypatch.setattr(Commit, "add", noting)
    monkeypatch.setattr(store, "connect", lambda **options: Interrupted(connect(**options)))
    store.refresh()
    with pytest.raises(KeyboardInterrupt):
        put(store, "R3", "a3")
    monkeypatch.undo()
    store.refresh()
    query = "SELECT file_sha256, max(file_row) FROM csc.detections WHERE release = 'R3' GROUP BY 1"
    assert store.sql(query).fetchall() == [("a3", 3)]


def test_a_locked_lake_is_said_to_be_so(store, monkeypatch):
    monkeypatch.setattr(writing, "_LOCK_PATIENCE_S", 0.1)
    with (
        filelock.FileLock(store.directory / "lock"),
        pytest.raises(LacusError, match="another process has been writing"),
        store.commit("never"),
    ):
        pass


def test_old_staging_is_swept_and_fresh_is_not(store):
    staging = store.directory / "staging"
    old, fresh = staging / "old.parquet", staging / "fresh.parquet"
    for path in (old, fresh):
        path.write_bytes(b"")
    os.utime(old, (time.time() - 90_000,) * 2)
    with Store(store.directory).stage("csc.detections", "R0", detections("R0", "x").schema):
        pass
    assert (old.exists(), fresh.exists()) == (False, True)
    fresh.unlink()


def test_a_moved_home_still_works(tmp_path):
    store = Store(tmp_path / "here" / "lake")
    put(store, "R", "a")
    store.refresh()
    (tmp_path / "there").mkdir()
    (tmp_path / "here").rename(tmp_path / "there" / "it's")
    moved = Store(tmp_path / "there" / "it's" / "lake")
    assert moved.sql("SELECT count(name) FROM csc.detections").fetchall() == [(3,)]
    put(moved, "R", "b", rows=4)
    assert moved.sql("SELECT count(name) FROM csc.detections").fetchall() == [(4,)]
    with pytest.raises(LacusError, match="no lake here"):  # the first is not used any more
        store.sql("SELECT 1")


def test_any_duckdb_attaches_the_lake(store):
    with duckdb.connect() as connection:
        for name in ("ducklake", "sqlite_scanner"):
            connection.execute(f"LOAD '{extensions.wheel(name)}'")  # their signatures hold
        connection.execute(store.attach_sql(name="other"))
        query = "SELECT count(*) FROM other.csc.detections WHERE release = 'R0'"
        assert connection.execute(query).fetchall() == [(3,)]
        with pytest.raises(duckdb.Error, match="read-only"):
            connection.execute("DELETE FROM other.csc.detections")


def _put_many(directory: Path, release: str, numbers: range, pipe: Connection | None) -> None:
    """Commit one state after the other: number i has 2 + i % 3 detections."""
    store = Store(directory)
    for i in numbers:
        put(store, release, f"m{i}", rows=2 + i % 3, message=f"{release} {i}")
        if pipe is not None:
            pipe.send(i)


@contextlib.contextmanager
def writer(directory: Path, numbers: range, release: str = "R"):
    """Another process that commits; gives it, and the pipe through which it says what it did."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lake.store"])  # or each process takes a second to start
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_put_many, args=(directory, release, numbers, theirs))
    process.start()
    theirs.close()
    yield process, ours
    process.kill()
    process.join()


def test_a_missing_extension_is_named(monkeypatch):
    monkeypatch.setattr(extensions, "_NAMES", ("no_such_thing",))
    with pytest.raises(LacusError, match=r"install duckdb-extension-no-such-thing==\d"):
        extensions.connect()


def test_only_the_wheels_are_loaded_without_a_look_at_their_signatures(tmp_path):
    unsigned = tmp_path / "other.duckdb_extension"
    content = bytearray(extensions.wheel("ducklake").read_bytes())
    content[-1] ^= 1
    unsigned.write_bytes(content)
    with extensions.connect() as connection:
        with pytest.raises(duckdb.Error, match="signature"):
            connection.execute(f"LOAD '{unsigned}'")
        with pytest.raises(duckdb.Error, match="Cannot change allow_unsigned_extensions"):
            connection.execute("SET allow_unsigned_extensions = true")


def test_a_lake_that_is_open_uses_all_processors(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    threads = "SELECT current_setting('threads')"
    found = []
    for _ in ("made", "opened"):
        store = Store(tmp_path / "lake")
        with store.commit("nothing") as commit:
            found += commit.connection.execute(threads).fetchall()
        found += store.sql(threads).fetchall()
        store.refresh()
    assert found == [(3,)] * 4


def test_reading_while_writing_sees_whole_states(tmp_path):
    store = Store(tmp_path / "lake")
    put(store, "R", "m0", rows=2)
    query = (
        "SELECT (SELECT list(DISTINCT file_sha256) FROM csc.detections),"
        " (SELECT list(DISTINCT file_sha256) FROM csc.labels),"
        " (SELECT count(*) FROM csc.detections)"
    )
    seen, apart = set(), set()
    with writer(store.directory, range(1, 13)) as (process, _):
        while process.is_alive():
            ((one, other, rows),) = store.sql(query).fetchall()
            assert one == other
            assert len(one) == 1
            assert rows == 2 + int(one[0][1:]) % 3
            seen.add(one[0])
            apart.add(store.sql("SELECT max(snapshot) FROM meta.releases", apart=True).fetchone())
    assert process.exitcode == 0
    assert len(seen) > 2
    assert len(apart) > 2


def test_two_processes_that_commit_at_once_lose_nothing(tmp_path):
    directory = tmp_path / "lake"
    with (
        writer(directory, range(5), "A") as (one, _),
        writer(directory, range(5), "B") as (other, _),
    ):
        one.join()
        other.join()
    assert [one.exitcode, other.exitcode] == [0, 0]
    store = Store(directory)
    messages = [s.message for s in store.snapshots()]
    for release in ("A", "B"):
        mine = [m for m in messages if m and m.startswith(f"{release} ")]
        assert mine == [f"{release} {i}" for i in range(5)]
    assert store.sql(ROWS.format("detections")).fetchall() == [("A", 3, 1), ("B", 3, 1)]


@pytest.mark.slow
def test_a_killed_writer_leaves_whole_commits_only(tmp_path):
    store = Store(tmp_path / "lake")
    put(store, "R", "m0", rows=2)
    for attempt in range(0, 12, 2):
        numbers = range(1000 * (attempt + 1), 1000 * (attempt + 2))
        said = []
        with writer(store.directory, numbers) as (process, pipe):
            said.append(pipe.recv())  # at work
            time.sleep(0.02 * attempt)
            process.kill()
            process.join()
            with contextlib.suppress(EOFError):
                while True:
                    said.append(pipe.recv())
        assert process.exitcode == -signal.SIGKILL
        here = Store(store.directory)
        ((one,),) = here.sql("SELECT DISTINCT file_sha256 FROM csc.detections").fetchall()
        number = int(one[1:])
        assert here.sql("SELECT DISTINCT file_sha256 FROM csc.labels").fetchall() == [(one,)]
        assert here.sql("SELECT count(name) FROM csc.detections").fetchall() == [(2 + number % 3,)]
        assert here.snapshots()[-1].message == f"R {number}"
        # What was reported is there, and at most what came right after it.
        assert number - said[-1] in (0, 1)
        files = "SELECT data_file FROM ducklake_list_files('lake', ?, schema => 'csc')"
        listed = {
            Path(path)
            for table in ("detections", "labels")
            for (path,) in here.sql(files, [table]).fetchall()
        }
        assert all(path.is_file() for path in listed)
        put(here, "R", "m0", rows=2)
        here.refresh()


def test_a_lake_that_is_no_catalogue_is_reported(tmp_path):
    store = Store(tmp_path / "lake")
    store.directory.mkdir()
    store.catalog.write_text("not a database, but long enough to be read as a header of one\n" * 20)
    with pytest.raises(LacusError, match="the lake does not open"):
        store.sql("SELECT 1")
    with contextlib.suppress(LacusError), store.commit("never"):
        pytest.fail("committed into a text file")


def test_parts_of_tables_are_written_as_they_come(store):
    tables = {"csc.detections": detections("R0", "p", 4), "csc.labels": labels("R0", "p")}

    def parts():
        for start in (0, 2):
            for name, rows in tables.items():
                yield name, rows.slice(start, 2)

    store.replace("R0", list(tables), parts(), fingerprint="p", code_version="1", message="parts")
    for name, rows in tables.items():
        (count,) = store.sql(f"SELECT count(*) FROM {name} WHERE release = 'R0'").fetchone()
        assert count == rows.num_rows


def test_a_failure_between_two_parts_leaves_nothing(store):
    put(store, "R0", "before")
    files = tree(store.directory)

    def parts():
        yield "csc.detections", detections("R0", "x", 3)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        store.replace(
            "R0", ["csc.detections"], parts(), fingerprint="x", code_version="1", message="never"
        )
    assert tree(store.directory) == files


def replaced(store: Store, rows: pa.Table, part: Part | None = None) -> int:
    return store.replace(
        "P", ["csc.labels"], [("csc.labels", rows)], fingerprint="f", code_version="1",
        message="test", content={"csc.labels": "c"}, read_snapshot=1, part=part,
    )  # fmt: skip


def named(*names: str, mark: str = "a") -> pa.Table:
    number = len(names)
    return pa.table(
        {
            "release": ["P"] * number,
            "name": pa.array(names, pa.string()),
            "file_sha256": [mark] * number,
            "file_row": pa.array(range(1, number + 1)),
        }
    )


def test_a_part_of_a_release_is_replaced_and_the_rest_stays_in_its_files(store):
    first = replaced(store, named("A", "B", "B", "C", "D"))
    listed = "SELECT data_file FROM ducklake_list_files('lake', 'labels', schema => 'csc')"
    before = set(store.sql(listed).fetchall())
    keys = pa.table({"name": ["B", "C", "E"]})
    part = Part(keys, first)
    second = replaced(store, named("B", "E", mark="b"), part)
    query = "SELECT name, file_sha256 FROM csc.labels WHERE release = 'P' ORDER BY ALL"
    assert store.sql(query).fetchall() == [("A", "a"), ("B", "b"), ("D", "a"), ("E", "b")]
    assert before < set(store.sql(listed).fetchall())
    made = store.made("P")["csc.labels"]
    assert made == reading.Made("f", "1", second, "c", 1)
    assert made.state == "c"
    nothing = Part(keys.slice(0, 0), second)
    third = replaced(store, named(), nothing)
    assert store.sql(query).fetchall() == [("A", "a"), ("B", "b"), ("D", "a"), ("E", "b")]
    assert store.made("P")["csc.labels"].snapshot == third
    assert store.sql("SELECT rows FROM meta.releases WHERE release = 'P'").fetchall() == [(4,)]


def test_a_part_that_was_computed_for_other_rows_is_refused(store):
    first = replaced(store, named("A", "B"))
    replaced(store, named("A", "B", mark="b"))
    before = store.snapshot()
    part = Part(pa.table({"name": ["B"]}), first)
    with pytest.raises(LacusError, match=r"csc\.labels of P: made by another process meanwhile"):
        replaced(store, named("B", mark="c"), part)
    assert store.snapshot() == before
    assert not list((store.directory / "staging").glob("*"))
