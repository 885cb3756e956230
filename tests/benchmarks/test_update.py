"""One of a hundred files changes: what the lake does again, in lakes of different size.

Run with `-m benchmark -s`. The first run of 1,000,000 detections takes minutes: LACUS_BENCH_LARGE=1
runs it.
"""

import os
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import lake
from lake.csc import standing
from lake.formats import read_table
from lake.home import Source
from lake.sample.csc import write_sample
from pipelines.cli import main

pytestmark = pytest.mark.benchmark

SIZES = (20_000, 100_000, 1_000_000) if os.environ.get("LACUS_BENCH_LARGE") == "1" else (
    20_000, 100_000
)  # fmt: skip
SLICES = 100
STEPS = {"ingest": "csc.detections", "classify, views, checks": None}


def slices(table: pa.Table, directory: Path) -> list[Path]:
    directory.mkdir()
    paths = [directory / f"{i:03d}.parquet" for i in range(SLICES)]
    for i, path in enumerate(paths):
        first, end = (table.num_rows * j // SLICES for j in (i, i + 1))
        pq.write_table(table.slice(first, end - first), path)
    return paths


def change(path: Path) -> None:
    """Every detection of a file gets another photon index."""
    table = pq.read_table(path)
    i = table.column_names.index("powlaw_gamma")
    other = pc.add(table.column(i), 0.1)
    pq.write_table(table.set_column(i, table.schema.field(i), other), path)


def run(home: lake.Home) -> list[float]:
    """Bring a home up to date; CPU seconds of each step (the machine may have other work)."""
    spent = []
    for selection in STEPS.values():
        start = time.process_time()
        words = ["--home", str(home.root), "run", *([selection] if selection else [])]
        result = CliRunner().invoke(main, words, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        spent.append(time.process_time() - start)
    return spent


def test_one_percent_changes(tmp_path):
    print(f"\nCPU seconds {'':<20}" + "".join(f"{step:>25}" for step in STEPS) + f"{'all':>9}")
    for size in SIZES:
        sample = write_sample(tmp_path / f"sample-{size}", size=size)
        table = read_table(sample["detections"])
        paths = slices(table, tmp_path / f"in-{size}")
        home = lake.open(tmp_path / f"home-{size}")
        home.add(Source("csc", "R", "detections", (paths[0].parent,)))
        home.add(Source("csc", "R", "labels", (sample["labels"],)))
        first = run(home)
        model = standing.row(home.store, "R")
        change(paths[SLICES // 2])
        again = run(home)
        now = standing.row(home.store, "R")
        assert (now["model_id"], now["detections"]) == (model["model_id"], size)
        assert 0 < now["changed_detections"] <= size / SLICES
        nothing = run(home)
        rows = {"first": first, "1 % changed": again, "nothing changed": nothing}
        for name, spent in rows.items():
            figures = "".join(f"{s:>25.1f}" for s in spent) + f"{sum(spent):>9.1f}"
            print(f"{size:>9,} {name:<22}{figures}")
