import gzip
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from lake.errors import InputError
from lake.home import Home, Source
from lake.ingest import ingest
from lake.inputs import InputFile, files_below
from lake.plan import plan
from lake.xmm import ROLES
from lake.xmm.exposure import read_exposure, records
from lake.xmm.sky import SkyPixels
from tests.xmm.files import DEC, NAMES, PA, RA, events, image


def row(path):
    file = InputFile(Path(path), "xmm", "r1", "images", {}, 0, 0, "")
    (found,) = records(file, Path(path).read_bytes())["xmm.images"]
    return found


@pytest.mark.parametrize("instrument", NAMES)
def test_an_image_says_what_exposure_it_is_of(tmp_path, instrument):
    found = read_exposure(image(tmp_path / "a.fits", instrument))
    assert (found.obsid, found.name, found.camera.name) == (
        "0862471101", NAMES[instrument], instrument,
    )  # fmt: skip
    assert (found.ra, found.dec, found.pa) == (RA, DEC, PA)
    assert found.sky.of_sky(RA, DEC) == (25921, 25921)


def test_sky_pixels_follow_from_the_axes_where_there_are_no_reference_keywords(tmp_path):
    none = {f"REF{a}{k}": None for a in "XY" for k in ("CTYP", "CRPX", "CRVL", "CDLT")}
    found = read_exposure(image(tmp_path / "a.fits", **none)).sky
    expected = SkyPixels(RA, DEC)
    assert (found.x_ref, found.y_ref) == pytest.approx((25921, 25921), abs=1e-9)
    assert found.of_sky(267.1, -28.3) == pytest.approx(expected.of_sky(267.1, -28.3), abs=1e-7)


def test_an_event_list_says_it_too(tmp_path):
    path = events(tmp_path / "e.fits", [1], [2], [3], [4], "EMOS2")
    found = read_exposure(path)
    assert found.name == "mos2S002"
    with fits.open(path, "update") as file:
        header = file["EVENTS"].header
        for n, axis in enumerate("XY", 1):
            for keyword in ("CRVL", "CRPX", "CDLT"):
                header[f"T{keyword}{n}"] = header[f"REF{axis}{keyword}"]
                del header[f"REF{axis}{keyword}"]
    assert read_exposure(path).sky == found.sky


def test_the_name_of_the_file_helps_where_the_header_has_no_exposure(tmp_path):
    assert read_exposure(image(tmp_path / "pnU014-im.fits", EXPIDSTR=None)).name == "pnU014"
    with pytest.raises(InputError, match=r"a\.fits: HDU 0: keyword EXPIDSTR is None"):
        read_exposure(image(tmp_path / "a.fits", EXPIDSTR=None))


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"INSTRUME": "RGS1"}, "INSTRUME is 'RGS1', expected EPN, EMOS1, EMOS2"),
        ({"PA_PNT": None}, "PA_PNT .position angle of the pointing. is missing"),
        ({"RA_PNT": None}, "RA_PNT .* is missing"),
        ({"DEC_PNT": "north"}, "DEC_PNT is 'north', expected a number"),
        ({"DEC_PNT": 100.0}, "is no direction on the sky"),
        ({"OBS_ID": None}, "OBS_ID .* is missing"),
        ({"REFXCRVL": None, "CTYPE1": "GLON-CAR"}, "there is no sky pixel system"),
        ({"REFXCRVL": None, "CRPIX2L": None}, "neither REFXCRVL nor CRPIX2L, CRVAL2L and CDELT2L"),
        ({"REFXCDLT": 1e-5}, "expected X to the west"),
        ({"REFYCRPX": None}, "REFYCRPX .sky pixel system. is missing"),
    ],
)
def test_a_header_that_does_not_do_is_refused(tmp_path, changed, problem):
    path = image(tmp_path / "a.fits", shape=(2, 2), **changed)
    with pytest.raises(InputError, match=problem):
        read_exposure(path)


def test_the_image_of_a_row_may_be_compressed(tmp_path):
    plain = image(tmp_path / "a.fits", shape=(3, 4))
    with fits.open(plain) as file:
        pixels = np.arange(12, dtype=np.int32).reshape(3, 4)
        fits.CompImageHDU(pixels, file[0].header).writeto(tmp_path / "c.fits")
    found = row(tmp_path / "c.fits")
    assert (found["image_width"], found["image_height"]) == (4, 3)
    np.testing.assert_array_equal(found["counts"], np.arange(12))


def test_a_row_of_the_lake_has_the_image_and_its_sky_pixels(tmp_path):
    found = row(image(tmp_path / "a.fits", shape=(3, 4)))
    assert (found["image_width"], found["image_height"]) == (4, 3)
    assert (found["image_x"], found["image_x_step"]) == (3425.5, 50.0)
    assert len(found["counts"]) == 12
    assert found["date_obs"] == datetime(2020, 9, 28, 2, 40, 42, tzinfo=UTC)
    assert found["revolution"] == 3812


def test_an_exposure_map_holds_no_counts(tmp_path):
    found = row(image(tmp_path / "a.fits", shape=(3, 4), CONTENT="EPIC EXPOSURE MAP"))
    assert len(found["exposure_map"]) == 12
    assert "counts" not in found


def test_a_row_needs_no_pixels(tmp_path):
    found = row(events(tmp_path / "e.fits", [1], [2], [3], [4]))
    assert found["exposure"] == "pnS003"
    assert "counts" not in found


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_an_image_goes_before_the_event_list_of_its_exposure(tmp_path, names):
    folder = tmp_path / "in"
    folder.mkdir()
    events(folder / f"{names[0]}.fits", [1], [2], [3], [4])
    home = Home(tmp_path / "home")
    home.add(Source("xmm", "R1", "images", (folder,)))
    assert len(ingest(home, "xmm", "R1").committed) == 1
    image(folder / f"{names[1]}.fits", shape=(2, 2))
    home.add(Source("xmm", "R2", "images", (folder,)))
    outcome = ingest(home, "xmm", "R2")
    assert [r.file.path.name for r in outcome.committed] == [f"{names[1]}.fits"]
    (refused,) = outcome.rejected
    assert f"has the key (obsid, exposure) of row 1 of {names[1]}.fits" in refused.reason


@pytest.mark.parametrize("older", [ROLES["images"].version, 1])
def test_an_event_list_that_was_there_first_gives_way(tmp_path, monkeypatch, older):
    """Be it as it was, or be it read again by a newer reader."""
    folder = tmp_path / "in"
    folder.mkdir()
    events(folder / "a.fits", [1], [2], [3], [4])
    home = Home(tmp_path / "home")
    home.add(Source("xmm", "R", "images", (folder,)))
    with monkeypatch.context() as before:
        before.setitem(ROLES, "images", replace(ROLES["images"], version=older))
        ingest(home, "xmm", "R")
    image(folder / "b.fits", shape=(2, 2))
    outcome = ingest(home, "xmm", "R")
    assert [r.file.path.name for r in outcome.committed] == ["b.fits"]
    (refused,) = outcome.rejected
    assert refused.file.path.name == "a.fits"
    assert "has the key (obsid, exposure) of row 1 of b.fits" in refused.reason
    assert home.sql("SELECT image_width FROM xmm.images").fetchall() == [(2,)]
    assert not plan(home, "xmm", "R").changed
    (folder / "b.fits").unlink()
    outcome = ingest(home, "xmm", "R")
    assert ([r.file.path.name for r in outcome.committed], outcome.rejected) == (["a.fits"], [])


def test_files_of_the_archive_are_found_and_read(tmp_path):
    # The archive packs its products and calls them so.
    path = tmp_path / "P0862471101PNS003IMAGE_8000.FTZ"
    path.write_bytes(gzip.compress(image(tmp_path / "pn", shape=(2, 2)).read_bytes()))
    for role in ("images", "control"):
        assert files_below(tmp_path, ROLES[role].suffixes) == [path]
    assert read_exposure(path).name == "pnS003"


@pytest.mark.real
def test_real_images_are_read(real_data):
    folder = real_data / "xmm"
    for name, exposure in {
        "xmmregion/mos1S001-obj-image-sky.fits.gz": "mos1S001",
        "xmmregion/pnS003-obj-image-sky.fits.gz": "pnS003",
        "xmmregion/mos2S002-corev.fits.gz": "mos2S002",
        "steady/area_calc_0862471101/mos2S002-exp-im_up.fits.gz": "mos2S002",
    }.items():
        found = read_exposure(folder / name)
        assert found.name == exposure
        assert (found.sky.ra, found.sky.dec) == (found.ra, found.dec)
