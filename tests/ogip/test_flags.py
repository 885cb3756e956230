import io

import numpy as np
import pytest
from astropy.io import fits

from lake.errors import InputError
from lake.ogip.flags import with_flags
from lake.ogip.grouping import flagged_groups, group_min_counts
from lake.sample.ogip import write_sample


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_sample(tmp_path_factory.mktemp("flags"), size=1)["spectra"]


def opened(raw: bytes):
    hdus = fits.open(io.BytesIO(raw))
    hdus.verify("exception")
    return hdus


def flags(counts):
    groups = group_min_counts(np.asarray(counts, np.float64), 15, tail="drop")
    return groups, *groups.flags()


def test_a_column_is_added_and_one_overwritten(folder):
    path = folder / "sim00001.pi"
    was = opened(path.read_bytes())[1]
    groups, grouping, quality = flags(was.data["COUNTS"])
    assert len(groups) > 5
    made = opened(with_flags(path, grouping, quality))
    hdu = made[1]
    assert hdu.columns.names == ["CHANNEL", "COUNTS", "QUALITY", "GROUPING"]
    for name in ("CHANNEL", "COUNTS"):
        np.testing.assert_array_equal(hdu.data[name], was.data[name])
    np.testing.assert_array_equal(hdu.data["GROUPING"], grouping)
    np.testing.assert_array_equal(hdu.data["QUALITY"], quality)
    # The keyword that stood for the column is gone; all others are as they were.
    assert "GROUPING" not in hdu.header
    same = {k: v for k, v in was.header.items() if k not in ("NAXIS1", "TFIELDS", "GROUPING")}
    assert same.items() <= dict(hdu.header).items()
    again = flagged_groups(hdu.data["GROUPING"], hdu.data["QUALITY"] == 0)
    np.testing.assert_array_equal(again.start, groups.start)
    np.testing.assert_array_equal(again.stop, groups.stop)


def test_flags_written_twice_are_flags_written_once(folder):
    path = folder / "sim00001.pi"
    _, grouping, quality = flags(opened(path.read_bytes())[1].data["COUNTS"])
    once = with_flags(path, grouping, quality)
    assert with_flags(once, grouping, quality) == once
    other = with_flags(once, np.ones_like(grouping), quality)
    assert len(other) == len(once)
    assert set(opened(other)[1].data["GROUPING"]) == {1}


def test_other_hdus_and_the_heap_stay(tmp_path):
    ragged = np.empty(3, object)
    ragged[:] = [np.arange(n, dtype=np.int16) for n in (2, 0, 3)]
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("CHANNEL", "J", array=np.arange(3)),
            fits.Column("COUNTS", "D", unit="count", array=np.array([1.5, np.nan, 3])),
            fits.Column("OTHER", "PI()", array=ragged),
        ],
        name="SPECTRUM",
    )
    table.header["HDUCLAS1"] = "SPECTRUM"
    table.add_checksum()
    stream = io.BytesIO()
    after = fits.ImageHDU(np.arange(6).reshape(2, 3), name="AFTER")
    fits.HDUList([fits.PrimaryHDU(), table, after]).writeto(stream)
    made = opened(with_flags(stream.getvalue(), np.array([1, -1, 1]), np.array([0, 0, 5])))
    hdu = made["SPECTRUM"]
    assert [list(row) for row in hdu.data["OTHER"]] == [[0, 1], [], [0, 1, 2]]
    np.testing.assert_array_equal(hdu.data["COUNTS"], [1.5, np.nan, 3])
    assert list(hdu.data["GROUPING"]) == [1, -1, 1]
    assert list(hdu.data["QUALITY"]) == [0, 0, 5]
    assert "CHECKSUM" not in hdu.header
    np.testing.assert_array_equal(made["AFTER"].data, after.data)


def test_what_does_not_fit_is_refused(folder):
    eight, many = np.zeros(8, int), np.zeros(256, int)
    with pytest.raises(InputError, match="has 256 channels, there are 8 numbers of GROUPING"):
        with_flags(folder / "sim00001.pi", eight, eight)
    with pytest.raises(InputError, match="is of TYPE II"):
        with_flags(folder / "burst.pha2", eight, eight)
    with pytest.raises(InputError, match="expected one spectrum"):
        with_flags(folder / "sim.rmf", eight, eight)
    with pytest.raises(InputError, match="expected an HDU 7"):
        with_flags(folder / "sim00001.pi", many, many, hdu=7)
    raw = file_with_text_flags()
    with pytest.raises(InputError, match="is no column of plain integers"):
        with_flags(raw, np.zeros(2, int), np.zeros(2, int))


def file_with_text_flags() -> bytes:
    columns = [
        fits.Column("CHANNEL", "J", array=np.arange(2)),
        fits.Column("COUNTS", "J", array=np.arange(2)),
        fits.Column("GROUPING", "2A", array=np.array(["a", "b"])),
    ]
    stream = io.BytesIO()
    hdu = fits.BinTableHDU.from_columns(columns, name="SPECTRUM")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(stream)
    return stream.getvalue()


@pytest.mark.real
def test_real_files_take_flags(real_data):
    seen = 0
    for path in sorted((real_data / "ogip").rglob("*.pi")):
        with fits.open(path) as hdus:
            tables = [
                h for h in hdus if h.header.get("HDUCLAS1") == "SPECTRUM" and h.data is not None
            ]
            if len(tables) != 1 or "COUNTS" not in tables[0].columns.names:
                continue
            counts = np.array(tables[0].data["COUNTS"])
        _, grouping, quality = flags(counts)
        made = opened(with_flags(path, grouping, quality))
        [hdu] = [h for h in made if h.header.get("HDUCLAS1") == "SPECTRUM"]
        np.testing.assert_array_equal(hdu.data["COUNTS"], counts)
        np.testing.assert_array_equal(hdu.data["GROUPING"], grouping)
        seen += 1
    assert seen > 3
