"""What the network sees."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("numba")

from lake.sdss.channels import channels, flatten, network_input, noise_level, relative_ivar
from lake.sdss.configuration import CONFIGURATIONS, Configuration


def test_a_level_goes_and_a_line_stays():
    flux = np.full((1, 600), 3.0)
    flux[0, 300] = 1.5
    flat = flatten(flux, np.ones(flux.shape, bool), 50)
    assert flat[0, 50] == pytest.approx(1, abs=1e-6)
    assert flat[0, 300] == pytest.approx(0.5, abs=0.01)


def test_flattening_does_not_see_masked_pixels():
    rng = np.random.default_rng(0)
    flux, valid = rng.normal(1, 0.1, (3, 400)), rng.uniform(size=(3, 400)) > 0.3
    other = np.where(valid, flux, np.nan)
    np.testing.assert_array_equal(flatten(flux, valid, 20), flatten(other, valid, 20))
    assert np.all(flatten(flux, valid, 20)[~valid] == 1)


def test_flattening_is_the_mean_of_means_by_hand():
    flux, valid = np.array([[1.0, 2.0, 3.0]]), np.ones((1, 3), bool)
    # Sums of neighbours: 3, 6, 5 of 2, 3, 2 pixels; again: 9, 14, 11 of 5, 7, 5.
    np.testing.assert_allclose(
        flatten(flux, valid, 1), [[1 / (9 / 5), 2 / (14 / 7), 3 / (11 / 5)]], rtol=1e-6
    )


def test_only_the_shape_of_the_ivar_counts():
    rng = np.random.default_rng(0)
    ivar, valid = rng.uniform(1, 4, (2, 300)), np.ones((2, 300), bool)
    np.testing.assert_allclose(
        relative_ivar(ivar, valid), relative_ivar(1e6 * ivar, valid), rtol=1e-4
    )
    np.testing.assert_array_equal(relative_ivar(None, valid), 1)
    np.testing.assert_array_equal(relative_ivar(np.full(ivar.shape, np.nan), valid), 1)
    np.testing.assert_array_equal(relative_ivar(np.zeros(ivar.shape), valid), 1)


def test_sky_residuals_lose_weight_and_lines_gain_none():
    ivar, valid = np.ones((1, 300)), np.ones((1, 300), bool)
    ivar[0, 100], ivar[0, 200] = 0.01, 100.0
    shape = relative_ivar(ivar, valid)[0]
    assert shape[100] < 0.02
    assert shape[200] < 1.5


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.5])
def test_noise_is_measured_in_the_flux(sigma):
    rng = np.random.default_rng(0)
    depth = rng.normal(0, sigma, (20, 2000)).astype(np.float32)
    valid = np.ones(depth.shape, bool)
    level = noise_level(depth, np.ones_like(depth), valid)
    np.testing.assert_allclose(level, sigma, rtol=0.12)


def test_noise_of_an_almost_empty_spectrum_is_the_greatest():
    depth, valid = np.zeros((1, 100), np.float32), np.zeros((1, 100), bool)
    valid[0, :5] = True
    assert noise_level(depth, np.ones_like(depth), valid)[0] == 3


def test_masked_pixels_have_no_weight_and_no_say():
    rng = np.random.default_rng(0)
    flux, valid = rng.normal(1, 0.1, (4, 500)), rng.uniform(size=(4, 500)) > 0.2
    x, noise = channels(flux, None, valid)
    assert not x[~valid].any()
    np.testing.assert_allclose(x[..., 1].sum(axis=1), valid.sum(axis=1), rtol=1e-5)
    again, same = channels(np.where(valid, flux, np.nan), None, valid)
    np.testing.assert_array_equal(x, again)
    np.testing.assert_array_equal(noise, same)


def test_quiet_pixels_count_more_when_noise_matters():
    rng = np.random.default_rng(0)
    sigma = np.where(np.arange(1000) < 500, 0.05, 0.5)
    flux, valid = 1 + rng.normal(size=(1, 1000)) * sigma, np.ones((1, 1000), bool)
    weight = channels(flux, 1 / sigma[None] ** 2, valid)[0][0, :, 1]
    assert weight[:480].mean() > 5 * weight[520:].mean()
    even = channels(flux, 1 / sigma[None] ** 2, valid, noise_weights=False)[0][0, :, 1]
    np.testing.assert_allclose(even, 1, rtol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 50])
def test_an_empty_spectrum_is_finite(size):
    x, noise = channels(np.full((1, size), np.nan), None, np.zeros((1, size), bool))
    assert not x.any()
    assert np.isfinite(noise).all()


def test_a_configuration_says_what_the_network_takes():
    flux, valid = np.ones((2, 300), np.float32), np.ones((2, 300), bool)
    default = Configuration()

    def shapes(configuration):
        return [e.shape for e in network_input(configuration, flux, None, valid)[0]]

    assert shapes(default) == [(2, 300, 2), (2, 1)]
    assert shapes(replace(default, validity_channel=False)) == [(2, 300, 1), (2, 1)]
    assert shapes(replace(default, noise_weights=False)) == [(2, 300, 2)]
    assert shapes(CONFIGURATIONS["seed"]) == [(2, 300, 1)]


def test_the_seed_network_sees_the_flux_as_it_is():
    flux = np.linspace(0, 1, 64, dtype=np.float32)[None]
    inputs, _ = network_input(CONFIGURATIONS["seed"], flux, None, np.ones((1, 64), bool))
    np.testing.assert_array_equal(inputs[0][0, :, 0], flux[0])


def plainly(flux, ivar, valid, width):
    """Spectrum by spectrum and pixel by pixel, in double precision: (n, l, 2) and log10 noise."""

    def around(values, reach):
        return np.array(
            [values[max(i - reach, 0) : i + reach + 1].sum() for i in range(len(values))]
        )

    x, level = np.zeros((*flux.shape, 2)), np.zeros(len(flux))
    for row in range(len(flux)):
        seen = valid[row]
        mean = around(around(np.where(seen, flux[row], 0), width), width)
        mean /= np.maximum(around(around(seen.astype(float), width), width), 1)
        depth = np.where(seen, flux[row] / np.maximum(mean, 0.2) - 1, 0)
        known = seen & np.isfinite(ivar[row]) & (ivar[row] > 0)
        log = np.where(known, np.log(np.where(known, ivar[row], 1)), 0)
        log = np.where(known, log - log.sum() / max(known.sum(), 1), 0)
        local = around(log, 15) / np.maximum(around(known.astype(float), 15), 1)
        shape = np.where(known, np.exp(np.minimum(log, local)), 1)
        triple = seen[:-2] & seen[1:-1] & seen[2:]
        second = np.abs(depth[:-2] - 2 * depth[1:-1] + depth[2:]) * np.sqrt(shape[1:-1])
        ordered = np.sort(second[triple])
        noise = 3.0
        if len(ordered) >= 10:
            noise = np.clip(ordered[len(ordered) // 2] / 0.6745 / np.sqrt(6), 3e-3, 3)
        weight = seen / np.sqrt(noise**2 / np.maximum(shape, 1e-4) + 0.04**2)
        weight *= seen.sum() / max(weight.sum(), 1e-9)
        x[row] = np.stack([5 * np.clip(depth, -1, 1) * weight, weight], axis=1)
        level[row] = np.log10(noise)
    return x, level


@pytest.mark.parametrize("width", [1, 20, 50, 400])
def test_what_the_network_sees_is_the_plain_computation(width):
    rng = np.random.default_rng(width)
    size = 300
    flux = rng.normal(1, rng.uniform(0.001, 0.5, (40, 1)), (40, size)).astype(np.float32)
    ivar = rng.uniform(0, 100, flux.shape).astype(np.float32)
    valid = rng.uniform(size=flux.shape) > rng.uniform(0, 0.5, (40, 1))
    valid[:5, :150], valid[5:10, 120:] = False, False
    # Nothing, almost nothing, gaps that leave odd pixels only.
    valid[10] = False
    valid[11, 6:] = False
    valid[12, ::2] = False
    valid[13] = np.arange(size) % 8 > 3
    ivar[14], ivar[15], ivar[16, ::3], ivar[17, 0] = np.nan, 0, 0, np.inf
    flux[~valid] = np.nan
    expected, log_noise = plainly(flux, ivar, valid, width)
    configuration = replace(Configuration(), flatten=width)
    (x, beside), noise = network_input(configuration, flux, ivar, valid)
    np.testing.assert_allclose(x, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(noise, log_noise, atol=1e-5)
    np.testing.assert_array_equal(beside[:, 0], noise)


def test_the_noise_is_a_second_difference_of_the_spectrum():
    """Of an odd and an even number of them, in the middle of their order, to the last bit."""
    rng = np.random.default_rng(0)
    for size in (1000, 1001):
        # Whole numbers: their differences are not rounded.
        flux = rng.integers(-50, 50, (1, size)).astype(np.float32) / 64
        valid = np.ones(flux.shape, bool)
        middle = np.sort(np.abs(np.diff(flux[0], 2)))[(size - 2) // 2]
        level = noise_level(flux, np.ones_like(flux), valid)
        assert level[0] == np.float32(middle / (0.6745 * np.sqrt(6)))


def test_a_bright_pixel_is_forgotten_behind_it():
    flux = np.ones((1, 2000), np.float32)
    flux[0, 100] = 1e9
    flat = flatten(flux, np.ones(flux.shape, bool), 50)
    np.testing.assert_allclose(flat[0, 250:], 1, rtol=1e-6)


@pytest.mark.parametrize("width", [1, 7, 50, 400])
def test_a_short_spectrum_alone_is_flattened(width):
    flux = np.random.default_rng(0).uniform(0.5, 1.5, (1, 50))
    box = np.ones(2 * width + 1)

    def mean(values):
        inner = np.convolve(values, box)[width : width + 50]
        return np.convolve(inner, box)[width : width + 50]

    expected = flux[0] / (mean(flux[0]) / mean(np.ones(50)))
    np.testing.assert_allclose(flatten(flux, np.ones((1, 50), bool), width)[0], expected, rtol=1e-5)
