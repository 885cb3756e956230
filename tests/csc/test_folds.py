import numpy as np

from lake.csc.folds import grouped_folds, some_sources


def test_sources_stay_together_and_classes_are_spread():
    random = np.random.default_rng(0)
    source = random.integers(0, 60, 400)
    labels = source % 3
    names = np.array([f"s{i}" for i in source], dtype=object)
    fold = grouped_folds(names, labels, 5, seed=1)
    assert set(fold.tolist()) == set(range(5))
    for name in set(names):
        assert len(set(fold[names == name])) == 1
    for c in range(3):
        sources = [len(set(names[(labels == c) & (fold == f)])) for f in range(5)]
        assert max(sources) - min(sources) <= 1


def test_row_order_does_not_change_the_folds():
    names = np.array([f"s{i // 2}" for i in range(40)], dtype=object)
    labels = np.arange(40) // 2 % 2
    fold = grouped_folds(names, labels, 4, seed=3)
    back = np.arange(40)[::-1]
    np.testing.assert_array_equal(grouped_folds(names[back], labels[back], 4, seed=3), fold[back])
    assert (grouped_folds(names, labels, 4, seed=4) != fold).any()


def test_some_sources_draws_whole_sources_up_to_a_number_of_rows():
    sources = np.array([f"s{i // 3}" for i in range(300)], object)
    drawn = some_sources(sources, 100, seed=1)
    assert 90 <= drawn.sum() <= 100
    assert set(sources[drawn]).isdisjoint(sources[~drawn])
    assert (some_sources(sources, 100, seed=1) == drawn).all()
    assert not (some_sources(sources, 100, seed=2) == drawn).all()
    assert some_sources(sources, 300, seed=1).all()
