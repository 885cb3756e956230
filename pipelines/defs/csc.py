"""Chandra Source Catalog: from detections and labels to master classes."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import polars as pl
import pyarrow as pa

import lake
from lake import contracts
from lake.csc import features
from lake.store import Part
from pipelines import metadata
from pipelines.assets import (
    Computed,
    asked,
    derived,
    ingested,
    no_rows,
    of_release,
    viewed,
)
from pipelines.checks import Check

_COMPONENTS = 6
_MOST_COMPONENTS = 8
_SEED = 42
_TRAINING, _CLASSIFYING = "2", "3"
_SELECTING = _VALIDATING = "1"
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


def _stands(home: lake.Home, release: str) -> str | None:
    from lake.csc import standing

    model = standing.row(home.store, release)
    return standing.tell(model) if model else None


@derived(
    tables=["csc.mixture_models"],
    reads=["csc.labelled_features"],
    version=_TRAINING,
    stands=_stands,
)
def mixture(context: dg.AssetExecutionContext, home: lake.Home, release: str) -> Computed:
    """Train the classifier of the release: 6 full Gaussian components, seed 42, and the classes.

    The whole model is written to models/csc under its content's digest. A release with fewer
    complete detections than the method needs gets no model, and says so in its log.

    A model that was trained stands while little has changed since: at most 5 % of the detections,
    and of those with a label (`lake.csc.standing`). What changed is then classified by it, and
    model selection and validation, which tell of a training, stay. A release without a model takes
    that of another release from which it differs by no more. A larger change, or
    `lacus run csc.mixture_models`, trains anew.
    """
    from lake.csc import model, registry, standing

    name, at = "csc.mixture_models", home.store.snapshot()
    row = None if asked(context, [name]) else _standing(context, home, release, at)
    if row is None:
        try:
            table = standing.detections(home.store, release, at)
            trained = model.train(table, components=_COMPONENTS, seed=_SEED)
        except lake.LacusError as error:
            context.log.warning("no model: %s", error)
            return Computed({name: no_rows(name)})
        registry.save(trained, home.models)
        row = registry.as_row(trained, release, at)
    model_id = row["model_id"][0].as_py()
    shown = {"model": model_id, "bic": row["bic"][0].as_py()}
    for column in ("detections", "changed_detections", "changed_labelled"):
        shown[column.replace("_", " ")] = row[column][0].as_py()
    shown["standing"] = standing.tell(row.to_pylist()[0])
    return Computed(
        {name: row},
        {name: shown},
        [(registry.model_path(home.models, model_id), "model")],
        content={name: model_id},
        read_snapshot=at,
    )


def _standing(
    context: dg.AssetExecutionContext, home: lake.Home, release: str, at: int
) -> pa.Table | None:
    """Row of the model that stands for a release; None if one is to be trained. The log says it."""
    from lake.csc import standing

    model = standing.kept(home, release, _TRAINING, at)
    model = model or standing.adopted(home, release, _TRAINING, at)
    if model is None:
        return None
    if (share := standing.drift(model)) > standing.TOLERANCE:
        text = "trained anew: of what the model of %s was trained on, %.2g %% have changed"
        context.log.info(text, model["trained_at"], 100 * share)
        return None
    context.log.info("%s", standing.tell(model) or "the model stands: nothing of it has changed")
    return contracts.table("csc.mixture_models").arrow([model])


def _name_unknown_types(context: dg.AssetExecutionContext, home: lake.Home, release: str) -> None:
    """Warn of labels that are no types of SIMBAD: their detections silently get no class."""
    from lake.csc.object_types import is_known

    counts = home.sql(
        "SELECT main_type, count(*) FROM csc.labelled_features WHERE release = ?"
        " GROUP BY main_type ORDER BY count(*) DESC, main_type", [release],
    ).fetchall()  # fmt: skip
    unknown = [(name, n) for name, n in counts if not is_known(name)]
    if unknown:
        named = ", ".join(f"{name!r} ({n:,})" for name, n in unknown[:5])
        context.log.warning(
            "%s detections have labels that are no types of SIMBAD, are not trained on and get no"
            " class: %s%s", f"{sum(n for _, n in unknown):,}", named,
            f" and {len(unknown) - 5} more" if len(unknown) > 5 else "",
        )  # fmt: skip


@derived(
    tables=["csc.clusters", "csc.class_probabilities"],
    reads=["csc.labelled_features", "csc.mixture_models"],
    version=_CLASSIFYING,
    checks=[SUM_TO_ONE, REASONS],
)
def classification(context: dg.AssetExecutionContext, home: lake.Home, release: str) -> Computed:
    """Give every detection its cluster, and every unlabelled one its class by both methods.

    Unlabelled is also what has an ambiguous label. Where the model is the one by which the
    release was classified last, only the sources are classified of which a detection or a label
    has changed since; the rows of all others stay as they are.
    """
    from lake.csc import changes, classify, registry, standing

    clusters, classes = names = ("csc.clusters", "csc.class_probabilities")
    at, model = home.store.snapshot(), standing.row(home.store, release)
    if model is None:
        context.log.warning("no model, so nothing is classified")
        return Computed({name: no_rows(name) for name in names})
    trained = registry.load(home.models, model["model_id"])
    if trained.posterior is None:
        context.log.warning(
            "no class is given: %s; `lacus add csc %s labels FILE` or `lacus fetch simbad"
            " --release %s` brings some", classify.NO_LABELS, release, release,
        )  # fmt: skip
    _name_unknown_types(context, home, release)
    made = home.store.made(release).get(classes)
    last = home.sql("SELECT model_id FROM csc.clusters WHERE release = ? LIMIT 1", [release])
    found = part = None
    if made and made.code_version == _CLASSIFYING and last.fetchone() == (trained.model_id,):
        found = changes.changes(home.store, release, made.read_snapshot, at)
    if made and found:
        table, part = found.rows, Part(found.names, made.snapshot)
        context.log.info("%s sources changed, and are classified", found.names.num_rows)
    else:
        table = standing.detections(home.store, release, at)
    clustered = classify.responsibilities(trained, table).drop_columns(["file_row"])
    clustered = clustered.append_column(
        contracts.table(clusters).schema().field("model_id"),
        pa.repeat(trained.model_id, clustered.num_rows),
    )
    parts = [classify.classify(trained, table, method) for method in ("softmin", "posterior")]
    classified = pa.concat_tables(parts).drop_columns(["file_row"])
    sizes = pl.DataFrame(clustered)["cluster"].value_counts().sort("cluster").drop_nulls().rows()
    counts = pl.DataFrame(classified).filter(pl.col("method") == "softmin")["detection_class"]
    by_class = dict(counts.drop_nulls().value_counts().rows())
    return Computed(
        {clusters: clustered, classes: classified},
        {
            clusters: {
                "classified now": clustered.num_rows,
                "sizes": metadata.bars({f"cluster {k}": n for k, n in sizes}),
            },
            classes: {
                "softmin classes": metadata.bars({c: by_class.get(c, 0) for c in features.CLASSES})
            },
        },
        read_snapshot=at,
        part=part,
    )


@derived(
    tables=["csc.model_selection"],
    reads=["csc.mixture_models"],
    version=_SELECTING,
)
def model_selection(context: dg.AssetExecutionContext, home: lake.Home, release: str) -> Computed:
    """BIC and silhouette of mixtures with 2 to 8 components, on what the model was trained on.

    Labels play no part in it: a model that was trained anew for these alone leaves it as it is.
    """
    from lake.csc import changes, mixture, standing

    name, model = "csc.model_selection", standing.row(home.store, release)
    if model is None:
        context.log.warning("no model, so there is nothing to tell of its training")
        return Computed({name: no_rows(name)})
    if (told := standing.told(home, model, name, _SELECTING)) is not None:
        return Computed({name: told})
    table, at = standing.training_set(home, model)
    made = home.store.made(release).get(name)
    if made and made.code_version == _SELECTING:
        found = changes.changes(home.store, release, made.read_snapshot, at)
        if found and not found.moved:
            nothing = Part(no_rows(name), made.snapshot)
            return Computed({}, read_snapshot=at, part=nothing)
    raw = features.feature_matrix(table)
    try:
        normalised, _ = features.Normalisation.fit(raw).transform(raw)
        tried = mixture.select_components(normalised, range(2, _MOST_COMPONENTS + 1), _SEED)
    except lake.LacusError as error:
        context.log.warning("no model selection: %s", error)
        return Computed({name: no_rows(name)})
    rows = tried.select(["k", "bic", "silhouette", "log_likelihood", "converged"])
    shown = metadata.table(rows.column_names[:3], zip(*rows.to_pydict().values(), strict=False))
    return Computed(
        {name: of_release(rows, release)}, {name: {"selection": shown}}, read_snapshot=at
    )


@derived(
    tables=["csc.validation"],
    reads=["csc.mixture_models"],
    version=_VALIDATING,
    checks=[BOUNDS, CALIBRATION],
)
def validation(context: dg.AssetExecutionContext, home: lake.Home, release: str) -> Computed:
    """Score both methods by cross-validation in five folds, grouped by source.

    The folds are of the detections that the release's model was trained on.
    """
    from lake.csc import standing, validate
    from lake.csc.figures import confusion
    from lake.figures import save

    name, model = "csc.validation", standing.row(home.store, release)
    if model is None:
        context.log.warning("no model, so there is nothing to tell of its training")
        return Computed({name: no_rows(name)})
    if (told := standing.told(home, model, name, _VALIDATING)) is not None:
        return Computed({name: told})
    table, _ = standing.training_set(home, model)
    try:
        scored = validate.cross_validate(table, folds=5, seed=_SEED).tidy
    except lake.LacusError as error:
        context.log.warning("not validated: %s", error)
        return Computed({name: no_rows(name)})
    path = save(confusion(scored), home.products / "csc" / release / "confusion.svg")
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
