"""The Chandra Source Catalog over TAP, from a service that answers as its own does."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lake.csc.archive import CSC
from lake.errors import UsageError
from lake.fetch import session as http
from lake.fetch.archives import Fetched, fetch, refetch
from lake.fetch.folder import Folder
from lake.fetch.session import FetchError, Session
from lake.formats import read_parquet
from lake.home import Home, open
from lake.ingest import ingest
from tests.csc.archives import catalogue, expected
from tests.fetch.server import Fault
from tests.fetch.tap_server import TapServer

TABLES = catalogue()
EXPECTED = expected(TABLES)
KEY = [("name", "ascending"), ("obsid", "ascending")]


@pytest.fixture
def server():
    with TapServer(geometry=False, redirects=True, serialization="tabledata") as running:
        running.load(TABLES)
        yield running


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No test waits."""

    def pause(self, seconds):
        if self.stop.is_set():
            raise http.Stopped

    monkeypatch.setattr(Session, "pause", pause)


@pytest.fixture
def home(tmp_path) -> Home:
    return open(tmp_path / "home")


def settings(home: Home, **values: object) -> None:
    home.root.mkdir(parents=True, exist_ok=True)
    lines = [f"{key} = {value}" for key, value in values.items()]
    text = home.sources_file.read_text() if home.sources_file.exists() else ""
    home.sources_file.write_text(text + "\n".join(["[archives.csc]", *lines]) + "\n")


def get(home: Home, server: TapServer, release: str = "CSC2.1", **parameters: str) -> Fetched:
    return fetch(home, "csc", release, parameters, url=server.tap)


def folder(home: Home, release: str = "CSC2.1") -> Path:
    return home.root / "archive/csc" / release / "csc"


def files(home: Home) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder(home).glob("*.parquet")}


def rows(home: Home) -> pa.Table:
    parts = [read_parquet(path) for path in sorted(folder(home).glob("*.parquet"))]
    return pa.concat_tables(parts).sort_by(KEY)


def listed(found: dict) -> list[dict]:
    return [found[key] for key in sorted(found)]


def changed(name: str, column: str, at: int, value: object) -> dict[str, pa.Table]:
    """The catalogue with one value changed."""
    table = TABLES[f"csc21.{name}"]
    values = table[column].to_pylist()
    values[at] = value
    place = table.column_names.index(column)
    table = table.set_column(place, table.field(column), pa.array(values, table[column].type))
    return TABLES | {f"csc21.{name}": table}


def test_the_whole_catalogue_comes_as_the_method_selects_it(home, server):
    settings(home, rows=12)
    done = get(home, server)
    table = rows(home)
    assert table.to_pylist() == listed(EXPECTED)
    assert len(EXPECTED) > 40
    assert table.schema.field("theta").metadata[b"unit"] == b"arcmin"
    assert set(done.new) == set(files(home))
    sizes = [pa.parquet.read_metadata(path).num_rows for path in folder(home).glob("*.parquet")]
    assert max(sizes) <= 12
    assert server.jobs == {}
    assert {path.name for path in folder(home).iterdir()} == {
        *files(home), ".fetched.jsonl", ".fetch.lock",
    }  # fmt: skip


def test_every_file_is_noted_with_its_query(home, server):
    get(home, server, cone="25 0 8")
    entries = Folder(folder(home)).entries
    assert set(entries) == set(files(home))
    for entry in entries.values():
        assert entry.url == server.tap
        assert entry.query in server.asked("async")
        assert entry.query.endswith("ORDER BY name, obsid, obi, region_id")
    (source,) = home.sources()
    assert dict(source.fetch) == {"archive": "csc", "url": server.tap, "cone": "25 0 8"}


@pytest.mark.parametrize(
    "cone",
    ["25 0 8", "359.5 3 5deg", "0:2:00 -00:30:00 480arcmin", "25 0 6arcmin", "20 80 85"],
)
def test_a_cone_holds_what_lies_in_the_circle_and_nothing_else(home, server, cone):
    ra, dec, radius = {
        "25 0 8": (25, 0, 8), "359.5 3 5deg": (359.5, 3, 5), "25 0 6arcmin": (25, 0, 0.1),
        "0:2:00 -00:30:00 480arcmin": (0.5, -0.5, 8), "20 80 85": (20, 80, 85),
    }[cone]  # fmt: skip

    def vector(ra: float, dec: float) -> np.ndarray:
        a, d = np.radians([ra, dec])
        return np.array([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])

    centre, limit = vector(ra, dec), np.cos(np.radians(radius))
    inside = {k: r for k, r in EXPECTED.items() if vector(r["ra"], r["dec"]) @ centre >= limit}
    if not inside:
        with pytest.raises(UsageError, match="nothing of what was asked for"):
            get(home, server, cone=cone)
        assert home.sources() == []
        return
    assert len(inside) < len(EXPECTED)
    get(home, server, cone=cone)
    assert rows(home).to_pylist() == listed(inside)


@pytest.mark.parametrize(
    ("cone", "problem"),
    [
        ("25 0", "a cone is RA DEC RADIUS"),
        ("25 0 8parsec", "'8parsec' is not an angle"),
        ("25 0 -1", "'-1' is not an angle"),
        ("25 0 1.2.3", "is not an angle"),
        ("25 95 1", "DEC from -90 to 90"),
        ("east 0 1", "RA 'east': expected degrees or hh:mm:ss"),
    ],
)
def test_what_is_no_cone_is_told(home, server, cone, problem):
    with pytest.raises(UsageError, match=problem):
        get(home, server, cone=cone)
    assert server.queries == []


def test_an_unchanged_archive_gives_no_new_file_and_no_new_snapshot(home, server):
    get(home, server, cone="25 0 8")
    before = files(home)
    outcome = ingest(home, "csc", "CSC2.1")
    found = home.sql("SELECT name, obsid, obi, region_id, bb_kt FROM csc.detections").fetchall()
    assert len(found) == len(rows(home))
    assert all(EXPECTED[row[0], row[1]]["bb_kt"] == row[4] for row in found)
    urls = home.sql("SELECT DISTINCT url, query LIKE 'SELECT m.name%' FROM meta.files").fetchall()
    assert urls == [(server.tap, True)]
    asked = len(server.asked("async"))
    assert refetch(home, "csc", "CSC2.1") == []
    again = get(home, server, cone="25 0 8")
    assert (again.new, again.changed, again.removed) == ([], [], [])
    assert len(server.asked("async")) == asked
    assert files(home) == before
    assert ingest(home, "csc", "CSC2.1").snapshot is None
    assert home.store.snapshot() == outcome.snapshot


def test_a_change_at_the_archive_changes_one_file(home, server):
    settings(home, rows=12)
    get(home, server, cone="25 0 12")
    before = files(home)
    assert len(before) > 1
    asked = len(server.asked("async"))
    obsid = rows(home)["obsid"][0].as_py()
    at = TABLES["csc21.observation_source"]["obsid"].to_pylist().index(obsid)
    server.load(changed("observation_source", "var_max_s", at, 123.5))
    (done,) = refetch(home, "csc", "CSC2.1")
    assert (done.new, len(done.changed), done.removed) == ([], 1, [])
    assert len(server.asked("async")) == asked + 1
    assert {n for n, b in files(home).items() if before[n] != b} == set(done.changed)
    assert 123.5 in rows(home)["var_max_s"].to_pylist()


def test_answers_that_differ_in_dates_and_serialisation_alone_are_the_same(home, server):
    get(home, server, cone="25 0 8")
    before = {name: (entry.sha256, entry.retrieved_at)
              for name, entry in Folder(folder(home)).entries.items()}  # fmt: skip
    (folder(home) / ".fetched.jsonl").write_text("")  # all has to be had again
    server.serialization = "binary2"
    asked = len(server.asked("async"))
    get(home, server, cone="25 0 8")
    assert len(server.asked("async")) > asked
    assert {n: e.sha256 for n, e in Folder(folder(home)).entries.items()} == {
        name: digest for name, (digest, _) in before.items()
    }


def test_a_cut_answer_is_asked_for_in_halves(home, server):
    server.max_rows = 7
    get(home, server, cone="25 0 12")
    whole = rows(home).to_pylist()
    server.max_rows = None
    other = open(home.root.parent / "other")
    get(other, server, cone="25 0 12")
    assert whole == rows(other).to_pylist()
    assert len(files(home)) > len(files(other))
    # And again: what has come is not asked for once more.
    server.max_rows, asked = 7, len(server.asked("async"))
    before = files(home)
    get(home, server, cone="25 0 12")
    assert files(home) == before
    assert len(server.asked("async")) - asked < len(before)


def test_rows_that_a_service_holds_back_without_a_word_are_missed(home, server):
    server.silent_max_rows = 7
    with pytest.raises(FetchError, match=r"7 rows of detections-.* came; expected \d+"):
        get(home, server, cone="25 0 12")
    assert files(home) == {}


def test_a_slice_that_cannot_be_had_leaves_the_others_and_is_asked_for_again(home, server):
    other = open(home.root.parent / "other")
    for each in (home, other):
        settings(each, rows=5, parallel=1, tries=2)
    get(other, server, cone="25 0 12")
    results = [s.path for s in server.seen if s.path.endswith("results/result")]
    assert len(results) > 2
    server._made = 0  # the jobs have the same numbers again
    server.always(results[1], Fault(status=500))
    done = get(home, server, cone="25 0 12")
    (failure,) = done.failures
    assert failure.url.endswith(results[1])
    assert len(files(home)) == len(results) - 1
    server.heal()
    asked = len(server.asked("async"))
    (again,) = refetch(home, "csc", "CSC2.1")
    assert (len(again.new), again.failures) == (1, [])
    assert files(home) == files(other)
    assert len(server.asked("async")) == asked  # the job had come to its end


def test_a_job_from_before_a_change_at_the_archive_is_not_taken_up(home, server):
    settings(home, tries=1)
    other = open(home.root.parent / "other")
    get(other, server, cone="25 0 8")
    path = next(s.path for s in server.seen if s.path.endswith("results/result"))
    server._made = 0  # the job has the same number again
    server.always(path, Fault(status=500))
    with pytest.raises(FetchError, match="500"):
        get(home, server, cone="25 0 8")
    assert len(server.jobs) == 1
    server.heal()
    obsid = rows(other)["obsid"][0].as_py()
    at = TABLES["csc21.observation_source"]["obsid"].to_pylist().index(obsid)
    server.load(changed("observation_source", "gti_stop", at, 123.5))
    get(home, server, cone="25 0 8")
    assert 123.5 in rows(home)["gti_stop"].to_pylist()
    assert server.jobs == {}


def test_a_users_own_query_is_one_file(home, server):
    adql = "SELECT m.name, o.obsid, m.ra FROM csc21.master_source m, csc21.observation_source o\n"
    adql += "WHERE m.name = '2CXO J000001.0+000000' AND o.obsid < 1003"
    get(home, server, adql=adql)
    assert rows(home).to_pydict()["obsid"] == [1000, 1001, 1002]
    (entry,) = Folder(folder(home)).entries.values()
    assert (entry.name, entry.query) == ("detections.parquet", adql)
    # Whether it would give something else cannot be told without running it; it does not.
    before = files(home)
    (again,) = refetch(home, "csc", "CSC2.1")
    assert (again.new, again.changed, again.kept) == ([], [], 1)
    assert files(home) == before


def test_a_users_own_query_that_is_cut_or_wrong_is_told(home, server):
    adql = "SELECT o.obsid FROM csc21.observation_source o"
    server.max_rows = 5
    with pytest.raises(FetchError, match=r"gives only 5 rows.*ask for less of it at a time"):
        get(home, server, adql=adql)
    with pytest.raises(FetchError, match="nothing"):
        get(home, server, adql="SELECT o.nothing FROM csc21.observation_source o")
    with pytest.raises(UsageError, match="either a query"):
        get(home, server, adql=adql, cone="1 2 3")


def test_a_users_own_query_without_the_required_columns_is_rejected_at_the_ingest(home, server):
    get(home, server, adql="SELECT o.obsid FROM csc21.observation_source o")
    (rejected,) = ingest(home, "csc", "CSC2.1").rejected
    assert "'name'" in rejected.reason


def test_the_service_and_its_schema_follow_the_release(home, server):
    server.load(catalogue(schema="csc2"))
    get(home, server, release="CSC2.0-m31", cone="25 0 8")
    assert all("csc2.master_source" in query for _, query in server.queries)
    with pytest.raises(UsageError, match=r"CSC2.0 and CSC2.1, .* not 'CSC1'"):
        get(home, server, release="CSC1", cone="25 0 2")
    assert CSC.url == "https://cda.cfa.harvard.edu/csc21tap"


_CHILD = """
import sys
from lake.fetch.archives import fetch
from lake.home import open
root, url = sys.argv[1:]
fetch(open(root), "csc", "CSC2.1", {"cone": "25 0 12"}, url=url)
"""


@pytest.mark.parametrize("at", ["/tap/async", "results/result"])
def test_a_fetch_that_is_killed_ends_as_one_that_was_left_alone(home, server, at):
    undisturbed = open(home.root.parent / "undisturbed")
    for each in (home, undisturbed):
        settings(each, rows=5, requests_per_second=1000, parallel=1)
    get(undisturbed, server, cone="25 0 12")
    jobs = len(files(undisturbed))
    assert jobs > 4
    command = [sys.executable, "-c", _CHILD, str(home.root), server.tap]
    before = len(server.seen)

    def reached() -> bool:
        paths = [s.path for s in server.seen[before:] if s.path.endswith(at)]
        return len(paths) >= jobs // 2

    with subprocess.Popen(command) as process:
        while process.poll() is None and not reached():
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert home.sources() == []
    came = files(home)
    assert 0 < len(came) < jobs
    asked = len(server.asked("async"))
    get(home, server, cone="25 0 12")
    assert files(home) == files(undisturbed)
    assert len(server.asked("async")) - asked <= jobs - len(came)
