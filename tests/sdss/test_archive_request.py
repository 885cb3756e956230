"""What can be asked of the archive: plates, and lists in whatever form."""

import gzip

import numpy as np
import pytest
from astropy.table import Table

from lake.errors import InputError, UsageError
from lake.sdss.archive_request import Plates, Spectrum, plates, spectra, united

WANTED = [Spectrum(266, 51602, 1), Spectrum(3586, 55181, 190)]


def test_plates_ranges_and_mjds():
    assert plates(" 266, 1000-1010 ,267-51608,") == [
        Plates(266, 266), Plates(1000, 1010), Plates(267, 267, 51608),
    ]  # fmt: skip
    assert [p.text for p in plates("266,1000-1010,267-51608,7-7")] == [
        "266", "1000-1010", "267-51608", "7",
    ]  # fmt: skip
    assert plates("") == []


@pytest.mark.parametrize("text", ["a", "266-", "266-51602-1", "10-9", "-5", "2 6", "123456"])
def test_what_is_no_plate(text):
    with pytest.raises(UsageError, match="plates"):
        plates(text)


@pytest.mark.parametrize(
    "text",
    [
        "266 51602 1\n\n# a remark\n3586 55181 190  # the same\n266 51602 1\n",
        "266,51602,1\r\n3586,55181,190\r\n",
        "\ufeffspec-0266-51602-0001.fits\nspec-3586-55181-0190.fits\n",
        "https://x.org/0266/spec-0266-51602-0001.fits\n/a/b/spec-3586-55181-0190.fits\n",
        "plate,mjd,fiberid,class\n266,51602,1,STAR\n3586,55181,190,QSO\n",
        "PLATE MJD FIBERID\n266 51602 1\n3586 55181 190\n",
        "#plate,mjd,fiber\n266,51602,1\n3586,55181,190\n",
    ],
)
def test_a_list_of_text(text, tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(text.encode())
    assert spectra(path) == WANTED


@pytest.mark.parametrize("name", ["list.fits", "list.vot"])
def test_a_table(name, tmp_path):
    table = Table([*np.array(WANTED).T, [1.5, 2.5]], names=["PLATE", "MJD", "FIBERID", "Z"])
    table.write(tmp_path / name, format="votable" if name.endswith("vot") else None)
    assert spectra(tmp_path / name) == WANTED


def test_a_compressed_list(tmp_path):
    path = tmp_path / "list.csv.gz"
    path.write_bytes(gzip.compress(b"plate,mjd,fiberid\n266,51602,1\n3586,55181,190\n"))
    assert spectra(path) == WANTED
    path.write_bytes(gzip.compress(b"266 51602 1\n3586 55181 190\n"))
    assert spectra(path) == WANTED


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("266 51602 1\n266 51602\n", "line 2: '266 51602': expected plate, MJD and fibre"),
        ("266 51602 one\n", "line 1"),
        ("plate,mjd\n266,51602\n", "no column fiberid or fiber"),
        ("plate,mjd,fiberid\n266,,1\n", "row 1: expected plate, MJD and fibre"),
        ("plate,mjd,fiberid\n266.5,51602,1\n", "column 'plate': expected whole numbers"),
        ("# nothing\n", "names no spectrum"),
    ],
)
def test_what_is_no_list(text, said, tmp_path):
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        spectra(path)
    with pytest.raises(InputError, match="no such list"):
        spectra(tmp_path / "absent")


def test_files_are_named_as_the_archive_has_them():
    assert Spectrum(266, 51602, 1).file == "spec-0266-51602-0001.fits"
    assert Spectrum(10235, 58127, 1000).file == "spec-10235-58127-1000.fits"


def test_requests_are_united():
    assert united("266,1000-1010", "266, 7", ",") == "266,1000-1010,7"
    assert united("", "a\nb", "\n") == "a\nb"
