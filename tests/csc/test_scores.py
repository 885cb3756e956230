import json

import numpy as np
import pytest

from lake.csc.scores import NormalScores


def test_scores_of_a_skewed_feature_are_normal():
    x = np.random.default_rng(0).lognormal(size=(20000, 1))
    z = NormalScores.fit(x).transform(x)[:, 0]
    assert z.mean() == pytest.approx(0, abs=0.01)
    assert z.std() == pytest.approx(1, abs=0.03)
    np.testing.assert_allclose(np.quantile(z, [0.16, 0.84]), [-1, 1], atol=0.03)


def test_monotone_and_beyond_the_range_ever_farther():
    scores = NormalScores.fit(np.random.default_rng(0).normal(size=(500, 1)))
    z = scores.transform(np.linspace(-50, 50, 400)[:, None])[:, 0]
    assert (np.diff(z) > 0).all()
    assert z[-1] > 10


def test_shared_values_get_the_middle_of_their_ranks():
    x = np.array([0.0] * 50 + list(np.linspace(1, 2, 50)))[:, None]
    z = NormalScores.fit(x).transform(np.array([[0.0]]))
    assert z[0, 0] == pytest.approx(-0.674, abs=0.05)  # the 25 % point


def test_missing_stays_missing_and_constants_are_zero():
    x = np.array([[1.0, 3.0], [2.0, 3.0], [np.nan, 3.0]])
    z = NormalScores.fit(x).transform(x)
    assert np.isnan(z[2, 0])
    assert z[:, 1].tolist() == [0, 0, 0]


def test_json_round_trip_is_exact():
    x = np.random.default_rng(0).normal(size=(100, 2))
    scores = NormalScores.fit(x)
    again = NormalScores.from_dict(json.loads(json.dumps(scores.to_dict())))
    np.testing.assert_array_equal(again.transform(x), scores.transform(x))
