"""What an older version gave otherwise is made again, once the present one opens the lake."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lake import csc, sdss, xmm
from lake.home import Home, Source
from lake.ingest import ingest
from lake.plan import describe, plan
from pipelines import jobs
from pipelines.defs import derivations
from tests.sdss import files as sdss_files
from tests.xmm import files as xmm_files

ROLES = {"csc": csc.ROLES, "sdss": sdss.ROLES, "xmm": xmm.ROLES}


def detection(folder: Path) -> None:
    (folder / "a.csv").write_text("name,obsid\nA,1\n")


def spectrum(folder: Path) -> None:
    (folder / "a.fits").write_bytes(sdss_files.spec())


def image(folder: Path) -> None:
    xmm_files.image(folder / "a.fits", shape=(2, 2))


def ingested(root: Path, mission: str, role: str, write: Callable[[Path], None]) -> Home:
    """A home with one file in it."""
    (root / "in").mkdir()
    write(root / "in")
    home = Home(root / "home")
    home.add(Source(mission, "R", role, (root / "in",)))
    assert len(ingest(home, mission, "R").committed) == 1
    return home


@pytest.mark.parametrize(
    ("mission", "role", "version", "write"),
    [
        # took zeros for plates, knew no flux per fibre, moved spectra that Astra has at rest
        ("sdss", "spectra", 2, spectrum),
        # refused wavelengths that fall, or left such rows of a table out
        ("sdss", "spectra", 3, spectrum),
        # let an event list take the place of the image of its exposure, or refused it
        ("xmm", "images", 2, image),
        ("xmm", "images", 3, image),
    ],
)
def test_files_of_an_older_reader_are_read_again(
    tmp_path, monkeypatch, mission, role, version, write
):
    with monkeypatch.context() as older:
        older.setitem(ROLES[mission], role, replace(ROLES[mission][role], version=version))
        home = ingested(tmp_path, mission, role, write)
        assert not plan(home, mission, "R").changed
    assert describe(plan(home, mission, "R")) == "files: 1 to be read by a newer reader"


@pytest.mark.parametrize(
    ("table", "version", "write"),
    [
        # read no classes in small letters or other scripts, and NA as one
        ("sdss.spectra_labels", "2", spectrum),
        # gave probabilities that rounding had carried beyond 1, which a check refuses
        ("csc.class_probabilities", "2", detection),
    ],
)
def test_what_older_code_computed_otherwise_is_computed_again(tmp_path, table, version, write):
    mission = table.split(".")[0]
    role = next(iter(ROLES[mission]))
    home = ingested(tmp_path, mission, role, write)
    for made in derivations(mission):
        older = replace(made, version=version) if table in made.tables else made
        print_ = older.fingerprint(home.store, "R")
        with home.store.commit("as by an older version") as commit:
            commit.record("R", dict.fromkeys(older.tables, (print_, older.version)))
        if table in made.tables:
            break
    why = f"made by version {version} of the code, now {made.version}"
    assert jobs.stale(home, mission, "R")[table] == why
