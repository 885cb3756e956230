import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from scipy.optimize import least_squares

from lake.xmm.ds9 import read_ds9
from lake.xmm.exposure import Exposure
from lake.xmm.geometry import CAMERAS
from lake.xmm.sky import SkyPixels, rounded_to_float32
from tests.xmm.files import DEC, PA, POINTINGS, RA, boxes, esky2det

SKY = SkyPixels(RA, DEC)


def exposure(instrument, ra=RA, dec=DEC, pa=PA, obsid="0862471101"):
    camera = CAMERAS[instrument]
    return Exposure(obsid, camera.prefix + "S001", camera, ra, dec, pa, SkyPixels(ra, dec))


@pytest.mark.parametrize("instrument", CAMERAS)
def test_detector_pixels_go_there_and_back(instrument):
    x, y = np.random.default_rng(2).uniform(5000, 47000, (2, 100))
    frame = exposure(instrument).nominal_frame()
    detx, dety = frame.of_sky_pixels(SKY, x, y)
    np.testing.assert_allclose(frame.to_sky_pixels(SKY, detx, dety), (x, y), atol=1e-7)
    assert frame.of_sky_pixels(SKY, SKY.x_ref, SKY.y_ref) == (frame.det_x, frame.det_y)


@pytest.mark.parametrize("instrument", CAMERAS)
def test_the_detector_frame_is_mirrored_and_not_stretched(instrument):
    frame = exposure(instrument).nominal_frame()
    detx, dety = frame.of_sky_pixels(SKY, [20000, 21000, 20000], [30000, 30000, 31000])
    east, up = np.array([np.diff(detx[:2]), np.diff(dety[:2])]), np.array([detx, dety])
    across, along = east[:, 0], up[:, 2] - up[:, 0]
    assert across[0] * along[1] - across[1] * along[0] == pytest.approx(-1e6)


@pytest.mark.parametrize("instrument", CAMERAS)
@pytest.mark.parametrize("sky", [SKY, SkyPixels(RA + 0.3, DEC - 0.2)], ids=["same", "other"])
def test_an_angle_is_that_of_the_line_it_belongs_to(instrument, sky):
    frame = exposure(instrument).nominal_frame()
    x, y = np.array([20000.0, 30000.0]), np.array([31000.0, 22000.0])
    for theta in (0.0, 33.0, 301.28):
        to = 50 * np.cos(np.radians(theta)), 50 * np.sin(np.radians(theta))
        a = frame.of_sky_pixels(sky, x - to[0], y - to[1])
        b = frame.of_sky_pixels(sky, x + to[0], y + to[1])
        seen = np.degrees(np.arctan2(b[1] - a[1], b[0] - a[0])) % 360
        # Two planes that touch elsewhere are not quite similar, hence not equal to the digit.
        np.testing.assert_allclose(frame.angle(sky, x, y, theta), seen, atol=2e-3)


def of_conv_reg(camera, pa, theta):
    """Angle in the detector frame as the ESAS task conv_reg has it, in degrees."""
    return np.mod(pa + (0.0 if camera == "EMOS1" else 90.0) - theta, 360.0)


def test_the_rule_of_conv_reg_leaves_out_the_roll():
    frame = exposure("EMOS2").nominal_frame()
    right = frame.angle(SKY, 30000, 30000, 301.28)
    rule = of_conv_reg("EMOS2", PA, 301.28)
    assert (right - rule) % 180 == pytest.approx(180 + frame.roll)


@pytest.mark.real
@pytest.mark.parametrize("obsid", POINTINGS)
def test_the_angles_of_conv_reg_are_reproduced(real_data, obsid):
    text = (real_data / "xmm" / "steady" / obsid / "reg_files_det" / "angle.txt").read_text()
    shown = [float(line.split()[-1]) for line in text.splitlines() if "ELLIPSE" in line]
    expected = [of_conv_reg(c, POINTINGS[obsid][2], 301.28) for c in CAMERAS]
    np.testing.assert_allclose(shown, expected, atol=6e-4)


@pytest.mark.real
@pytest.mark.parametrize("obsid", POINTINGS)
@pytest.mark.parametrize("instrument", CAMERAS)
def test_the_header_alone_is_within_an_arcsecond_and_a_half_of_esky2det(
    real_data, obsid, instrument
):
    x, y, detx, dety = esky2det(real_data, obsid, instrument)
    mine = exposure(instrument, *POINTINGS[obsid], obsid)
    got = mine.nominal_frame().of_sky_pixels(mine.sky, x, y, sas_compatible=True)
    distance = np.hypot(got[0] - detx, got[1] - dety)
    assert distance.max() <= 30
    if obsid == "0203930101":
        # The constants were found from this one.
        assert np.sqrt(np.mean(distance**2)) < 0.06
        exact = mine.nominal_frame().of_sky_pixels(mine.sky, x, y)
        assert np.hypot(exact[0] - detx, exact[1] - dety).max() < 1.1


@pytest.mark.real
@pytest.mark.parametrize("obsid", POINTINGS)
def test_the_centre_of_the_large_box_lies_where_the_sas_has_it(real_data, obsid):
    text = (real_data / "xmm" / "steady" / obsid / "reg_files_det" / "angle.txt").read_text()
    shown = [line.split()[2:4] for line in text.splitlines() if "ELLIPSE" in line]
    for instrument, place in zip(CAMERAS, shown, strict=True):
        mine = exposure(instrument, *POINTINGS[obsid], obsid)
        x, y = mine.sky.of_sky(266.825043, -28.387819)
        got = mine.nominal_frame().of_sky_pixels(mine.sky, x, y)
        assert np.hypot(*(np.array(got) - np.array(place, float))) < 30


@pytest.mark.real
@pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")
@pytest.mark.parametrize("obsid", POINTINGS)
def test_sky_pixels_are_those_of_the_seed_to_their_last_digit(real_data, obsid):
    # The seed's boxes are runs of the pixels of one grid: columns by halves, whole rows.
    grid = WCS(fits.getheader(real_data / "xmm/xmmregion/count_maps/count_map_2004.fits"))
    printed = boxes(real_data / "xmm/steady" / obsid / "reg_files/reg_sky_m1.reg")[:, :2].T
    sky = SkyPixels(*POINTINGS[obsid][:2])
    column, row = grid.wcs_world2pix(*sky.to_sky(*printed), 1)
    found = sky.of_sky(*grid.wcs_pix2world(np.round(2 * column) / 2, np.round(row), 1))
    assert len(printed[0]) > 100
    assert np.abs(np.array(found) - printed).max() < 6e-4


@pytest.mark.real
def test_the_geometry_holds_far_from_the_equator(real_data):
    # Regions of M 82 that the SAS brought to pn; the pointing is not given, so it is found first.
    folder = real_data / "xmm/sky2det_pair"
    (on_sky, _), (det, _) = (read_ds9(folder / n) for n in ("ds9.reg", "pnS003_ds9.reg"))
    ra, dec = rounded_to_float32(*np.concatenate([on_sky.vertices[0].T, [on_sky.x, on_sky.y]], 1))
    expected = np.concatenate([det.vertices[0].T, [det.x, det.y]], 1)
    of_regions = np.arange(len(ra)) != len(on_sky.vertices[0])  # not the middle of the polygon

    def off(pointing):
        mine = exposure("EPN", *pointing)
        got = mine.nominal_frame().of_sky_pixels(mine.sky, *mine.sky.of_sky(ra, dec))
        return (np.array(got) - expected)[:, of_regions].ravel()

    found = least_squares(off, [149.0, 69.7, 319.0], x_scale=1e-3, xtol=1e-14, ftol=1e-14)
    assert found.x[1] == pytest.approx(69.65, abs=0.01)
    # 0.1 unit is the last digit.
    assert np.hypot(*off(found.x).reshape(2, -1)).max() < 0.06
