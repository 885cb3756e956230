"""Roles of the missions, and the files that a registered path stands for."""

import hashlib
import os

import pytest

from lake import contracts, inputs
from lake.errors import UsageError


@pytest.mark.parametrize("mission", contracts.missions())
def test_roles_fit_the_contracts(mission):
    for name, role in inputs.roles(mission).items():
        columns = contracts.table(role.table).by_name
        assert role.name == name
        for table in role.tables:
            assert {"release", "file_sha256", "file_row"} <= set(contracts.table(table).by_name)
        # An empty one takes every file: what it is, its content says.
        assert all(s[:1] in (".", "") and s == s.lower() for s in role.suffixes)
        if isinstance(role, inputs.RecordRole):
            continue
        assert set(role.required) <= set(columns)
        if role.matches:
            table, column = role.matches
            assert column in contracts.table(table).by_name
            assert column in columns


def test_unknown_names_are_told_with_the_known_ones():
    with pytest.raises(UsageError, match=r"no mission 'x'; there are csc, "):
        inputs.roles("x")
    with pytest.raises(UsageError, match=r"no mission 'meta'"):
        inputs.roles("meta")
    with pytest.raises(UsageError, match=r"csc has no role 'x'; it has detections, labels"):
        inputs.role("csc", "x")
    with pytest.raises(UsageError, match=r"no option 'x'; it has duplicates, catalogue"):
        inputs.check_options("csc", "labels", {"x": "1"})
    inputs.check_options("csc", "labels", {"catalogue": "NED", "duplicates": "first"})


def test_a_folder_stands_for_the_files_of_the_role_below_it(tmp_path):
    for name in ("b.csv", "a.CSV", "sub/c.vot.gz", "notes.md", "x.csv.part", "d.csv/e.fits"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    found = inputs.files_below(tmp_path, (".csv", ".vot", ".fits"))
    names = [str(path.relative_to(tmp_path)) for path in found]
    assert names == ["a.CSV", "b.csv", "d.csv/e.fits", "sub/c.vot.gz"]


def test_a_file_stands_for_itself_whatever_its_name(tmp_path):
    for name in ("notes.md", "missing"):
        assert inputs.files_below(tmp_path / name, (".csv",)) == [tmp_path / name]


def test_a_look_at_each_file_says_why_there_is_none(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("x")
    (tmp_path / "lost.csv").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "sub").mkdir()
    (tmp_path / "circle").symlink_to(tmp_path)
    (tmp_path / "circle.csv").symlink_to(tmp_path)
    scandir = os.scandir

    def closed(folder):
        if folder.endswith("sub"):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", closed)
    found = dict(inputs.stats_below(tmp_path, (".csv",)))
    told = {
        os.path.relpath(name, tmp_path): getattr(stat, "strerror", None) or stat.st_size
        for name, stat in found.items()
    }
    assert told == {
        "a.csv": 1,
        "lost.csv": "No such file or directory",
        "pipe.csv": "is not a file",
        "sub": "Permission denied",
    }


def test_sha256_is_of_the_bytes(tmp_path):
    path = tmp_path / "big"
    path.write_bytes(b"lake" * 1_000_000)
    assert inputs.sha256(path) == hashlib.sha256(b"lake" * 1_000_000).hexdigest()


def test_a_file_knows_whether_it_is_as_it_was(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x")
    stat = path.stat()
    file = inputs.InputFile(path, "csc", "R", "labels", {}, 1, stat.st_mtime_ns, "")
    assert file.is_as_it_was()
    os.utime(path, ns=(0, 0))
    assert not file.is_as_it_was()
    path.unlink()
    assert not file.is_as_it_was()


def test_options_have_one_spelling(tmp_path):
    a = inputs.InputFile(tmp_path, "csc", "R", "labels", {"a": "1", "b": "2"}, 0, 0, "")
    b = inputs.InputFile(tmp_path, "csc", "R", "labels", {"b": "2", "a": "1"}, 0, 0, "")
    assert a.options_json == b.options_json == '{"a": "1", "b": "2"}'
