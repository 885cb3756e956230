import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.linalg import pinv

from lake.csc.features import CLASSES, UNLABELLED, Normalisation, feature_matrix, label_codes
from lake.csc.softmin import MIN_MEMBERS, class_statistics, softmin


def labelled(counts: dict[int, int], features: int = 3, seed: int = 0):
    random = np.random.default_rng(seed)
    label = np.repeat(list(counts), list(counts.values()))
    x = random.normal(size=(len(label), features)) + label[:, None]
    return x, np.zeros(len(label), dtype=int), label


def test_against_the_formula_row_by_row():
    x, cluster, label = labelled({0: 30, 3: 12, 7: 11, 9: 40})
    got = softmin(x, cluster, class_statistics(x, cluster, label, 1))
    for row, point in zip(got, x, strict=True):
        weight = np.zeros(len(CLASSES))
        for c in (0, 3, 9):  # 7 has one member too few
            members = x[label == c]
            off = point - members.mean(axis=0)
            weight[c] = np.exp(-off @ pinv(np.cov(members.T)) @ off)
        np.testing.assert_allclose(row, weight / weight.sum(), rtol=1e-9, atol=1e-300)


def test_far_points_have_probabilities_where_the_exponential_underflows():
    x, cluster, label = labelled({0: 30, 1: 30})
    p = softmin(np.full((1, 3), -1e4), cluster[:1], class_statistics(x, cluster, label, 1))
    assert p.sum() == pytest.approx(1)
    assert not np.isnan(p).any()


def test_a_cluster_without_a_large_class_gives_nan():
    x, cluster, label = labelled({0: MIN_MEMBERS - 1, 1: 30})
    cluster[label == 0] = 1
    p = softmin(x, cluster, class_statistics(x, cluster, label, 3))
    assert np.isnan(p[label == 0]).all()
    np.testing.assert_array_equal(p[label == 1][:, 1], 1)


def test_missing_features_give_nan():
    x, cluster, label = labelled({0: 30, 1: 30})
    statistics = class_statistics(x, cluster, label, 1)
    x[4, 2] = np.nan
    p = softmin(x, cluster, statistics)
    assert np.isnan(p[4]).all()
    assert not np.isnan(np.delete(p, 4, axis=0)).any()


@pytest.mark.parametrize("spoil", ["twelve members", "constant feature", "copied feature"])
def test_singular_covariances(spoil):
    rows = 12 if spoil == "twelve members" else 40
    x, cluster, label = labelled({0: rows, 1: rows}, features=12)
    if spoil == "constant feature":
        x[:, 5] = 2.0
    if spoil == "copied feature":
        x[:, 5] = x[:, 6]
    p = softmin(x, cluster, class_statistics(x, cluster, label, 1))
    np.testing.assert_allclose(p.sum(axis=1), 1)


def test_order_and_batches_do_not_matter():
    x, cluster, label = labelled({0: 30, 1: 30})
    statistics = class_statistics(x, cluster, label, 1)
    many = np.tile(x, (300, 1))
    whole = softmin(many, np.zeros(len(many), dtype=int), statistics)
    order = np.random.default_rng(2).permutation(len(many))
    np.testing.assert_allclose(
        softmin(many[order], np.zeros(len(many), dtype=int), statistics), whole[order], atol=1e-12
    )
    np.testing.assert_allclose(softmin(many[-1:], cluster[:1], statistics), whole[-1:], atol=1e-12)


@pytest.mark.real
def test_parity_with_the_published_code(real_data):
    given = pq.read_table(real_data / "csc" / "method_check_input.parquet")
    expected = pq.read_table(real_data / "csc" / "method_check_expected_detections.parquet")
    raw = feature_matrix(given)
    x, _ = Normalisation.fit(raw).transform(raw)
    cluster = given.column("cluster").to_numpy()
    label = label_codes(given.column("main_type"))
    statistics = class_statistics(x, cluster, label, 6)
    rows = np.flatnonzero(label == UNLABELLED)
    p = softmin(x[rows], cluster[rows], statistics)
    names, obsids = given.column("name").to_pylist(), given.column("obsid").to_pylist()
    order = sorted(range(len(rows)), key=lambda i: (names[rows[i]], obsids[rows[i]]))
    assert [names[rows[i]] for i in order] == expected.column("name").to_pylist()
    assert [obsids[rows[i]] for i in order] == expected.column("obsid").to_pylist()
    theirs = np.column_stack([expected.column(name).to_numpy() for name in CLASSES])
    np.testing.assert_allclose(p[order], theirs, rtol=0, atol=1e-9)
    classes = [CLASSES[c] for c in p[order].argmax(axis=1)]
    assert classes == expected.column("assigned_type").to_pylist()
