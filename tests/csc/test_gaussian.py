import numpy as np
import pytest
from scipy.stats import multivariate_normal

from lake.csc.gaussian import Gaussians, batches, log_sum_exp, patterns
from lake.errors import LacusError


@pytest.fixture
def two() -> Gaussians:
    random = np.random.default_rng(3)
    root = random.normal(size=(2, 4, 4))
    return Gaussians(random.normal(size=(2, 4)), root @ root.transpose(0, 2, 1) + np.eye(4))


def test_missing_features_give_the_explicit_marginal(two):
    x = np.random.default_rng(4).normal(size=(40, 4))
    x[np.random.default_rng(5).random(x.shape) < 0.4] = np.nan
    assert np.isnan(x).all(axis=1).any()
    density, d2 = two.log_density(x)
    for row, values in enumerate(x):
        seen = np.flatnonzero(~np.isnan(values))
        for k in range(2):
            if not seen.size:
                assert density[row, k] == d2[row, k] == 0
                continue
            marginal = multivariate_normal(
                two.means[k, seen], two.covariances[k][np.ix_(seen, seen)]
            )
            assert density[row, k] == pytest.approx(marginal.logpdf(values[seen]), rel=1e-10)


def test_fill_is_the_conditional_mean(two):
    x = np.array([[0.3, np.nan, -1.0, np.nan], [1.0, 2.0, 3.0, 4.0]])
    filled = two.fill(x, np.array([1, 0]))
    np.testing.assert_array_equal(filled[1], x[1])
    # The conditional mean of a Gaussian is its conditional mode: moving away lowers the density.
    best = two.log_density(filled)[0][0, 1]
    for step in ([0, 1e-3, 0, 0], [0, -1e-3, 0, 0], [0, 0, 0, 1e-3], [0, 1e-3, 0, -1e-3]):
        assert two.log_density(filled[:1] + step)[0][0, 1] < best


def test_fill_without_any_feature_is_the_mean(two):
    filled = two.fill(np.full((1, 4), np.nan), np.array([0]))
    np.testing.assert_allclose(filled[0], two.means[0])


def test_an_indefinite_covariance_is_named():
    with pytest.raises(LacusError, match="not positive definite"):
        Gaussians(np.zeros((1, 2)), np.array([[[1.0, 2.0], [2.0, 1.0]]])).evaluate(np.ones((1, 2)))


def test_patterns_and_batches_cover_every_row_once():
    x = np.array([[1, np.nan], [1, 2], [np.nan, np.nan], [3, np.nan], [4, 5.0]])
    found = {tuple(observed): rows.tolist() for observed, rows in patterns(x)}
    assert found == {(True, False): [0, 3], (True, True): [1, 4], (False, False): [2]}
    assert [(s.start, s.stop) for s in batches(7, 3)] == [(0, 3), (3, 6), (6, 7)]


def test_log_sum_exp_where_the_exponential_underflows():
    assert log_sum_exp(np.array([[-2000.0, -2000.0]]))[0, 0] == pytest.approx(-2000 + np.log(2))
