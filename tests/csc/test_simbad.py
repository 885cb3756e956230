"""Types from SIMBAD for the sources of a lake, over TAP uploads."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake.csc.simbad import nearest
from lake.errors import UsageError
from lake.fetch import session as http
from lake.fetch.archives import Fetched, fetch, refetch
from lake.fetch.session import Session
from lake.formats import read_parquet
from lake.home import Home, Source, open
from lake.ingest import ingest
from tests.csc.archives import simbad
from tests.fetch.server import Fault
from tests.fetch.tap_server import TapServer

ARCSEC = 1 / 3600
#: Name, ra, dec of the lake's sources.
SOURCES = [(f"S{i:03d}", 3.0 + 8.7 * i, -80.0 + 4.0 * i) for i in range(41)]
#: oid, main_id, otype, otypes, ra, dec.
OBJECTS = [
    (1, "far", "QSO", "QSO|X", SOURCES[0][1], SOURCES[0][2] + 0.8 * ARCSEC),
    (2, "near", "HXB", "HXB|X|*", SOURCES[0][1], SOURCES[0][2] - 0.3 * ARCSEC),
    (3, "b tie", "Sy1", "Sy1", SOURCES[1][1], SOURCES[1][2] + 0.5 * ARCSEC),
    (4, "a tie", "G", None, SOURCES[1][1], SOURCES[1][2] + 0.5 * ARCSEC),
    (5, "NGC  5 'x' & <y>", "Y*O", "Y*O", SOURCES[5][1], SOURCES[5][2]),
    (6, "too far", "AGN", "AGN", SOURCES[6][1], SOURCES[6][2] + 1.2 * ARCSEC),
    (7, "last", "*", "*", SOURCES[40][1], SOURCES[40][2]),
    (8, "new", "QSO", "QSO", 140.0, 10.0),
]  # fmt: skip


@pytest.fixture
def server():
    with TapServer() as running:
        running.load(simbad(OBJECTS))
        yield running


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No test waits."""

    def pause(self, seconds):
        if self.stop.is_set():
            raise http.Stopped

    monkeypatch.setattr(Session, "pause", pause)


def make(root: Path, rows: int = 10, sources: list[tuple[str, float, float]] = SOURCES) -> Home:
    """A home with detections, two of every third source."""
    home = open(root)
    root.mkdir()
    home.sources_file.write_text(
        f"[archives.simbad]\nrows = {rows}\nparallel = 1\nrequests_per_second = 1000\n"
    )
    lake(home, sources)
    return home


def lake(home: Home, sources: list[tuple[str, float, float]]) -> None:
    again = [s for i, s in enumerate(sources) if i % 3 == 0]
    name, ra, dec = zip(*sources, *again, strict=True)
    path = home.root / f"detections-{len(name)}.parquet"
    obsid = list(range(len(name)))
    pq.write_table(pa.table({"name": name, "obsid": obsid, "ra": ra, "dec": dec}), path)
    home.add(Source("csc", "R", "detections", (path,)))
    assert ingest(home, "csc", "R").rejected == []


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("simbad") / "home").root


@pytest.fixture
def home(template, tmp_path) -> Home:
    shutil.copytree(template, tmp_path / "home")
    return open(tmp_path / "home")


def get(home: Home, server: TapServer, **parameters: str) -> Fetched:
    return fetch(home, "simbad", "R", parameters, url=server.tap)


def files(home: Home) -> dict[str, bytes]:
    folder = home.root / "archive/csc/R/simbad"
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.parquet"))}


def labels(home: Home) -> list[dict]:
    folder = home.root / "archive/csc/R/simbad"
    parts = [read_parquet(path) for path in sorted(folder.glob("*.parquet"))]
    return pa.concat_tables(parts).sort_by("name").to_pylist()


def test_every_source_gets_its_nearest_object_within_an_arcsecond(home, server):
    get(home, server)
    found = labels(home)
    assert [
        (row["name"], row["main_id"], row["main_type"], row["other_types"]) for row in found
    ] == [
        ("S000", "near", "HXB", "HXB|X|*"),
        ("S001", "a tie", "G", None),
        ("S005", "NGC  5 'x' & <y>", "Y*O", "Y*O"),
        ("S040", "last", "*", "*"),
    ]
    assert [row["separation_arcsec"] for row in found] == pytest.approx([0.3, 0.5, 0, 0], abs=1e-6)
    assert {row["catalogue"] for row in found} == {"SIMBAD"}
    assert len(server.uploaded) == len(server.asked("async")) > 2
    assert max(table.num_rows for table in server.uploaded) <= 10
    assert sum(table.num_rows for table in server.uploaded) == len(SOURCES)
    assert server.jobs == {}


def test_the_radius_can_be_another(home, server):
    get(home, server, radius="0.4arcsec")
    assert [row["main_id"] for row in labels(home)] == ["near", "NGC  5 'x' & <y>", "last"]
    get(home, server, radius="1.3")
    assert "too far" in [row["main_id"] for row in labels(home)]
    with pytest.raises(UsageError, match="is not an angle"):
        get(home, server, radius="wide")


def test_labels_go_into_the_lake_with_their_origin(home, server):
    get(home, server)
    outcome = ingest(home, "csc", "R")
    assert outcome.rejected == []
    rows = home.sql(
        "SELECT l.name, l.main_type, f.url, f.query FROM csc.labels AS l"
        " JOIN meta.files AS f ON f.sha256 = l.file_sha256 ORDER BY l.name"
    ).fetchall()
    assert [row[:3] for row in rows] == [
        ("S000", "HXB", server.tap), ("S001", "G", server.tap), ("S005", "Y*O", server.tap),
        ("S040", "*", server.tap),
    ]  # fmt: skip
    assert "CONTAINS(POINT('ICRS', b.ra, b.dec)" in rows[0][3]
    assert "-- sources: 10 of csc R, 0 <= ra < 90" in rows[0][3]
    # Nothing has changed: neither there nor here.
    assert refetch(home, "csc", "R") == []
    before = files(home)
    server.load({"basic": simbad(OBJECTS)["basic"].set_column(
        5, "update_date", pa.array(["2026-02-02"] * len(OBJECTS)))})  # fmt: skip
    (again,) = refetch(home, "csc", "R")
    assert (again.new, again.changed, again.removed) == ([], [], [])
    assert files(home) == before
    assert ingest(home, "csc", "R").snapshot is None
    assert home.store.snapshot() == outcome.snapshot


def test_a_new_source_changes_its_batch_alone(home, server):
    get(home, server)
    before, asked = files(home), len(server.uploaded)
    lake(home, [("NEW", 50.0, 10.0), ("NEWER", 140.0, 10.0)])
    get(home, server)
    assert [row["main_id"] for row in labels(home)].count("new") == 1
    whole = files(home)
    # One batch has its first match; another was full, and is two now, whose sources are matched
    # as they were; the third stays.
    assert set(whole) - set(before) == {
        "simbad-ra135.000000-180.000000.parquet", "simbad-ra000.000000-045.000000.parquet",
        "simbad-ra045.000000-090.000000.parquet",
    }  # fmt: skip
    assert set(before) - set(whole) == {"simbad-ra000.000000-090.000000.parquet"}
    last = "simbad-ra270.000000-360.000000.parquet"
    assert whole[last] == before[last]
    again = [table.num_rows for table in server.uploaded[asked:]]
    assert sorted(again) == [5, 6, 6, 6, 10]  # without the third; what has no match has no file


def test_a_lake_without_detections_is_told(tmp_path, home, server):
    with pytest.raises(UsageError, match=r"no detections of csc R .* then `lacus run`"):
        fetch(open(tmp_path / "none"), "simbad", "R", {}, url=server.tap)
    with pytest.raises(UsageError, match="no detections of csc R2"):
        fetch(home, "simbad", "R2", {}, url=server.tap)
    assert server.seen == []


def test_the_nearest_is_found_in_any_order_of_the_matches():
    rng = np.random.default_rng(3)
    sources = pa.table({"name": ["B", "A", "C"], "ra": [359.9999, 10.0, 20.0], "dec": [89.9, 0, 5]})
    ra = [0.0001, 359.9999, 10.0, 10.0, 10.0]
    dec = [89.9, 89.9003, 0.0001, -0.0001, 0.0002]
    found = pa.table(
        {
            "source": [0, 0, 1, 1, 1], "main_id": ["b1", "b2", "z", "y", "x"],
            "otype": ["X  ", "G", "Q?", "QSO", "*"], "otypes": ["X", None, "a", "b", "c"],
            "ra": ra, "dec": dec,
        }
    )  # fmt: skip
    wanted = nearest(sources, found).to_pylist()
    assert [(r["name"], r["main_id"], r["main_type"]) for r in wanted] == [
        ("A", "y", "QSO"), ("B", "b1", "X"),
    ]  # fmt: skip
    for _ in range(5):
        mixed = found.take(pa.array(rng.permutation(5)))
        assert nearest(sources, mixed).to_pylist() == wanted
    assert nearest(sources, found.slice(0, 0)).num_rows == 0


def test_a_service_that_does_not_say_when_it_changed_is_asked_again(home, server):
    objects = simbad(OBJECTS)
    server.load({"basic": objects["basic"].drop_columns(["update_date"])})
    get(home, server)
    before, asked = files(home), len(server.uploaded)
    (again,) = refetch(home, "csc", "R")
    assert (again.new, again.changed, again.removed) == ([], [], [])
    assert files(home) == before
    assert len(server.uploaded) == 2 * asked


_CHILD = """
import sys
from lake.fetch.archives import fetch
from lake.home import open
root, url = sys.argv[1:]
fetch(open(root), "simbad", "R", {}, url=url)
"""


def test_a_fetch_that_is_killed_goes_on(home, server, tmp_path):
    def asked() -> int:
        return len(server.asked("async"))

    command = [sys.executable, "-c", _CHILD, str(home.root), server.tap]
    with subprocess.Popen(command) as process:
        while process.poll() is None and asked() < 3:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    came = files(home)
    assert home.sources()[-1].role == "detections"
    get(home, server)
    again = asked()
    whole = files(home)
    assert set(came.items()) <= set(whole.items())
    folder = home.root / "archive/csc/R/simbad"
    for path in folder.iterdir():
        path.unlink()
    get(home, server)
    assert files(home) == whole
    assert again <= 2 * (asked() - again)


def test_a_cut_result_is_resumed(home, server):
    server.fault("/tap/async/j2/results/result", Fault(cut_after=200))
    get(home, server)
    results = [s.status for s in server.seen if s.path == "/tap/async/j2/results/result"]
    assert results == [200, 206]
    assert len(labels(home)) == 4
