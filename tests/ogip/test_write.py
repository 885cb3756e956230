"""Files written again from the lake are those that were read."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import lake
from lake.errors import LacusError
from lake.home import Home, Source
from lake.ingest import ingest
from lake.ogip.write import write_files
from lake.sample import ogip


def ingested(root: Path, *folders: Path) -> Home:
    """A home with a release for each folder."""
    home = lake.open(root / "home")
    for number, folder in enumerate(folders, 1):
        home.add(Source("ogip", f"R{number}", "spectra", (folder,)))
        ingest(home, "ogip", f"R{number}")
    return home


def written(home: Home, table: str, directory: Path, where: str = "TRUE") -> dict[str, bytes]:
    """Content of the files written, by their place below the folder."""
    directory.mkdir(exist_ok=True)
    rows = home.store.arrow(f"SELECT * FROM ogip.{table} WHERE {where}")
    paths = write_files(home.store.arrow, rows, directory)
    found = {str(path.relative_to(directory)): path.read_bytes() for path in paths}
    assert len(found) == len(paths)
    there = {str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file()}
    assert there == set(found)
    return found


def content(path: Path) -> bytes:
    raw = path.read_bytes()
    return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> tuple[Path, Home]:
    root = tmp_path_factory.mktemp("write")
    folder = ogip.write_sample(root / "sample", size=2)["spectra"]
    with (folder / "sim00002.pi").open("rb") as stream:
        (folder / "sim00002.pi.gz").write_bytes(gzip.compress(stream.read()))
    (folder / "sim00002.pi").unlink()
    return folder, ingested(root, folder)


@pytest.mark.parametrize(
    ("table", "names"),
    [
        (
            "spectra",
            {"sim00001.pi", "sim00001_bkg.pi", "sim00002.pi.gz", "sim00002_bkg.pi", "burst.pha2",
             "burst.bak"},
        ),
        ("responses", {"sim.rmf", "burst.rsp2"}),
        ("effective_area", {"sim.arf"}),
        ("ebounds", {"sim.rmf", "burst.rsp2"}),
    ],
)  # fmt: skip
def test_the_sample_comes_back_byte_for_byte(sample, table, names, tmp_path):
    folder, home = sample
    found = written(home, table, tmp_path / "out")
    assert set(found) == names
    for name in found:
        assert content(tmp_path / "out" / name) == content(folder / name)
    for name in names - {"sim00002.pi.gz"}:
        with fits.open(tmp_path / "out" / name) as hdus:
            hdus.verify("exception")


def test_the_file_of_a_chosen_row_is_written_whole(sample, tmp_path):
    folder, home = sample
    found = written(home, "spectra", tmp_path / "out", "row = 3 AND quantity = 'COUNTS'")
    assert found == {"burst.pha2": (folder / "burst.pha2").read_bytes()}


def test_folders_and_releases_are_kept_apart(sample, tmp_path):
    folder = sample[0]
    for name in ("a", "b/c"):
        (tmp_path / "in" / name).mkdir(parents=True)
        shutil.copy(folder / "sim00001.pi", tmp_path / "in" / name / "x.pi")
    with fits.open(tmp_path / "in" / "b" / "c" / "x.pi", mode="update") as hdus:
        hdus[1].data["COUNTS"][7] += 1
    (tmp_path / "other").mkdir()
    shutil.copy(folder / "sim00001.pi", tmp_path / "other" / "x.pi")
    home = ingested(tmp_path, tmp_path / "in", tmp_path / "other")
    found = written(home, "spectra", tmp_path / "one", "release = 'R1'")
    assert set(found) == {"a/x.pi", "b/c/x.pi"}
    assert found["a/x.pi"] != found["b/c/x.pi"]
    found = written(home, "spectra", tmp_path / "two", "path NOT LIKE '%/b/c/%'")
    assert set(found) == {"R1/in/a/x.pi", "R2/other/x.pi"}


def test_another_file_in_the_way_stays(sample, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sim.arf").write_bytes(b"mine")
    with pytest.raises(LacusError, match="another file of this name"):
        written(sample[1], "effective_area", tmp_path / "out")
    assert (tmp_path / "out" / "sim.arf").read_bytes() == b"mine"


def test_rows_that_the_lake_lost_are_named(sample, tmp_path):
    home = sample[1]

    def read(query, params=()):
        rows = home.store.arrow(query, params)
        return rows.slice(0, 0) if "ogip.effective_area WHERE" in query else rows

    rows = home.store.arrow("FROM ogip.effective_area")
    with pytest.raises(LacusError, match=r"sim\.arf: HDU 1 cannot be written: .* no rows of the"):
        write_files(read, rows, tmp_path)


@pytest.mark.real
def test_every_real_file_comes_back_byte_for_byte(real_data, tmp_path):
    folder = real_data / "ogip"
    home = ingested(tmp_path, folder)
    committed = home.sql(
        "SELECT path FROM meta.files WHERE status = 'committed' ORDER BY path"
    ).fetchall()
    seen = set()
    for table in ("spectra", "responses", "effective_area"):
        rows = home.store.arrow(f"FROM ogip.{table}")
        (tmp_path / table).mkdir()
        written_to = write_files(home.store.arrow, rows, tmp_path / table)
        paths = sorted(set(rows["path"].to_pylist()))
        common = Path(paths[0]).parent
        while not all(Path(path).is_relative_to(common) for path in paths):
            common = common.parent
        for path in written_to:
            was = common / path.relative_to(tmp_path / table)
            assert content(path) == content(was), f"{was} is not the same"
            seen.add(str(was))
    assert seen == {path for (path,) in committed}
    assert len(seen) > 150


@pytest.mark.real
def test_sherpa_reads_the_same_from_both(sample, tmp_path):
    astro = pytest.importorskip("sherpa.astro.io")
    folder, home = sample
    written(home, "spectra", tmp_path, "quantity = 'COUNTS' AND spectrum_type = 'I'")
    for directory in (folder, tmp_path):
        assert (directory / "sim00001.pi").exists()
    was, again = (astro.read_pha(str(d / "sim00001.pi")) for d in (folder, tmp_path))
    np.testing.assert_array_equal(was.counts, again.counts)
    assert was.exposure == again.exposure
