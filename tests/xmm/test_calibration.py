from dataclasses import replace

import numpy as np
import pytest

from lake.errors import InputError, LacusError
from lake.xmm.calibration import calibrate, check_used
from lake.xmm.control import Control, read_control
from lake.xmm.exposure import read_exposure
from lake.xmm.geometry import CAMERAS
from tests.xmm.files import POINTINGS, esky2det, events, image
from tests.xmm.test_geometry import exposure

MINE = exposure("EMOS2")
TRUE = replace(MINE.nominal_frame(), det_x=1200.0, det_y=-1650.0, roll=-0.2926)


def places(n=12, seed=0, rounded=False, noise=0.0, **said):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(12000, 40000, (2, n))
    det = TRUE.of_sky_pixels(MINE.sky, x, y, sas_compatible=rounded)
    detx, dety = (np.round(v + rng.normal(scale=noise, size=n), 1) for v in det)
    return Control("places.csv", "points", detx, dety, x, y, **said)


def off(frame, truth=TRUE):
    """Largest distance over the field of view, units."""
    x, y = (v.ravel() for v in np.mgrid[10000:42000:9j, 10000:42000:9j])
    a, b = frame.of_sky_pixels(MINE.sky, x, y), truth.of_sky_pixels(MINE.sky, x, y)
    return np.hypot(a[0] - b[0], a[1] - b[1]).max()


def test_without_control_points_the_header_counts():
    found = calibrate(MINE)
    assert (found.kind, found.points, found.median) == ("header", 0, None)
    assert found.frame == MINE.nominal_frame()
    assert "1.5 arcsec" in str(found)


@pytest.mark.parametrize("rounded", [False, True])
def test_control_points_give_the_frame_back(rounded):
    found = calibrate(MINE, [places(200, rounded=rounded)])
    assert (found.kind, found.points, found.source) == ("points", 200, "places.csv")
    assert off(found.frame) < 0.06
    assert found.frame.roll == pytest.approx(TRUE.roll, abs=1e-4)
    # In arcsec: what rounding to 0.1 unit leaves.
    assert 0 < found.median < found.p95 < found.largest < 0.005


def test_three_points_close_together_hold_for_the_whole_field():
    x, y = np.array([20000.0, 20100, 20050]), np.array([30000.0, 30000, 30100])
    truth = replace(TRUE, roll=MINE.camera.roll)
    detx, dety = (np.round(v, 1) for v in truth.of_sky_pixels(MINE.sky, x, y))
    found = calibrate(MINE, [Control("p", "points", detx, dety, x, y)])
    assert off(found.frame, truth) < 0.25


def test_events_calibrate_through_the_drift_of_the_attitude(tmp_path):
    rng = np.random.default_rng(5)
    x, y = rng.uniform(8000, 44000, (2, 20000))
    detx, dety = (v + rng.normal(scale=5, size=20000) for v in TRUE.of_sky_pixels(MINE.sky, x, y))
    path = events(tmp_path / "e.fits", x, y, detx, dety, "EMOS2")
    mine = read_exposure(image(tmp_path / "i.fits", "EMOS2", (2, 2)))
    found = calibrate(mine, [places(5), *read_control(path)])
    assert (found.kind, found.points) == ("events", 20000)
    assert off(found.frame) < 0.4
    assert found.median == pytest.approx(5 * 1.18 * 0.05, rel=0.05)
    assert "20000 events, residual median 0.2" in str(found)


def test_control_points_of_another_exposure_are_passed_over():
    other = places(instrument="EPN")
    assert calibrate(MINE, [other]).kind == "header"
    check_used([exposure("EPN"), MINE], [other])
    with pytest.raises(LacusError, match=r"places.csv: is of EPN, but the images are of"):
        check_used([MINE], [other])


def test_two_points_are_too_few():
    twice = [np.repeat(v, 2) for v in TRUE.of_sky_pixels(MINE.sky, [20000, 30000], [2e4, 3e4])]
    control = Control("p", "points", *twice, np.repeat([2e4, 3e4], 2), np.repeat([2e4, 3e4], 2))
    with pytest.raises(InputError, match="2 control points are fewer than the 3"):
        calibrate(MINE, [control])


def test_points_that_do_not_agree_are_refused_unless_forced():
    good = places()
    wrong = replace(good, detx=good.detx + np.where(np.arange(12) == 7, 200.0, 0.0))
    with pytest.raises(InputError, match=r"does not fit 0862471101 mos2S001: the largest residual"):
        calibrate(MINE, [wrong])
    forced = calibrate(MINE, [wrong], force=True)
    assert forced.largest > 5


def test_points_of_another_camera_are_refused():
    with pytest.raises(InputError, match="does not fit"):
        calibrate(exposure("EPN"), [places()])
    far = replace(places(), detx=places().detx + 400)
    with pytest.raises(InputError, match="arcsec from where the header has it"):
        calibrate(MINE, [far])


@pytest.mark.real
@pytest.mark.parametrize("obsid", POINTINGS)
@pytest.mark.parametrize("instrument", CAMERAS)
def test_calibrated_on_some_points_esky2det_is_reproduced(real_data, obsid, instrument):
    x, y, detx, dety = esky2det(real_data, obsid, instrument)
    mine = exposure(instrument, *POINTINGS[obsid], obsid)
    rng = np.random.default_rng(0)
    for number in (3, 3, 3, 5, 20, len(x)):
        some = rng.choice(len(x), number, replace=False)
        control = Control("p", "points", detx[some], dety[some], x[some], y[some])
        frame = calibrate(mine, [control]).frame
        got = frame.of_sky_pixels(mine.sky, x, y, sas_compatible=True)
        distance = np.hypot(got[0] - detx, got[1] - dety)
        assert np.percentile(distance, 95) <= 0.15
        assert distance.max() <= 0.25


@pytest.mark.real
def test_calibrated_on_real_events_esky2det_is_within_half_an_arcsecond(real_data):
    path = real_data / "xmm/xmmregion/mos2S002-corev.fits.gz"
    mine = read_exposure(path)
    found = calibrate(mine, read_control(path))
    x, y, detx, dety = esky2det(real_data, "0203930101", "EMOS2")
    got = found.frame.of_sky_pixels(mine.sky, x, y)
    assert np.hypot(got[0] - detx, got[1] - dety).max() * 0.05 < 0.5
    # The attitude drifts by some tenths of an arcsecond.
    assert 0.1 < found.median < 0.4


@pytest.mark.real
@pytest.mark.parametrize(("camera", "prefix"), [("pnS003", "pn"), ("mos1S001", "mos1")])
def test_calibrated_on_ecoordconv_the_residual_is_nothing(real_data, camera, prefix):
    folder = real_data / "xmm/steady"
    mine = read_exposure(folder / f"area_calc_0862471101/{camera}-exp-im_up.fits.gz")
    control = read_control(folder / f"0862471101/reg_files_det/reg_{prefix}.txt")
    assert calibrate(mine, control).largest < 0.003
