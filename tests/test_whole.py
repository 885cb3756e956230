import os

import pytest

from lake.whole import is_abandoned, write_whole


def test_a_file_is_written_into_a_folder_that_is_not_there(tmp_path):
    path = tmp_path / "a" / "b.txt"
    write_whole(path, "Å")
    assert path.read_bytes() == "Å".encode()
    write_whole(path, b"\0")
    assert path.read_bytes() == b"\0"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "b.json"
    write_whole(path, "old")

    def replace(partial, target):
        # Nobody who looks for files of its kind finds it.
        assert [p.name for p in tmp_path.glob("*.json")] == ["b.json"]
        raise OSError("full")

    monkeypatch.setattr(type(path), "replace", replace)
    with pytest.raises(OSError, match="full"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_abandoned_when_all_in_it_is(tmp_path):
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    (inside / "c").touch()
    for path in (tmp_path / "a", inside):
        os.utime(path, (1, 1))
    assert not is_abandoned(tmp_path / "a")
    os.utime(inside / "c", (1, 1))
    assert is_abandoned(tmp_path / "a")
    assert not is_abandoned(tmp_path / "gone")
