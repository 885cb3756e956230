import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import poisson

from lake.errors import LacusError
from lake.ogip.containers import Spectrum
from lake.ogip.grouping import Groups, single_channels
from lake.ogip.statistics import Observed, fit_statistic, observe

NAMES = (
    "cstat",
    "pstat",
    "wstat",
    "pgstat",
    "chi2",
    "chi2_neyman",
    "chi2_pearson",
    "chi2_gehrels",
)


def observed(counts, off=(3.0,), off_error=(1.5,), alpha=0.5, error=(2.0,)):
    return Observed(np.float64(counts), *map(np.float64, (error, off, off_error)), alpha)


def deviance(n, mean):
    return -2 * (poisson.logpmf(n, mean) - poisson.logpmf(n, n))


def smallest(function, top):
    best = minimize_scalar(function, bounds=(0, top), method="bounded", options={"xatol": 1e-11})
    return min(best.fun, function(0.0), function(1e-300))


@pytest.mark.parametrize(("n", "m"), [(7, 4.5), (0, 2.25), (3, 3), (1000, 1100.5), (5, 1e-3)])
def test_cstat_is_the_likelihood_ratio_of_poisson(n, m):
    data = Observed(np.array([float(n)]))
    assert fit_statistic("cstat", data, [m])[0] == pytest.approx(deviance(n, m), abs=1e-10)


def test_pstat_adds_the_background_to_the_model():
    got = fit_statistic("pstat", observed([9]), [4.0])
    assert got == pytest.approx(deviance(9, 4 + 0.5 * 3))


@pytest.mark.parametrize(
    ("n", "off", "m", "alpha", "expected"),
    [
        # The cases that appendix B of the XSPEC manual gives apart, with t_s / t_b = alpha.
        (0, 6, 2.0, 0.5, 2 * (2.0 + 6 * math.log(1.5))),
        (8, 0, 1.0, 0.5, 2 * (-1.0 / 0.5 - 8 * math.log(0.5 / 1.5))),
        (2, 0, 9.0, 0.5, 2 * (9.0 + 2 * (math.log(2) - math.log(9) - 1))),
        (0, 0, 3.0, 0.7, 6.0),
    ],
)
def test_wstat_without_counts_on_one_side(n, off, m, alpha, expected):
    got = fit_statistic("wstat", observed([n], [off], alpha=alpha), [m])
    assert got == pytest.approx(expected, rel=1e-13)


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(0, 200), st.floats(0.01, 300), st.floats(0.02, 20))
def test_wstat_takes_the_background_that_fits_best(n, off, m, alpha):
    def both(f):
        return deviance(n, m + alpha * f) + deviance(off, f)

    got = fit_statistic("wstat", observed([n], [off], alpha=alpha), [m])[0]
    best = smallest(both, n / alpha + off + 1)
    assert got <= best + 1e-7 * (1 + best)
    assert got >= best - 1e-4 * (1 + best)


@settings(deadline=None)
@given(st.integers(0, 200), st.floats(-5, 200), st.floats(0.1, 40), st.floats(0.01, 300))
def test_pgstat_takes_the_background_that_fits_best(n, scaled, sigma, m):
    alpha = 0.25

    def both(f):
        return deviance(n, m + f) + ((scaled - f) / sigma) ** 2

    data = observed([n], [scaled / alpha], [sigma / alpha], alpha)
    got = fit_statistic("pgstat", data, [m])[0]
    best = smallest(both, n + abs(scaled) + 10 * sigma)
    assert got <= best + 1e-7 * (1 + best)
    assert got >= best - 1e-4 * (1 + best)


def test_a_background_without_error_or_with_many_counts_is_a_known_one():
    known = fit_statistic("pstat", observed([9]), [4.0])
    assert fit_statistic("pgstat", observed([9], off_error=[0.0]), [4.0]) == pytest.approx(known)
    many = observed([9], [1.5e10], alpha=1e-10)
    assert fit_statistic("wstat", many, [4.0]) == pytest.approx(known, rel=1e-8)


def test_chi_squares_by_hand():
    data = observed([12])
    # Net counts 12 - 1.5; the model expects 8.
    apart = (12 - 1.5 - 8) ** 2
    expected = {
        "chi2": apart / (4 + 0.75**2),
        "chi2_neyman": apart / (12 + 0.25 * 3),
        "chi2_pearson": apart / (8 + 1.5 + 0.25 * 3),
        "chi2_gehrels": apart / ((1 + math.sqrt(12.75)) ** 2 + 0.25 * (1 + math.sqrt(3.75)) ** 2),
    }
    for name, value in expected.items():
        assert fit_statistic(name, data, [8.0]) == pytest.approx(value, rel=1e-14), name


def test_chi_squares_without_a_background():
    data = Observed(np.array([9.0]), error=np.array([2.0]))
    for name, variance in [
        ("chi2", 4),
        ("chi2_neyman", 9),
        ("chi2_pearson", 6),
        ("chi2_gehrels", (1 + math.sqrt(9.75)) ** 2),
    ]:
        assert fit_statistic(name, data, [6.0]) == pytest.approx(9 / variance, rel=1e-14), name


@pytest.mark.parametrize("name", NAMES)
def test_a_perfect_fit_is_zero_and_others_are_above(name):
    counts = np.array([3.0, 20, 400])
    data = Observed(counts, np.sqrt(counts), np.zeros(3), np.full(3, 1e-6), 1.0)
    assert fit_statistic(name, data, counts) == pytest.approx(np.zeros(3), abs=1e-9)
    for factor in (0.5, 0.99, 1.01, 2):
        assert (fit_statistic(name, data, factor * counts) > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_for_many_counts_every_statistic_is_chi_square(name):
    counts, model = np.array([1e8]), np.array([1e8 + 2e4])
    data = Observed(counts, np.sqrt(counts), np.ones(1), np.ones(1), 1e-3)
    assert fit_statistic(name, data, model) == pytest.approx(4, rel=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_many_models_are_each_of_them(name):
    random = np.random.default_rng(2)
    counts, off = random.poisson(5, 40).astype(float), random.poisson(9, 40).astype(float)
    data = Observed(counts, np.sqrt(counts + 1), off, np.sqrt(off + 1), random.uniform(0.1, 2, 40))
    models = random.uniform(0.1, 12, (7, 40))
    together = fit_statistic(name, data, models)
    assert together.shape == (7, 40)
    for row, model in zip(together, models, strict=True):
        np.testing.assert_array_equal(row, fit_statistic(name, data, model))


def spectrum(values, **rest):
    return Spectrum(quantity="COUNTS", values=np.float64(values), exposure=10.0, about={}, **rest)


def test_spectra_are_observed_in_groups():
    source = spectrum([1, 3, 5, 7, 9], backscal=np.array([1.0, 2, 3, 4, 5]))
    background = spectrum([2, 6, 0, 0, 4], quality=np.array([0, 0, 0, 0, 1]), backscal=2.0)
    groups = Groups(np.array([0, 2, 4]), np.array([2, 4, 5]), 5)
    data = observe(source, background, groups)
    assert data.counts.tolist() == [4, 12, 9]
    np.testing.assert_allclose(data.error, np.sqrt([4, 12, 9]), rtol=1e-15)
    np.testing.assert_array_equal(data.off, [8, 0, np.nan])
    np.testing.assert_allclose(data.off_error, [np.sqrt(8), 0, np.nan], rtol=1e-15)
    # 0.5 and 1 for 2 and 6 counts; 1.5 and 2 for none.
    np.testing.assert_allclose(data.alpha[:2], [(1 + 6) / 8, 1.75], rtol=1e-15)
    assert np.isnan(fit_statistic("wstat", data, np.ones(3))).tolist() == [False, False, True]
    alone = observe(source, None, groups)
    assert alone.off is None
    assert fit_statistic("cstat", alone, [4.0, 12, 9]).tolist() == [0, 0, 0]
    assert observe(spectrum([1.0]), spectrum([1.0]), single_channels(1)).alpha == 1.0


def test_counts_that_the_model_excludes_and_counts_that_are_none():
    data = Observed(np.array([0, 2, np.nan, -1.0]))
    got = fit_statistic("cstat", data, np.zeros(4))
    np.testing.assert_array_equal(got, [0, np.inf, np.nan, np.nan])


@pytest.mark.parametrize(
    ("name", "data", "model", "problem"),
    [
        ("cash", observed([1]), [1.0], "no statistic 'cash'; expected cstat"),
        ("wstat", Observed(np.ones(1)), [1.0], "needs off, alpha"),
        ("chi2", Observed(np.ones(1)), [1.0], "needs error"),
        ("cstat", observed([1, 2]), [1.0], "expected 2 channels"),
        ("cstat", observed([1]), [-1.0], "negative counts"),
    ],
)
def test_what_cannot_be_compared_is_refused(name, data, model, problem):
    with pytest.raises(LacusError, match=problem):
        fit_statistic(name, data, model)
