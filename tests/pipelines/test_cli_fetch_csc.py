"""`lacus fetch csc` and `lacus fetch simbad`: what they ask for, and what they say."""

import pytest

import lake
from lake.fetch.session import Session
from lake.formats import read_parquet
from lake.ingest import ingest
from tests.csc.archives import catalogue, simbad
from tests.fetch.tap_server import TapServer


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    monkeypatch.setattr(Session, "pause", lambda self, seconds: None)


@pytest.fixture
def server():
    with TapServer() as running:
        running.load(catalogue())
        yield running


@pytest.fixture
def fetch(lacus, server, tmp_path):
    def call(*words):
        return lacus("fetch", *words, "--url", server.tap, home=tmp_path / "home")

    return call


def request(tmp_path) -> dict[str, str]:
    (source,) = lake.open(tmp_path / "home").sources()
    return dict(source.fetch)


def test_a_cone_is_fetched_and_its_types_after_it(fetch, server, tmp_path):
    done = fetch("csc", "-r", "CSC2.1", "--cone", "01 40 00", "-00:30:00", "8 deg")
    assert done.exit_code == 0, done.output
    assert "csc CSC2.1 detections: " in done.stderr
    assert request(tmp_path)["cone"] == "01:40:00 -00:30:00 8deg"

    home = lake.open(tmp_path / "home")
    done = fetch("simbad")
    assert done.exit_code == 2
    assert "the lake has no detections of csc CSC2.1 with a position" in done.stderr
    ingest(home, "csc", "CSC2.1")
    (ra, dec) = home.sql("SELECT ra, dec FROM csc.detections ORDER BY name LIMIT 1").fetchone()
    server.load(simbad([(1, "it", "HXB", "HXB|X", ra, dec)]))
    for words in ((), ("--release", "csc:CSC2.1", "--radius", "2arcsec")):
        done = fetch("simbad", *words)
        assert done.exit_code == 0, done.output
        assert "csc CSC2.1 labels: " in done.stderr
    (path,) = (home.root / "archive/csc/CSC2.1/simbad").glob("*.parquet")
    assert read_parquet(path)["main_type"].to_pylist() == ["HXB"]


def test_a_query_of_ones_own_is_read_from_a_file(fetch, server, tmp_path):
    path = tmp_path / "mine.adql"
    path.write_text("SELECT o.obsid FROM csc21.observation_source o WHERE o.obsid < 1003\n\n")
    assert fetch("csc", "-r", "CSC2.1", "--adql", str(path)).exit_code == 0
    assert request(tmp_path)["adql"] == path.read_text().strip()
    assert server.asked("async") == [path.read_text().strip()]
    path.write_text("SELECT nothing")
    done = fetch("csc", "-r", "CSC2.1", "--adql", str(path))
    assert done.exit_code == 1
    assert 'ended as ERROR: Binder Error: Referenced column "nothing"' in done.stderr


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("csc", "-r", "CSC2.1", "--adql", __file__, "--cone", "1", "2", "3"), "not both"),
        (("csc", "-r", "CSC2.1", "--cone", "1", "2", "3miles"), "'3miles' is not an angle"),
        (("csc", "-r", "CSC9", "--cone", "1", "2", "3"), "the archive has the releases CSC2.0"),
        (("simbad",), "expected --release; registered releases of csc: none"),
    ],
)  # fmt: skip
def test_wrong_usage_is_told(fetch, words, problem):
    done = fetch(*words)
    assert done.exit_code == 2
    assert problem in done.stderr
