import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from lake.csc.classify import NO_LABELS, classify, responsibilities
from lake.csc.features import AMBIGUOUS, CLASSES, FEATURES, PROBABILITIES
from lake.csc.model import train
from lake.csc.outcome import NO_FEATURES
from lake.errors import LacusError, UsageError

METHODS = ("softmin", "posterior")
KINDS = ("QSO", "HMXB")


@pytest.fixture(scope="module")
def model(detections):
    return train(detections, components=3)


def with_values(table: pa.Table, **columns: list) -> pa.Table:
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    return table


def unlabelled(table: pa.Table) -> pa.Table:
    return table.drop_columns(["main_type"])


def probabilities(table: pa.Table) -> np.ndarray:
    return np.column_stack(
        [pc.fill_null(table.column(name), np.nan).to_numpy() for name in PROBABILITIES]
    )


@pytest.mark.parametrize("method", METHODS)
def test_outcome_columns_agree_with_each_other(model, detections, method):
    out = classify(model, detections, method)
    assert out.column_names == [
        "name",
        "obsid",
        "method",
        "cluster",
        *PROBABILITIES,
        "detection_class",
        "runner_up",
        "margin",
        "novelty_p_value",
        "abstained",
        "reason",
        "model_id",
    ]
    p = probabilities(out)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    ranked = np.sort(p, axis=1)
    np.testing.assert_allclose(out.column("margin").to_numpy(), ranked[:, -1] - ranked[:, -2])
    assert out.column("detection_class").to_pylist() == [CLASSES[c] for c in p.argmax(axis=1)]
    assert set(out.column("method").to_pylist()) == {method}
    assert set(out.column("model_id").to_pylist()) == {model.model_id}
    novelty = out.column("novelty_p_value").to_numpy()
    assert ((novelty >= 0) & (novelty <= 1)).all()
    reasons = [reason is not None for reason in out.column("reason").to_pylist()]
    assert out.column("abstained").to_pylist() == reasons
    assert out.schema.field("p_qso").metadata[b"ucd"] == b"stat.probability"


@pytest.mark.parametrize("method", METHODS)
def test_the_kinds_are_recognised(model, detections, method):
    out = classify(model, detections, method)
    kind = detections.filter(pc.is_null(detections.column("main_type"))).column("kind").to_pylist()
    right = np.array(out.column("detection_class").to_pylist()) == np.array(kind)
    assert right.mean() > 0.85


@pytest.mark.parametrize("method", METHODS)
def test_a_row_does_not_depend_on_the_others(model, detections, method):
    table = unlabelled(detections)
    whole = probabilities(classify(model, table, method))
    order = np.random.default_rng(0).permutation(table.num_rows)
    np.testing.assert_allclose(
        probabilities(classify(model, table.take(pa.array(order)), method)),
        whole[order],
        atol=1e-11,
    )
    for row in (0, 17, 899):
        alone = classify(model, table.slice(row, 1), method)
        np.testing.assert_allclose(probabilities(alone)[0], whole[row], atol=1e-11)


def test_batches_join_without_a_seam(model, detections, monkeypatch):
    whole = classify(model, detections, "posterior")
    monkeypatch.setattr("lake.csc.outcome._ROWS", 101)
    split = classify(model, detections, "posterior")
    assert split.column("name").to_pylist() == whole.column("name").to_pylist()
    np.testing.assert_allclose(probabilities(split), probabilities(whole), atol=1e-11)


def test_only_unlabelled_and_ambiguous_rows_are_classified(model, detections):
    types = ["QSO", None, "*", "NaN", "Pulsar", "", "HXB", "X", "Rad"]
    table = with_values(detections.slice(0, 9), main_type=types)
    assert classify(model, table, "softmin").column("obsid").to_pylist() == [1, 2, 3, 5, 7, 8]
    every = with_values(
        detections.slice(0, len(AMBIGUOUS)), main_type=pa.array(sorted(AMBIGUOUS)).to_pylist()
    )
    assert classify(model, every, "softmin").num_rows == len(AMBIGUOUS)
    assert classify(model, unlabelled(table), "softmin").num_rows == 9


def test_missing_features(model, detections):
    table = unlabelled(detections.slice(0, 3))
    kt = table.column("bb_kt").to_pylist()
    gappy = with_values(
        table,
        **{name: [*table.column(name).to_pylist()[:2], None] for name in FEATURES}
        | {"bb_kt": [kt[0], float("nan"), None]},
    )
    published = classify(model, gappy, "softmin").to_pylist()
    assert [row["reason"] for row in published] == [None, "missing: bb_kt", NO_FEATURES]
    assert [row["abstained"] for row in published] == [False, True, True]
    assert [row["p_qso"] is None for row in published] == [False, True, True]
    assert published[1]["cluster"] is not None
    assert published[1]["detection_class"] is published[1]["margin"] is None
    assert published[2]["cluster"] is published[2]["novelty_p_value"] is None
    ours = classify(model, gappy, "posterior").to_pylist()
    assert sum(ours[1][name] for name in PROBABILITIES) == pytest.approx(1)
    assert ours[2]["p_qso"] is None
    assert ours[2]["reason"] == NO_FEATURES


@pytest.mark.parametrize("method", METHODS)
def test_far_points_are_novel_and_never_nan(model, detections, method):
    table = with_values(unlabelled(detections.slice(0, 2)), powlaw_gamma=[1e6, -1e6])
    out = classify(model, table, method)
    np.testing.assert_allclose(probabilities(out).sum(axis=1), 1)
    assert max(out.column("novelty_p_value").to_pylist()) < 1e-6
    if method == "posterior":
        assert out.column("abstained").to_pylist() == [True, True]
        assert "novelty" in out.column("reason")[0].as_py()


def test_close_decisions_abstain_but_name_the_class(model, detections):
    # On the way from one kind to another the decision must turn somewhere.
    a, b = (
        unlabelled(detections).filter(pc.equal(detections.column("kind"), k)) for k in KINDS[:2]
    )
    step = np.linspace(0, 1, 200)
    between = pa.table(
        {n: (1 - step) * a.column(n)[0].as_py() + step * b.column(n)[0].as_py() for n in FEATURES}
    )
    out = classify(model, between, "posterior").to_pylist()
    close = [row for row in out if row["margin"] < 0.1]
    assert close
    assert all(row["abstained"] and "margin" in row["reason"] for row in close)
    assert all(row["detection_class"] and row["runner_up"] for row in close)


@pytest.mark.parametrize("method", METHODS)
def test_no_labels_at_all(detections, method):
    blind = train(unlabelled(detections), components=3)
    out = classify(blind, unlabelled(detections), method)
    assert set(out.column("reason").to_pylist()) == {NO_LABELS}
    assert out.column("detection_class").null_count == out.num_rows == 900
    assert out.column("cluster").null_count == 0


def test_a_cluster_without_a_large_class_says_so(detections):
    few = [t if i < 20 else None for i, t in enumerate(detections.column("kind").to_pylist())]
    sparse = train(with_values(detections, main_type=few), components=3)
    out = classify(sparse, unlabelled(detections), "softmin").to_pylist()
    empty = [row for row in out if row["detection_class"] is None]
    assert empty
    assert all(
        row["reason"] == f"no class has 12 labelled members in cluster {row['cluster']}"
        for row in empty
    )
    assert all(row["p_ttau"] is None and row["abstained"] for row in empty)


def test_one_class_only(detections):
    one = [t if t == "QSO" else None for t in detections.column("kind").to_pylist()]
    model = train(with_values(detections, main_type=one), components=3)
    out = classify(model, unlabelled(detections), "posterior")
    assert set(out.column("detection_class").to_pylist()) == {"QSO"}
    assert out.column("runner_up").null_count == 900
    np.testing.assert_allclose(out.column("margin").to_numpy(), 1)


def test_identification_columns_keep_type_and_metadata(model, detections):
    table = unlabelled(detections.slice(0, 2)).append_column(
        pa.field("region_id", pa.int32(), metadata={"ucd": "meta.id"}),
        pa.array([4, None], pa.int32()),
    )
    out = classify(model, table, "softmin")
    assert out.column_names[:3] == ["name", "obsid", "region_id"]
    assert out.schema.field("region_id") == table.schema.field("region_id")
    assert out.schema.field("region_id").metadata == {b"ucd": b"meta.id"}
    assert "kind" not in out.column_names


@pytest.mark.parametrize("method", METHODS)
def test_empty_tables(model, detections, method):
    out = classify(model, detections.slice(0, 0), method)
    assert out.num_rows == 0
    assert out.schema == classify(model, detections, method).schema
    labelled_only = with_values(detections.slice(0, 3), main_type=["QSO"] * 3)
    assert classify(model, labelled_only, method).num_rows == 0


def test_wrong_use(model, detections):
    with pytest.raises(UsageError, match="'softmax'"):
        classify(model, detections, "softmax")  # type: ignore[arg-type]
    with pytest.raises(LacusError, match="lacks hard_hm"):
        classify(model, detections.drop_columns(["hard_hm"]), "softmin")


def test_responsibilities(model, detections):
    table = with_values(
        detections, **{n: [None, *detections.column(n).to_pylist()[1:]] for n in FEATURES}
    )
    out = responsibilities(model, table)
    shares = ["responsibility_0", "responsibility_1", "responsibility_2"]
    assert out.column_names == ["name", "obsid", "cluster", *shares]
    values = np.column_stack(
        [pc.fill_null(out.column(f"responsibility_{k}"), np.nan).to_numpy() for k in range(3)]
    )
    assert out.num_rows == 900
    assert out.column("cluster")[0].as_py() is None
    assert np.isnan(values[0]).all()
    np.testing.assert_allclose(values[1:].sum(axis=1), 1)
    assert out.column("cluster").to_pylist()[1:] == values[1:].argmax(axis=1).tolist()
