from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import FK5
from astropy.io import fits
from astropy.wcs import WCS

from lake import contracts
from lake.columns import Columns
from lake.errors import InputError, UsageError
from lake.inputs import InputFile
from lake.xmm.contains import contains
from lake.xmm.esas import table_bytes
from lake.xmm.mask import read_mask
from lake.xmm.mask_rows import records
from lake.xmm.shapes import make, to_sky_pixels
from lake.xmm.sky import standard_coordinates
from tests.xmm.files import boxes, mask
from tests.xmm.test_geometry import exposure
from tests.xmm.test_shapes import every_shape

MINE = exposure("EPN")
RNG = np.random.default_rng(0)
PIXELS = (RNG.random((20, 30)) < 0.6).astype(np.int16)


def part(found, role, label=0):
    return next(p.regions for p in found.parts if (p.role, p.label) == (role, label))


def at_pixels(path, regions):
    """Which pixels have their centre in regions; the pixels of the mask are asked by its WCS."""
    with fits.open(path) as file:
        wcs, shape = WCS(file[0].header), file[0].shape
    row, column = np.indices(shape)
    there = wcs.pixel_to_world(column.ravel(), row.ravel()).transform_to(FK5(equinox="J2000"))
    place = MINE.sky.of_sky(there.ra.deg, there.dec.deg)
    return contains(to_sky_pixels(regions, MINE.sky), *place).reshape(shape)


@pytest.mark.parametrize("kind", ["i2", "f4", "u1", "i8"])
@pytest.mark.parametrize("exclude", ["zeros", "ones"])
def test_boxes_on_the_sky_are_the_pixels(tmp_path, exclude, kind):
    path = mask(tmp_path / "m.fits", PIXELS.astype(kind))
    found = read_mask(path, exclude=exclude)
    out = (0 if exclude == "zeros" else 1) == PIXELS
    np.testing.assert_array_equal(at_pixels(path, part(found, "bkg")), ~out)
    np.testing.assert_array_equal(at_pixels(path, part(found, "mask")), ~out)
    assert at_pixels(path, part(found, "box")).all()
    assert found.pixels == {0: (int(out.sum()), int((~out).sum()))}
    assert found.fewest
    assert found.pixel_scale == pytest.approx(30, rel=1e-6)


@pytest.mark.parametrize(
    "changed",
    [
        {"scale": 4.0, "angle": 130.0},
        {"CDELT1": 30 / 3600},  # east to the right
        {"PC1_1": None, "PC1_2": None, "PC2_1": None, "PC2_2": None, "CROTA2": 40.0},
        {"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN"},
        {"CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR", "ra": 0.6670, "dec": -0.0358},
        {"RADESYS": "FK4", "EQUINOX": 1950.0, "ra": 266.0712, "dec": -28.4098},
        {"EQUINOX": 1975.0, "ra": 266.4664, "dec": -28.4186},
    ],
    ids=["small", "flipped", "crota", "sin", "galactic", "fk4", "equinox"],
)
def test_any_scale_turn_projection_and_system_will_do(tmp_path, changed):
    path = mask(tmp_path / "m.fits", PIXELS, **changed)
    found = part(read_mask(path), "bkg")
    # All of Sgr B2, whatever the system is.
    assert np.hypot(*standard_coordinates(found.x, found.y, 266.862, -28.427)).max() < 0.2
    np.testing.assert_array_equal(at_pixels(path, found), PIXELS == 1)


def test_axes_of_one_pixel_do_not_count(tmp_path):
    path = mask(tmp_path / "m.fits", PIXELS)
    header = fits.getheader(path)
    fits.PrimaryHDU(PIXELS[None, None], header).writeto(tmp_path / "c.fits")
    found = read_mask(tmp_path / "c.fits")
    np.testing.assert_array_equal(part(found, "bkg").x, part(read_mask(path), "bkg").x)
    fits.PrimaryHDU(np.stack([PIXELS] * 3), header).writeto(tmp_path / "d.fits")
    with pytest.raises(InputError, match="HDU 0: has 3 axes, expected an image of 2"):
        read_mask(tmp_path / "d.fits")


def test_a_mask_may_be_compressed(tmp_path):
    path = mask(tmp_path / "m.fits", PIXELS)
    fits.CompImageHDU(PIXELS, fits.getheader(path)).writeto(tmp_path / "c.fits")
    found = part(read_mask(tmp_path / "c.fits"), "bkg")
    np.testing.assert_array_equal(found.x, part(read_mask(path), "bkg").x)


def test_labels_are_masks_of_their_own(tmp_path):
    labels = np.zeros((20, 20), np.int32)
    labels[2:6, 3:9], labels[10:14, 10:12], labels[15, 15] = 7, 300, 7
    path = mask(tmp_path / "m.fits", labels)
    found = read_mask(path, labelled=True, exclude="zeros")
    assert [(p.label, p.role, len(p.regions)) for p in found.parts] == [
        (7, "mask", 2), (300, "mask", 1),
    ]  # fmt: skip
    np.testing.assert_array_equal(at_pixels(path, part(found, "mask", 7)), labels == 7)
    assert found.pixels == {7: (375, 25), 300: (392, 8)}
    out = read_mask(path, labelled=True, exclude="ones")
    np.testing.assert_array_equal(at_pixels(path, part(out, "bkg", 300)), labels != 300)


@pytest.mark.parametrize(
    ("pixels", "problem"),
    [
        (PIXELS * 3, "has the value 3, expected 0 and 1"),
        (np.where(PIXELS, 0.5, 0), "has the value 0.5, expected whole numbers"),
        (np.where(PIXELS, np.nan, 0), "has the value nan"),
        (PIXELS * 0, "is empty: all its pixels are 0"),
        (PIXELS * 0 + 1, "is empty: all its pixels are 1"),
    ],
)
def test_an_image_that_is_no_mask_is_refused(tmp_path, pixels, problem):
    with pytest.raises(InputError, match=problem):
        read_mask(mask(tmp_path / "m.fits", pixels))


def test_a_mask_without_coordinates_is_refused(tmp_path):
    fits.PrimaryHDU(PIXELS).writeto(tmp_path / "m.fits")
    with pytest.raises(InputError, match="has no coordinates of the sky"):
        read_mask(tmp_path / "m.fits")
    skew = mask(tmp_path / "s.fits", PIXELS, PC1_2=0.9, PC1_1=1.0, PC2_1=0.0, PC2_2=1.0)
    with pytest.raises(InputError, match="are no rectangles"):
        read_mask(skew)
    with pytest.raises(UsageError, match="expected zeros or ones"):
        read_mask(skew, exclude="0")


def test_drawn_regions_pass_through(tmp_path):
    path = tmp_path / "m.reg"
    path.write_text(
        '# Region file format: DS9\nfk5\ncircle(266.9,-28.4,60")\n-box(266.9,-28.4,30",20",30)\n'
    )
    out, kept = (read_mask(path, exclude=e) for e in ("ones", "zeros"))
    assert out.kind == "ds9"
    regions = part(out, "bkg")
    # Outside of the circle, or within the hole.
    assert regions.shape.tolist() == ["CIRCLE", "ROTBOX"]
    assert regions.include.tolist() == [False, True]
    x, y = RNG.uniform(20000, 32000, (2, 20000))
    select = [contains(to_sky_pixels(r, MINE.sky), x, y) for r in (regions, part(kept, "mask"))]
    np.testing.assert_array_equal(*[select[0], ~select[1]])
    assert 0 < select[1].sum() < len(x)


def test_regions_that_are_all_excluded_are_cut_out(tmp_path):
    path = tmp_path / "m.reg"
    path.write_text('fk5\n-circle(266.9,-28.4,60")\n-circle(266.8,-28.4,30")\n')
    regions = part(read_mask(path), "bkg")
    assert regions.include.tolist() == [False, False]
    assert regions.component.tolist() == [1, 1]
    assert part(read_mask(path, exclude="zeros"), "mask").include.all()


def test_a_list_of_boxes_and_circles_is_cut_out_by_label(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text(
        "label,ra,dec,radius,width,height,angle\n1,266.9,-28.4,60,,,\n2,266.8,-28.5,,90,30,45\n"
    )
    found = read_mask(path)
    assert found.kind == "list"
    assert part(found, "bkg", 1).shape.tolist() == ["CIRCLE"]
    assert part(found, "bkg", 2).r[0, :2].tolist() == [90, 30]
    assert not part(found, "bkg", 1).include.any()
    path.write_text("ra,dec,radius\n")
    with pytest.raises(InputError, match=r"m.csv: is empty"):
        read_mask(path)


def test_a_region_table_keeps_its_own_logic(tmp_path):
    given = replace(every_shape(), include=np.arange(8) > 3, component=np.arange(8) + 1)
    path = tmp_path / "mos1S001-bkg_region-sky.fits"
    path.write_bytes(table_bytes(given, "sky", name=path.name, sky=MINE.sky))
    found = read_mask(path)
    assert (found.kind, found.parts[0].frame, found.exposure) == ("region_table", "fk5", "mos1S001")
    regions = part(found, "bkg")
    np.testing.assert_array_equal(regions.include, given.include)
    np.testing.assert_array_equal(regions.component, given.component)
    assert regions.r[0, 0] == pytest.approx(15, rel=1e-4)


def selected_row_by_row(regions, x, y):
    """AND of neighbours of one component, OR of these, as CFITSIO evaluates a region table."""
    ends = np.flatnonzero(np.diff(regions.component, append=-1)) + 1
    runs = np.split(np.arange(len(regions)), ends[:-1])
    alone = [replace(regions.take(r), component=np.ones(len(r), int)) for r in runs]
    return np.any([contains(r, x, y) for r in alone], axis=0)


@pytest.mark.parametrize(
    ("component", "holes"), [(None, True), ([1, 0, 2, 0], True), ([2, 1, 1, 2], False)]
)
def test_a_region_table_is_made_that_every_reader_takes_alike(tmp_path, component, holes):
    # A hole in each of two circles, or in the component of the other.
    x0, radius = np.array([25000, 25500, 27000, 27500]), np.array([900, 300, 900, 300])
    given = make(
        ["CIRCLE"] * 4, x0, [26000] * 4, radius, [np.nan] * 4, [True, False] * 2, component or 1
    )
    path = tmp_path / "m.fits"
    path.write_bytes(table_bytes(given, "sky", name=path.name, sky=MINE.sky))
    if component is None:
        with fits.open(path, mode="update") as file:
            file[1].columns.del_col("COMPONENT")
    regions = to_sky_pixels(part(read_mask(path), "bkg"), MINE.sky)
    x, y = RNG.uniform(24000, 28500, (2, 20000))
    first, hole, second, other = np.hypot(x - x0[:, None], y - 26000) <= radius[:, None]
    expected = (first | second) & ~(holes & (hole | other))
    assert (selected_row_by_row(regions, x, y) != expected).sum() <= 2


def test_holes_of_ds9_regions_lie_beside_what_they_are_holes_of(tmp_path):
    path = tmp_path / "m.reg"
    path.write_text(
        "physical\ncircle(25000,26000,900)\ncircle(27000,26000,900)\n-circle(26000,26000,300)\n"
    )
    regions = part(read_mask(path, exclude="zeros"), "mask")
    assert regions.component.tolist() == [1, 1, 2, 2]
    assert regions.include.tolist() == [True, False, True, False]


@pytest.mark.parametrize("labelled", ["no", "yes"])
def test_rows_of_the_lake_fit_their_tables(tmp_path, labelled):
    path = mask(tmp_path / "m.fits", PIXELS)
    options = {"labelled": labelled, "exclude": "ones", "obsid": "0862471101"}
    file = InputFile(Path(path), "xmm", "r1", "masks", options, 0, 0, "")
    rows = records(file, path.read_bytes())
    for table, found in rows.items():
        columns = Columns(contracts.table(table), "r1")
        columns.extend(found, "f" * 64)
        assert sum(batch.num_rows for batch in columns.batches()) == len(found)
    (row,) = rows["xmm.masks"]
    assert row["boxes_excluded"] + row["boxes_included"] + (labelled == "no") == len(
        rows["xmm.mask_regions"]
    )
    assert row["pixels_excluded"] == PIXELS.sum()
    numbers = [r["number"] for r in rows["xmm.mask_regions"]]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.real
@pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")
def test_row_runs_lie_where_the_seed_has_them(real_data):
    folder = real_data / "xmm/xmmregion"
    runs = part(read_mask(folder / "count_maps/count_map_2004.fits", algorithm="rows"), "bkg")
    drawn = boxes(folder / "reg_files/reg_row_pix.reg")
    wcs = WCS(fits.getheader(folder / "count_maps/count_map_2004.fits"))
    ra, dec = wcs.wcs_pix2world(drawn[:, 0], drawn[:, 1], 1)
    np.testing.assert_allclose(runs.x, ra, rtol=0, atol=1e-9)
    np.testing.assert_allclose(runs.y, dec, rtol=0, atol=1e-9)
    np.testing.assert_allclose(runs.r[:, 0], drawn[:, 2] * 30, rtol=1e-5)
