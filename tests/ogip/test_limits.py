import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import gammainc, gammaincc, gammaincinv, gammaln

from lake.errors import LacusError
from lake.ogip.limits import (
    net_counts_upper_limit,
    net_counts_upper_limit_estimated,
    significance_gaussian_background,
    significance_li_ma,
)


def test_an_excess_as_li_and_ma_have_it():
    # 2 (N ln(2 N / (N + M)) + M ln(2 M / (N + M))) for alpha = 1.
    expected = math.sqrt(2 * (30 * math.log(60 / 40) + 10 * math.log(20 / 40)))
    assert significance_li_ma(30, 10, 1.0) == pytest.approx(expected, rel=1e-14)
    assert significance_li_ma(10, 30, 1.0) == pytest.approx(-expected, rel=1e-14)


def test_without_counts_on_one_side_the_other_term_stays():
    assert significance_li_ma(0, 8, 0.5) == pytest.approx(-math.sqrt(16 * math.log(1.5)))
    assert significance_li_ma(5, 0, 0.25) == pytest.approx(math.sqrt(10 * math.log(5)))
    assert significance_li_ma(0, 0, 0.3) == 0


def test_significance_keeps_its_place_in_arrays():
    got = significance_li_ma([4, np.nan, 4], [[4], [8]], [1, 1, 0.5])
    assert got.shape == (2, 3)
    assert np.isnan(got).tolist() == [[False, True, False]] * 2
    assert got[0, 0] == got[1, 2] == 0


def test_a_well_known_background_makes_both_significances_one():
    for n, b in [(25, 12.0), (3, 12.0), (0, 2.0)]:
        poisson = math.copysign(math.sqrt(2 * ((n * math.log(n / b) if n else 0) - n + b)), n - b)
        assert significance_li_ma(n, b * 1e9, 1e-9) == pytest.approx(poisson, rel=1e-5)
        assert significance_gaussian_background(n, b, 1e-6) == pytest.approx(poisson, rel=1e-9)
        assert significance_gaussian_background(n, b, 0) == pytest.approx(poisson, rel=1e-14)


@settings(deadline=None)
@given(st.integers(0, 400), st.floats(0.1, 400), st.floats(0.05, 30))
def test_the_gaussian_background_is_the_one_that_fits_best(n, b, sigma):
    from scipy.optimize import minimize_scalar

    def deviance(true):
        return 2 * (true - n + (n * math.log(n / true) if n else 0)) + ((b - true) / sigma) ** 2

    best = minimize_scalar(
        deviance, bounds=(1e-12, n + b + 10 * sigma), method="bounded", options={"xatol": 1e-10}
    )
    got = float(significance_gaussian_background(n, b, sigma))
    assert got**2 <= best.fun * (1 + 1e-9) + 1e-8
    assert got**2 >= best.fun - 1e-4 * (1 + best.fun)
    assert got * (n - b) >= 0


def test_without_counts_the_limit_does_not_depend_on_the_background():
    for b in (0, 0.5, 20, 600, 2000):
        assert net_counts_upper_limit(0, b, 0.9) == pytest.approx(math.log(10), rel=1e-11)


def test_the_limit_holds_its_share_of_the_posterior():
    for n, b, level in [(3, 2.0, 0.9), (10, 20.0, 0.95), (40, 12.5, 0.6827)]:
        limit = float(net_counts_upper_limit(n, b, level))

        def posterior(s, n=n, b=b):
            return math.exp(n * math.log(s + b) - (s + b) - gammaln(n + 1))

        inside, everything = (quad(posterior, 0, top, limit=200)[0] for top in (limit, 300))
        assert inside / everything == pytest.approx(level, rel=1e-8)


@settings(deadline=None)
@given(st.integers(0, 3000), st.floats(0, 3000), st.floats(0.01, 0.999))
def test_the_limit_is_the_textbook_formula_where_that_has_digits(n, b, level):
    limit = net_counts_upper_limit(n, b, level)
    assert limit > 0
    tail = gammaincc(n + 1, b)
    if tail > 1e-3:
        textbook = gammaincinv(n + 1, level * tail + gammainc(n + 1, b)) - b
        assert limit == pytest.approx(textbook, rel=1e-6, abs=1e-9 * (n + 1))


def test_far_below_the_background_the_limit_is_that_of_the_tail():
    # The posterior falls as exp(-s (1 - n / b)) there; Q(n + 1, b) itself is 0 in a double.
    assert gammaincc(101, 5000) == 0
    limit = net_counts_upper_limit(100, 5000, 0.9)
    assert limit == pytest.approx(math.log(10) / (1 - 100 / 5000), rel=1e-3)
    both = net_counts_upper_limit([0, 100, 30], [2000, 5000, 7], 0.9)
    assert both[1] == limit
    assert both[2] == net_counts_upper_limit(30, 7, 0.9)


def test_a_missing_background_has_no_limit():
    got = net_counts_upper_limit([5, 5], [np.nan, 1.0])
    assert np.isnan(got).tolist() == [True, False]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((-1, 0), "counts are -1"),
        ((1, -0.5), "background are -0.5"),
        ((1, 1, 1.0), "between 0 and 1"),
        ((1, 1, [0.5, np.nan]), "between 0 and 1"),
    ],
)
def test_what_is_no_count_has_no_limit(arguments, problem):
    with pytest.raises(LacusError, match=problem):
        net_counts_upper_limit(*arguments)


def test_a_long_background_is_a_known_one():
    for n, b in [(0, 3.0), (7, 3.0), (200, 150.0)]:
        known = float(net_counts_upper_limit(n, b, 0.9))
        long = net_counts_upper_limit_estimated(n, b * 1e12, 1e-12, 0.9)
        assert long == pytest.approx(known, rel=1e-9)


@pytest.mark.parametrize(("n", "m", "alpha"), [(4, 6, 0.5), (0, 2, 1.5), (12, 2.5, 2.0)])
def test_the_estimated_background_is_integrated_out(n, m, alpha):
    def posterior(s):
        def joint(b):
            return math.exp(n * math.log(s + b) - (s + b) + m * math.log(b / alpha) - b / alpha)

        return quad(joint, 0, 120, limit=200)[0]

    limit = net_counts_upper_limit_estimated(n, m, alpha, 0.9)
    inside, everything = (quad(posterior, 0, top, limit=200)[0] for top in (limit, 150))
    assert inside / everything == pytest.approx(0.9, rel=1e-6)


def test_a_large_count_is_no_burden():
    known = float(net_counts_upper_limit(57295, 10344))
    got = net_counts_upper_limit_estimated(57295, 10344, 1.0)
    # Twice the background's variance makes the limit wider by that much.
    widened = 57295 - 10344 + 1.2816 * math.sqrt(57295 + 10344)
    assert known < got
    assert got == pytest.approx(widened, rel=1e-4)


@settings(deadline=None)
@given(st.integers(0, 3000), st.integers(0, 3000), st.floats(1e-3, 50), st.floats(0.05, 0.99))
def test_no_term_of_the_mixture_is_missed(n, m, alpha, level):
    i = np.arange(n + 1)
    weight = i * math.log1p(1 / alpha) + gammaln(n - i + m + 1) - gammaln(n - i + 1)
    weight = np.exp(weight - weight.max())
    limit = net_counts_upper_limit_estimated(n, m, alpha, level)
    assert weight @ gammainc(i + 1, limit) / weight.sum() == pytest.approx(level, rel=1e-10)


@pytest.mark.parametrize(
    "arguments", [(1.5, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, 0), (1, np.nan, 1), (1, 1, np.inf)]
)
def test_what_is_no_measured_background_is_refused(arguments):
    with pytest.raises(LacusError, match="whole number"):
        net_counts_upper_limit_estimated(*arguments)
    with pytest.raises(LacusError, match="between 0 and 1"):
        net_counts_upper_limit_estimated(1, 1, 1, 0.0)
