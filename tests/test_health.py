"""Whether all is well, and what is said where it is not."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import lake
from lake import health, migrate
from lake.home import Home, Source
from lake.ingest import ingest

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A home with one small release, whose input lies below it."""
    root = tmp_path_factory.mktemp("made")
    file = root / "in" / "tiny.csv"
    file.parent.mkdir()
    file.write_text("name,obsid\nA,1\nB,2\n", encoding="utf-8")
    home = lake.open(root)
    home.add(Source("csc", "R1", "detections", (file.parent,)))
    ingest(home, "csc", "R1")
    home.store.refresh()
    return root


@pytest.fixture
def home(made, tmp_path) -> Home:
    """A copy of that home, of another input folder."""
    root = shutil.copytree(made, tmp_path / "home")
    (root / "in").rename(tmp_path / "in")
    sources = root / "sources.toml"
    text = sources.read_text(encoding="utf-8")
    sources.write_text(text.replace('"in"', f'"{tmp_path / "in"}"'), encoding="utf-8")
    return lake.open(root)


def unwell(home: Home) -> dict[str, str]:
    return {f.subject: f.detail for f in health.examine(home) if not f.well}


def data_file(home: Home, table: str = "csc/detections"):
    return next((home.store.directory / "data" / table).rglob("*.parquet"))


def test_a_healthy_home(home):
    findings = {f.subject: f for f in health.examine(home)}
    assert unwell(home) == {}
    assert findings["duckdb"].detail.count(".") == 2
    assert findings["csc.detections"].detail == "1 file"
    assert findings["csc.clusters"].detail == "0 files"
    assert f"snapshot {home.store.snapshot()}" in findings["lake"].detail


def test_looking_changes_nothing(home, tmp_path):
    before = home.store.snapshot()
    health.examine(home)
    assert home.store.snapshot() == before
    assert unwell(lake.open(tmp_path / "other")) == {}
    assert not (tmp_path / "other").exists()


def test_a_file_that_is_missing(home):
    data_file(home).unlink()
    assert unwell(home) == {"csc.detections": f"{data_file_name(home)}: is missing"}


def data_file_name(home: Home) -> str:
    with home.store.connect() as connection:
        return connection.execute(
            "SELECT data_file FROM ducklake_list_files('lake', 'detections', schema => 'csc')"
        ).fetchall()[0][0]


def test_a_file_that_is_cut_off(home):
    file = data_file(home)
    file.write_bytes(file.read_bytes()[:-20])
    assert str(file) in unwell(home)["csc.detections"]


def test_a_file_with_other_rows_than_the_catalogue_counts(home):
    file = data_file(home)
    pq.write_table(pq.read_table(file, partitioning=None).slice(0, 1), file)
    assert unwell(home) == {"csc.detections": "1 rows in its files, 2 in the catalogue"}


def test_rows_that_were_deleted_are_no_loss(home):
    with home.store.commit("delete one") as commit:
        commit.delete("csc.detections", "name = 'A'")
    assert unwell(home) == {}


def test_a_catalogue_that_is_none(home):
    home.store.refresh()
    home.store.catalog.write_bytes(b"garbage" * 999)
    assert "does not open" in unwell(home)["lake"]


def test_a_lake_behind_its_contracts(home, monkeypatch):
    assert health.in_line(home.store)
    monkeypatch.setattr(migrate, "digest", lambda: "another")
    assert not health.in_line(home.store)
    assert "lacus run" in unwell(home)["lake"]


def test_no_lake_is_in_line(tmp_path):
    assert health.in_line(lake.open(tmp_path).store)


def test_sources_that_give_nothing(home, tmp_path):
    (tmp_path / "in" / "tiny.csv").rename(tmp_path / "in" / "tiny.doc")
    (told,) = health.barren(home)
    assert told.startswith(f"csc R1 detections: no file below {tmp_path / 'in'} ends in .vot")
    assert health.barren(home, "csc", "R1") == [told]
    assert health.barren(home, "csc", "R2") == []
    assert unwell(home) == {"sources": told}


def test_a_source_that_is_gone(home, tmp_path):
    (tmp_path / "in").rename(tmp_path / "out")
    assert unwell(home) == {"sources": f"{tmp_path / 'in'}: no such file or folder"}


def test_sources_that_cannot_be_read(home):
    home.sources_file.write_text("[[source", encoding="utf-8")
    assert str(home.sources_file) in unwell(home)["sources"]


def test_a_writer_that_was_killed(home):
    staging = home.store.directory / "staging"
    staging.mkdir(exist_ok=True)
    (staging / "x.parquet").write_bytes(b"")
    finding = next(f for f in health.examine(home) if f.subject == "staging")
    assert finding.well
    assert finding.detail.startswith("1 file")


def test_a_package_that_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setattr(health, "_PACKAGES", ("duckdb", "no-such-package"))
    assert unwell(lake.open(tmp_path)) == {"no-such-package": "is not installed"}


def test_a_full_disk(monkeypatch, tmp_path):
    monkeypatch.setattr(health, "_LEAST_FREE", 1 << 80)
    assert "GiB free" in unwell(lake.open(tmp_path))["disk"]


def test_tables_that_an_older_lake_lacks_are_told_of_once(home):
    with home.store.commit("as it was") as commit:
        commit.connection.execute("DROP TABLE lake.ogip.pairs")
        of = "table_name = 'meta.columns'"
        commit.connection.execute(f"UPDATE lake.meta.releases SET fingerprint = '' WHERE {of}")
    assert unwell(home) == {"lake": "lags behind the contracts: `lacus run` renews it"}


def test_a_table_that_is_gone(home):
    with home.store.commit("by another program") as commit:
        commit.connection.execute("DROP TABLE lake.ogip.pairs")
    assert unwell(home) == {"ogip.pairs": "is not in the catalogue"}
