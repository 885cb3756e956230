from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.errors import LacusError
from lake.ogip.grouping import (
    DUBIOUS,
    Groups,
    flagged_groups,
    group_fixed_width,
    group_min_counts,
    group_min_significance,
    single_channels,
)
from lake.ogip.limits import significance_gaussian_background, significance_li_ma


def ranges(groups):
    return list(zip(groups.start.tolist(), groups.stop.tolist(), strict=True))


def groups(*pairs, channels=8):
    start, stop = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return Groups(start, stop, channels)


def test_sums_stay_in_their_group():
    values = np.array([1, 2, np.nan, 4, 5, 6, 7, 8])
    total = groups((0, 2), (2, 4), (5, 8)).sum(values)
    np.testing.assert_array_equal(total, [3, np.nan, 21])
    np.testing.assert_allclose(groups((0, 2), (3, 4)).quadrature(values), [np.sqrt(5), 4])


def test_sums_of_many_spectra_and_of_none():
    values = np.arange(16).reshape(2, 8)
    np.testing.assert_array_equal(groups((1, 3), (7, 8)).sum(values), [[3, 7], [19, 15]])
    assert groups().sum(values).shape == (2, 0)


def test_sums_of_narrow_types_do_not_wrap():
    total = groups((0, 8)).sum(np.full(8, 60000, dtype=np.uint16))
    assert total.tolist() == [480000]
    fine = groups((0, 8)).sum(np.array([1] + [1e-8] * 7, dtype=np.float32))
    assert fine[0] > 1


def test_sums_of_other_channels_are_refused():
    with pytest.raises(LacusError, match=r"\(7,\); expected 8 channels"):
        groups((0, 8)).sum(np.ones(7))


def test_bounds_span_the_group_whichever_way_energies_run():
    low = np.arange(8.0)
    pair = groups((0, 2), (5, 8))
    for order in (slice(None), slice(None, None, -1)):
        lower, upper = pair.bounds(low[order], low[order] + 1)
        inside = [sorted(low[order][s:e]) for s, e in ranges(pair)]
        assert lower.tolist() == [i[0] for i in inside]
        assert upper.tolist() == [i[-1] + 1 for i in inside]


def test_flags_begin_continue_and_lapse():
    grouping, quality = groups((0, 1), (1, 4), (6, 8)).flags(np.array([0, 0, 0, 0, 5, 0, 0, 0]))
    assert grouping.tolist() == [1, 1, -1, -1, 0, 0, 1, -1]
    assert quality.tolist() == [0, 0, 0, 0, 5, DUBIOUS, 0, 0]
    assert grouping.dtype == quality.dtype == np.int16


def test_flags_of_a_file_make_groups_of_whole_usable_ones():
    usable = np.array([1, 1, 1, 0, 1, 1, 1, 1], dtype=bool)
    assert ranges(flagged_groups(np.array([1, -1, 1, -1, 0, 0, 1, -1]), usable)) == [
        (0, 2),
        (4, 5),
        (5, 6),
        (6, 8),
    ]
    assert ranges(flagged_groups(None, usable))[2:4] == [(2, 3), (4, 5)]


def test_flags_that_make_no_groups_are_refused():
    with pytest.raises(LacusError, match="first channel is -1"):
        flagged_groups(np.array([-1, 1, -1]), np.ones(3, dtype=bool))
    with pytest.raises(LacusError, match="each of 3 channels"):
        flagged_groups(np.array([1, 1, -1]), np.ones(4, dtype=bool))


@st.composite
def some_groups(draw):
    channels = draw(st.integers(1, 60))
    cuts = sorted(draw(st.sets(st.integers(0, channels), max_size=12)))
    return groups(*[p for p in pairwise(cuts) if draw(st.booleans())], channels=channels)


@settings(deadline=None)
@given(some_groups())
def test_flags_written_are_the_groups_read(made):
    grouping, quality = made.flags()
    again = flagged_groups(grouping, quality == 0)
    assert ranges(again) == ranges(made)
    assert (quality != 0).sum() == made.channels - (made.stop - made.start).sum()


@pytest.mark.parametrize(
    ("tail", "expected"), [("join", [(0, 3), (3, 8)]), ("drop", [(0, 3), (3, 4)])]
)
def test_the_rest_joins_the_last_group_or_is_dropped(tail, expected):
    counts = np.array([3, 0, 2, 9, 1, 1, 1, 1.0])
    assert ranges(group_min_counts(counts, 5, tail=tail)) == expected


def test_what_never_reaches_the_minimum():
    assert ranges(group_min_counts(np.ones(4), 5)) == [(0, 4)]
    assert ranges(group_min_counts(np.ones(4), 5, tail="drop")) == []
    assert ranges(group_min_counts(np.ones(0), 5)) == []


def test_no_group_bridges_a_gap():
    usable = np.array([1, 1, 1, 0, 1, 1, 1, 1], dtype=bool)
    counts = np.array([4, 2, 3, 100, 1, 4, 6, 2.0])
    found = group_min_counts(counts, 5, single_channels(8, usable))
    assert ranges(found) == [(0, 3), (4, 6), (6, 8)]
    # A rest with nothing before it in its own range does not reach over the gap.
    counts[4:] = 1
    assert ranges(group_min_counts(counts, 5, single_channels(8, usable))) == [(0, 3), (4, 8)]


def test_the_widest_group_ends_before_the_minimum():
    assert ranges(group_min_counts(np.ones(7), 5, widest=3)) == [(0, 3), (3, 7)]
    assert ranges(group_min_counts(np.ones(6), 3, widest=3)) == [(0, 3), (3, 6)]
    with pytest.raises(LacusError, match="at least 1"):
        group_min_counts(np.ones(7), 5, widest=0)


def test_groups_of_a_file_are_rebinned_whole():
    base = groups((0, 2), (2, 4), (4, 5), (6, 7), (7, 8))
    assert ranges(group_min_counts(np.ones(8), 3, base)) == [(0, 5), (6, 8)]
    assert ranges(group_min_counts(np.ones(8), 3, base, tail="drop")) == [(0, 4)]


def test_a_fixed_width():
    assert ranges(group_fixed_width(single_channels(8), 3)) == [(0, 3), (3, 8)]
    assert ranges(group_fixed_width(single_channels(8), 3, "drop")) == [(0, 3), (3, 6)]
    assert ranges(group_fixed_width(single_channels(3), 1)) == [(0, 1), (1, 2), (2, 3)]


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=150),
    st.integers(1, 400),
    st.one_of(st.none(), st.integers(1, 40)),
    st.integers(0, 2**32),
)
def test_groups_are_the_smallest_that_do(counts, minimum, widest, seed):
    usable = np.random.default_rng(seed).random(len(counts)) > 0.05
    found = group_min_counts(
        np.array(counts), minimum, single_channels(len(counts), usable), widest, tail="drop"
    )
    members = found.members()
    assert not members[~usable].any()
    for start, stop in ranges(found):
        total, size = sum(counts[start:stop]), stop - start
        assert total >= minimum or size == widest
        assert sum(counts[start : stop - 1]) < minimum
        assert widest is None or size <= widest
    # What was left over is, before each gap, fewer than a group.
    left = usable & ~members
    edges = np.flatnonzero(np.diff(np.r_[False, left, False])).reshape(-1, 2)
    for start, stop in edges:
        assert sum(counts[start:stop]) < minimum
        assert stop == len(counts) or not usable[stop]


def measures(start, stop, counts, background, error, alpha):
    n, b, e = counts[start:stop].sum(), background[start:stop].sum(), error[start:stop]
    noise = np.sqrt(n + (e**2).sum() * alpha**2)
    return {
        "net": (n - alpha * b) / noise if noise else -1,
        "li_ma": significance_li_ma(n, b, alpha),
        "gaussian": significance_gaussian_background(n, alpha * b, alpha * np.sqrt((e**2).sum())),
    }


@pytest.mark.parametrize("measure", ["net", "li_ma", "gaussian"])
def test_groups_stand_out_by_the_chosen_measure(measure):
    random = np.random.default_rng(12)
    counts, background = random.poisson(6, 300).astype(float), random.poisson(8, 300).astype(float)
    error, alpha = np.sqrt(background), 0.5
    found = group_min_significance(
        counts, np.sqrt(counts), background, error, alpha, 3, measure, tail="drop"
    )
    assert 10 < len(found) < 100
    for start, stop in ranges(found):
        assert measures(start, stop, counts, background, error, alpha)[measure] >= 3
        for short in range(start + 1, stop):
            assert measures(start, short, counts, background, error, alpha)[measure] < 3


def test_alpha_of_each_channel_scales_its_background():
    counts, background = np.full(6, 10.0), np.full(6, 10.0)
    alpha = np.array([0.1, 0.1, 0.1, 1, 1, 1])
    found = group_min_significance(
        counts, np.sqrt(counts), background, np.sqrt(background), alpha, 2.5, tail="drop"
    )
    assert ranges(found) == [(0, 1), (1, 2), (2, 3)]
    with pytest.raises(LacusError, match="alpha differs"):
        group_min_significance(
            counts, np.sqrt(counts), background, np.sqrt(background), alpha, 2, "li_ma"
        )


def test_a_channel_without_background_reaches_nothing():
    counts, background = np.full(4, 100.0), np.array([1, np.nan, 1, 1])
    found = group_min_significance(
        counts, np.sqrt(counts), background, np.sqrt(background), 1.0, 3, tail="drop"
    )
    assert ranges(found) == [(0, 1)]
    base = single_channels(4, np.isfinite(background))
    found = group_min_significance(
        counts, np.sqrt(counts), background, np.sqrt(background), 1.0, 3, base=base
    )
    assert ranges(found) == [(0, 1), (2, 3), (3, 4)]
