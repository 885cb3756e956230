"""One spectrum, response or area: from a path, an address, bytes or a row."""

import gzip

import pytest

from lake.errors import InputError
from lake.ogip import files, read_arf, read_pha, read_rmf, read_rsp
from lake.ogip.readers import address
from tests.ogip import hdus

TWO = {"COUNTS": ("2J", [[1, 2], [3, 4], [5, 6]]), "EXPOSURE": ("E", [1.0, -2.0, 3.0])}


@pytest.fixture
def put(tmp_path):
    def put(name: str, *made) -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        data = hdus.content(*made)
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return str(path)

    return put


def test_from_path_and_bytes(put, tmp_path):
    path = put("x.pha.gz", hdus.pha(), hdus.ebounds(size=4))
    spectrum = read_pha(path)
    assert spectrum.values.tolist() == [5, 0, 7, 1]
    assert spectrum.ebounds.e_min[0] == 0.5
    assert spectrum.about["path"] == path
    assert read_pha(tmp_path / "x.pha.gz").exposure == 100.0
    assert read_pha(hdus.content(hdus.pha())).values.sum() == 13
    assert read_pha(hdus.content(hdus.pha(TWO)), row=2).values.tolist() == [5, 6]


def test_a_row_by_address(put):
    path = put("x.pha", hdus.pha(TWO))
    assert read_pha(f"{path}:0").values.tolist() == [1, 2]
    assert read_pha(f"{path}{{3}}").values.tolist() == [5, 6]
    assert read_pha(f"{path}[SPECTRUM]:2").exposure == 3.0
    with pytest.raises(InputError, match=r"HDU 1, row 2: EXPOSURE is -2 s"):
        read_pha(f"{path}:1")
    with pytest.raises(InputError, match=r"has 3 spectra, none of the number 3 \(from 0\)"):
        read_pha(f"{path}:3")
    with pytest.raises(InputError, match=r"has 3 spectra; name one, as in x\.pha:0"):
        read_pha(path)


def test_the_source_of_a_file_with_its_background(put):
    path = put("pha3.fits", hdus.pha(), hdus.pha({"COUNTS": ("J", [9])}, HDUCLAS2="BKG"))
    assert read_pha(path).about["content"] == "TOTAL"
    assert read_pha(f"{path}[2]").values.tolist() == [9]
    assert read_pha(f"{path}:1").values.tolist() == [9]


def test_an_extension_by_name_and_version(put):
    path = put("x.rsp2", hdus.ebounds(), hdus.matrix(EXTVER=1), hdus.matrix(EXTVER=2, TSTART=8.0))
    assert read_rmf(f"{path}[MATRIX,2]").about["t_start"] == 8.0
    assert read_rsp(f"{path}:1").about["t_start"] == 8.0
    assert read_rsp(f"{path}{{2}}").about["t_start"] == 8.0
    assert read_rmf(f"{path}[matrix]").about["hdu"] == 2
    with pytest.raises(InputError, match="has 2 matrices; name one"):
        read_rmf(path)
    with pytest.raises(InputError, match="no HDU 'MATRIX,3'"):
        read_rmf(f"{path}[MATRIX,3]")
    with pytest.raises(InputError, match="no HDU 'OTHER'"):
        read_rmf(f"{path}[OTHER]")


def test_a_response(put):
    response = read_rmf(put("x.rmf", hdus.matrix(), hdus.ebounds()))
    assert response.as_sparse().toarray().tolist() == hdus.DENSE
    assert response.ebounds.channel.tolist() == [1, 2, 3, 4, 5]


def test_an_area_from_file_and_row(put):
    area = read_arf(put("x.arf", hdus.arf()))
    assert area.specresp.tolist() == [100.0, 200.0, 50.0]
    row = {"energ_lo": [1.0], "energ_hi": [2.0], "specresp": [3.0], "warnings": None}
    assert read_arf(row).specresp.tolist() == [3.0]


def test_a_spectrum_from_a_row():
    row = {"quantity": "COUNTS", "counts": [1.0, None, 3.0], "quality": [0, 1, 0], "exposure": 2.0}
    spectrum = read_pha(row)
    assert spectrum.ebounds is None
    energies = {"channel": [1, 2, 3], "e_min": [1.0, 2.0, 3.0], "e_max": [2.0, 3.0, 4.0]}
    assert read_pha(row, channels=energies).ebounds.e_max.tolist() == [2, 3, 4]
    assert str(spectrum.values.tolist()) == "[1.0, nan, 3.0]"
    assert spectrum.quality.tolist() == [0, 1, 0]


def test_a_response_from_rows(put, tmp_path):
    path = put("x.rmf", hdus.matrix(), hdus.ebounds())
    rows = files.records(hdus.registered(path), (tmp_path / "x.rmf").read_bytes())
    [row], [channels] = rows["ogip.responses"], rows["ogip.ebounds"]
    taken = read_rmf(row, bins=rows["ogip.redistribution"], channels=channels)
    assert taken.as_sparse().toarray().tolist() == hdus.DENSE
    assert taken.ebounds.e_max[-1] == 3.0
    assert read_rmf(row, bins=rows["ogip.redistribution"]).ebounds is None
    # A row alone names its file and HDU.
    assert read_rsp(row).as_sparse().toarray().tolist() == hdus.DENSE
    (tmp_path / "x.rmf").unlink()
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_rmf(row)


def test_names_that_look_like_addresses_are_names(put):
    path = put("a:1", hdus.pha())
    assert address(path) == (path, None, None)
    assert read_pha(path).values.sum() == 13
    assert read_pha(put("b[2]{3}.pha", hdus.pha())).values.sum() == 13
    spectrum = put("da:y/x.pha", hdus.pha(TWO))
    assert read_pha(f"{spectrum}:2").values.tolist() == [5, 6]


def test_other_files_are_told_apart(put):
    path = put("x.rmf", hdus.matrix(), hdus.ebounds())
    with pytest.raises(InputError) as caught:
        read_pha(path)
    assert caught.value.reason == (
        "has no OGIP spectrum; its HDUs are 0 'PRIMARY' (other), 1 'MATRIX' (matrix),"
        " 2 'EBOUNDS' (ebounds)"
    )
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_arf(path + ".not_there")
    with pytest.raises(InputError, match="a group reaches channel 6"):
        read_rmf(
            hdus.content(
                hdus.matrix({"F_CHAN": ("PI()", hdus.ragged([[1], [1, 5], []]))}), hdus.ebounds()
            )
        )
