import subprocess

import numpy as np
import pytest
from astropy.io import fits

import lake.xmm
from lake.errors import InputError, LacusError, UsageError
from lake.xmm.contains import contains
from lake.xmm.ds9 import read_ds9
from lake.xmm.esas import read_region_table, table_bytes
from lake.xmm.exposure import read_exposure
from lake.xmm.regions import region_tables
from lake.xmm.shapes import make
from tests.xmm.files import DEC, NAMES, RA, boxes, events, image, mask
from tests.xmm.test_geometry import exposure

RNG = np.random.default_rng(0)
PIXELS = (RNG.random((20, 20)) < 0.7).astype(np.uint8)


@pytest.fixture
def images(tmp_path):
    return [image(tmp_path / f"{NAMES[c]}.fits", c, (4, 4)) for c in NAMES]


@pytest.fixture
def pixels(tmp_path):
    return mask(tmp_path / "mask.fits", PIXELS, ra=RA, dec=DEC)


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_one_mask_gives_the_tables_of_every_exposure(tmp_path, images, pixels):
    made = lake.xmm.region_tables(pixels, images, tmp_path / "out")
    assert [e.exposure.name for e in made.exposures] == list(NAMES.values())
    for exposure_ in NAMES.values():
        for kind in ("bkg_region", "mask_region", "box_table"):
            for frame in ("sky", "det"):
                assert (tmp_path / "out" / f"{exposure_}-{kind}-{frame}.fits").is_file()
    files = [p for e in made.exposures for p in (*e.tables, *e.ds9, e.script)]
    # And the expression for the ESAS.
    assert len(files) + 3 == len(names(tmp_path / "out"))
    assert made.exposures[0].expressions["pnS003-bkg_region-det.fits"] == (
        "region(pnS003-bkg_region-det.fits)"
    )
    assert (tmp_path / "out/pnS003-region.txt").read_text() == (
        "&&region(pnS003-bkg_region-det.fits)\n"
    )


def test_the_same_inputs_make_the_same_bytes(tmp_path, images, pixels):
    for folder in "ab":
        region_tables(pixels, images, tmp_path / folder)
    for name in names(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("exclude", ["zeros", "ones"])
def test_all_tables_and_ds9_files_select_the_same_sky(tmp_path, images, pixels, exclude):
    made = region_tables(pixels, images, tmp_path / "out", exclude=exclude)
    x, y = RNG.uniform(15000, 37000, (2, 50_000))
    reference = None
    for one in made.exposures:
        det = one.calibration.frame.of_sky_pixels(one.exposure.sky, x, y)
        selected = []
        for table in one.tables:
            if "box" not in table.name:
                selected.append(contains(table, *((x, y) if "sky" in table.name else det)))
        inside = contains(tmp_path / f"out/{one.exposure.name}-box_table-sky.fits", x, y)
        drawn, system = read_ds9(tmp_path / f"out/{one.exposure.name}-bkg_region-sky.reg")
        assert system == "physical"
        selected.append(contains(drawn, x, y))
        reference = selected[0] & inside if reference is None else reference
        for flags in selected:
            # What is kept ends where the mask does; edges are rounded to single precision.
            assert ((flags & inside) != reference).sum() <= 5
    assert 0.1 < reference.mean() < 0.9


@pytest.mark.parametrize("frame", ["sky", "det", "fk5"])
def test_ds9_files_are_taken_as_masks_again(tmp_path, images, pixels, frame):
    made = region_tables(pixels, images[:1], tmp_path / "out")
    drawn = next(p for p in made.exposures[0].ds9 if p.name == f"pnS003-bkg_region-{frame}.reg")
    again = region_tables(drawn, images[:1], tmp_path / "again")
    x, y = RNG.uniform(15000, 37000, (2, 20_000))
    first, second = (contains(m.exposures[0].tables[0], x, y) for m in (made, again))
    # But for those within a rounding of the edge.
    assert (first != second).sum() <= 2
    assert 0.1 < first.mean() < 0.9


def test_a_polygon_across_right_ascension_0(tmp_path):
    at = dict.fromkeys(("RA_PNT", "REFXCRVL", "CRVAL1"), 0.01)
    path = tmp_path / "m.reg"
    corners = np.array([(359.98, -28.4), (0.02, -28.4), (0.0, -28.35)])
    path.write_text(f"fk5\npolygon({','.join(str(v) for v in corners.ravel())})\n")
    made = region_tables(path, [image(tmp_path / "pnS003.fits", **at)], tmp_path / "out")
    regions, *_ = read_region_table(made.exposures[0].tables[0])
    expected = made.exposures[0].exposure.sky.of_sky(*corners.T)
    np.testing.assert_allclose(regions.vertices[0].T, expected, atol=2e-3)


def test_a_region_that_only_reaches_into_the_field_counts(tmp_path, images):
    path = tmp_path / "m.csv"
    for radius, reaches in ((3600, True), (60, False)):
        path.write_text(f"ra,dec,radius\n{RA},{DEC + 0.8},{radius}\n")
        if reaches:
            assert region_tables(path, images, tmp_path / "out").exposures
        else:
            with pytest.raises(InputError, match="does not lie on the image"):
                region_tables(path, images, tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("ellipse({0}) ellipse({1})", ["!ELLIPSE"]),
        ("ellipse({0}) ellipse({1}) -box({0})", ["!ELLIPSE", "ROTBOX"]),
        ("polygon({2}) ellipse({0}) -ellipse({1})", ["!ELLIPSE"]),
        # Nothing is cut out of this side.
        ("ellipse({1}) -ellipse({0})", []),
    ],
)
def test_regions_on_the_other_side_of_the_sphere_are_left_out(tmp_path, images, text, left):
    here, there = f"{RA},{DEC}", f"{(RA + 180) % 360},{-DEC}"
    places = f'{here},60",40"', f'{there},60",40"', f"{there},{there},{there[:-1]}5"
    lines = text.format(*places).split()
    path = tmp_path / "m.reg"
    path.write_text("fk5\n" + "\n".join(lines) + "\n")
    made = region_tables(path, images, tmp_path / "out").exposures
    for frame in ("sky", "det"):
        paths = [p for e in made for p in e.tables if p.name.endswith(f"{frame}.fits")]
        assert len(paths) == (len(images) if left else 0)
        for table in paths:
            assert [s.strip() for s in fits.getdata(table)["SHAPE"]] == left


def test_labels_have_tables_of_their_own(tmp_path, images):
    labels = np.zeros((20, 20), np.int16)
    labels[:5, :5], labels[10:, 10:] = 3, 12
    path = mask(tmp_path / "l.fits", labels, ra=RA, dec=DEC)
    made = region_tables(path, images[:1], tmp_path / "out", labelled=True, exclude="zeros")
    assert [p.name for p in made.exposures[0].tables] == [
        "pnS003-mask_region-3-sky.fits", "pnS003-mask_region-3-det.fits",
        "pnS003-mask_region-12-sky.fits", "pnS003-mask_region-12-det.fits",
    ]  # fmt: skip
    regions, *_ = read_region_table(made.exposures[0].tables[2])
    assert len(regions) == 1
    drawn, _ = read_ds9(tmp_path / "out/pnS003-mask_region-fk5.reg")
    assert len(drawn) == 2


def test_a_camera_with_events_is_calibrated_on_them(tmp_path, images, pixels):
    x, y = RNG.uniform(10000, 40000, (2, 2000))
    mine = exposure("EMOS2")
    detx, dety = mine.nominal_frame().of_sky_pixels(mine.sky, x, y)
    path = events(tmp_path / "e.fits", x, y, detx + 20, dety - 10, "EMOS2")
    made = region_tables(pixels, images, tmp_path / "out", control=[path])
    assert [e.calibration.kind for e in made.exposures] == ["header", "header", "events"]
    frame = made.exposures[2].calibration.frame
    assert frame.det_x == pytest.approx(mine.camera.det_x + 20, abs=0.1)


def test_detector_regions_of_one_camera_go_to_the_others(tmp_path, images):
    given = make(["CIRCLE"], [1000.0], [-2000.0], [[400.0]], [[np.nan]], False)
    path = tmp_path / "mos1S001-bkg_region-det.fits"
    path.write_bytes(table_bytes(given, "det", name=path.name))
    made = region_tables(path, images, tmp_path / "out")
    own, *_ = read_region_table(tmp_path / "out" / path.name)
    assert (own.x[0], own.y[0], own.r[0, 0]) == (1000, -2000, 400)
    skies = [read_region_table(e.tables[0])[0] for e in made.exposures]
    for sky in skies:
        assert (sky.x[0], sky.y[0]) == pytest.approx((skies[1].x[0], skies[1].y[0]), abs=1e-2)
    with pytest.raises(InputError, match="is in detector pixels of mos1S001, and there is no"):
        region_tables(path, images[:1], tmp_path / "none")


def test_observations_have_folders_of_their_own(tmp_path, images, pixels):
    other = image(tmp_path / "o.fits", "EPN", (4, 4), OBS_ID="0203930101")
    region_tables(pixels, [images[0], other], tmp_path / "out")
    assert names(tmp_path / "out") == ["0203930101", "0862471101"]


def test_nothing_is_written_where_anything_is_wrong(tmp_path, images, pixels):
    out = tmp_path / "out"
    far = mask(tmp_path / "far.fits", PIXELS, ra=10.0, dec=40.0)
    with pytest.raises(InputError, match=r"far\.fits: does not lie on the image of 0862471101 pnS"):
        region_tables(far, images, out)
    again = image(tmp_path / "again.fits", "EPN", (2, 2))
    for twice in ([images[0], again], [again, again]):
        with pytest.raises(InputError, match="is of 0862471101 pnS003, as is"):
            region_tables(pixels, twice, out)
    stray = events(tmp_path / "e.fits", [1, 2, 3], [4, 5, 6], [7, 8, 9], [1, 2, 3],
                   OBS_ID="0000000001")  # fmt: skip
    with pytest.raises(LacusError, match="is of 0000000001 pnS003, but the images are of"):
        region_tables(pixels, images, out, control=[stray])
    with pytest.raises(InputError, match="PA_PNT"):
        region_tables(
            pixels, [*images, image(tmp_path / "x.fits", EXPIDSTR="S009", PA_PNT=None)], out
        )
    with pytest.raises(UsageError, match="no image"):
        region_tables(pixels, [], out)
    assert not out.exists()
    out.write_text("in the way")
    with pytest.raises(LacusError, match="cannot be written"):
        region_tables(pixels, images, out)


def test_the_script_is_one_that_a_shell_reads(tmp_path, images, pixels):
    made = region_tables(pixels, images, tmp_path / "out")
    for one in made.exposures:
        subprocess.run(["sh", "-n", one.script], check=True)
        text = one.script.read_text()
        task = "pnspectra" if one.exposure.name.startswith("pn") else "mosspectra"
        assert f"{task} eventfile={one.exposure.name}-allevc.fits" in text
        assert f"expression='region({one.exposure.name}-bkg_region-sky.fits)'" in text


@pytest.mark.real
def test_the_tables_of_real_images_agree_with_the_sas(tmp_path, real_data):
    folder = real_data / "xmm/xmmregion"
    cameras = {"pnS003": "pn", "mos1S001": "m1", "mos2S002": "m2"}
    images = [folder / f"{c}-obj-image-sky.fits.gz" for c in cameras]
    made = region_tables(
        folder / "count_maps/count_map_2004.fits", images, tmp_path, algorithm="rows",
        sas_compatible=True,
    )  # fmt: skip
    assert made.mask.pixels == {0: (686, 214)}
    drawn = boxes(folder / "reg_files/reg_sky_m1.reg")
    for one, short in zip(made.exposures, cameras.values(), strict=True):
        sky, det = (read_region_table(t)[0] for t in one.tables[:2])
        assert len(sky) == 159
        # The seed's files have 20 more rows of an older mask; those of this one are among them.
        places = {(round(x, 2), round(y, 2)) for x, y in drawn[:, :2]}
        same = [i for i in range(159) if (round(sky.x[i], 2), round(sky.y[i], 2)) in places]
        assert len(same) > 10
        theirs = boxes(folder / f"reg_files/reg_det_{short}.reg")
        distance = np.hypot(
            det.x[same][:, None] - theirs[:, 0], det.y[same][:, None] - theirs[:, 1]
        )
        assert (distance.min(axis=1) < 0.3).sum() > 5
    assert read_exposure(images[0]).name == "pnS003"
    assert fits.getheader(tmp_path / "pnS003-bkg_region-det.fits", 1)["NAXIS2"] == 159
