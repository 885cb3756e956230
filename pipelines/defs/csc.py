"""Chandra Source Catalog: from detections and labels to master classes."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import polars as pl
import pyarrow as pa

import lake
from lake import contracts
from lake.csc import features
from pipelines import metadata
from pipelines.assets import Check, Computed, derived, ingested, no_rows, of_release, viewed

_FEATURES = "SELECT * FROM csc.labelled_features WHERE release = ? ORDER BY name, obsid, file_row"
_COMPONENTS = 6
_MOST_COMPONENTS = 8
_SEED = 42
_SHOWN = (
    "log_loss", "brier", "expected_calibration_error", "accuracy", "balanced_accuracy",
)  # fmt: skip
_P = " + ".join(features.PROBABILITIES)
_OUTSIDE = " OR ".join(f"{p} NOT BETWEEN 0 AND 1" for p in features.PROBABILITIES)

RANGES = Check(
    "ranges",
    "csc.detections",
    "positions lie on the sphere, hardness ratios in -1..1, probabilities in 0..1",
    "SELECT name, obsid, ra, dec, hard_hm, hard_hs, hard_ms, var_prob_b, var_prob_h, var_prob_s"
    " FROM csc.detections WHERE release = ? AND (ra NOT BETWEEN 0 AND 360"
    " OR dec NOT BETWEEN -90 AND 90 OR abs(hard_hm) > 1 OR abs(hard_hs) > 1 OR abs(hard_ms) > 1"
    " OR var_prob_b NOT BETWEEN 0 AND 1 OR var_prob_h NOT BETWEEN 0 AND 1"
    " OR var_prob_s NOT BETWEEN 0 AND 1)",
)
SUM_TO_ONE = Check(
    "sum_to_one",
    "csc.class_probabilities",
    "the ten probabilities lie in 0..1 and add up to 1 within 1e-9, or are all null",
    f"SELECT name, obsid, method, {_P} AS total FROM csc.class_probabilities"
    f" WHERE release = ? AND (abs({_P} - 1) > 1e-9 OR {_OUTSIDE}"
    f" OR ({_P} IS NULL) <> (detection_class IS NULL))",
)
REASONS = Check(
    "reasons",
    "csc.class_probabilities",
    "a row without probabilities says why",
    "SELECT name, obsid, method FROM csc.class_probabilities"
    " WHERE release = ? AND detection_class IS NULL AND reason IS NULL",
)
BOUNDS = Check(
    "bounds",
    "csc.validation",
    "figures of merit lie where they can: shares in 0..1, Brier scores in 0..2, losses above 0",
    "SELECT method, level, metric, class, value FROM csc.validation WHERE release = ? AND ("
    "(metric IN ('accuracy', 'balanced_accuracy', 'recall', 'precision',"
    " 'expected_calibration_error') AND value NOT BETWEEN 0 AND 1)"
    " OR (metric = 'brier' AND value NOT BETWEEN 0 AND 2) OR value < 0 OR isnan(value))",
)
CALIBRATION = Check(
    "calibration",
    "csc.validation",
    "the posterior's expected calibration error is below 0.2",
    "SELECT metric, value, n FROM csc.validation WHERE release = ? AND method = 'posterior'"
    " AND level = 'overall' AND metric = 'expected_calibration_error' AND value > 0.2",
    warns=True,
)
PARTITION = Check(
    "partition",
    "csc.master_class",
    "every source is in exactly one of uniquely_classified and ambiguous_classification",
    "SELECT m.name, m.method, count(o.name) AS times FROM csc.master_class AS m LEFT JOIN ("
    "SELECT release, name, method FROM csc.uniquely_classified UNION ALL"
    " SELECT release, name, method FROM csc.ambiguous_classification) AS o"
    " ON o.release = m.release AND o.name = m.name AND o.method = m.method"
    " WHERE m.release = ? GROUP BY ALL HAVING count(o.name) <> 1",
)

ingest = ingested("csc", checks=[RANGES])


@derived(
    tables=["csc.mixture_models", "csc.clusters"],
    reads=["csc.labelled_features"],
    version="1",
)
def mixture(context: dg.AssetExecutionContext, home: lake.Home, release: str) -> Computed:
    """Train the classifier of the release: 6 full Gaussian components, seed 42, and the classes.

    The whole model is written to models/csc under its content's digest. A release with fewer
    complete detections than the method needs gets no model, and says so in its log.
    """
    from lake.csc import classify, registry

    table = home.store.arrow(_FEATURES, [release])
    trained = _train(context, table)
    if trained is None:
        return Computed({name: no_rows(name) for name in ("csc.mixture_models", "csc.clusters")})
    path = registry.save(trained, home.models)
    clusters = classify.responsibilities(trained, table)
    clusters = clusters.drop_columns(["file_row"]).append_column(
        contracts.table("csc.clusters").schema().field("model_id"),
        pa.repeat(trained.model_id, clusters.num_rows),
    )
    sizes = pl.DataFrame(clusters)["cluster"].value_counts().sort("cluster").drop_nulls().rows()
    return Computed(
        {"csc.mixture_models": registry.as_row(trained, release), "csc.clusters": clusters},
        {
            "csc.mixture_models": {"model": trained.model_id, "bic": trained.mixture.bic},
            "csc.clusters": {"sizes": metadata.bars({f"cluster {k}": n for k, n in sizes})},
        },
        [(path, "model")],
    )


@derived(
    tables=["csc.class_probabilities"],
    reads=["csc.labelled_features", "csc.mixture_models"],
    version="1",
    checks=[SUM_TO_ONE, REASONS],
)
def classification(context: dg.AssetExecutionContext, home: lake.Home, release: str) -> Computed:
    """Classify every detection that has no label, or an ambiguous one, by both methods."""
    from lake.csc import classify, registry

    name = "csc.class_probabilities"
    found = home.sql("SELECT model_id FROM csc.mixture_models WHERE release = ?", [release])
    row = found.fetchone()
    if row is None:
        context.log.warning("no model, so nothing is classified")
        return Computed({name: no_rows(name)})
    trained = registry.load(home.models, row[0])
    table = home.store.arrow(_FEATURES, [release])
    parts = [classify.classify(trained, table, method) for method in ("softmin", "posterior")]
    classified = pa.concat_tables(parts).drop_columns(["file_row"])
    counts = pl.DataFrame(classified).filter(pl.col("method") == "softmin")["detection_class"]
    found_classes = dict(counts.drop_nulls().value_counts().rows())
    shown = {c: found_classes.get(c, 0) for c in features.CLASSES}
    return Computed({name: classified}, {name: {"softmin classes": metadata.bars(shown)}})


@derived(tables=["csc.model_selection"], reads=["csc.features"], version="1")
def model_selection(context: dg.AssetExecutionContext, home: lake.Home, release: str) -> Computed:
    """BIC and silhouette of mixtures with 2 to 8 components."""
    from lake.csc import mixture

    name = "csc.model_selection"
    table = home.store.arrow(_FEATURES.replace("labelled_features", "features"), [release])
    raw = features.feature_matrix(table)
    try:
        normalised, _ = features.Normalisation.fit(raw).transform(raw)
        tried = mixture.select_components(normalised, range(2, _MOST_COMPONENTS + 1), _SEED)
    except lake.LacusError as error:
        context.log.warning("no model selection: %s", error)
        return Computed({name: no_rows(name)})
    rows = tried.select(["k", "bic", "silhouette", "log_likelihood", "converged"])
    shown = metadata.table(rows.column_names[:3], zip(*rows.to_pydict().values(), strict=False))
    return Computed({name: of_release(rows, release)}, {name: {"selection": shown}})


@derived(
    tables=["csc.validation"],
    reads=["csc.labelled_features"],
    version="1",
    checks=[BOUNDS, CALIBRATION],
)
def validation(context: dg.AssetExecutionContext, home: lake.Home, release: str) -> Computed:
    """Score both methods by cross-validation in five folds, grouped by source."""
    from lake.csc import figures, validate

    name = "csc.validation"
    table = home.store.arrow(_FEATURES, [release])
    try:
        scored = validate.cross_validate(table, folds=5, seed=_SEED).tidy
    except lake.LacusError as error:
        context.log.warning("not validated: %s", error)
        return Computed({name: no_rows(name)})
    path = figures.save(
        figures.confusion(scored), home.products / "csc" / release / "confusion.svg"
    )
    overall = pl.DataFrame(scored).filter(
        (pl.col("level") == "overall") & pl.col("metric").is_in(list(_SHOWN))
    )
    shown = overall.pivot(on="method", index="metric", values="value")
    return Computed(
        {name: of_release(scored, release)},
        {
            name: {
                "scores": metadata.table(shown.columns, shown.rows()),
                "confusion (posterior, true class by row)": _confusion(scored),
                "confusion, all classes": dg.MetadataValue.path(path),
            }
        },
        [(path, "figure")],
    )


def _confusion(scored: pa.Table) -> dg.MarkdownMetadataValue:
    """Shade of each aggregated class taken for each other."""
    groups = list(dict.fromkeys(features.AGGREGATE.values()))
    counts = pl.DataFrame(scored).filter(metric="confusion", level="aggregate", method="posterior")
    shares = {(t, p): v / n if n else 0.0 for t, p, v, n in counts.select(
        "class", "predicted_class", "value", "n").iter_rows()}  # fmt: skip
    return metadata.heat([[shares.get((t, p), 0.0) for p in groups] for t in groups], groups)


def _class_balance(home: lake.Home, release: str) -> Mapping[str, Any]:
    rows = home.sql(
        "SELECT class, soft_sources FROM csc.class_summary"
        " WHERE release = ? AND method = 'softmin'",
        [release],
    ).fetchall()
    counts = dict(rows)
    return {"sources by class": metadata.bars({c: counts.get(c, 0) for c in features.CLASSES})}


views = viewed(
    "csc",
    checks=[PARTITION],
    show={"csc.class_summary": _class_balance},
)


def _train(context: dg.AssetExecutionContext, table: pa.Table) -> Any:
    from lake.csc import model

    try:
        return model.train(table, components=_COMPONENTS, seed=_SEED)
    except lake.LacusError as error:
        context.log.warning("no model: %s", error)
        return None
