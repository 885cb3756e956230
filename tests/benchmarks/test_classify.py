"""Classification speed against the seed's formula; run with `-m benchmark -s`.

In every cluster the seed's formula forms the N x N product of every class and keeps its
diagonal. It runs at 15,000 and 30,000 rows here (the latter needs 5 GB), at 50,000 (13 GB) with
LACUS_BENCH_LARGE=1, which adds 10,000,000 rows for the kernel and for whole tables.
"""

import os
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from scipy.linalg import pinv

from lake.csc.softmin import class_statistics, softmin

pytestmark = pytest.mark.benchmark

LARGE = os.environ.get("LACUS_BENCH_LARGE") == "1"
CLUSTERS, CLASSES, FEATURES = 6, 10, 12
KERNEL_ROWS = (15_000, 100_000, 1_000_000, 10_000_000)


SHARES = np.array([1491, 4097, 4878, 1393, 838, 1810]) / 14507  # of the published clusters


def made_up(rows: int):
    """Normalised features, clusters and labels; 15 % of the rows have one."""
    random = np.random.default_rng(0)
    cluster = random.choice(CLUSTERS, rows, p=SHARES)
    label = np.where(random.random(rows) < 0.15, random.integers(0, CLASSES, rows), -1)
    x = random.random((rows, FEATURES))
    x += 0.05 * label[:, None]
    return x, cluster, label


def seed_formula(x: np.ndarray, cluster: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The formula as the seed evaluates it; unlabelled rows only, in cluster order."""
    out = []
    for k in range(CLUSTERS):
        here = cluster == k
        todo = x[here & (label < 0)]
        distances = np.full((len(todo), CLASSES), np.inf)
        products = []  # the diagonal is a view, which keeps every product alive
        for c in range(CLASSES):
            members = x[here & (label == c)]
            if len(members) < 12:
                continue
            centred = todo - members.mean(axis=0)
            products.append(centred @ pinv(np.cov(members.T)) @ centred.T)
            distances[:, c] = products[-1].diagonal()
        weight = np.exp(-np.abs(distances))
        out.append(weight / weight.sum(axis=1, keepdims=True))
    return np.vstack(out)


def kernel(x: np.ndarray, cluster: np.ndarray, label: np.ndarray) -> np.ndarray:
    statistics = class_statistics(x, cluster, label, CLUSTERS)
    rows = label < 0
    return softmin(x[rows], cluster[rows], statistics)


def seconds(call, repeat: int) -> float:
    best = float("inf")
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def test_seed_formula_against_kernel():
    print(f"\n{'rows':>9} {'seed s':>8} {'kernel s':>9} {'ratio':>7}")
    for rows in (15_000, 30_000, *((50_000,) if LARGE else ())):
        given = made_up(rows)
        _, cluster, label = given
        order = np.concatenate([np.flatnonzero(cluster[label < 0] == k) for k in range(CLUSTERS)])
        start = time.perf_counter()
        theirs = seed_formula(*given)
        slow = time.perf_counter() - start
        np.testing.assert_allclose(kernel(*given)[order], theirs, atol=1e-9)
        del theirs
        fast = seconds(lambda given=given: kernel(*given), 5)
        print(f"{rows:>9,} {slow:>8.2f} {fast:>9.4f} {slow / fast:>7.0f}")


_ALONE = """
    import sys, time
    import numpy as np
    import pyarrow as pa
    from lake.csc.classify import classify
    from lake.csc.features import FEATURES
    from lake.csc.model import ClassModel

    def gib(key):
        # Not getrusage: its maximum survives exec and would be that of the test process.
        lines = open("/proc/self/status").read().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 2**20

    model = ClassModel.from_json(open(sys.argv[1]).read())
    rows, method = int(sys.argv[2]), sys.argv[3]
    random = np.random.default_rng(0)
    table = pa.table({name: random.random(rows) for name in FEATURES})
    before = gib("VmRSS")
    start = time.perf_counter()
    out = classify(model, table, method)
    took = time.perf_counter() - start
    assert out.num_rows == rows
    print(f"{method:>9} {rows:>11,} {took:>8.3f} {before:>9.2f} {gib('VmHWM'):>8.2f}")
"""


@pytest.mark.parametrize("rows", KERNEL_ROWS)
def test_kernel_alone(rows):
    if rows > 1_000_000 and not LARGE:
        pytest.skip("set LACUS_BENCH_LARGE=1")
    x, cluster, label = made_up(min(rows, 1_000_000))
    statistics = class_statistics(x, cluster, label, CLUSTERS)

    def run() -> None:
        # More rows than a million come as batches of a million, as from a table.
        for _ in range(max(1, rows // len(x))):
            softmin(x, cluster, statistics)

    took = seconds(run, 3 if rows <= 1_000_000 else 1)
    print(f"\nsoftmin kernel {rows:>11,} rows {took:8.3f} s")


@pytest.mark.parametrize("method", ["softmin", "posterior"])
def test_whole_tables(method, tmp_path):
    """Table in, table out, each size in a process of its own for its peak memory."""
    import pyarrow as pa

    from lake.csc.features import FEATURES as NAMES
    from lake.csc.model import train

    random = np.random.default_rng(1)
    names = ["QSO", "AGN", "HMXB", "YSO", None]
    table = pa.table(
        {"name": [f"s{i}" for i in range(6000)]}
        | {name: random.random(6000) for name in NAMES}
        | {"main_type": random.choice(np.array(names, dtype=object), 6000)}
    )
    path = tmp_path / "model.json"
    path.write_text(train(table).to_json())
    print(f"\n{'method':>9} {'rows':>11} {'s':>8} {'GiB in':>9} {'GiB peak':>8}")
    for rows in (15_000, 100_000, 1_000_000, *((10_000_000,) if LARGE else ())):
        script = [sys.executable, "-c", textwrap.dedent(_ALONE), str(path), str(rows), method]
        done = subprocess.run(script, check=True, capture_output=True, text=True)
        print(done.stdout, end="")
