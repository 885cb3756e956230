import numpy as np
import pytest
from astropy.wcs import WCS

from lake.xmm.sky import SkyPixels, directions, rounded_to_float32, standard_coordinates

SKY = SkyPixels(266.934583333333, -28.4361944444444)


@pytest.mark.parametrize("dec", [-28.4, 0.0, 89.9, -90.0])
def test_sky_pixels_are_those_of_wcs(dec):
    sky = SkyPixels(359.95, dec)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [359.95, dec], [sky.x_ref, sky.y_ref]
    wcs.wcs.cdelt = [sky.x_step, sky.y_step]
    x, y = np.random.default_rng(0).uniform(0, 51840, (2, 500))
    ra, dec_of = wcs.all_pix2world(x, y, 1)
    np.testing.assert_allclose(SkyPixels.to_sky(sky, x, y), (ra, dec_of), rtol=0, atol=1e-10)
    np.testing.assert_allclose(sky.of_sky(ra, dec_of), (x, y), rtol=0, atol=1e-6)


def test_the_other_side_of_the_sphere_has_no_sky_pixels():
    x, y = SKY.of_sky([SKY.ra, SKY.ra + 180], [SKY.dec, -SKY.dec])
    assert (x[0], y[0]) == (25921, 25921)
    assert np.isnan([x[1], y[1]]).all()


def test_the_tangent_plane_keeps_small_angles():
    xi, eta = standard_coordinates(10 + 1e-9, 60 + 1e-9, 10.0, 60.0)
    assert xi == pytest.approx(0.5e-9, rel=1e-4)
    assert eta == pytest.approx(1e-9, rel=1e-4)
    np.testing.assert_allclose(directions(xi, eta, 10.0, 60.0), (10 + 1e-9, 60 + 1e-9), atol=1e-13)


def test_offsets_from_another_direction_go_there_and_back():
    x, y = np.random.default_rng(1).uniform(5000, 47000, (2, 50))
    west, north = SKY.offsets(x, y, 266.9, -28.4)
    np.testing.assert_allclose(SKY.of_offsets(west, north, 266.9, -28.4), (x, y), atol=1e-6)
    own = SKY.offsets(x, y, SKY.ra, SKY.dec)
    np.testing.assert_allclose(own, (x - 25921, y - 25921), rtol=1e-12)
    # 0.0346 degrees to the west at this declination, and 0.0362 to the south.
    assert np.median(west - own[0]) == pytest.approx(-0.034583 * np.cos(0.4957) * 72000, rel=0.01)
    assert np.median(north - own[1]) == pytest.approx(-0.036194 * 72000, rel=0.02)


def test_single_precision_keeps_a_tenth_of_an_arcsecond():
    ra, dec = rounded_to_float32([266.934583333333], [-28.4361944444444])
    assert ra.dtype == np.float64
    assert 0 < abs(ra[0] - 266.934583333333) <= 2**-16
    assert 0 < abs(dec[0] + 28.4361944444444) <= 2**-20
