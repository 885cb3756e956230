import bz2
import errno
import gzip
import lzma
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.errors import InputError
from lake.formats import source
from lake.formats.source import contents, head, label, load, open_stream, unique_names


def test_gzip_is_seen_by_its_bytes(tmp_path):
    for content in (b"some bytes", gzip.compress(b"some bytes")):
        path = tmp_path / "file.txt"
        path.write_bytes(content)
        for each in (path, str(path), content):
            assert load(each) == b"some bytes"
            assert head(each, 4) == b"some"
            with open_stream(each) as stream:
                assert stream.read() == b"some bytes"
        assert load(path, mapped=True)[:4] == b"some"


def test_contents_come_in_turn_and_leave_no_file_open(tmp_path, monkeypatch):
    """Far more files than are opened ahead; one is away, one is a folder."""
    paths = [tmp_path / f"{i}" for i in range(100)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]) * number)
    paths[40].unlink()
    paths[60].unlink()
    paths[60].mkdir()
    descriptors = []

    def noted(path, opened=source._opened):
        descriptors.append(opened(path))
        return descriptors[-1]

    monkeypatch.setattr(source, "_opened", noted)
    for number, found in enumerate(contents(paths)):
        if number in (40, 60):
            assert isinstance(found, OSError)
            continue
        raw, status = found
        assert raw == bytes([number]) * number
        assert status.st_size == number
    assert number == 99
    whole = len(descriptors)
    begun = contents(paths)
    next(begun)
    assert len(descriptors) > whole + 1
    begun.close()
    for descriptor in descriptors:
        with pytest.raises(OSError, match="descriptor"):
            os.fstat(descriptor)
    assert list(contents([])) == []


def test_files_are_read_though_few_can_be_open(tmp_path, monkeypatch):
    paths = [tmp_path / f"{i}" for i in range(50)]
    for path in paths:
        path.write_text(path.name, encoding="utf-8")
    open_now = set()

    def opened(path, opened=source._opened):
        if len(open_now) == 5:
            raise OSError(errno.EMFILE, "Too many open files")
        open_now.add(descriptor := opened(path))
        return descriptor

    def taken(descriptor, taken=source._taken):
        open_now.remove(descriptor)
        return taken(descriptor)

    monkeypatch.setattr(source, "_opened", opened)
    monkeypatch.setattr(source, "_taken", taken)
    assert [raw for raw, _ in contents(paths)] == [path.name.encode() for path in paths]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with a name")
def test_a_pipe_is_read_in_large_pieces(tmp_path, monkeypatch):
    path, whole, reads = tmp_path / "pipe", bytes(range(256)) * 400, []
    os.mkfifo(path)

    def noted(descriptor, size, read=os.read):
        reads.append(size)
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", noted)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(path.write_bytes, whole)
        [(raw, _)] = contents([path])
        writing.result()
    assert raw == whole
    assert len(reads) < 100


def test_what_cannot_be_read_names_the_file(tmp_path):
    absent = tmp_path / "absent"
    for read in (load, open_stream, lambda source: head(source, 4)):
        with pytest.raises(InputError, match="absent: cannot be read: No such file"):
            read(absent)
    (tmp_path / "empty").touch()
    for mapped in (False, True):
        with pytest.raises(InputError, match="the file is empty"):
            load(tmp_path / "empty", mapped=mapped)
    broken = gzip.compress(b"some bytes" * 100)[:-10]
    with pytest.raises(InputError, match="<bytes>: broken gzip"):
        load(broken)
    with pytest.raises(InputError, match="<bytes>: broken gzip"):
        head(broken, 10_000)
    assert label(b"") == "<bytes>"


@pytest.mark.parametrize(
    ("packed", "name"),
    [
        (bz2.compress(b"some bytes"), "compressed with bzip2"),
        (lzma.compress(b"some bytes"), "compressed with xz"),
        (b"\x1f\x9d\x90some bytes", "compressed with compress"),
        (b"PK\x03\x04some bytes", "a zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of git-lfs"),
    ],
)
def test_other_packings_are_named(packed, name):
    with pytest.raises(InputError, match=f"<bytes>: is {name}.*, expected it plain or with gzip"):
        load(packed)


def test_unique_names():
    assert unique_names(["a", "b", "A", "a"]) == ["a", "b", "A_2", "a_3"]
    assert unique_names(["a", "a", "a_2"]) == ["a", "a_3", "a_2"]


@given(st.lists(st.text("aAbB_2", min_size=1, max_size=4)))
def test_unique_names_are_unique_and_single_ones_stay(names):
    unique = unique_names(names)
    folded = [name.casefold() for name in unique]
    assert len(set(folded)) == len(names)
    for name, given_name in zip(unique, names, strict=True):
        assert name.startswith(given_name)
        if [n.casefold() for n in names].count(given_name.casefold()) == 1:
            assert name == given_name
