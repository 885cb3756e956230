import math

import numpy as np
import pytest

from lake.csc.features import FEATURES
from lake.errors import LacusError
from lake.ogip.bands import (
    RATIOS,
    BandRate,
    area_of_channels,
    band_rates,
    hardness,
    hardness_ratios,
)

LOW = np.array([0.3, 0.5, 1.15, 1.5, 2.0, 6.5, 7.0])
HIGH = np.array([0.5, 1.15, 1.5, 2.0, 6.5, 7.0, 9.0])
RATE = np.array([50, 1, 2, 3, 4, 5, 60.0])
ERROR = np.array([9, 0.5, 3, 4, 6, 8, 9.0])


def band(rate, error=0.0):
    return BandRate(rate, error, 1, 0)


def test_channels_go_to_the_band_of_their_middle():
    sums = band_rates(RATE, ERROR, LOW, HIGH)
    assert {k: (v.rate, v.error, v.channels, v.missing) for k, v in sums.items()} == {
        "soft": (1, 0.5, 1, 0),
        "medium": (5, 5, 2, 0),
        "hard": (9, 10, 2, 0),
    }


def test_channels_that_are_not_known_are_counted_and_left_out():
    rate = RATE.copy()
    rate[[1, 4]] = np.nan
    usable = np.ones(7, dtype=bool)
    usable[2] = False
    sums = band_rates(rate, ERROR, LOW, HIGH, usable)
    assert math.isnan(sums["soft"].rate)
    assert (sums["soft"].channels, sums["soft"].missing) == (0, 1)
    assert (sums["medium"].rate, sums["medium"].missing) == (3, 1)
    assert (sums["hard"].rate, sums["hard"].error, sums["hard"].missing) == (5, 8, 1)


def test_an_area_makes_photon_fluxes():
    area = np.array([1, 2, 4, 0, 8, 8, 8.0])
    sums = band_rates(RATE, ERROR, LOW, HIGH, area=area)
    assert (sums["soft"].rate, sums["soft"].error) == (0.5, 0.25)
    assert (sums["medium"].rate, sums["medium"].missing) == (0.5, 1)
    assert (sums["hard"].rate, sums["hard"].error) == (9 / 8, 10 / 8)


def test_ratios_carry_the_names_of_the_catalogue():
    assert set(RATIOS) <= set(FEATURES)
    ratios = hardness_ratios(band_rates(RATE, ERROR, LOW, HIGH))
    assert ratios["hard_hm"][0] == pytest.approx((9 - 5) / 14)
    assert ratios["hard_hs"][0] == pytest.approx((9 - 1) / 10)
    assert ratios["hard_ms"][0] == pytest.approx((5 - 1) / 6)


def test_the_error_of_a_ratio_is_that_of_small_changes():
    h, s, dh, ds = 7.0, 3.0, 0.02, 0.05
    ratio, error = hardness(band(h, dh), band(s, ds))
    steps = [
        hardness(band(h + dh), band(s))[0] - ratio,
        hardness(band(h), band(s + ds))[0] - ratio,
    ]
    assert error == pytest.approx(math.hypot(*steps), rel=0.01)


@pytest.mark.parametrize(
    ("harder", "softer", "expected"),
    [(-1, 4, -1), (4, -1, 1), (-1, -2, math.nan), (0, 0, math.nan), (math.nan, 3, math.nan)],
)
def test_a_band_below_its_background_is_empty(harder, softer, expected):
    ratio, error = hardness(band(harder, 1.0), band(softer, 1.0))
    assert ratio == pytest.approx(expected, nan_ok=True)
    assert math.isnan(error) == math.isnan(expected)


def test_areas_are_those_of_the_bin_and_not_beyond():
    lo, hi = np.array([1.0, 2, 3.5]), np.array([2.0, 3, 4])
    energy = np.array([0.9, 1, 2, 2.9, 3.2, 3.75, 4, np.nan])
    got = area_of_channels(lo, hi, np.array([10.0, 20, 40]), energy)
    np.testing.assert_array_equal(got, [np.nan, 10, 20, 20, np.nan, 40, np.nan, np.nan])
    falling = area_of_channels(lo[::-1], hi[::-1], np.array([40.0, 20, 10]), energy)
    np.testing.assert_array_equal(falling, got)
    with pytest.raises(LacusError, match="go up and down"):
        area_of_channels(lo[[0, 2, 1]], hi[[0, 2, 1]], np.ones(3), np.ones(1))
