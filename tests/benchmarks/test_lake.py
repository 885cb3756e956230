"""Round trip of a catalogue through the lake, against astropy and pandas: `-m benchmark -s`."""

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lake
from lake import inputs, watch
from lake.commit import now
from lake.export import Origin, export
from lake.formats import read_table
from lake.home import Home, Source
from lake.ingest import ingest
from lake.query import annotated
from lake.sample.csc import RELEASE, SIZES, write_sample
from pipelines.defs import derivations
from pipelines.update import update

pytestmark = pytest.mark.benchmark

ROWS = SIZES["medium"]
ORIGIN = Origin("Benchmark", "csc.detections", None, (), "2026-01-01T00:00:00Z", "lacus")


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> dict[str, Path]:
    return write_sample(tmp_path_factory.mktemp("sample"), size="medium")


def filled(root: Path, sample: dict[str, Path], roles: tuple[str, ...]) -> Home:
    home = lake.open(root)
    for role in roles:
        home.add(Source("csc", RELEASE, role, (sample[role],)))
    outcome = ingest(home, "csc", RELEASE)
    assert not outcome.rejected
    return home


def with_astropy(path: Path) -> Any:
    """Whole file to pandas."""
    from astropy.io import votable

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = votable.parse(path).get_first_table().to_table(use_names_over_ids=True)
        return table.to_pandas()


def test_ingest_against_astropy(sample, tmp_path):
    """VOTable to a committed release, against VOTable to a data frame and to a Parquet file."""
    few = write_sample(tmp_path / "few", size=500)
    filled(tmp_path / "warm", few, ("detections",))  # imports, extensions and contracts
    theirs, frame = timed(lambda: with_astropy(sample["detections"]))
    to_parquet, _ = timed(lambda: frame.to_parquet(tmp_path / "frame.parquet"))
    ours, home = timed(lambda: filled(tmp_path / "home", sample, ("detections",)))
    rows = home.sql("SELECT count(*) FROM csc.detections").fetchone()
    assert rows == (ROWS,) == (len(frame),)
    again, _ = timed(lambda: ingest(home, "csc", RELEASE))
    size = sample["detections"].stat().st_size / 1e6
    print(f"\n{ROWS:,} detections, VOTable of {size:.0f} MB")
    print(f"{'astropy to pandas':<34} {theirs:>8.2f} s")
    print(f"{'... and to Parquet':<34} {theirs + to_parquet:>8.2f} s")
    print(f"{'lake.ingest, committed':<34} {ours:>8.2f} s  {(theirs + to_parquet) / ours:>6.1f} x")
    print(f"{'lake.ingest again, unchanged':<34} {again:>8.2f} s")


def test_query_and_export_against_pandas(sample, tmp_path):
    from astropy.table import Table

    home = filled(tmp_path / "home", sample, ("detections", "labels"))
    frame = with_astropy(sample["detections"])
    query = (
        "SELECT instrument, count(*) AS n, avg(theta) AS theta, max(flux_aper_b) AS flux"
        " FROM csc.detections GROUP BY instrument ORDER BY instrument"
    )

    def by_pandas() -> list[tuple[Any, ...]]:
        groups = frame.groupby("instrument")
        summary = groups.agg(n=("name", "size"), theta=("theta", "mean"), flux=("flux_aper_b", max))
        return list(summary.itertuples())

    assert len(home.sql(query).fetchall()) == len(by_pandas()) == 2

    def exported(name: str) -> int:
        return export(annotated(home.store, "csc.detections"), tmp_path / name, ORIGIN)

    def astropy_votable() -> None:
        table = Table.from_pandas(frame)
        table.write(tmp_path / "astropy.vot", format="votable", tabledata_format="binary2")

    steps: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "query of 3 columns": (lambda: home.sql(query).fetchall(), by_pandas),
        "export to Parquet": (
            lambda: exported("ours.parquet"),
            lambda: frame.to_parquet(tmp_path / "pandas.parquet"),
        ),
        "export to VOTable": (lambda: exported("ours.vot"), astropy_votable),
    }
    print(f"\n{ROWS:,} detections{'':<8} {'lake s':>8} {'theirs s':>9} {'ratio':>7}")
    for step, (mine, other) in steps.items():
        ours = min(timed(mine)[0] for _ in range(2))
        theirs, _ = timed(other)
        print(f"{step:<25} {ours:>8.3f} {theirs:>9.3f} {theirs / ours:>7.1f}")
    for name in ("ours.parquet", "ours.vot"):
        assert read_table(tmp_path / name).num_rows == ROWS


def test_a_run_on_100000_known_files(tmp_path):
    """`lacus run` where nothing has changed: each file is looked at, nothing is written."""
    files = 100_000
    home = lake.open(tmp_path / "home")
    home.add(Source("sdss", "R", "spectra", (known_files(tmp_path / "in", files),)))
    remember(home, "sdss", "R", tmp_path / "in")
    before = home.store.snapshot()
    update(home, home.releases(), None, 1)  # imports, extensions and contracts
    start = time.process_time()
    taken, code = timed(lambda: update(lake.open(home.root), home.releases(), None, 1))
    cpu = time.process_time() - start
    seen, _ = timed(lambda: watch.look(home, "sdss", "R"))
    assert code == 0
    assert home.store.snapshot() == before
    print(f"\n{files:,} known files, unchanged")
    print(f"{'lacus run':<34} {taken:>8.2f} s {cpu:>8.2f} s of CPU")
    print(f"{'a look of the sensor':<34} {seen:>8.2f} s")


def known_files(folder: Path, number: int) -> Path:
    for i in range(number):
        if i % 1000 == 0:
            (folder / f"{i // 1000:04d}").mkdir(parents=True)
        (folder / f"{i // 1000:04d}" / f"spec-{i}.fits").write_bytes(b"%d" % i)
    return folder


def remember(home: Home, mission: str, release: str, folder: Path) -> None:
    """Let the lake know all files and derived tables of a release, as runs would leave it."""
    (source,) = home.sources()
    role = inputs.role(mission, source.role)
    rows = [
        {
            "mission": mission, "release": release, "role": role.name, "name": path.name,
            "path": str(path), "size": path.stat().st_size, "mtime_ns": path.stat().st_mtime_ns,
            "sha256": f"{i:064x}", "options": "{}", "reader_version": role.version,
            "status": "committed", "reason": None, "rows_read": 1, "rows_committed": 1,
            "rows_rejected": 0, "ingested_at": now(), "snapshot": 1,
        }
        for i, path in enumerate(inputs.files_below(folder, role.suffixes))
    ]  # fmt: skip
    with home.store.commit("files") as commit:
        commit.insert("meta.files", rows)
        commit.record(release, dict.fromkeys(inputs.tables(mission), ("files", "1")))
    for derivation in derivations(mission):
        if not derivation.on_request:
            print_ = derivation.fingerprint(home.store, release)
            with home.store.commit("derived") as commit:
                commit.record(
                    release, dict.fromkeys(derivation.tables, (print_, derivation.version))
                )
