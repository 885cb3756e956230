"""SDSS spectra: what a network learns from labels, and what it says of every spectrum."""

import importlib.util
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

import lake
from lake import contracts
from pipelines import metadata, progress
from pipelines.assets import Computed, derived, no_rows
from pipelines.checks import Check
from pipelines.defs.sdss import PREPROCESSED, RAW, RECIPE, preprocessed

_SEED = 42
_CONFIGURATION = "default"
#: Labelled spectra that an ablation study trains on, at most: it trains many networks.
_STUDIED = 2000
_HAS_TENSORFLOW = importlib.util.find_spec("tensorflow") is not None
#: Versions of what needs TensorFlow, which is made anew once it is there.
_NETWORKS = "3" if _HAS_TENSORFLOW else "0"
_ABLATION = "2" if _HAS_TENSORFLOW else "0"

NO_LEAKAGE = Check(
    "no_leakage",
    "sdss.splits",
    "no plate is on two sides of the split",
    "SELECT leakage_group, count(DISTINCT split) AS sides FROM sdss.splits WHERE release = ?"
    " GROUP BY leakage_group HAVING count(DISTINCT split) > 1",
)
SUM_TO_ONE = Check(
    "sum_to_one",
    "sdss.cnn_predictions",
    "probabilities lie in 0..1 and add up to 1 within 1e-6",
    "SELECT spec_id, model_id, list_sum(probabilities) AS total FROM sdss.cnn_predictions"
    " WHERE release = ? AND (abs(list_sum(probabilities) - 1) > 1e-6"
    " OR list_min(probabilities) < 0 OR list_max(probabilities) > 1)",
)
CALIBRATION = Check(
    "calibration",
    "sdss.cnn_evaluation",
    "the expected calibration error is below 0.1 at every level of noise",
    "SELECT model_id, snr_level, n, expected_calibration_error FROM sdss.cnn_evaluation"
    " WHERE release = ? AND n >= 100 AND expected_calibration_error > 0.1",
    warns=True,
)


@derived(
    tables=["sdss.splits"],
    reads=["sdss.spectra_labels", "sdss.spectra_metadata", "sdss.preprocessed_spectra"],
    version="1",
    checks=[NO_LEAKAGE],
)
def splits(context: dg.AssetExecutionContext, home: lake.Home, release: str) -> Computed:
    """Deal labelled spectra out to train, validation and test, plate by plate."""
    from lake.sdss import learning

    labelled = home.store.arrow(
        "SELECT m.release, m.spec_id, l.class_mk, m.plate, m.obj_id, m.sn_median,"
        " m.wavelength_min_A, m.wavelength_max_A, m.data_release, m.file_sha256"
        " FROM sdss.spectra_metadata AS m JOIN sdss.spectra_labels AS l"
        " ON l.release = m.release AND l.spec_id = m.spec_id"
        " SEMI JOIN sdss.preprocessed_spectra AS p"
        " ON p.release = m.release AND p.spec_id = m.spec_id"
        " WHERE m.release = ? AND l.class_mk IS NOT NULL ORDER BY m.spec_id",
        [release],
    )
    name = "sdss.splits"
    if not labelled.num_rows:
        context.log.warning("no spectrum has a label, so nothing can be learnt")
        return Computed({name: no_rows(name)})
    return Computed({name: learning.split_table(labelled, _SEED)})


@derived(
    tables=["sdss.cnn_models", "sdss.cnn_evaluation"],
    reads=["sdss.spectra", "sdss.spectra_metadata", "sdss.preprocessed_spectra", "sdss.splits"],
    version=_NETWORKS,
    checks=[CALIBRATION],
)
def training(context: dg.AssetExecutionContext, home: lake.Home, release: str) -> Computed:
    """Train the network, calibrate it on the validation side and score it on the test side.

    A training that was interrupted goes on from its last epoch. Without labels or without
    TensorFlow (the extra `cnn`) there is no model, and the log says so.
    """
    from lake.sdss import learning, registry
    from lake.sdss.configuration import CONFIGURATIONS
    from lake.sdss.splits import cautions

    names = ("sdss.cnn_models", "sdss.cnn_evaluation")
    examples = _examples(home, release)
    stored = home.store.fingerprints(release)
    try:
        trained = learning.train(
            examples,
            CONFIGURATIONS[_CONFIGURATION],
            recipe=RECIPE,
            checkpoint=home.models / "sdss" / "checkpoints" / release,
            fingerprint=stored.get("sdss.splits", ""),
            progress=_epochs(f"sdss {release}: training, epoch"),
        )
    except lake.LacusError as error:
        context.log.warning("no model: %s", error)
        return Computed({name: no_rows(name) for name in names})
    accuracy = trained.configuration.accepted_accuracy
    unknown = cautions(examples.split, examples.classes, accuracy)
    for sentence in unknown:
        context.log.warning("%s", sentence)
    directory = home.models / "sdss"
    model_id = trained.save(directory)
    path = registry.network_path(directory, model_id)
    scores = learning.evaluation(trained, _tests(home, release, RECIPE))
    row = learning.model_row(
        release, model_id, _CONFIGURATION, trained, examples, scores[0], home.store.snapshot(),
        path.relative_to(home.root).as_posix(),
    )  # fmt: skip
    rows = [{"release": release, "model_id": model_id, **score} for score in scores]
    for entry in rows:
        del entry["macro_f1"]
    header = ["snr_level", "n", "accuracy", "letter_accuracy", "expected_calibration_error"]
    shown = metadata.table(header, [[score[key] for key in header] for score in scores])
    return Computed(
        {
            "sdss.cnn_models": row,
            "sdss.cnn_evaluation": contracts.table("sdss.cnn_evaluation").arrow(rows),
        },
        {
            "sdss.cnn_models": {
                "model": model_id,
                "epochs": len(trained.history),
                "what it cannot know": "; ".join(unknown) or "nothing",
            },
            "sdss.cnn_evaluation": {"scores on the test side": shown},
        },
        [(path, "model")],
    )


@derived(
    tables=["sdss.cnn_predictions"],
    reads=["sdss.preprocessed_spectra", "sdss.cnn_models"],
    across=["sdss.cnn_models"],
    version=_NETWORKS,
    checks=[SUM_TO_ONE],
)
def classification(context: dg.AssetExecutionContext, home: lake.Home, release: str) -> Computed:
    """Classify every spectrum with the release's model, and with those of the other releases.

    What another release's model says shows how far its training carries (`sdss.release_shift`).
    """
    models = home.sql(
        "SELECT model_id, release FROM sdss.cnn_models WHERE recipe = ? ORDER BY release <> ?,"
        " release",
        [RECIPE, release],
    ).fetchall()
    if not models:
        context.log.warning("no model, so nothing is classified")
    counts: dict[str, int] = {}
    shown: dict[str, Mapping[str, Any]] = {"sdss.cnn_predictions": {}}

    def parts() -> Iterator[tuple[str, pa.Table]]:
        from lake.sdss import learning

        for model_id, model_release in models:
            trained = learning.load(home.models / "sdss", model_id)
            spectra = preprocessed(home, release)
            for rows in learning.predict(trained, spectra, model_id, model_release):
                if model_release == release:
                    for found in rows["predicted_class"].value_counts().to_pylist():
                        counts[found["values"]] = counts.get(found["values"], 0) + found["counts"]
                yield "sdss.cnn_predictions", rows
        shown["sdss.cnn_predictions"] = {"classes": metadata.bars(dict(sorted(counts.items())))}

    return Computed(parts() if models else (), shown)


@derived(
    tables=["sdss.ablation_studies"],
    reads=["sdss.spectra", "sdss.spectra_metadata", "sdss.preprocessed_spectra", "sdss.splits"],
    version=_ABLATION,
    on_request=True,
)
def ablation(context: dg.AssetExecutionContext, home: lake.Home, release: str) -> Computed:
    """Train the network without each of its parts, on each recipe: what every part is worth.

    Nine networks are trained, on at most 2,000 spectra: `lacus run sdss.ablation_studies`.
    """
    from lake.sdss import learning
    from lake.sdss.configuration import CONFIGURATIONS

    name = "sdss.ablation_studies"
    rows: list[dict[str, Any]] = []
    spectra: dict[str, tuple[learning.Examples, Mapping[str, learning.Examples]]] = {}
    for study, variant, recipe, configuration in learning.variants(CONFIGURATIONS["small"]):
        if recipe not in spectra:
            spectra[recipe] = (
                _examples(home, release, recipe, _STUDIED), _tests(home, release, recipe)
            )  # fmt: skip
        examples, tests = spectra[recipe]
        try:
            trained = learning.train(
                examples,
                configuration,
                recipe=recipe,
                progress=_epochs(f"sdss {release}: {study} {variant}, epoch"),
            )
        except lake.LacusError as error:
            context.log.warning("no ablation study: %s", error)
            return Computed({name: no_rows(name)})
        rows += learning.ablation_rows(release, study, variant, trained, tests)
        if configuration.network == "seed":
            own = examples.on("train")
            anew = trained.reestimated(own.flux, own.ivar, own.valid)
            rows += learning.ablation_rows(release, study, f"{variant}, re-estimated", anew, tests)
    return Computed({name: contracts.table(name).arrow(rows)})


def _examples(home: lake.Home, release: str, recipe: str = RECIPE, most: int | None = None) -> Any:
    """Labelled spectra of a release under a recipe; those not in the lake are preprocessed."""
    from lake.sdss.learning import Examples

    chosen = "SELECT * FROM sdss.splits WHERE release = ?" + (
        f" ORDER BY hash(spec_id) LIMIT {most}" if most else ""
    )
    if recipe == RECIPE:
        return Examples.of(
            home.store.arrow(
                f"SELECT p.flux, p.ivar, p.valid, c.class_mk, c.split FROM ({PREPROCESSED}) AS p"
                f" JOIN ({chosen}) AS c ON c.spec_id = p.spec_id ORDER BY p.spec_id",
                [release, release],
            )
        )
    return _preprocessed(_labelled(home, release, chosen), recipe)


def _tests(home: lake.Home, release: str, recipe: str) -> Mapping[str, Any]:
    """Spectra of the test side (of all sides, if it is empty) at each level of noise."""
    from lake.sdss import learning

    chosen = (
        "SELECT * FROM sdss.splits WHERE release = ? QUALIFY split = 'test'"
        " OR count(*) FILTER (split = 'test') OVER () = 0"
        f" ORDER BY hash(spec_id) LIMIT {_STUDIED}"
    )
    raw = _labelled(home, release, chosen)
    return {
        name: _preprocessed(raw if snr is None else learning.with_noise(raw, snr, _SEED), recipe)
        for name, snr in learning.LEVELS.items()
    }


def _labelled(home: lake.Home, release: str, chosen: str) -> pa.Table:
    """Spectra as read, with the class that is learnt and the side of the split."""
    return home.store.arrow(
        f"SELECT r.*, c.class_mk, c.split FROM ({RAW}) AS r JOIN ({chosen}) AS c"
        " ON c.spec_id = r.spec_id ORDER BY r.spec_id",
        [release, release],
    )


def _preprocessed(raw: pa.Table, recipe: str) -> Any:
    """Labelled spectra after a recipe."""
    from lake.commit import now
    from lake.sdss.learning import Examples
    from lake.sdss.preprocess import RECIPES, preprocess_table

    made, _ = preprocess_table(raw, raw, RECIPES[recipe], now())
    there = pc.index_in(made["spec_id"], raw["spec_id"].combine_chunks())
    for column in ("class_mk", "split"):
        made = made.append_column(column, raw[column].take(there))
    return Examples.of(made)


def _epochs(what: str) -> Any:
    """Progress of a training."""
    return lambda epoch, total, *_: progress.report(what, epoch, total)
