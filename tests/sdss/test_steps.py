from dataclasses import replace

import numpy as np
import pytest
from astropy.constants import c

from lake.errors import LacusError
from lake.sdss.continuum import normalise_continuum, normalise_minmax, smooth_continuum
from lake.sdss.extinction import deredden, extinction
from lake.sdss.steps import (
    GRID,
    UNUSABLE_BITS,
    Facts,
    Spectra,
    air_to_vacuum,
    air_to_vacuum_wavelength,
    mask_bad_pixels,
    pad_or_crop,
    resample,
    rest_frame,
    vacuum_to_air,
)

LIGHT = c.to_value("km/s")
CONTINUUM = {
    "bandwidth": 120,
    "block": 32,
    "depth": 0.3,
    "iterations": 1,
    "lever": 1.1,
    "floor": 0.02,
    "significance": 3,
    "fill": 1.0,
}
NORMALISING = ("floor", "significance", "fill")
TO_GRID = {"start": GRID.start, "step": GRID.step, "size": GRID.size, "coverage": 0.5}


def batch(wavelength, flux, ivar=None, valid=None, n_pixels=None) -> Spectra:
    """Rows of equal length; no inverse variance unless given."""
    flux = np.atleast_2d(np.asarray(flux, dtype=float))
    n, size = flux.shape
    return Spectra(
        np.array(np.broadcast_to(wavelength, flux.shape), dtype=float),
        flux,
        np.full(flux.shape, np.nan) if ivar is None else np.atleast_2d(np.asarray(ivar, float)),
        np.ones(flux.shape, bool) if valid is None else np.atleast_2d(valid),
        np.full(n, ivar is not None),
        np.full(n, size) if n_pixels is None else np.asarray(n_pixels),
    )


def facts(n, size, velocity=np.nan, ebv=np.nan, frame="vacuum", and_mask=None) -> Facts:
    return Facts(
        np.full(n, velocity, dtype=float),
        np.full(n, ebv, dtype=float),
        np.full(n, frame == "air"),
        np.full(n, frame == "vacuum"),
        np.zeros((n, size), np.int32) if and_mask is None else np.atleast_2d(and_mask),
    )


# masks ----------------------------------------------------------------------------------------


def test_masks_flags_lack_of_weight_and_what_is_not_finite():
    and_mask = np.zeros(6, np.int32)
    and_mask[1] = 1 << UNUSABLE_BITS["BRIGHTSKY"]
    and_mask[2] = 1 << 24 | 1 << 16  # NODATA and NEARBADPIXEL do not count
    spectra = batch(np.arange(6), [1, 2, 3, 4, np.nan, 6], [1, 1, 1, 0, 1, np.nan])
    masked, notes = mask_bad_pixels(
        spectra, facts(1, 6, and_mask=and_mask), unusable=["BRIGHTSKY", "NOSKY"]
    )
    assert masked.valid[0].tolist() == [True, False, True, False, False, False]
    assert masked.flux[0].tolist() == [1, 0, 3, 0, 0, 0]
    assert masked.ivar[0].tolist() == [1, 0, 1, 0, 0, 0]
    assert notes == {}


def test_a_spectrum_without_inverse_variance_keeps_its_pixels():
    masked, notes = mask_bad_pixels(batch(np.arange(3), [1, np.inf, 3]), facts(1, 3), unusable=[])
    assert masked.valid[0].tolist() == [True, False, True]
    assert np.isnan(masked.ivar).all()
    assert "no inverse variance" in notes[0]


# frames ---------------------------------------------------------------------------------------


def test_air_and_vacuum_agree_with_published_pairs():
    # H alpha, [O III], Ca II K: NIST ASD in air; vacuum from its wave numbers.
    air = np.array([6562.819, 5006.843, 3933.663])
    vacuum = np.array([6564.632, 5008.240, 3934.777])
    np.testing.assert_allclose(vacuum_to_air(vacuum), air, atol=2e-3)
    np.testing.assert_allclose(air_to_vacuum_wavelength(air), vacuum, atol=2e-3)


def test_air_and_vacuum_are_inverse_and_leave_the_ultraviolet():
    wavelength = np.linspace(2100, 11000, 500)
    back = air_to_vacuum_wavelength(vacuum_to_air(wavelength))
    np.testing.assert_allclose(back, wavelength, atol=1e-8)
    assert vacuum_to_air(np.array([1215.67]))[0] == 1215.67


def test_only_air_becomes_vacuum_and_the_unknown_is_told():
    wavelength = np.array([4000.0, 5000.0])
    spectra = batch(wavelength, np.ones((3, 2)))
    mixed = replace(
        facts(3, 2),
        air=np.array([True, False, False]),
        vacuum=np.array([False, True, False]),
    )
    out, notes = air_to_vacuum(spectra, mixed)
    np.testing.assert_allclose(out.wavelength[0], air_to_vacuum_wavelength(wavelength))
    np.testing.assert_array_equal(out.wavelength[1:], spectra.wavelength[1:])
    assert list(notes) == [2]


@pytest.mark.parametrize("z", [-0.001, 0.0, 3.2])
def test_rest_frame_undoes_a_redshift(z):
    rest = np.array([4862.69, 6564.63])
    spectra = batch(rest * (1 + z), np.ones(2))
    out, notes = rest_frame(spectra, facts(1, 2, velocity=z * LIGHT))
    np.testing.assert_allclose(out.wavelength[0], rest, rtol=1e-12)
    assert notes == {}


@pytest.mark.parametrize(("velocity", "told"), [(np.nan, "no velocity"), (-4e5, "no redshift")])
def test_without_a_usable_velocity_nothing_moves(velocity, told):
    spectra = batch([4000.0, 5000.0], np.ones(2))
    out, notes = rest_frame(spectra, facts(1, 2, velocity=velocity))
    np.testing.assert_array_equal(out.wavelength, spectra.wavelength)
    assert told in notes[0]


# dust -----------------------------------------------------------------------------------------


def test_extinction_passes_through_the_published_anchors():
    # Fitzpatrick (1999), table 4: the optical spline points for R_V = 3.1.
    anchors = np.array([6000.0, 5470.0, 4670.0, 4110.0])
    expected = [
        -0.426 + 1.0044 * 3.1,
        -0.050 + 1.0016 * 3.1,
        0.701 + 1.0016 * 3.1,
        1.208 + 1.0032 * 3.1 - 0.00033 * 3.1**2,
    ]
    np.testing.assert_allclose(extinction(anchors, 3.1), expected, atol=2e-3)
    assert np.isnan(extinction(np.array([900.0]), 3.1)[0])


def test_deredden_undoes_reddening_and_keeps_the_signal_to_noise():
    wavelength = np.linspace(3600, 10000, 50)
    reddened = 10 ** (-0.4 * extinction(wavelength, 3.1) * 0.86 * 0.2)
    spectra = batch(wavelength, reddened, np.full(50, 4.0))
    out, _ = deredden(spectra, facts(1, 50, ebv=0.2), r_v=3.1, sfd_scale=0.86)
    np.testing.assert_allclose(out.flux[0], 1.0, rtol=1e-12)
    np.testing.assert_allclose(out.flux * np.sqrt(out.ivar), reddened[None] * 2, rtol=1e-12)


def test_deredden_tells_of_missing_and_negative_values():
    spectra = batch([4000.0, 5000.0], np.ones((2, 2)))
    about = replace(facts(2, 2), ebv=np.array([np.nan, -0.1]))
    out, notes = deredden(spectra, about, r_v=3.1, sfd_scale=0.86)
    np.testing.assert_array_equal(out.flux, spectra.flux)
    assert "no E(B-V)" in notes[0]
    assert "negative" in notes[1]


# resampling -----------------------------------------------------------------------------------


def log_pixels(start: float, step: float, n: int) -> np.ndarray:
    return 10 ** (start + step * np.arange(n))


@pytest.mark.parametrize(
    "wavelength",
    [
        log_pixels(3.58, 1e-4, 3800),
        np.linspace(3800, 9200, 5000),
        np.cumsum(np.random.default_rng(5).uniform(0.5, 1.5, 5000)) + 3800,
    ],
    ids=["log10", "linear", "irregular"],
)
def test_resampling_keeps_a_line_s_flux_and_place(wavelength):
    line = np.exp(-0.5 * ((wavelength - 6000) / 6) ** 2)
    out, _ = resample(batch(wavelength, line, np.ones_like(line)), None, **TO_GRID)
    width = np.diff(GRID.edges)
    area = (out.flux[0] * width).sum()
    assert area == pytest.approx(6 * np.sqrt(2 * np.pi), rel=1e-4)
    assert (out.flux[0] * width * GRID.wavelength).sum() / area == pytest.approx(6000, abs=0.02)


def test_a_constant_stays_constant_where_covered():
    wavelength = log_pixels(3.58, 1e-4, 3800)
    out, _ = resample(batch(wavelength, np.full(3800, 7.0), np.ones(3800)), None, **TO_GRID)
    np.testing.assert_allclose(out.flux[out.valid], 7.0, rtol=1e-10)
    lit = GRID.wavelength[out.valid[0]]
    assert lit[0] == pytest.approx(wavelength[0], rel=3e-4)
    assert lit[-1] == pytest.approx(wavelength[-1], rel=3e-4)
    assert not out.flux[~out.valid].any()
    assert not out.ivar[~out.valid].any()


def test_pairs_of_pixels_whose_edges_meet_are_means_with_twice_the_weight():
    step = GRID.step / 2
    wavelength = log_pixels(GRID.start - GRID.step / 4, step, 2 * GRID.size)
    rng = np.random.default_rng(0)
    flux = rng.normal(10, 1, 2 * GRID.size)
    out, _ = resample(batch(wavelength, flux, np.full(2 * GRID.size, 4.0)), None, **TO_GRID)
    np.testing.assert_allclose(out.flux[0], flux.reshape(-1, 2).mean(axis=1), rtol=1e-3)
    np.testing.assert_allclose(out.ivar[0], 8.0, rtol=1e-3)


def test_noise_is_neither_gained_nor_lost():
    rng = np.random.default_rng(3)
    wavelength = np.linspace(4000, 9000, 3777)
    flux = rng.normal(0, 1, (200, 3777))
    out, _ = resample(batch(wavelength, flux, np.ones_like(flux)), None, **TO_GRID)
    inner = slice(400, 1900)
    # A sum over many pixels has the variance that the weights say, whatever the edges.
    width = np.diff(GRID.edges)[inner]
    sums = (out.flux[:, inner] * width).sum(axis=1)
    expected = (width**2 / out.ivar[0, inner]).sum()
    assert sums.var() == pytest.approx(expected, rel=0.3)
    assert out.ivar[0, inner].sum() > 0


def test_masked_pixels_do_not_leak_and_thin_cover_is_invalid():
    wavelength = log_pixels(GRID.start, GRID.step / 2, 2 * GRID.size)
    flux = np.ones(2 * GRID.size)
    valid = np.ones(2 * GRID.size, bool)
    flux[1000:1100], valid[1000:1100] = 1e6, False
    out, _ = resample(batch(wavelength, flux, np.ones_like(flux), valid), None, **TO_GRID)
    assert out.flux.max() == pytest.approx(1.0)
    gone = np.flatnonzero(~out.valid[0])
    assert set(range(501, 549)) <= set(gone[gone < 2000])


def test_one_wild_pixel_spoils_itself_alone():
    wavelength = log_pixels(GRID.start, GRID.step / 2, 2 * GRID.size)
    flux, ivar = np.ones(2 * GRID.size), np.full(2 * GRID.size, 4.0)
    reference, _ = resample(batch(wavelength, flux, ivar), None, **TO_GRID)
    flux[600], ivar[600] = 1e25, 1e-30
    out, _ = resample(batch(wavelength, flux, ivar), None, **TO_GRID)
    near = np.abs(np.arange(GRID.size) - 300) < 3
    np.testing.assert_array_equal(out.flux[0, ~near], reference.flux[0, ~near])
    np.testing.assert_array_equal(out.ivar[0, ~near], reference.ivar[0, ~near])


@pytest.mark.parametrize("n", [300, 900])
def test_coarse_pixels_are_spread_evenly(n):
    wavelength = np.linspace(4000, 9000, n)
    flux = np.arange(float(n))
    out, _ = resample(batch(wavelength, flux, np.ones(n)), None, **TO_GRID)
    lit = out.valid[0]
    expected = np.interp(GRID.wavelength[lit], wavelength, flux)
    np.testing.assert_allclose(out.flux[0, lit], expected, atol=0.6)


def test_without_a_wavelength_solution_nothing_is_made_up():
    out, notes = resample(batch(np.nan, np.ones((1, 50)), np.ones((1, 50))), None, **TO_GRID)
    assert not out.valid.any()
    assert "no wavelength solution" in notes[0]


# length ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [3, 5, 8])
def test_pads_and_crops_by_index(length):
    flux = np.arange(1.0, 11.0).reshape(2, 5)
    spectra = batch(np.arange(5), flux, np.ones((2, 5)), np.arange(5) < [[5], [4]], [5, 4])
    out, _ = pad_or_crop(spectra, facts(2, 5), length=length, fill=-1.0)
    assert out.flux.shape == (2, length)
    assert out.n_pixels.tolist() == [length, length]
    expected = [*flux[1, :4], *[-1.0] * 8][:length]
    assert out.flux[1].tolist() == expected
    assert out.valid.sum(axis=1).tolist() == [min(5, length), min(4, length)]
    assert not out.ivar[~out.valid].any()


# normalisation --------------------------------------------------------------------------------


def stellar(rng, sn=None, n=1):
    """A steep smooth continuum with narrow lines, and the continuum itself."""
    x = (np.arange(GRID.size) - 1168) / 1168
    continuum = 5 * np.exp(0.9 * x - 0.5 * x**2)
    lines = np.ones(GRID.size)
    for centre in range(100, GRID.size, 190):
        lines -= 0.5 * np.exp(-0.5 * ((np.arange(GRID.size) - centre) / 4) ** 2)
    flux = np.tile(continuum * lines, (n, 1))
    if sn is None:
        return flux, np.ones_like(flux), continuum, lines
    sigma = flux / sn
    return flux + rng.normal(size=flux.shape) * sigma, 1 / sigma**2, continuum, lines


def test_the_continuum_of_a_steep_spectrum_with_lines_is_at_one():
    flux, ivar, _, lines = stellar(None)
    out, notes = normalise_continuum(batch(GRID.wavelength, flux, ivar), None, **CONTINUUM)
    between = lines > 0.999
    assert np.median(out.flux[0, between]) == pytest.approx(1.0, abs=0.05)
    assert np.abs(out.flux[0, between] - 1).max() < 0.12
    assert out.flux[0].min() < 0.6
    assert notes == {}


def test_the_continuum_does_not_depend_on_the_noise():
    rng = np.random.default_rng(11)
    settings = {
        key: CONTINUUM[key] for key in ("bandwidth", "block", "depth", "iterations", "lever")
    }
    flux, ivar, _, _ = stellar(None)
    everywhere = np.ones((1, GRID.size), bool)
    clean, _ = smooth_continuum(flux, 1 / ivar, everywhere, **settings)
    flux, ivar, _, _ = stellar(rng, sn=5, n=200)
    noisy, error = smooth_continuum(flux, 1 / ivar, np.tile(everywhere, (200, 1)), **settings)
    assert np.abs(noisy.mean(axis=0) / clean[0] - 1).max() < 0.01
    inner = slice(300, -300)
    scatter = noisy[:, inner].std(axis=0)
    np.testing.assert_allclose(scatter / error[0, inner], 1.0, atol=0.35)


def test_a_narrower_coverage_changes_the_continuum_only_near_its_ends():
    flux, ivar, _, _ = stellar(None)
    whole, _ = normalise_continuum(batch(GRID.wavelength, flux, ivar), None, **CONTINUUM)
    valid = np.zeros((1, GRID.size), bool)
    valid[:, 150:2070] = True
    part, _ = normalise_continuum(batch(GRID.wavelength, flux, ivar, valid), None, **CONTINUUM)
    np.testing.assert_allclose(part.flux[0, 700:1500], whole.flux[0, 700:1500], atol=1e-3)
    np.testing.assert_allclose(part.flux[0, 150:2070], whole.flux[0, 150:2070], atol=0.12)
    assert (part.flux[~part.valid] == 1).all()
    assert (part.ivar[~part.valid] == 0).all()


def test_normalising_keeps_the_signal_to_noise():
    flux, ivar, _, _ = stellar(np.random.default_rng(1), sn=20)
    out, _ = normalise_continuum(batch(GRID.wavelength, flux, ivar), None, **CONTINUUM)
    np.testing.assert_allclose(out.flux * np.sqrt(out.ivar), flux * np.sqrt(ivar), rtol=1e-9)


def test_pure_noise_has_no_continuum():
    flux = np.random.default_rng(2).normal(size=(20, GRID.size))
    spectra = batch(GRID.wavelength, flux, np.ones_like(flux))
    out, notes = normalise_continuum(spectra, None, **CONTINUUM)
    assert out.valid.mean() < 0.05
    assert all("no continuum" in notes[i] for i in range(20))


def test_blocks_must_divide_the_grid():
    with pytest.raises(LacusError, match="blocks of 15"):
        smooth_continuum(
            np.ones((1, 100)),
            np.ones((1, 100)),
            np.ones((1, 100), bool),
            bandwidth=20,
            block=15,
            depth=0.3,
            iterations=1,
            lever=1.1,
        )


def test_minmax_maps_valid_pixels_to_zero_and_one():
    flux = np.array([[2.0, 4.0, 6.0, 99.0], [3.0, 3.0, 3.0, 99.0]])
    valid = np.array([[True, True, True, False]] * 2)
    out, notes = normalise_minmax(batch(np.arange(4), flux, np.ones((2, 4)), valid), None, fill=0.0)
    assert out.flux.tolist() == [[0, 0.5, 1, 0], [0, 0, 0, 0]]
    assert out.ivar[0].tolist() == [16, 16, 16, 0]
    assert list(notes) == [1]
