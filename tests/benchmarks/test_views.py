"""The views of master classes against pandas; run with `-m benchmark -s`.

pandas votes twice: source by source, as the published code does it, and by whole columns, as it
can be done. At 1,000,000 detections the loop takes minutes: LACUS_BENCH_LARGE=1 runs it.
"""

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from lake import contracts, models
from lake.csc.features import CLASSES, PROBABILITIES
from lake.store import Store

pytestmark = pytest.mark.benchmark

LARGE = os.environ.get("LACUS_BENCH_LARGE") == "1"
SIZES = (15_000, 100_000, 1_000_000)
VIEWS = (
    "soft_master_class",
    "hard_master_class",
    "uniquely_classified",
    "ambiguous_classification",
)
# Share of the published sources that have 1, 2, ... 9, 10 detections.
SHARES = np.array([5639, 612, 209, 165, 55, 25, 22, 8, 8, 30]) / 6773


def made_up(rows: int) -> dict[str, pa.Table]:
    """Detections and their class probabilities, about 1.4 to a source, ordered by source."""
    random = np.random.default_rng(2)
    counts = random.choice(len(SHARES), rows, p=SHARES) + 1
    source = np.repeat(np.arange(rows), counts)[:rows]
    names = np.array([f"2CXO J{i:06d}.0-{i % 900_000:06d}" for i in range(source[-1] + 1)])
    likely = random.dirichlet(np.full(len(CLASSES), 0.2), source[-1] + 1)
    weights = likely[source] * random.exponential(1, (rows, len(CLASSES))) + 1e-9
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        "release": pa.repeat("R", rows),
        "name": pa.array(names[source]),
        "obsid": pa.array(random.permutation(rows), pa.int32()),
        "obi": pa.array(np.zeros(rows), pa.int32()),
        "region_id": pa.array(source % 400, pa.int32()),
        "file_sha256": pa.repeat("f" * 64, rows),
    }
    raw = (
        *("ra", "dec", "hard_hm", "hard_hs", "hard_ms", "powlaw_gamma", "bb_kt"),
        *(f"var_{term}_{band}" for term in ("prob", "sigma", "mean") for band in "bhs"),
        *("var_max_b", "var_min_b"),
    )
    detections = columns | {name: pa.array(random.random(rows)) for name in raw}
    detections["file_row"] = pa.array(np.arange(1, rows + 1))
    classified = columns | {
        "method": pa.repeat("softmin", rows),
        **{name: pa.array(probabilities[:, i]) for i, name in enumerate(PROBABILITIES)},
        "detection_class": pa.array(np.array(CLASSES)[probabilities.argmax(axis=1)]),
        "model_id": pa.repeat("m" * 16, rows),
    }
    return {
        name: pa.table({c: table[c] for c in contracts.table(name).by_name if c in table})
        for name, table in (
            ("csc.detections", detections),
            ("csc.class_probabilities", classified),
        )
    }


def in_memory(tables: dict[str, pa.Table]) -> duckdb.DuckDBPyConnection:
    connection = models.in_memory()
    for name, table in tables.items():
        connection.register("rows_in", table)
        connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM rows_in")
        connection.unregister("rows_in")
    return connection


def in_lake(tables: dict[str, pa.Table], directory: Path) -> duckdb.DuckDBPyConnection:
    store = Store(directory)
    store.replace(
        "R", list(tables), tables.items(), fingerprint="f", code_version="1", message="benchmark"
    )
    return store.connect()


def seconds(work: Callable[[], object], repeat: int = 1) -> float:
    best = float("inf")
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def source_by_source(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean, deviation, class of the largest mean and most frequent class of each source."""
    out = []
    for name, group in rows.groupby("name"):
        probabilities = group[list(PROBABILITIES)]
        mean = probabilities.mean()
        soft = CLASSES[int(mean.to_numpy().argmax())]
        hard = Counter(group["detection_class"]).most_common(1)[0][0]
        out.append((name, *mean, *probabilities.std(ddof=0), soft, hard))
    means, deviations = PROBABILITIES, [f"{name}_std" for name in PROBABILITIES]
    return pd.DataFrame(out, columns=["name", *means, *deviations, "soft", "hard"])


def by_whole_columns(rows: pd.DataFrame) -> pd.DataFrame:
    """The same without a loop."""
    groups = rows.groupby("name")
    out = groups[list(PROBABILITIES)].mean()
    deviations = groups[list(PROBABILITIES)].std(ddof=0).add_suffix("_std")
    out["soft"] = np.array(CLASSES)[out.to_numpy().argmax(axis=1)]
    place = rows.groupby("name").cumcount()
    votes = (
        rows.assign(place=place)
        .groupby(["name", "detection_class"])["place"]
        .agg(["size", "min"])
        .reset_index()
        .sort_values(["name", "size", "min"], ascending=[True, False, True])
        .drop_duplicates("name")
        .set_index("name")
    )
    out["hard"] = votes["detection_class"]
    return out.join(deviations).reset_index()


def both_classes(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    return connection.sql(
        "SELECT s.*, h.hard_master_class FROM csc.soft_master_class AS s"
        " JOIN csc.hard_master_class AS h USING (release, name, method) ORDER BY name"
    ).to_arrow_table()


def agree(ours: pa.Table, theirs: pd.DataFrame) -> None:
    theirs = theirs.sort_values("name")
    assert ours["name"].to_pylist() == theirs["name"].tolist()
    assert ours["soft_master_class"].to_pylist() == theirs["soft"].tolist()
    assert ours["hard_master_class"].to_pylist() == theirs["hard"].tolist()
    for name in (*PROBABILITIES, *(f"{name}_std" for name in PROBABILITIES)):
        np.testing.assert_allclose(ours[name].to_numpy(), theirs[name], atol=1e-12)


def test_voting_against_pandas():
    print(f"\n{'detections':>10} {'loop s':>8} {'pandas s':>9} {'views s':>8} {'ratios':>14}")
    for rows in SIZES:
        tables = made_up(rows)
        frame = tables["csc.class_probabilities"].to_pandas().sort_values(["name", "obsid"])
        with in_memory(tables) as connection:
            ours = both_classes(connection)
            fast = seconds(lambda c=connection: both_classes(c), 3)
        columns = seconds(lambda f=frame: by_whole_columns(f))
        agree(ours, by_whole_columns(frame))
        loop = float("nan")
        if rows <= 100_000 or LARGE:
            start = time.perf_counter()
            theirs = source_by_source(frame)
            loop = time.perf_counter() - start
            agree(ours, theirs)
        ratios = f"{loop / fast:.0f}, {columns / fast:.1f}"
        print(f"{rows:>10,} {loop:>8.2f} {columns:>9.2f} {fast:>8.3f} {ratios:>14}")


def test_every_view_from_memory_and_through_a_lake(tmp_path):
    print(f"\n{'detections':>10} {'view':<26} {'rows':>8} {'memory s':>9} {'lake s':>7}")
    for rows in SIZES:
        tables = made_up(rows)
        with in_memory(tables) as memory, in_lake(tables, tmp_path / str(rows)) as lake:
            sums = [0.0, 0.0]
            for view in VIEWS:
                query = f"SELECT * FROM csc.{view}"
                found = memory.sql(query).to_arrow_table().num_rows
                assert lake.sql(query).to_arrow_table().num_rows == found > 0
                took = [
                    seconds(lambda c=connection, q=query: c.sql(q).to_arrow_table(), 3)
                    for connection in (memory, lake)
                ]
                sums = [total + one for total, one in zip(sums, took, strict=True)]
                print(f"{rows:>10,} {view:<26} {found:>8,} {took[0]:>9.3f} {took[1]:>7.3f}")
            print(f"{rows:>10,} {'together':<26} {'':>8} {sums[0]:>9.3f} {sums[1]:>7.3f}")
