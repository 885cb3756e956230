import numpy as np
import pytest

from lake.errors import InputError
from lake.xmm.contains import contains
from lake.xmm.ds9 import ds9_text, read_ds9
from lake.xmm.shapes import of_sky_pixels, to_sky_pixels
from lake.xmm.sky import SkyPixels, standard_coordinates
from tests.xmm.files import boxes
from tests.xmm.test_shapes import MINE, every_shape, same

HEAD = "# Region file format: DS9 version 4.1\nglobal color=green\n"


def read(text):
    return read_ds9((HEAD + text).encode())


def test_a_file_of_boxes_is_read():
    regions, system = read(
        "physical\nbox(100,200,30,10,45) # color=red text={a; b}\n-circle(1,2,3)\n"
    )
    assert system == "physical"
    assert regions.shape.tolist() == ["ROTBOX", "CIRCLE"]
    assert regions.include.tolist() == [True, False]
    assert (regions.r[0, 0], regions.rotang[0, 0]) == (30, 45)


@pytest.mark.parametrize(
    "text",
    [
        'fk5\ncircle(202.48642917,47.20845,3.964")',
        'fk5\ncircle(13:29:56.743,+47:12:30.42,3.964")',
        'icrs; circle(13h29m56.743s,47d12m30.42s,3.964")',
        "fk5\ncircle 202.48642917 47.20845 0.00110111",
        "j2000;circle(202.48642917,47.20845,0.0660667')",
        "fk5\ncircle(3.5340549r,47.20845,3.964\")",
    ],
)  # fmt: skip
def test_places_and_lengths_are_read_in_every_spelling(text):
    regions, system = read(text)
    assert system == "fk5"
    assert (regions.x[0], regions.y[0]) == pytest.approx((202.48642917, 47.20845), abs=2e-6)
    assert regions.r[0, 0] == pytest.approx(3.964, abs=1e-4)


def test_several_regions_on_a_line_and_what_is_no_region():
    regions, _ = read(
        "image;circle(1,2,3);-line(1,2,3,4);annulus(5,6,1,2,3)\n# text(1,2) text={x}\n"
    )
    assert regions.shape.tolist() == ["CIRCLE", "ANNULUS"]
    # Rings between several radii are one annulus together.
    assert regions.r[1, :2].tolist() == [1, 3]


def test_a_box_annulus_is_four_boxes():
    regions, _ = read("physical\nbox(0,0,4,2,8,6,30)\n")
    outer, _ = read("physical\nbox(0,0,8,6,30)\n")
    inner, _ = read("physical\nbox(0,0,4,2,30)\n")
    x, y = np.random.default_rng(0).uniform(-6, 6, (2, 20000))
    expected = contains(outer, x, y) & ~contains(inner, x, y)
    np.testing.assert_array_equal(contains(regions, x, y), expected)


@pytest.mark.parametrize("dec", [0.0, 60.0, -89.8])
def test_the_sides_of_a_box_annulus_are_turned_alike_on_the_sky(dec):
    sky = SkyPixels(359.99, dec)
    regions, outer, inner = (
        to_sky_pixels(read(f"fk5\nbox(0.005,{dec + 0.05},{sizes},30)\n")[0], sky)
        for sizes in ('120",80",240",160"', '240",160"', '120",80"')
    )
    x, y = np.random.default_rng(0).uniform(-2500, 2500, (2, 20000))
    x, y = x + regions.x.mean(), y + regions.y.mean()
    expected = contains(outer, x, y) & ~contains(inner, x, y)
    assert expected.sum() > 8000
    assert (contains(regions, x, y) != expected).sum() <= 2


def test_an_ellipse_of_two_is_an_annulus():
    regions, _ = read("physical\nellipse(1,2,1,2,3,4,30)\n")
    assert regions.shape.tolist() == ["ELLIPTANNULUS"]
    assert regions.r[0].tolist() == [1, 2, 3, 4]


def test_files_of_ciao_name_no_system():
    text = (
        "# Region file format: CIAO version 1.0\n"
        "circle(13:29:56.743,+47:12:30.42,0.5')\n"
        "-pie(13:29:56.743,+47:12:30.42,0.2',0.4',350,40)\n"
    )
    regions, system = read_ds9(text.encode())
    assert system == "fk5"
    assert regions.shape.tolist() == ["CIRCLE", "PIE"]
    assert regions.x == pytest.approx([202.48642917] * 2, abs=2e-6)
    assert regions.r[1, :2].tolist() == [12, 24]
    assert regions.rotang[1].tolist() == [350, 40]
    assert read_ds9(b"# Region file format: CIAO version 1.0\ncircle(1,2,3)\n")[1] == "physical"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("physical\nblob(1,2)", "line 4: 'blob.1,2.' is no DS9 region"),
        ("physical\ncircle(1,2)", "circle: has 0 numbers after its centre"),
        ("physical\ncircle(1,two,3)", "line 4: circle: could not convert"),
        ('physical\ncircle(1,2,3")', "is an angle, but the file is in pixels"),
        ("fk5\ncircle(1,2,3p)", "is in pixels, but the file is on the sky"),
        ("physical\npolygon(1,2,3,4)", "has 4 coordinates, expected pairs"),
        ("physical\ncircle(1,2,3)\nfk5\ncircle(1,2,3)", "has regions in fk5 and physical"),
        ("physical\n", "has no region"),
        ("physical\nepanda(1,2,0,90,1,3,4,5,6,1,0)", "line 4: is of the shape epanda"),
        ("ecliptic\ncircle(1,2,3)", "is in ecliptic coordinates: save it in fk5"),
        ("physical\ncircle(1,2,3)-circle(4,5,6)", "'-circle.4,5,6.' follows a region: each needs"),
        ("physical\ncircle(1,2,3) & box(4,5,6,7)", "'& box.4,5,6,7.' follows a region"),
        ("physical\ncircle(1,2,3) || circle(4,5,6)", "'|| circle.4,5,6.' follows a region"),
        ("physical\ncircle(1,2,-3)", "line 4: circle: the length -3 is not 0 or more"),
        ("physical\ncircle(1,nan,3)", "circle: 1, nan is no place"),
        ("fk5\ncircle(1,93,3)", "circle: 1, 93 is no place"),
    ],
)
def test_what_cannot_be_read_is_refused(text, problem):
    with pytest.raises(InputError, match=problem):
        read(text)


def test_an_exclusion_may_be_written_with_an_exclamation_mark():
    regions, _ = read('fk5\n!circle(10,20,30")\n- circle(10,20,30")\ncircle(10,20,30")\n')
    assert regions.include.tolist() == [False, False, True]


def test_names_that_are_not_ascii_do_no_harm():
    text = b'fk5\ncircle(10,20,30") # text={\xb0}\n'
    assert len(read_ds9(text)[0]) == 1


@pytest.mark.parametrize("pie", ["panda(1,2,0,360,1,3,4,1)", "pie(1,2,3,4,90,450)"])
def test_a_pie_all_round_is_an_annulus(pie):
    regions, _ = read(f"physical\n{pie}\n")
    assert regions.shape.tolist() == ["ANNULUS"]
    assert regions.r[0, :2].tolist() == [3, 4]


def test_shapes_that_only_ciao_has():
    regions, _ = read("physical\nrectangle(1,2,5,10)\nsector(100,100,20,70)\n")
    x, y = np.random.default_rng(0).uniform(0, 120, (2, 50_000))
    inside = (x > 1) & (x < 5) & (y > 2) & (y < 10)
    turn = np.degrees(np.arctan2(y - 100, x - 100)) % 360
    inside |= (turn > 20) & (turn < 70)
    np.testing.assert_array_equal(contains(regions, x, y), inside)


def test_a_panda_all_around_is_an_annulus():
    regions, _ = read('fk5\npanda(10,20,0,360,4,10",20",2)\n')
    assert regions.shape.tolist() == ["ANNULUS"]
    assert regions.r[0, :2].tolist() == [10, 20]


def test_a_polygon_lies_where_its_corners_do_across_right_ascension_0():
    regions, _ = read("fk5\npolygon(359.98,10,0.02,10,0.03,10.03,359.98,10.03)\n")
    assert regions.x[0] == pytest.approx(0.0025)
    assert regions.y[0] == pytest.approx(10.015)


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(InputError, match="is no text"):
        read_ds9(b"\x93\x00\x81")


@pytest.mark.parametrize("system", ["physical", "detector", "fk5"])
def test_what_is_written_is_read_again(system):
    given = every_shape()
    # DS9 has one angle for both ellipses.
    given.rotang[4] = 20
    if system == "fk5":
        given = of_sky_pixels(given, MINE.sky)
    again, found = read_ds9(ds9_text(given, system).encode())
    assert found == system
    same(again, given, 1.1e-3)
    if system == "fk5":
        assert np.abs(again.x - given.x).max() < 1e-7


@pytest.mark.real
def test_the_same_regions_in_all_systems_on_the_sky(real_data):
    folder = real_data / "xmm/ds9_reg_astropy_regions/ds9/tests/data"
    expected, _ = read_ds9(folder / "ds9.fk5.reg")
    for name in ("fk5.hms", "icrs", "icrs.hms", "fk4", "galactic", "galactic.hms"):
        found, system = read_ds9(folder / f"ds9.{name}.reg")
        assert system == "fk5"
        assert found.shape.tolist() == expected.shape.tolist()
        assert found.include.tolist() == expected.include.tolist()
        off = standard_coordinates(found.x, found.y, expected.x, expected.y)
        assert np.hypot(*off).max() * 3600 < 0.3
        np.testing.assert_allclose(found.r, expected.r, atol=2e-3)


@pytest.mark.real
def test_all_real_files_of_the_chain_are_read(real_data):
    paths = [p for p in sorted((real_data / "xmm/steady").rglob("reg_*.reg")) if p.stat().st_size]
    assert len(paths) > 30
    for path in paths:
        regions, system = read_ds9(path)
        assert system in ("physical", "detector", "image", "fk5")
        numbers = boxes(path) if "world" not in path.name else None
        if numbers is not None:
            np.testing.assert_array_equal(regions.x, numbers[:, 0])
