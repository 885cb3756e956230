"""Spectra that are unlike everything learnt, told by the energy score of their logits."""

import numpy as np
import pytest

from lake.sdss.novelty import energy_score, known_scores


def logits(n, level, seed=0):
    """One class sticks out by about `level`."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, 4))
    values[np.arange(n), rng.integers(0, 4, n)] += level
    return values


def test_energy_is_that_of_the_formula_and_does_not_overflow():
    values = np.array([[0.0, np.log(3.0)], [1000.0, 1000.0]])
    np.testing.assert_allclose(energy_score(values), [np.log(4), 1000 + np.log(2)])


def test_shares_are_even_among_the_known():
    noise = np.random.default_rng(1).uniform(-2, -1, 20_000)
    # The noisier, the less sure.
    level = -5 * noise
    known = logits(20_000, level)
    found = known_scores(known, noise)
    other = known_scores(logits(20_000, level, 2), noise).p_value(known, noise)
    for shares in (found.p_value(known, noise), other):
        for share in (0.01, 0.1, 0.5):
            assert np.mean(shares < share) == pytest.approx(share, rel=0.25)
    # As noisy ones are compared: none of the cleanest is strange for being surer.
    clean = noise < -1.9
    assert np.mean(found.p_value(known, noise)[clean] < 0.5) == pytest.approx(0.5, abs=0.05)


def test_what_stirs_the_network_less_is_strange_and_what_stirs_it_more_is_not():
    noise = np.full(1000, -1.5)
    found = known_scores(logits(1000, 8), noise)
    assert found.p_value(logits(50, 0.0), noise[:50]).max() < 0.01
    np.testing.assert_array_equal(found.p_value(logits(5, 50), noise[:5]), 1)


def test_nothing_is_said_of_spectra_that_are_noisier_than_any():
    noise = np.linspace(-2, -1, 600)
    found = known_scores(logits(600, 8), noise)
    given = found.p_value(logits(3, 0.0), np.array([-3.0, -1.0, -0.99]))
    assert (given[:2] < 0.01).all()
    assert np.isnan(given[2])


def test_one_spectrum_is_enough_to_compare_with():
    found = known_scores(np.array([[1.0, 2.0]]), np.array([-1.0]))
    np.testing.assert_array_equal(
        found.p_value(np.array([[0.0, 1.0], [5.0, 2.0]]), np.array([-1.0, -1.5])), [0, 1]
    )
