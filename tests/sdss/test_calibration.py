"""Temperatures, calibration errors, thresholds."""

import numpy as np
import pytest

from lake.sdss.calibration import (
    Temperature,
    abstention_threshold,
    expected_calibration_error,
    fit_temperature,
    least_spectra,
    softmax,
)


def test_softmax_does_not_overflow():
    np.testing.assert_allclose(
        softmax(np.array([[1e4, 1e4], [0, np.log(3)]])), [[0.5, 0.5], [0.25, 0.75]]
    )


def test_the_calibration_error_of_a_case_by_hand():
    # Bins of 1/15: 0.95 and 0.94 lie in the last one, 0.52 alone in (7/15, 8/15].
    confidence = np.array([0.95, 0.94, 0.52])
    correct = np.array([True, False, True])
    by_hand = (2 / 3) * abs((0.95 + 0.94) / 2 - 0.5) + (1 / 3) * abs(0.52 - 1)
    assert expected_calibration_error(confidence, correct) == pytest.approx(by_hand)


def test_bins_are_closed_above():
    # 1/2 belongs to the lower of two bins: both spectra share it, and their errors cancel.
    assert expected_calibration_error(
        np.array([0.5, 0.5]), np.array([True, False]), bins=2
    ) == pytest.approx(0)
    assert expected_calibration_error(np.array([1.0, 0.0]), np.array([True, False])) == 0


def test_no_spectra_have_no_calibration_error():
    assert np.isnan(expected_calibration_error(np.empty(0), np.empty(0, bool)))


def miscalibrated(n=20000, seed=0):
    """Logits too sharp by a factor that grows with the noise."""
    rng = np.random.default_rng(seed)
    log_noise = rng.uniform(-2, 0, n)
    true_logits = rng.normal(0, 2, (n, 5))
    chance = rng.uniform(size=(n, 1))
    truth = (chance > softmax(true_logits).cumsum(axis=1)).sum(axis=1)
    return true_logits * np.exp(1.2 + 0.5 * log_noise)[:, None], truth, log_noise


def test_the_temperature_is_recovered():
    temperature = fit_temperature(*miscalibrated())
    assert temperature.intercept == pytest.approx(1.2, abs=0.08)
    assert temperature.slope == pytest.approx(0.5, abs=0.06)


def test_probabilities_are_calibrated_at_every_noise():
    logits, truth, log_noise = miscalibrated()
    temperature = fit_temperature(*miscalibrated(seed=1))
    probabilities = temperature.probabilities(logits, log_noise)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    correct = probabilities.argmax(axis=1) == truth
    for part in (log_noise < -1.5, log_noise > -0.5):
        error = expected_calibration_error(probabilities.max(axis=1)[part], correct[part])
        raw = expected_calibration_error(softmax(logits).max(axis=1)[part], correct[part])
        assert error < 0.025
        assert error < raw


def test_a_few_right_spectra_do_not_send_the_temperature_to_zero():
    logits = np.eye(3) * 5
    temperature = fit_temperature(logits, np.arange(3), np.zeros(3))
    assert 0.1 < temperature.at(np.zeros(1))[0] < 1


def test_no_temperature_leaves_probabilities():
    logits = np.array([[1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(
        Temperature().probabilities(logits, np.array([-1.0])), softmax(logits)
    )


def test_the_threshold_accepts_as_many_as_accuracy_allows():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.3, 1, 20000)
    correct = rng.uniform(size=20000) < confidence
    threshold = abstention_threshold(confidence, correct, 0.9)
    # Accepted ones have confidences evenly between the threshold and 1.
    assert threshold == pytest.approx(0.8, abs=0.03)
    assert correct[confidence >= threshold].mean() >= 0.9


def test_thresholds_at_the_ends():
    confidence = np.linspace(0.3, 1, 500)
    assert abstention_threshold(confidence, np.ones(500, bool)) == 0
    assert abstention_threshold(confidence, np.zeros(500, bool)) == 1
    assert abstention_threshold(np.empty(0), np.empty(0, bool)) == 1


def test_equal_confidences_are_accepted_together():
    confidence = np.repeat([0.9, 0.6], 200)
    correct = np.r_[np.ones(200, bool), np.zeros(200, bool)]
    assert abstention_threshold(confidence, correct) == 0.9


@pytest.mark.parametrize(("accuracy", "number"), [(0.5, 1), (0.9, 8), (0.95, 18), (0.99, 98)])
def test_an_accuracy_needs_spectra_to_be_shown_with(accuracy, number):
    assert least_spectra(accuracy) == number
    assert (number + 1) / (number + 2) >= accuracy - 1e-12
