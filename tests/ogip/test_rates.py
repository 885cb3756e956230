import math

import numpy as np
import pytest

from lake.errors import LacusError
from lake.ogip.containers import Spectrum
from lake.ogip.grouping import Groups, single_channels
from lake.ogip.rates import (
    background_ratio,
    count_rates,
    net_counts,
    poisson_error,
    spectrum_counts,
    total_error,
)


def spectrum(values, exposure=10.0, quantity="COUNTS", **rest):
    arrays = {k: np.float64(v) for k, v in rest.items() if isinstance(v, list)}
    return Spectrum(
        quantity=quantity,
        values=np.float64(values),
        exposure=exposure,
        about={},
        **(rest | arrays),
    )


def test_poisson_errors_by_name():
    np.testing.assert_array_equal(poisson_error([0, 4, 2.25]), [0, 2, 1.5])
    np.testing.assert_allclose(
        poisson_error([0, 3.25], "gehrels"), [1 + math.sqrt(0.75), 3], rtol=1e-15
    )
    assert np.isnan(poisson_error([-1, np.nan])).all()
    assert np.isnan(poisson_error(-0.5, "gehrels"))


def test_systematic_errors_are_a_fraction_of_the_values():
    np.testing.assert_allclose(total_error([100, 10], [3, 1], [0.04, 0]), [5, 1], rtol=1e-15)
    np.testing.assert_array_equal(total_error([100.0, 10.0], [3.0, 1.0], None), [3, 1])


def test_errors_of_the_file_come_before_those_of_poisson():
    counts, error = spectrum_counts(spectrum([9, 16]))
    assert counts.tolist() == [9, 16]
    assert error.tolist() == [3, 4]
    _, error = spectrum_counts(spectrum([9, 16], stat_err=[1, 2], sys_err=[0, 0.1]))
    np.testing.assert_allclose(error, [1, math.hypot(2, 1.6)], rtol=1e-15)
    _, error = spectrum_counts(spectrum([3.25]), "gehrels")
    assert error.tolist() == [3]


@pytest.mark.parametrize(
    ("poisserr", "stat_err", "expected"),
    [
        (True, [0, 0], [3, 4]),
        (None, [0, 0], [3, 4]),
        (False, [0, 0], [0, 0]),  # known exactly, if the file says so
        (True, [0, 4], [0, 4]),
    ],
)
def test_errors_of_nothing_throughout_are_none(poisserr, stat_err, expected):
    _, error = spectrum_counts(spectrum([9, 16], stat_err=stat_err, poisserr=poisserr))
    assert error.tolist() == expected


def test_rates_become_counts_with_their_errors():
    counts, error = spectrum_counts(
        spectrum([0.5, 2], exposure=8, quantity="RATE", stat_err=[0.125, 0.25], sys_err=[0, 0.5])
    )
    assert counts.tolist() == [4, 16]
    np.testing.assert_allclose(error, [1, math.hypot(2, 8)], rtol=1e-15)
    _, error = spectrum_counts(spectrum([0.5, 2], exposure=8, quantity="RATE"))
    assert error.tolist() == [2, 4]
    with pytest.raises(LacusError, match="EXPOSURE of the spectrum is None"):
        spectrum_counts(spectrum([1], exposure=None, quantity="RATE"))


def test_alpha_is_the_ratio_of_exposures_and_scales():
    source = spectrum([1, 1], exposure=20, backscal=0.5, areascal=0.8)
    assert background_ratio(source, spectrum([1, 1], exposure=10, backscal=2)) == pytest.approx(
        20 * 0.5 * 0.8 / (10 * 2), rel=1e-15
    )
    assert background_ratio(spectrum([1]), spectrum([1], exposure=40)) == 0.25


def test_alpha_goes_channel_by_channel_where_a_scale_does():
    source = spectrum([1, 1, 1], backscal=[1, 2, 3])
    alpha = background_ratio(source, spectrum([1, 1, 1], areascal=[2, 1, 0]))
    np.testing.assert_array_equal(alpha, [0.5, 2, np.nan])


@pytest.mark.parametrize(
    ("source", "background", "problem"),
    [
        (spectrum([1], exposure=-3.0), spectrum([1]), "EXPOSURE of the source is -3"),
        (spectrum([1]), spectrum([1], exposure=0.0), "EXPOSURE of the background is 0"),
        (spectrum([1]), spectrum([1], exposure=math.nan), "EXPOSURE of the background is nan"),
        (spectrum([1]), spectrum([1], backscal=0.0), "BACKSCAL of the background is 0"),
        (spectrum([1], areascal=-1.0), spectrum([1]), "AREASCAL of the source is -1"),
        (spectrum([1]), spectrum([1, 2]), "source has 1 channels and the background 2"),
    ],
)
def test_what_scales_nothing_is_refused(source, background, problem):
    with pytest.raises(LacusError, match=problem):
        background_ratio(source, background)


def test_rates_of_groups_by_hand():
    source = spectrum([4, 5, 100, 16], exposure=10, areascal=0.5)
    background = spectrum([8, 4, 100, 0], exposure=20, backscal=2)
    # alpha = 10 * 0.5 / (20 * 2) = 1 / 8; rates go by 10 s * 0.5.
    groups = Groups(np.array([0, 3]), np.array([2, 4]), 4)
    rates = count_rates(source, background, groups)
    np.testing.assert_allclose(rates.source, [9 / 5, 16 / 5], rtol=1e-15)
    np.testing.assert_allclose(rates.source_error, [3 / 5, 4 / 5], rtol=1e-15)
    np.testing.assert_allclose(rates.background, [1.5 / 5, 0], rtol=1e-15)
    np.testing.assert_allclose(rates.background_error, [math.sqrt(12) / 40, 0], rtol=1e-15)
    np.testing.assert_allclose(rates.net, [1.5, 3.2], rtol=1e-15)
    np.testing.assert_allclose(rates.net_error, [math.sqrt(0.36 + 12 / 1600), 0.8], rtol=1e-15)
    assert rates.without_background.tolist() == [0, 0]
    spectral = rates.per_kev(np.array([1.0, 2]), np.array([1.5, 2]))
    assert spectral.net[0] == pytest.approx(3.0)
    assert spectral.background_error[0] == pytest.approx(math.sqrt(12) / 20)
    assert np.isnan(spectral.source[1])


def test_area_scales_of_channels_divide_their_own_rates():
    source = spectrum([4, 9], areascal=[1, 0.5])
    rates = count_rates(source, spectrum([0, 0]), Groups(np.array([0]), np.array([2]), 2))
    np.testing.assert_allclose(rates.source, [4 / 10 + 9 / 5], rtol=1e-15)
    np.testing.assert_allclose(rates.source_error, [math.hypot(2 / 10, 3 / 5)], rtol=1e-15)


def test_an_unknown_background_is_counted_and_stays_where_it_is():
    source = spectrum([4, 5, 6, 7])
    background = spectrum([1, np.nan, 1, 1], quality=np.array([0, 0, 0, 5]))
    rates = count_rates(source, background, single_channels(4))
    assert np.isnan(rates.net).tolist() == [False, True, False, True]
    assert np.isnan(rates.source).sum() == 0
    assert rates.without_background.tolist() == [0, 1, 0, 1]
    pairs = count_rates(source, background, Groups(np.array([0, 2]), np.array([1, 3]), 4))
    assert not np.isnan(pairs.net).any()
    net = net_counts(source, background, single_channels(4))
    assert (net.counts, net.background, net.net) == (10, 2, 8)
    assert (net.channels, net.without_background) == (2, 2)
    assert net.net_error == pytest.approx(math.sqrt(12))


def test_net_counts_by_hand():
    source = spectrum([4, 5, 100, 16], exposure=10)
    background = spectrum([8, 4, 100, 0], exposure=40, stat_err=[3, 4, 50, 0])
    net = net_counts(source, background, Groups(np.array([0, 3]), np.array([2, 4]), 4))
    assert (net.counts, net.off_counts, net.background, net.net) == (25, 12, 3, 22)
    assert (net.counts_error, net.background_error) == (5, 1.25)
    assert net.net_error == pytest.approx(math.hypot(5, 1.25))
    assert (net.channels, net.without_background) == (3, 0)
