"""A release that is withdrawn leaves the lake whole, and stays readable as it was."""

import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from lake import failed_checks, freshness, history, upkeep, withdraw
from lake.errors import UsageError
from lake.home import Home, Source
from lake.ingest import ingest
from lake.withdraw import look

pytestmark = pytest.mark.usefixtures("one_thread")

CSV = "name,obsid,hard_hm\n{0},1,0.5\n{0},2,\n"


def take_out(home: Home, release: str, mission: str = "csc"):
    return withdraw.withdraw(home, mission, release, lambda: pytest.fail("nobody else is here"))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Two releases of one mission, the first with a derived table and a product."""
    folder = tmp_path_factory.mktemp("withdraw")
    home = Home(folder / "home")
    for release in ("R1", "R2"):
        file = folder / f"{release}.csv"
        file.write_text(CSV.format(release))
        home.add(Source("csc", release, "detections", (file,)))
        ingest(home, "csc", release)
    figure = home.products / "csc" / "R1" / "figure.svg"
    figure.parent.mkdir(parents=True)
    figure.write_text("<svg/>")
    rows = pa.table({"release": ["R1"], "k": pa.array([2], pa.int32()), "bic": [1.5]})
    home.store.replace(
        "R1", ["csc.model_selection"], [("csc.model_selection", rows)], fingerprint="f",
        code_version="1", message="derived",
        products=lambda: [home.product(figure, "csc", "R1", "figure")],
    )  # fmt: skip
    for release in ("R1", "R2"):
        failed_checks.note(home.store, release, {("csc.detections", "ranges"): "one bad row"})
    home.store.pin("paper")
    home.store.refresh()
    return home.root


@pytest.fixture
def home(made, tmp_path) -> Home:
    return Home(shutil.copytree(made, tmp_path / "home"))


def test_all_of_a_release_leaves_and_nothing_of_another(home):
    before = home.sql("SELECT * FROM csc.detections WHERE release = 'R2' ORDER BY ALL").fetchall()
    found = take_out(home, "R1")
    assert found.rows == {"csc.detections": 2, "csc.model_selection": 1}
    assert (found.files, found.products, len(found.sources)) == (1, 1, 1)
    assert home.sql("SELECT DISTINCT release FROM csc.detections").fetchall() == [("R2",)]
    assert home.sql("SELECT * FROM csc.detections ORDER BY ALL").fetchall() == before
    assert home.sql("SELECT count(*) FROM csc.model_selection").fetchall() == [(0,)]
    assert home.sql("SELECT path FROM meta.products").fetchall() == []
    assert home.store.fingerprints("R1") == {}
    assert [check.release for check in failed_checks.failed_checks(home.store)] == ["R2"]
    assert home.sql(
        "SELECT release, status, reason, rows_committed FROM meta.files ORDER BY ALL"
    ).fetchall() == [("R1", "superseded", "withdrawn", 2), ("R2", "committed", None, 2)]
    assert home.releases() == [("csc", "R2")]


def test_the_former_state_is_readable(home):
    found = take_out(home, "R1")
    for at in (found.snapshot, "paper"):
        query = "SELECT count(*) FROM csc.detections WHERE release = 'R1'"
        assert home.sql(query, at=at).fetchall() == [(2,)]
    assert found.snapshot == home.store.snapshot() - 1
    last = history.entries(home.store)[-1]
    assert last.snapshot.message == "withdraw csc R1"
    assert {(c.table, c.release, c.rows, c.rows_before) for c in last.changes} == {
        ("csc.detections", "R1", 0, 2), ("csc.model_selection", "R1", 0, 1),
    }  # fmt: skip


def test_products_stay_until_no_snapshot_names_them(home):
    take_out(home, "R1")
    figure = home.products / "csc" / "R1" / "figure.svg"
    assert figure.exists()
    upkeep.clean(home, upkeep.age("0d"))
    assert figure.exists()  # the pin names it
    home.store.unpin("paper")
    upkeep.clean(home, upkeep.age("0d"))
    upkeep.clean(home, upkeep.age("0d"))
    assert not figure.parent.exists()


def test_a_look_changes_nothing(home):
    before, sources = home.store.snapshot(), home.sources_file.read_text()
    assert look(home, "csc", "R1").rows == {"csc.detections": 2, "csc.model_selection": 1}
    assert (home.store.snapshot(), home.sources_file.read_text()) == (before, sources)


def test_a_release_comes_back_when_it_is_registered_again(home):
    (path,) = [p for s in home.sources() if s.release == "R1" for p in s.paths]
    take_out(home, "R1")
    home.add(Source("csc", "R1", "detections", (path,)))
    assert len(ingest(home, "csc", "R1").committed) == 1
    states = home.sql("SELECT status FROM meta.files WHERE release = 'R1' ORDER BY 1").fetchall()
    assert states == [("committed",), ("superseded",)]


def test_registered_but_not_ingested(home, tmp_path):
    file = tmp_path / "later.csv"
    file.write_text(CSV.format("X"))
    home.add(Source("csc", "R3", "detections", (file,)))
    before = home.store.snapshot()
    found = take_out(home, "R3")
    assert (found.rows, found.snapshot, found.sources) == ({}, None, [file])
    assert home.store.snapshot() == before
    assert ("csc", "R3") not in home.releases()
    fresh = Home(tmp_path / "fresh")
    fresh.add(Source("csc", "R3", "detections", (file,)))
    take_out(fresh, "R3")
    assert not fresh.store.exists
    assert fresh.releases() == []


def test_killed_between_the_sources_and_the_lake(home, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(type(home.store), "commit", lambda *_, **__: pytest.exit)
        with pytest.raises(TypeError):
            take_out(home, "R1")
    assert home.releases() == [("csc", "R2")]  # no run brings it back
    query = "SELECT count(*) FROM csc.detections WHERE release = 'R1'"
    assert home.sql(query).fetchall() == [(2,)]
    found = take_out(home, "R1")
    assert (found.sources, found.rows["csc.detections"]) == ([], 2)
    assert home.sql(query).fetchall() == [(0,)]


def test_what_rests_on_all_releases_is_stale_without_it(home):
    def fingerprint() -> str:
        reads = ["csc.detections"]
        return freshness.fingerprint(home.store, "R2", reads, "1", across=["csc.detections"])

    before = fingerprint()
    take_out(home, "R1")
    assert fingerprint() != before


@pytest.mark.parametrize(("mission", "release"), [("csc", "R9"), ("sdss", "R1")])
def test_an_unknown_release(home, mission, release):
    sources = home.sources_file.read_text()
    with pytest.raises(
        UsageError, match=rf"no release {mission} {release}; there are: csc R1, csc R2"
    ):
        take_out(home, release, mission)
    assert home.sources_file.read_text() == sources


def test_an_unknown_mission(home, tmp_path):
    with pytest.raises(UsageError, match="no mission 'csx'"):
        take_out(home, "R1", "csx")
    with pytest.raises(UsageError, match="there are: none"):
        take_out(Home(tmp_path / "none"), "R1")
