"""What headers say by themselves, worked out once for all files that repeat them."""

import io
import mmap

import numpy as np
import pytest
from astropy.io import fits

from lake.errors import InputError
from lake.formats import fits_structure
from lake.formats.fits import FitsFile


@pytest.fixture(autouse=True)
def nothing_known():
    fits_structure._known.clear()


def written(rows: int = 3, **keywords: object) -> bytes:
    table = fits.BinTableHDU(np.zeros(rows, [("flux", ">f4"), ("ivar", ">f4")]), name="COADD")
    for keyword, value in keywords.items():
        table.header[keyword] = value
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(stream)
    return stream.getvalue()


def test_files_with_the_same_header_share_what_it_says():
    first, second = (FitsFile(name, written()) for name in "ab")
    assert first[1]._structure is second[1]._structure
    assert (second[1].path, second[1].shape, second[1].kind) == ("b", (3, 8), "bintable")
    assert second[1].columns == ("flux", "ivar")
    # Primary headers tell what was observed: they are not kept.
    assert first[0]._structure is not second[0]._structure


def test_one_card_makes_a_difference():
    for value in (1.5, 2.5, 1.5):
        assert FitsFile("a", written(EXPTIME=value))[1].header["EXPTIME"] == value
    longer = FitsFile("a", written(rows=5))[1]
    assert (longer.rows, len(longer.column("flux"))) == (5, 5)


def test_a_file_cut_off_behind_a_known_header_is_still_found_out():
    whole = written(rows=1000)
    assert FitsFile("whole", whole)[1].rows == 1000
    with pytest.raises(InputError, match="the data are cut off: 8000 bytes expected, 100 bytes"):
        FitsFile("cut", whole[: 2 * 2880 + 100])[1]
    with pytest.raises(InputError, match="inside the last block of the header"):
        FitsFile("cut", whole[: 2 * 2880 - 100])[1]


def test_a_header_that_is_cut_off_is_not_kept():
    whole = written()
    with pytest.raises(InputError):
        FitsFile("cut", whole[: 2 * 2880 - 100])[1]
    assert not fits_structure._known
    assert FitsFile("whole", whole)[1].rows == 3


def test_a_mapped_file_says_the_same(tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(written())
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        mapped = FitsFile("a", data)[1]
        assert (mapped.shape, mapped.kind, mapped.columns) == ((3, 8), "bintable", ("flux", "ivar"))


def test_structures_are_forgotten_before_they_fill_the_memory(monkeypatch):
    monkeypatch.setattr(fits_structure, "_MOST", 5)
    for rows in range(1, 20):
        assert FitsFile("a", written(rows=rows))[1].rows == rows
        assert 1 <= len(fits_structure._known) <= 5
