import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from lake.errors import InputError
from lake.xmm.listed import is_list, read_list
from lake.xmm.mask import read_mask

FORMATS = {"c.fits": "fits", "c.vot": "votable", "c.ecsv": "ascii.ecsv", "c.parquet": "parquet"}


def read(text):
    assert is_list(text.encode())
    return read_list(text.encode())


def test_boxes_and_circles_by_label():
    found = dict(
        read("Label,RA,Dec,radius,width,height,angle\n7,266.9,-28.4,60,,,\n2,10,20,,90,30,45\n")
    )
    assert list(found) == [2, 7]
    assert found[7].shape.tolist() == ["CIRCLE"]
    assert found[2].shape.tolist() == ["ROTBOX"]
    assert (found[2].x[0], found[2].y[0], found[2].rotang[0, 0]) == (10, 20, 45)
    assert found[2].r[0, :2].tolist() == [90, 30]
    assert found[2].include.all()


@pytest.mark.parametrize("name", FORMATS)
def test_lengths_are_in_the_unit_that_a_table_gives(tmp_path, name):
    path = tmp_path / name
    table = Table({"ra": [266.9, 266.8], "dec": [-28.4, -28.5], "radius": [0.5, 2.0]})
    if name != "c.parquet":
        table["radius"].unit = "arcmin"
    table.write(path, format=FORMATS[name])
    assert read_mask(path).kind == "list"
    ((label, regions),) = read_list(path)
    assert label == 0
    expected = [0.5, 2.0] if name == "c.parquet" else [30, 120]
    np.testing.assert_allclose(regions.r[:, 0], expected)


@pytest.mark.parametrize("text", ["# by hand\n\n'ra' 'dec' 'radius'\n1 2 3\n", '"RA","DEC"\n1,2\n'])
def test_a_list_is_told_by_its_columns(text):
    assert is_list(text.encode())


def test_what_has_no_columns_of_places_is_no_list(tmp_path):
    assert not is_list(b"fk5\ncircle(1,2,3)\n")
    fits.PrimaryHDU(np.zeros((2, 2))).writeto(tmp_path / "a.fits")
    assert not is_list((tmp_path / "a.fits").read_bytes())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ra,dec\n1,2\n", "has no column radius, nor width and height"),
        ("ra,dec,radius\n", "is empty"),
        ("ra,dec,radius\n1,2,-3\n", "row 1: a length is not above 0"),
        ("ra,dec,radius\n1,2,3\n1,2,\n", "row 2: expected ra, dec, and radius"),
        ("ra,dec,radius\n1,-98,3\n", "row 1: expected ra, dec"),
        ("ra,dec,radius,label\n1,2,3,1.5\n", "row 1: the label is no whole number"),
        ("ra,dec,radius,label\n1,2,3,1\n1,2,3,\n", "row 2: the label is no whole number"),
        ("ra,dec,radius\n10:00:00,2,3\n", "column 'ra': is string, expected numbers"),
    ],
)
def test_what_is_no_region_is_refused(text, problem):
    with pytest.raises(InputError, match=problem):
        read(text)


def test_a_unit_that_is_no_angle_is_refused(tmp_path):
    table = Table({"ra": [1.0], "dec": [2.0], "radius": [3.0]}, units={"radius": "mm"})
    table.write(tmp_path / "a.ecsv", format="ascii.ecsv")
    with pytest.raises(InputError, match="column 'radius': is in 'mm', expected arcsec or another"):
        read_list(tmp_path / "a.ecsv")
