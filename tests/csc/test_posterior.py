import numpy as np
import pytest
from scipy.stats import chi2, multivariate_normal

from lake.csc.mixture import Mixture
from lake.csc.posterior import Posterior, Shrinkage, fit_posterior
from lake.csc.scores import NormalScores

LINE = np.linspace(-4.0, 4.0, 9)
MEANS = np.array([[-1.0, 0.5], [1.0, 0.0]])
COVARIANCES = np.array([[[1.0, 0.3], [0.3, 0.5]], [[0.4, 0.0], [0.0, 2.0]]])
PRIOR = np.array([0.3, 0.7])


def known_posterior(temperature: float = 1.0) -> Posterior:
    """Two Gaussians, QSO and YSO, in one component and on scores that change nothing."""
    return Posterior(
        NormalScores((LINE, LINE), (LINE, LINE)),
        Mixture(np.ones(1), np.zeros((1, 2)), np.eye(2)[None]),
        np.array([0, 7]),
        np.full((1, 2), 100.0),
        MEANS[None],
        COVARIANCES[None],
        PRIOR[None],
        Shrinkage(temperature=temperature),
    )


def bayes(x: np.ndarray, features: list[int], temperature: float = 1.0) -> np.ndarray:
    joint = np.array(
        [
            PRIOR[c]
            * multivariate_normal(MEANS[c, features], COVARIANCES[c][np.ix_(features, features)])
            .pdf(x[:, features])
            .reshape(-1)
            ** temperature
            for c in range(2)
        ]
    ).T
    return joint / joint.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize("features", [[0, 1], [0], [1]])
def test_bayes_rule_also_over_part_of_the_features(features, temperature):
    x = np.random.default_rng(0).normal(size=(50, 2))
    gappy = np.full_like(x, np.nan)
    gappy[:, features] = x[:, features]
    p, _ = known_posterior(temperature).evaluate(gappy)
    np.testing.assert_allclose(p[:, [0, 7]], bayes(x, features, temperature), rtol=1e-10)
    assert (np.delete(p, [0, 7], axis=1) == 0).all()


def test_without_any_feature_the_prior_remains():
    p, novelty = known_posterior().evaluate(np.full((1, 2), np.nan))
    np.testing.assert_allclose(p[0, [0, 7]], PRIOR)
    assert np.isnan(novelty[0])


def test_novelty_is_the_chi_square_tail_of_the_nearest_class():
    x = np.array([[1.0, 2.0], [1.0, np.nan], [-1.0, 0.5], [500.0, -500.0]])
    p, novelty = known_posterior().evaluate(x)
    off = x[0] - MEANS[0]
    nearest = min(2.0, off @ np.linalg.solve(COVARIANCES[0], off))
    assert novelty[0] == pytest.approx(chi2.sf(nearest, 2))
    assert novelty[1:3].tolist() == [1, 1]
    assert novelty[3] < 1e-100
    np.testing.assert_allclose(p.sum(axis=1), 1)


def draw(rows: int, seed: int = 0, label_share: float = 1.0):
    random = np.random.default_rng(seed)
    y = (random.random(rows) < PRIOR[1]).astype(int)
    x = np.empty((rows, 2))
    for c in range(2):
        x[y == c] = random.multivariate_normal(MEANS[c], COVARIANCES[c], (y == c).sum())
    label = np.where(random.random(rows) < label_share, np.array([0, 7])[y], -1)
    return x, y, label, np.array([f"s{i}" for i in range(rows)], dtype=object)


def test_the_fit_comes_close_to_the_truth():
    x, _, label, source = draw(4000)
    fitted = fit_posterior(x, label, source, components=2)
    unseen, y, *_ = draw(2000, seed=9)
    p = fitted.evaluate(unseen)[0][:, [0, 7]]
    truth = bayes(unseen, [0, 1])
    at_best = -np.log(truth[np.arange(len(y)), y]).mean()
    assert -np.log(p[np.arange(len(y)), y]).mean() < at_best + 0.03
    assert np.abs(p - truth).mean() < 0.05


def test_rare_classes_take_part():
    x, _, label, source = draw(500)
    label[label == 7] = -1
    x = np.vstack([x, [[8.0, 8.0], [8.2, 8.1]]])
    label = np.append(label, [8, 8])
    source = np.append(source, ["a", "b"])
    p, _ = fit_posterior(x, label, source, components=2).evaluate(np.array([[8.1, 8.0]]))
    assert 0.1 < p[0, 8] < 1


def test_one_class_and_no_class():
    x, _, label, source = draw(100)
    p, _ = fit_posterior(x, np.where(label == 0, 0, -1), source, components=2).evaluate(x)
    np.testing.assert_allclose(p[:, 0], 1)
    assert p.max() <= 1
    assert fit_posterior(x, np.full(100, -1), source, components=2) is None


def test_labels_do_not_depend_on_row_order():
    x, _, label, source = draw(400, label_share=0.5)
    # The start of k-means follows the rows; one component needs no start.
    order = np.random.default_rng(5).permutation(400)
    first = fit_posterior(x, label, source, components=1)
    second = fit_posterior(x[order], label[order], source[order], components=1)
    assert first.shrinkage.mean == second.shrinkage.mean
    np.testing.assert_allclose(first.evaluate(x)[0], second.evaluate(x)[0], atol=1e-9)


def test_shrinkage_is_the_normal_inverse_wishart_posterior():
    x, _, label, source = draw(30)
    fitted = fit_posterior(x, label, source, components=1)
    z = fitted.scores.transform(x)[label == 7]
    n, k, v = len(z), fitted.shrinkage.mean, fitted.shrinkage.covariance
    m0, s0 = fitted.mixture.means[0], fitted.mixture.covariances[0]
    off = z.mean(axis=0) - m0
    scatter = np.cov(z.T, ddof=0) * n + n * k / (n + k) * np.outer(off, off)
    np.testing.assert_allclose(fitted.means[0, 1], (n * z.mean(axis=0) + k * m0) / (n + k))
    np.testing.assert_allclose(fitted.covariances[0, 1], (scatter + v * s0) / (n + v))
    assert fitted.members[0, 1] == pytest.approx(n)
