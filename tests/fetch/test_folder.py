"""The download folder: its notes survive what is cut off, and say where files are from."""

import hashlib
import os
from pathlib import Path

import pytest

from lake.errors import LacusError
from lake.fetch.folder import NOTES, Folder, digest, origins, partial, validators
from lake.inputs import InputFile


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path / "home" / "archive" / "sdss" / "DR17" / "sdss")


def take(folder, name="0266/a.fits", body=b"body", **kwargs):
    partial(folder.target(name)).write_bytes(body)
    return folder.take(name, url=f"http://x/{name}", **kwargs)


def test_nothing_is_made_before_something_is_written(folder):
    assert folder.entries == {}
    assert folder.state is None
    assert folder.complete("a") is None
    assert not folder.path.exists()


def test_what_is_taken_is_noted(folder):
    entry = take(folder, query="q", etag='"e"', stamp="s")
    again = Folder(folder.path)
    assert again.entries == {entry.name: entry}
    assert again.complete(entry.name) == entry
    assert entry.sha256 == hashlib.sha256(b"body").hexdigest()
    assert entry.retrieved_at.endswith("+00:00")
    assert not partial(folder.target(entry.name)).exists()


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", ""])
def test_no_name_leads_out(name, folder):
    with pytest.raises(LacusError, match="is not the name of a file below"):
        folder.target(name)


def test_a_note_that_was_cut_off_is_none_and_harms_no_other(folder):
    take(folder, "a.fits")
    take(folder, "b.fits")
    notes = folder.path / NOTES
    notes.write_bytes(notes.read_bytes()[:-20])
    again = Folder(folder.path)
    assert list(again.entries) == ["a.fits"]
    take(again, "c.fits")
    assert list(Folder(folder.path).entries) == ["a.fits", "c.fits"]


def test_killed_between_the_note_and_the_name(folder):
    take(folder, body=b"old")
    entry = take(folder, body=b"new")
    path = folder.target(entry.name)
    os.replace(path, partial(path))
    path.write_bytes(b"old")
    assert Folder(folder.path).complete(entry.name) == entry
    assert path.read_bytes() == b"new"


def test_what_was_begun_since_does_not_count(folder):
    entry = take(folder, body=b"old")
    partial(folder.target(entry.name)).write_bytes(b"new")
    assert Folder(folder.path).complete(entry.name) == entry
    assert folder.target(entry.name).read_bytes() == b"old"


def test_a_file_that_is_lost_or_cut_is_not_complete(folder):
    entry = take(folder)
    path = folder.target(entry.name)
    path.write_bytes(b"bod")
    assert folder.complete(entry.name) is None
    path.unlink()
    assert folder.complete(entry.name) is None


def test_only_what_came_since_the_last_fetch_is_fresh(folder):
    take(folder, "a.fits")
    assert folder.is_fresh("a.fits")
    folder.finish("state")
    take(folder, "b.fits")
    for each in (folder, Folder(folder.path)):
        assert not each.is_fresh("a.fits")
        assert each.is_fresh("b.fits")
        assert each.state == "state"
    folder.finish(None)
    assert Folder(folder.path).state is None


def test_what_is_not_kept_is_removed_with_what_was_begun(folder):
    for name in ("1/a.fits", "1/b.fits", "2/c.fits"):
        take(folder, name)
    for name in ("1/a.fits", "2/d.fits"):
        partial(folder.target(name)).write_bytes(b"begun")
        validators(folder.target(name)).write_text("{}")
    assert folder.keep(["1/a.fits", "never seen"]) == ["1/b.fits", "2/c.fits"]
    assert list(Folder(folder.path).entries) == ["1/a.fits"]
    assert sorted(p.name for p in folder.path.rglob("[!.]*") if p.is_file()) == [
        "a.fits", "a.fits.part",
    ]  # fmt: skip
    assert not list(folder.path.rglob("*d.fits*"))


def test_one_process_at_a_time(folder):
    with (
        folder.locked(),
        pytest.raises(LacusError, match="another process is fetching into it"),
        Folder(folder.path).locked(),
    ):
        pass
    with Folder(folder.path).locked():
        pass


def test_locking_sees_what_another_has_noted(folder):
    late = Folder(folder.path)
    entry = take(folder)
    with late.locked():
        assert late.complete(entry.name) == entry


def file(path: Path, sha256: str) -> InputFile:
    return InputFile(path, "sdss", "DR17", "spectra", {}, 1, 1, sha256)


def test_the_origin_of_input_files(folder, tmp_path, monkeypatch):
    one = take(folder, "0266/a.fits", query="plates=266")
    two = take(folder, "b.fits")
    read = []
    monkeypatch.setattr(Folder, "_read", _counted(Folder._read, read))
    root = tmp_path / "home"
    files = [
        file(folder.path / one.name, one.sha256),
        file(tmp_path / "elsewhere.fits", one.sha256),
        file(folder.path / two.name, two.sha256),
        file(folder.path / two.name, "changed here since"),
        file(folder.path / "mine.fits", "x"),
        file(root / "archive" / "x.fits", "x"),
        file(root / "archive-of-mine" / "sdss" / "DR17" / "sdss" / "b.fits", two.sha256),
    ]
    urls, queries = origins(root, files)
    assert urls == [one.url, None, two.url, None, None, None, None]
    assert queries == ["plates=266", *[None] * 6]
    assert len(read) == 1
    assert origins(root, files[1:2] * 1000) == ([None] * 1000, [None] * 1000)
    assert len(read) == 1


def _counted(function, calls):
    def wrapped(self):
        calls.append(self)
        function(self)

    return wrapped


def test_a_digest_tells_one_state_from_another():
    assert digest([["a", 1], None]) == digest([["a", 1], None])
    assert digest([["a", 1]]) != digest([["a", 2]])
