"""Realisations of spectra."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kstest

pytest.importorskip("numba")

from lake.sdss.augment import _distort, _move, _normal, _wiggles, augment
from lake.sdss.augmentation import Augmentation, at_snr

#: Nothing happens.
STILL = Augmentation(
    clean=1.0,
    noise_tilt=0.0,
    noise_of_light=0.0,
    noise_correlation=0.0,
    ivar_unknown=0.0,
    shift=0.0,
    wiggle=0.0,
    gaps=0,
    borrow=0.0,
    crop=0.0,
)


@pytest.fixture
def spectra():
    """Forty spectra with one line each, 1,000 pixels, valid from pixel 50 on."""
    pixel = np.arange(1000)
    centre = np.linspace(300, 700, 40)[:, None]
    flux = (1 - 0.4 * np.exp(-0.5 * ((pixel - centre) / 4) ** 2)).astype(np.float32)
    valid = np.broadcast_to(pixel >= 50, flux.shape).copy()
    return flux, np.zeros_like(flux), valid


def drawn(spectra, seed=0, **settings):
    return augment(*spectra, np.random.default_rng(seed), replace(STILL, **settings))


def test_without_any_setting_nothing_happens(spectra):
    flux, _, valid = drawn(spectra)
    np.testing.assert_allclose(flux[valid], spectra[0][valid], atol=1e-3)
    np.testing.assert_array_equal(valid, spectra[2])


def test_the_seed_decides(spectra):
    def full(seed):
        return augment(*spectra, np.random.default_rng(seed), Augmentation())

    for first, second in zip(full(1), full(1), strict=True):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(full(1)[0], full(2)[0])


def test_input_is_left_alone(spectra):
    before = [array.copy() for array in spectra]
    augment(*spectra, np.random.default_rng(0), Augmentation())
    for array, kept in zip(spectra, before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_masked_pixels_say_nothing(spectra):
    flux, ivar, valid = augment(*spectra, np.random.default_rng(0), Augmentation(strength=0.1))
    assert np.all(flux[~valid] == 1)
    assert np.all(ivar[~valid] == 0)
    assert np.isfinite(flux).all()
    assert np.isfinite(ivar).all()


def test_noise_has_the_ratio_asked_for_and_is_in_the_ivar(spectra):
    flux, ivar, valid = drawn(spectra, clean=0.0, snr_low=10, snr_high=10)
    scatter = (flux - spectra[0])[valid].std()
    assert scatter == pytest.approx(0.1, rel=0.02)
    np.testing.assert_allclose(ivar[valid], 100, rtol=1e-4)


def test_noise_adds_to_what_is_there(spectra):
    flux, _, valid = spectra
    _, ivar, _ = drawn((flux, np.full_like(flux, 100.0), valid), clean=0, snr_low=10, snr_high=10)
    np.testing.assert_allclose(ivar[valid], 50, rtol=1e-4)


def test_unknown_ivar_stays_no_information(spectra):
    flux, _, valid = spectra
    known = drawn((flux, np.full_like(flux, np.nan), valid), clean=0, snr_low=10, snr_high=10)[1]
    np.testing.assert_allclose(known[valid], 100, rtol=1e-4)
    withheld = drawn(spectra, clean=0, snr_low=10, snr_high=10, ivar_unknown=1.0)[1]
    assert not withheld.any()


def test_noise_of_light_is_lower_in_lines(spectra):
    _, ivar, _ = drawn(spectra, clean=0, snr_low=10, snr_high=10, noise_of_light=1.0)
    flux, _, valid = spectra
    line, away = valid & (flux < 0.7), valid & (flux > 0.999)
    assert np.median(ivar[line]) > 1.2 * np.median(ivar[away])


def test_correlated_noise_keeps_its_variance(spectra):
    flux, _, _ = drawn(spectra, clean=0, snr_low=10, snr_high=10, noise_correlation=0.5)
    noise = (flux - spectra[0])[:, 51:]
    assert noise.std() == pytest.approx(0.1, rel=0.02)
    assert (noise[:, 1:] * noise[:, :-1]).mean() > 0.1 * 0.1**2


def test_lines_are_displaced_by_pixels(spectra):
    flux, _, _ = drawn(spectra, shift=3.0)
    moved = flux.argmin(axis=1) - spectra[0].argmin(axis=1)
    assert 1.5 < moved.std() < 4.5
    assert abs(moved.mean()) < 2


def test_wiggles_have_the_size_allowed(spectra):
    flux, _, valid = drawn(spectra, wiggle=0.05)
    ratio = np.where(valid, flux / spectra[0], np.nan)
    size = np.nanstd(ratio, axis=1)
    assert 0.03 < size.max() < 0.07
    assert size.min() < 0.02


def test_coverage_is_lost_at_the_ends_and_in_gaps(spectra):
    _, _, cropped = drawn(spectra, crop=1.0, crop_blue=0.3, crop_red=0.1)
    first, last = cropped.argmax(axis=1), 999 - cropped[:, ::-1].argmax(axis=1)
    assert first.max() > 200
    assert first.max() <= 300
    assert 899 <= last.min() < 950
    np.testing.assert_array_equal(cropped.sum(axis=1), last - first + 1)
    _, _, holed = drawn(spectra, gaps=6, gap_length=100)
    assert (holed != spectra[2]).any(axis=1).mean() > 0.5
    assert holed.mean() > 0.8


def test_coverage_is_borrowed_from_the_least_covered(spectra):
    flux, ivar, valid = spectra
    valid[::4, 600:] = False
    _, _, left = drawn((flux, ivar, valid), borrow=1.0)
    assert not (left & ~valid).any()
    assert left[:, 600:].any(axis=1).mean() < 0.35
    _, _, kept = drawn((flux, ivar, valid), borrow=0.0)
    assert kept[:, 600:].any(axis=1).mean() == 0.75


def test_a_fixed_ratio_leaves_only_noise_and_wiggles():
    settings = at_snr(Augmentation(), 5.0)
    assert (settings.snr_low, settings.snr_high, settings.clean) == (5.0, 5.0, 0.0)
    assert at_snr(Augmentation(), None).clean == 1.0
    for name in ("noise_tilt", "noise_of_light", "noise_correlation", "ivar_unknown"):
        assert getattr(settings, name) == getattr(Augmentation(), name)


def test_a_fixed_ratio_is_reached(spectra):
    flux, _, valid = augment(*spectra, np.random.default_rng(0), at_snr(STILL, 5.0))
    assert (flux - spectra[0])[valid].std() == pytest.approx(0.2, rel=0.02)
    np.testing.assert_array_equal(valid, spectra[2])


def test_noise_is_normal():
    drawn = _normal(np.random.default_rng(0), 100, 2001).astype(float)
    assert drawn.shape == (100, 2001)
    assert kstest(drawn.ravel(), "norm").pvalue > 0.01
    assert drawn.std() == pytest.approx(1, abs=0.005)
    assert np.abs(drawn).max() > 4
    neighbours = np.corrcoef(drawn[:, 1:].ravel(), drawn[:, :-1].ravel())[0, 1]
    assert abs(neighbours) < 0.01


def wiggles(size, n, settings):
    """What spectra without anything else are multiplied with, less 1."""
    light = np.ones((n, size), np.float32)
    _distort(light, *_wiggles(size, n, np.random.default_rng(0), settings))
    return light - 1


def test_wiggles_are_sums_of_half_waves():
    """Least squares with the waves themselves leave what straight lines between points do."""
    settings = replace(STILL, wiggle=1.0, wiggle_cycles=30)
    found = wiggles(2336, 50, settings).astype(float)
    phase = np.linspace(0, np.pi, 2336)[:, None] * np.arange(1, 31)
    waves = np.concatenate([np.cos(phase), np.sin(phase)], axis=1)
    left = found.T - waves @ np.linalg.lstsq(waves, found.T, rcond=1e-6)[0]
    assert found.shape == (50, 2336)
    assert (left.std(axis=0) < 0.01 * found.std(axis=1)).all()


def test_short_spectra_have_wiggles_too():
    found = wiggles(50, 4, replace(STILL, wiggle=0.1))
    assert found.shape == (4, 50)
    assert found.any(axis=1).all()


@pytest.mark.parametrize("whole", [0, 3, -2, 9, -9, 12, -12])
def test_a_spectrum_is_displaced_by_pixels(whole):
    values, moved = np.arange(10.0), np.empty(10)
    _move(values, whole, moved)
    np.testing.assert_array_equal(moved, values[np.clip(np.arange(10) - whole, 1, 9)])


def test_fractions_of_pixels_are_interpolated_and_need_both_neighbours():
    flux, ivar = np.ones((200, 60), np.float32), np.zeros((200, 60), np.float32)
    flux[:, 30] = 0.5
    valid = np.ones(flux.shape, bool)
    valid[:, 45] = False
    moved, _, left = drawn((flux, ivar, valid), shift=2.0)
    # The depth of a line goes to two neighbours, in parts that add up.
    depth = np.where(left, 1 - moved, 0)[:, 20:40]
    np.testing.assert_allclose(depth.sum(axis=1), 0.5, atol=5e-3)
    assert ((depth > 0.01).sum(axis=1) <= 2).all()
    centre = depth @ np.arange(20) / depth.sum(axis=1) - 10
    assert centre.std() == pytest.approx(2, rel=0.15)
    # A masked pixel takes two with it.
    assert ((~left[:, 5:55]).sum(axis=1) == 2).all()
