import json

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from lake.csc.mixture import Mixture, fit_mixture, select_components
from lake.errors import LacusError


def blobs(rows: int = 300) -> np.ndarray:
    random = np.random.default_rng(0)
    centres = np.array([[0.0, 0, 0], [6, 0, 0], [0, 6, 0]])
    return centres[random.integers(0, 3, rows)] + random.normal(size=(rows, 3))


def test_agrees_with_scikit_learn():
    x = blobs()
    theirs = GaussianMixture(3, random_state=42).fit(x)
    ours = fit_mixture(x, 3, 42)
    np.testing.assert_array_equal(ours.predict(x), theirs.predict(x))
    np.testing.assert_allclose(
        np.exp(ours.log_responsibilities(x)), theirs.predict_proba(x), atol=1e-12
    )
    assert ours.bic == pytest.approx(theirs.bic(x))
    assert ours.evaluate(x)[1].sum() == pytest.approx(ours.log_likelihood)
    assert ours.converged


def test_rows_with_missing_features_do_not_enter_the_fit():
    x = blobs()
    gappy = np.vstack([x, [[np.nan, 100.0, 0.0]]])
    np.testing.assert_array_equal(fit_mixture(gappy, 3).means, fit_mixture(x, 3).means)


def test_missing_features_and_far_points_have_responsibilities():
    mixture = fit_mixture(blobs(), 3)
    x = np.array([[6.0, np.nan, np.nan], [1e8, -1e8, 1e8], [np.nan] * 3])
    r = np.exp(mixture.log_responsibilities(x))
    np.testing.assert_allclose(r.sum(axis=1), 1)
    assert mixture.predict(x)[0] == mixture.predict(np.array([[6.0, 0, 0]]))[0]
    np.testing.assert_allclose(r[2], mixture.weights)


def test_row_order_and_batches_do_not_matter():
    mixture, x = fit_mixture(blobs(), 3), np.tile(blobs(), (60, 1))
    assert len(x) > 16384
    order = np.random.default_rng(1).permutation(len(x))
    together = mixture.log_responsibilities(x)
    np.testing.assert_allclose(mixture.log_responsibilities(x[order]), together[order], atol=1e-10)
    np.testing.assert_allclose(mixture.log_responsibilities(x[5:6]), together[5:6], atol=1e-10)


def test_json_round_trip_is_exact():
    mixture = fit_mixture(blobs(), 3)
    again = Mixture.from_dict(json.loads(json.dumps(mixture.to_dict())))
    np.testing.assert_array_equal(again.covariances, mixture.covariances)
    assert (again.bic, again.n_iter, again.converged) == (
        mixture.bic,
        mixture.n_iter,
        mixture.converged,
    )


def test_too_few_rows():
    with pytest.raises(LacusError, match=r"6 components needs at least 6 .* there are 4"):
        fit_mixture(blobs(4), 6)


def test_select_components_finds_three_blobs():
    found = select_components(blobs(), range(2, 6)).to_pydict()
    assert found["k"] == [2, 3, 4, 5]
    assert found["bic"].index(min(found["bic"])) == 1
    assert found["silhouette"].index(max(found["silhouette"])) == 1
    assert found["log_likelihood"] == sorted(found["log_likelihood"])
