"""Clean-up takes what nothing names any more, and never what a pin or the present needs."""

import multiprocessing
import os
import shutil
import signal
import sys
import time
from datetime import timedelta
from multiprocessing.synchronize import Event
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake import compaction, contracts, upkeep
from lake.commit import now
from lake.errors import UsageError
from lake.home import Home
from lake.upkeep import Cleanup, Leaving, clean
from lake.whole import write_whole

AT_ONCE = timedelta(0)
CONTENT = (
    "SELECT (SELECT bit_xor(hash(t)) FROM csc.detections AS t {at}), (SELECT count(obsid) FROM"
    " csc.detections {at}), (SELECT bit_xor(hash(t)) FROM meta.products AS t {at})"
)


def detections(release: str, mark: str, rows: int) -> pa.Table:
    return pa.table(
        {
            "release": [release] * rows,
            "name": [f"{mark}{i}" for i in range(rows)],
            "obsid": pa.array(range(rows), pa.int32()),
            "file_sha256": [mark] * rows,
            "file_row": pa.array(range(1, rows + 1), pa.int64()),
        }
    )


def put(
    home: Home, mark: str, rows: int = 3, release: str = "R", product: str | None = None
) -> int:
    """Replace a release's rows, with a file made on the way."""
    made = []
    if product is not None:
        path = home.root / product
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(mark)
        made = [home.product(path, "csc", release, "figure")]
    return home.store.replace(
        release, ["csc.detections"], [("csc.detections", detections(release, mark, rows))],
        fingerprint=mark, code_version="1", message=mark, products=lambda: made,
    )  # fmt: skip


def append(home: Home, mark: str, rows: int = 3, release: str = "R") -> None:
    """Add rows to a release, in a data file of their own."""
    data = detections(release, mark, rows)
    with home.store.stage("csc.detections", release, data.schema) as stage:
        stage.write(data.to_batches()[0])
    with home.store.commit(mark) as commit:
        commit.add(stage.staged)


def tree(home: Home) -> dict[str, int]:
    """All files below a home but those of the catalogue, with their sizes."""
    return {
        str(path.relative_to(home.root)): path.stat().st_size
        for path in home.root.rglob("*")
        if path.is_file() and path.suffix in {".parquet", ".svg", ".json", ".txt", ".keras"}
    }


def contents(home: Home) -> dict[int, list[tuple]]:
    """What every snapshot but those of the empty lake says."""
    snapshots = [s.id for s in home.store.snapshots() if s.id > 1]
    # Of one connection: `at=` would open another for each.
    former = {i: CONTENT.format(at=f"AT (VERSION => {i})") for i in snapshots}
    return {i: home.store.sql(query).fetchall() for i, query in former.items()}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A lake with five states of one release, the second of them pinned."""
    home = Home(tmp_path_factory.mktemp("upkeep") / "home")
    for i in range(5):
        put(home, f"m{i}", rows=3 + i, product=f"products/csc/R/{i // 2}.svg")
    home.store.pin("paper", 3)
    with home.store.commit("a row and two files go") as commit:
        commit.delete("csc.detections", "obsid < 1")
        commit.delete("meta.products", "path = 'products/csc/R/0.svg'")
        commit.delete("meta.products", "path = 'products/csc/R/1.svg'")
    home.store.refresh()
    return home.root


@pytest.fixture
def home(made, tmp_path) -> Home:
    return Home(shutil.copytree(made, tmp_path / "home"))


def test_old_snapshots_go_and_pins_and_the_present_stay(home):
    before, files = contents(home), tree(home)
    found = clean(home, AT_ONCE)
    assert [s.id for s in found.snapshots] == [0, 1, 2, 4, 5, 6, 7]
    assert [s.id for s in found.pinned] == [3]
    assert contents(home) == {i: before[i] for i in (3, 8)}
    gone = files.keys() - tree(home).keys()
    assert {str(f.path.relative_to(home.root)) for f in found.files} == gone
    assert found.size == sum(files[name] for name in gone) > 0
    assert home.store.sql("SELECT count(*) FROM csc.detections", at="paper").fetchall() == [(4,)]
    for at in (0, 5):  # below the lowest, and between two
        with pytest.raises(UsageError, match=f"snapshot {at} is no more"):
            home.store.sql("SELECT 1", at=at)
    again = clean(home, AT_ONCE)
    assert (again.snapshots, again.files, again.groups) == ([], [], [])


def test_a_dry_run_tells_exactly_what_goes_and_changes_nothing(home):
    before, files = contents(home), tree(home)
    told = clean(home, AT_ONCE, dry_run=True)
    assert tree(home) == files
    assert contents(home) == before
    done = clean(home, AT_ONCE)
    assert done.files == told.files != []
    assert [s.id for s in done.snapshots] == [s.id for s in told.snapshots]


def test_a_dry_run_needs_no_lock_where_nothing_can_be_written(home, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    (home.store.directory / "lock").unlink(missing_ok=True)
    told = clean(home, AT_ONCE, dry_run=True)
    assert told.files
    assert not (home.store.directory / "lock").exists()


def test_what_is_young_stays(home):
    before = contents(home)
    assert clean(home, timedelta(days=1)) == Cleanup()
    assert contents(home) == before


def test_products_go_with_the_last_snapshot_that_names_them(home):
    (home.root / "products/csc/R/mine.svg").write_text("the user's own")
    found = clean(home, AT_ONCE)
    # The pinned state names 0.svg, the present one 2.svg.
    assert [f.path.name for f in found.files if f.kind == "product"] == ["1.svg"]
    assert {p.name for p in home.products.rglob("*.svg")} == {"0.svg", "2.svg", "mine.svg"}
    home.store.unpin("paper")
    clean(home, AT_ONCE)
    assert {p.name for p in home.products.rglob("*.svg")} == {"2.svg", "mine.svg"}


def test_a_product_that_was_written_to_lately_stays_for_now(home):
    late = now().timestamp() + 60
    os.utime(home.root / "products/csc/R/1.svg", (late, late))
    clean(home, AT_ONCE)
    assert (home.root / "products/csc/R/1.svg").exists()
    os.utime(home.root / "products/csc/R/1.svg", (late - 3600, late - 3600))
    found = clean(home, AT_ONCE)  # its snapshots are gone, and yet it is known
    assert [f.path.name for f in found.files] == ["1.svg"]


def test_paths_that_lead_out_of_the_home_are_left_alone(home, tmp_path):
    outside = tmp_path / "outside.svg"
    outside.write_text("mine")
    row = home.product(home.root / "products/csc/R/1.svg", "csc", "R", "figure")
    names = ["products/../../outside.svg", "sources.toml", "products/csc/R/link.svg"]
    (home.root / names[2]).symlink_to(outside)
    home.sources_file.write_text("# mine\n")
    with home.store.commit("strange rows") as commit:
        commit.insert("meta.products", [{**row, "path": name} for name in names])
    with home.store.commit("and gone") as commit:
        commit.delete("meta.products", "path IN (SELECT unnest(?))", [names])
    clean(home, AT_ONCE)
    clean(home, AT_ONCE)
    assert outside.read_text() == "mine"
    assert home.sources_file.exists()


def test_former_models_go_with_the_files_beside_them(home):
    models = home.models / "csc"
    models.mkdir(parents=True)
    for name in ("old.json", "old.keras", "new.json", "older.json"):
        (models / name).write_text(name)
    rows = [home.product(models / f"{n}.json", "csc", "R", "model") for n in ("old", "new")]
    with home.store.commit("two trainings") as commit:
        commit.insert("meta.products", rows)
        commit.connection.execute(
            "INSERT INTO lake.csc.mixture_models BY NAME SELECT * REPLACE ('R' AS release, 'new' AS"
            " model_id) FROM (SELECT 'R' AS release, 'new' AS model_id, 1 AS components, 1 AS seed,"
            " 1 AS training_rows, 1 AS labelled_rows, ['x'] AS features, [1.0] AS weights,"
            " [1.0] AS means, [1.0] AS covariances, 1.0 AS bic, 1.0 AS log_likelihood,"
            " 1 AS iterations, TRUE AS converged, [1.0] AS log_offset, [1.0] AS feature_min,"
            " [1.0] AS feature_max)"
        )
    clean(home, AT_ONCE)  # the former model has no name any more, but snapshots have
    clean(home, AT_ONCE)
    assert {p.name for p in models.iterdir()} == {"new.json", "older.json"}


def write_partly(path: Path, age: float, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be killed before a file is put in its place, so many seconds ago; gives what is left."""
    before = set(path.parent.glob(".*"))
    with monkeypatch.context() as killed:
        killed.setattr(Path, "replace", lambda *_: sys.exit())
        killed.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(SystemExit):
            write_whole(path, "half")
    (left,) = set(path.parent.glob(".*")) - before
    os.utime(left, (time.time() - age,) * 2)
    return left


def test_what_killed_writers_left_goes_and_files_of_others_stay(home, monkeypatch):
    data = home.store.directory / "data" / "csc" / "detections" / "release=R"
    ours = data / "0f8fad5b-d9cb-469f-a165-70867728950e.parquet"
    for path in (ours, data / "mine.parquet"):
        path.write_bytes(b"PAR1")
    staging = home.store.directory / "staging"
    staging.mkdir(exist_ok=True)
    for name, age in (("left.parquet", 100_000), ("at-work.parquet", 0)):
        (staging / name).write_bytes(b"PAR1")
        os.utime(staging / name, (time.time() - age,) * 2)
    table = home.products / "xmm" / "boxes.fits"
    partly, at_work = (write_partly(table, age, monkeypatch) for age in (100_000, 0))
    mine = table.parent / ".mine"
    mine.touch()
    os.utime(mine, (0, 0))
    found = clean(home, timedelta(days=1))
    assert found.files == [
        Leaving("orphan", ours, 4),
        Leaving("staged", staging / "left.parquet", 4),
        Leaving("partial", partly, 4),
    ]
    assert not ours.exists()
    assert set(table.parent.iterdir()) == {at_work, mine}
    assert (data / "mine.parquet").exists()
    assert [p.name for p in staging.iterdir()] == ["at-work.parquet"]


def test_a_moved_home_has_no_orphans(home, tmp_path):
    home.store.refresh()
    moved = Home(shutil.move(home.root, tmp_path / "elsewhere"))
    before = contents(moved)
    assert clean(moved, timedelta(days=1)).files == []
    assert contents(moved) == before


def test_small_files_become_one_and_former_states_stay(home):
    for i in range(5):
        append(home, f"n{i}", release="S")
    before, last = contents(home), home.store.snapshot()
    (group,) = [g for g in compaction.groups(home.store) if g.table == "csc.detections"]
    assert (group.release, len(group.files)) == ("S", 5)
    clean(home, timedelta(days=1))
    after = contents(home)
    assert {i: after[i] for i in before} == before
    assert after[home.store.snapshot()] == before[last]
    assert home.store.snapshot() == last + 1
    query = "SELECT count(*) FROM ducklake_list_files('lake', 'detections', schema => 'csc')"
    assert home.store.sql(query).fetchall() == [(2,)]
    assert clean(home, timedelta(days=1)).groups == []
    clean(home, AT_ONCE)
    clean(home, AT_ONCE)
    assert contents(home)[home.store.snapshot()] == before[last]
    names = "SELECT name FROM csc.detections WHERE release = 'S'"
    assert sorted(n for (n,) in home.store.sql(names).fetchall()) == [
        f"n{i}{j}" for i in range(5) for j in range(3)
    ]


def test_deleted_rows_leave_their_file(home):
    put(home, "big", rows=40)
    with home.store.commit("half of them") as commit:
        commit.delete("csc.detections", "obsid % 2 = 0")
    before = contents(home)[home.store.snapshot()]
    clean(home, timedelta(days=1))
    files = "FROM ducklake_list_files('lake', 'detections', schema => 'csc')"
    ((data, deleted),) = home.store.sql(f"SELECT data_file, delete_file {files}").fetchall()
    assert deleted is None
    assert pq.read_metadata(data).num_rows == 20
    assert contents(home)[home.store.snapshot()] == before


def test_pixels_keep_their_row_groups_and_encoding(tmp_path):
    home = Home(tmp_path / "home")
    schema = contracts.table("sdss.spectra").schema()
    for part in range(4):
        rows = [
            {
                "release": "R",
                "spec_id": f"{part}-{i}",
                "flux": [1.5] * 9,
                "file_sha256": "f",
                "file_row": i,
            }
            for i in range(600)
        ]
        names = {f.name: f for f in schema}
        data = pa.Table.from_pylist(
            rows, pa.schema([names[n].with_nullable(True) for n in rows[0]])
        )
        with home.store.stage("sdss.spectra", "R", data.schema) as stage:
            stage.write(data.to_batches()[0])
        with home.store.commit("spectra") as commit:
            commit.add(stage.staged)
    clean(home, timedelta(days=1))
    files = "SELECT data_file FROM ducklake_list_files('lake', 'spectra', schema => 'sdss')"
    ((file,),) = home.store.sql(files).fetchall()
    meta = pq.read_metadata(file)
    assert meta.num_rows == 2400
    assert [meta.row_group(i).num_rows for i in range(meta.num_row_groups)] == [2048, 352]
    (flux,) = [
        meta.row_group(0).column(i)
        for i in range(meta.num_columns)
        if meta.row_group(0).column(i).path_in_schema.startswith("flux.")
    ]
    assert "BYTE_STREAM_SPLIT" in flux.encodings
    assert flux.compression == "LZ4"


def test_files_that_another_process_changed_are_not_put_together(home):
    for i in range(4):
        append(home, f"n{i}", release="S")
    groups = compaction.groups(home.store)
    with home.store.commit("meanwhile") as commit:
        commit.delete("csc.detections", "name = 'n10'")
    before = contents(home)[home.store.snapshot()]
    compaction.compact(home.store, groups)
    assert contents(home)[home.store.snapshot()] == before
    assert list((home.store.directory / "staging").iterdir()) == []


def test_tables_of_meta_are_put_together(home, monkeypatch):
    monkeypatch.setattr(compaction, "_META_FILES", 3)
    for release in ("S", "T", "U"):
        put(home, "m", release=release)
    query = "SELECT * FROM meta.releases ORDER BY ALL"
    before, last = home.store.sql(query).fetchall(), home.store.snapshot()
    assert {g.table for g in clean(home, timedelta(days=1)).groups} >= {"meta.releases"}
    assert home.store.sql(query).fetchall() == before
    assert home.store.sql(query, at=last).fetchall() == before


def _clean(root: Path, begun: Event) -> None:
    home = Home(root)
    home.store.snapshot()
    begun.set()
    clean(home, AT_ONCE)


@pytest.mark.slow
def test_a_clean_up_that_is_killed_leaves_a_whole_lake(home, tmp_path):
    for i in range(5):
        append(home, f"n{i}", release="S")
    home.store.refresh()
    pinned = contents(home)[3]
    present = contents(home)[home.store.snapshot()]
    home.store.refresh()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lake.upkeep"])
    cut = 0
    for attempt, seconds in enumerate((0.1, 0.5)):
        root = Path(shutil.copytree(home.root, tmp_path / f"home{attempt}"))
        begun = context.Event()
        process = context.Process(target=_clean, args=(root, begun))
        process.start()
        begun.wait()
        time.sleep(seconds)
        process.kill()
        process.join()
        cut += process.exitcode == -signal.SIGKILL
        here = Home(root)
        for _ in ("as it was left", "cleaned up"):
            state = contents(here)
            assert state[3] == pinned
            assert state[here.store.snapshot()] == present
            clean(here, AT_ONCE)
        assert {p.name for p in here.products.rglob("*.svg")} == {"0.svg", "2.svg"}
        here.store.refresh()
    assert cut


@pytest.mark.parametrize(
    ("text", "age"),
    [("90d", timedelta(days=90)), ("12h", timedelta(hours=12)), ("2w", timedelta(weeks=2)),
     ("30m", timedelta(minutes=30)), (" 1 d ", timedelta(days=1)), ("0d", AT_ONCE)],
)  # fmt: skip
def test_ages(text, age):
    assert upkeep.age(text) == age


@pytest.mark.parametrize("text", ["90", "d", "-1d", "1.5d", "1y", "", "99999999999d"])
def test_what_is_no_age(text):
    with pytest.raises(UsageError, match="duration"):
        upkeep.age(text)


def test_what_snapshots_name_is_told_by_one_reading(home, monkeypatch):
    """Of every snapshot, after rows were deleted, files put together and snapshots taken."""
    for i in range(6):
        put(home, f"a{i}", product=f"products/{i % 4}.svg")
        put(home, f"b{i}", release="S", product=f"products/S/{i}.svg")
        if i == 2:
            home.store.pin("kept")
            clean(home, AT_ONCE)
        if i == 3:
            monkeypatch.setattr(compaction, "_META_FILES", 2)
            home.store.pin("compacted")
            clean(home, AT_ONCE)
            monkeypatch.undo()
        if i == 4:
            with home.store.commit("one of several rows of a file") as commit:
                assert commit.delete("meta.products", "path = 'products/1.svg'") == 1
    snapshots = [snapshot for (snapshot,) in home.store.sql(upkeep._SNAPSHOTS).fetchall()]
    assert len(snapshots) > 5
    lives = upkeep._lives(home.store, snapshots)
    told = {snapshot: upkeep._named(lives, [snapshot]) for snapshot in snapshots}
    query = "SELECT path FROM meta.products AT (VERSION => {})"
    asked = {
        snapshot: {path for (path,) in home.store.sql(query.format(snapshot)).fetchall()}
        for snapshot in snapshots
    }
    assert told == asked


def test_a_clean_up_asks_as_often_of_many_snapshots_as_of_few(home, monkeypatch):
    asked = []
    read = type(home.store).sql

    def sql(store, query, *args, **options):
        asked.append(query)
        return read(store, query, *args, **options)

    monkeypatch.setattr(type(home.store), "sql", sql)
    numbers = []
    for mark in "ab":
        for i in range(4):
            put(home, f"{mark}{i}", product=f"products/{mark}{i}.svg")
        asked.clear()
        clean(home, AT_ONCE, dry_run=True)
        numbers.append(len(asked))
    assert numbers[0] == numbers[1]
