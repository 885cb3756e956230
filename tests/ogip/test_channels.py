import numpy as np
import pytest

from lake.errors import LacusError
from lake.ogip.channels import channel_energies, merge_ranges, notice_channels, notice_energies

LOW = np.array([0.0, 0.5, 1.2, 2.0])
HIGH = np.array([0.5, 1.2, 2.0, 7.0])


def test_energies_are_those_of_ebounds_whatever_their_order():
    low, high, mean, width = channel_energies(np.float32([3, 2]), np.float32([2, 1]))
    np.testing.assert_array_equal(low, [2, 1])
    np.testing.assert_array_equal(high, [3, 2])
    np.testing.assert_array_equal(mean, [2.5, 1.5])
    np.testing.assert_array_equal(width, [1, 1])
    assert mean.dtype == np.float64


def test_energies_of_different_length_are_refused():
    with pytest.raises(LacusError, match="E_MIN has 2 channels and E_MAX 3"):
        channel_energies([1, 2], [1, 2, 3])


@pytest.mark.parametrize(
    ("within", "expected"),
    [
        ("whole", [False, True, True, False]),
        ("middle", [False, True, True, True]),
        ("part", [True, True, True, True]),
    ],
)
def test_a_channel_is_in_a_range_by_the_chosen_rule(within, expected):
    assert notice_energies(LOW, HIGH, (0.4, 5.0), within).tolist() == expected


def test_a_shared_bound_is_not_a_shared_part():
    assert notice_energies(LOW, HIGH, (0.5, 1.2), "part").tolist() == [False, True, False, False]


def test_adjacent_bands_share_no_channel():
    low = np.arange(0, 8, 0.1)
    bands = [notice_energies(low, low + 0.1, b, "middle") for b in [(0.5, 1.2), (1.2, 2), (2, 7)]]
    assert np.sum(bands, axis=0).max() == 1
    np.testing.assert_array_equal(
        np.any(bands, axis=0), notice_energies(low, low + 0.1, (0.5, 7), "middle")
    )


def test_overlapping_ranges_are_one():
    assert merge_ranges([(5, 6), (1, 3), (2, 4), (4, 4.5)]) == [(1, 4.5), (5, 6)]
    # The second channel is whole only in the union.
    assert notice_energies(LOW, HIGH, [(0.5, 1.0), (0.9, 1.2)]).tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("ranges", [(3, 1), [(1, 2, 3)], [1.0], [], [(np.nan, 1)]])
def test_what_is_not_a_range_is_refused(ranges):
    with pytest.raises(LacusError, match="expected pairs"):
        merge_ranges(ranges)


def test_channels_are_noticed_by_number_both_ends_included():
    assert notice_channels([1, 2, 3, 4, 5], [(2, 3), (5, 9)]).tolist() == [0, 1, 1, 0, 1]


def test_a_channel_without_energy_is_in_no_range():
    low = [np.nan, 1.0]
    for within in ("whole", "middle", "part"):
        assert notice_energies(low, [np.nan, 2.0], (0, 10), within).tolist() == [False, True]
