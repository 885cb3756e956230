import io
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from lake.errors import InputError, LacusError
from lake.xmm.esas import read_region_table, table_bytes
from lake.xmm.shapes import make
from lake.xmm.sky import SkyPixels
from tests.xmm.test_shapes import every_shape

SKY = SkyPixels(266.934583333333, -28.4361944444444)
DATE = "2023-05-10T21:15:44.000"
GENUINE = "xmmregion/reg_fits_table/mos1S001-bkg_region-{}.fits"


def boxes(n=3):
    x = np.arange(n) * 100.5
    return make(["ROTBOX"] * n, x, -x, [[1800, 600]] * n, [[301.28]] * n, False, 1)


def opened(content):
    file = fits.open(io.BytesIO(content))
    file.verify("exception")
    return file


@pytest.mark.parametrize("frame", ["sky", "det"])
def test_the_layout_is_that_of_the_sas(frame):
    file = opened(table_bytes(boxes(), frame, name="a.fits", sky=SKY, date=DATE))
    table = file[1]
    assert table.columns.formats == ["16A", "4E", "4E", "4E", "4E", "J"]
    axes = ["X", "Y"] if frame == "sky" else ["DETX", "DETY"]
    assert table.columns.names == ["SHAPE", *axes, "R", "ROTANG", "COMPONENT"]
    assert table.header["MFORM1"] == ",".join(axes)
    assert ("TCRVL2" in table.header) == (frame == "sky")
    assert not any(k.startswith(("TUNIT", "TDIM", "TNULL")) for k in table.header)
    assert [v.strip() for v in table.data["SHAPE"].tolist()] == ["!ROTBOX"] * 3
    assert table.data[axes[0]].tolist()[1] == [100.5, 0, 0, 0]
    assert table.data["R"].tolist()[0] == [1800, 600, 0, 0]
    assert file[0].header["LONGSTRN"] == "OGIP 1.0"
    assert file[0].header["XPROC0"].endswith("bkgregionset=a.fits")
    raw = table_bytes(boxes(), frame, name="a.fits", sky=SKY, date=DATE)
    assert b"!ROTBOX         " in raw
    assert len(raw) % 2880 == 0


def test_the_same_regions_make_the_same_bytes():
    first = table_bytes(boxes(), "det", name="a.fits", date=DATE)
    assert first == table_bytes(boxes(), "det", name="a.fits", date=DATE)
    assert "DATE" not in opened(table_bytes(boxes(), "det", name="a.fits"))[0].header


def test_the_date_is_that_of_the_image_and_said_to_be():
    header = opened(table_bytes(boxes(), "det", name="a.fits", date=DATE))[0].header
    assert (header["DATE"], header.comments["DATE"]) == (DATE, "creation date of the image")
    history = " ".join(str(line) for line in header["HISTORY"])
    assert history == f"Created by lacus for an image that was created at {DATE.split('.')[0]}"


def test_long_names_go_on_in_cards_of_their_own():
    name = "it's-" + "x" * 150 + ".fits"
    header = opened(table_bytes(boxes(), "det", name=name, date=DATE))[0].header
    assert header["XDAL0"] == f"{name} Create lacus"


def test_every_shape_is_read_back():
    given = replace(every_shape(), include=np.arange(8) % 2 == 0, component=np.arange(1, 9))
    regions, frame, sky = read_region_table(table_bytes(given, "sky", name="a.fits", sky=SKY))
    assert frame == "sky"
    assert sky == replace(SKY, x_step=-1.38888888888889e-05, y_step=1.38888888888889e-05)
    for name in ("shape", "include", "component"):
        np.testing.assert_array_equal(getattr(regions, name), getattr(given, name))
    for name in ("x", "y", "r", "rotang"):
        np.testing.assert_allclose(getattr(regions, name), getattr(given, name), rtol=1e-7)
    np.testing.assert_array_equal(regions.vertices[6], given.vertices[6])


def test_a_polygon_of_many_vertices_widens_the_columns():
    corners = np.array([(0.0, 0), (4, 0), (5, 2), (4, 4), (2, 6), (0, 4)])
    given = make(["POLYGON", "CIRCLE"], [0, 9], [0, 9], [[np.nan], [3.0]], [[], []],
                 vertices={0: corners})  # fmt: skip
    content = table_bytes(given, "det", name="a.fits")
    assert opened(content)[1].columns.formats[:3] == ["16A", "6E", "6E"]
    np.testing.assert_array_equal(read_region_table(content)[0].vertices[0], corners)


def test_a_region_without_a_place_is_refused():
    lost = replace(boxes(), x=np.array([0.0, np.nan, 1.0]))
    with pytest.raises(LacusError, match="region 2 of the det frame has no place"):
        table_bytes(lost, "det", name="a.fits")


def table_of(**columns):
    made = [fits.Column(n, f, array=v) for n, (f, v) in columns.items()]
    out = io.BytesIO()
    hdu = fits.BinTableHDU.from_columns(made, name="REGION")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(out)
    return out.getvalue()


def test_tables_of_other_writers_are_read():
    content = table_of(
        shape=("10A", ["circle", "!box", "rotbox"]), x=("D", [1, 2, 3]), y=("D", [4, 5, 6]),
        r=("2D", [[7, 0], [8, 9], [1, 2]]), rotang=("D", [0, 0, 30]),
    )  # fmt: skip
    regions, *_ = read_region_table(content)
    assert regions.shape.tolist() == ["CIRCLE", "BOX", "ROTBOX"]
    assert regions.include.tolist() == [True, False, True]
    # Without components: included ones are combined by OR, excluded ones hold for all.
    assert regions.component.tolist() == [1, 0, 2]
    assert regions.r[1, :2].tolist() == [8, 9]
    assert np.isnan(regions.r[0, 1])


def test_exclusions_of_other_writers_are_read():
    content = table_of(SHAPE=("10A", ["-CIRCLE", "! CIRCLE", "CIRCLE"]), X=("E", [1, 2, 3]),
                       Y=("E", [4, 5, 6]), R=("E", [7, 8, 9]))  # fmt: skip
    assert read_region_table(content)[0].include.tolist() == [False, False, True]


@pytest.mark.parametrize("variable", [False, True])
def test_polygons_of_other_writers_end_with_nan_or_where_their_row_does(variable):
    lists = [[100, 200, 150], [50]]
    if variable:
        cells = np.empty(2, object)
        cells[:] = [np.array(v, "f4") for v in lists]
        form = "PE()"
    else:
        cells, form = [[*v, *[np.nan] * (5 - len(v))] for v in lists], "5E"
    content = table_of(SHAPE=("10A", ["Polygon", "Circle"]), X=(form, cells), Y=(form, cells),
                       R=("E", [np.nan, 20]))  # fmt: skip
    regions, *_ = read_region_table(content)
    assert regions.vertices[0][:, 0].tolist() == [100, 200, 150]
    assert regions.x.tolist() == [150, 50]


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"SHAPE": ("8A", ["CIRCLE"]), "R": ("E", [np.nan])}, "row 1: a place or a length of this"),
        ({"SHAPE": ("8A", ["BLOB"])}, "row 1: SHAPE is 'BLOB', expected POINT"),
        ({"SHAPE": ("8A", ["ROTBOX"])}, "a ROTBOX has 2 lengths and 1 angles"),
    ],
)
def test_what_is_no_region_is_refused(columns, problem):
    content = table_of(**columns, X=("E", [1]), Y=("E", [1]))
    with pytest.raises(InputError, match=problem):
        read_region_table(content)


@pytest.mark.parametrize(
    ("keyword", "value"), [("TCTYP2", "GLON-TAN"), ("TCTYP3", "DEC--SIN"), ("TCDLT2", 1e-5)]
)
def test_pixels_of_another_sky_are_refused(keyword, value):
    out = io.BytesIO(table_bytes(every_shape(), "sky", name="a.fits", sky=SKY))
    with fits.open(out) as file:
        file[1].header[keyword] = value
        changed = io.BytesIO()
        file.writeto(changed)
    with pytest.raises(InputError, match="expected RA---TAN to the west and DEC--TAN"):
        read_region_table(changed.getvalue())


def test_a_file_without_regions_is_refused(tmp_path):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.zeros((2, 2))).writeto(path)
    with pytest.raises(InputError, match="has no region table"):
        read_region_table(path)


@pytest.mark.real
@pytest.mark.parametrize("frame", ["sky", "det"])
def test_a_genuine_table_comes_out_byte_for_byte(real_data, frame):
    path = real_data / "xmm" / GENUINE.format(frame)
    regions, found, sky = read_region_table(path)
    assert found == frame
    genuine = path.read_bytes()
    mine = table_bytes(regions, frame, name=path.name, sky=sky, date=DATE)
    # All but the primary header, which names the program.
    assert mine[mine.index(b"XTENSION") :] == genuine[genuine.index(b"XTENSION") :]


@pytest.mark.real
def test_all_real_tables_are_read_and_written_again(real_data):
    paths = sorted((real_data / "xmm").rglob("*region*.fits"))
    assert len(paths) > 40
    for path in paths:
        regions, frame, sky = read_region_table(path)
        again, *_ = read_region_table(table_bytes(regions, frame, name="a", sky=sky))
        np.testing.assert_array_equal(again.shape, regions.shape)
        np.testing.assert_allclose(again.x, regions.x, rtol=1e-7)
        np.testing.assert_allclose(again.r, regions.r, rtol=1e-6)
