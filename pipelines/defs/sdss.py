"""SDSS spectra: from pixels and labels to calibrated classes."""

import importlib.util
import json
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

import lake
from lake import contracts
from pipelines import metadata, progress
from pipelines.assets import Check, Computed, derived, ingested, viewed

_SEED = 42
_RECIPE = "default"
_CONFIGURATION = "default"
#: Spectra that are worked on at a time.
_PART = 2048
#: Labelled spectra that an ablation study trains on, at most: it trains many networks.
_STUDIED = 2000
#: What needs TensorFlow is made anew once it is there.
_NETWORKS = "1" if importlib.util.find_spec("tensorflow") else "0"

RANGES = Check(
    "ranges",
    "sdss.spectra_metadata",
    "positions lie on the sphere, shares in 0..1, reddening and exposure are not negative",
    "SELECT spec_id, ra_deg, dec_deg, mask_frac_bad, ebv_sfd, exptime_s, resolution_r"
    " FROM sdss.spectra_metadata WHERE release = ? AND (ra_deg NOT BETWEEN 0 AND 360"
    " OR dec_deg NOT BETWEEN -90 AND 90 OR mask_frac_bad NOT BETWEEN 0 AND 1 OR ebv_sfd < 0"
    " OR exptime_s < 0 OR resolution_r <= 0)",
)
PIXELS = Check(
    "pixels",
    "sdss.spectra",
    "all lists of a spectrum have n_pixels numbers, and a wavelength solution is there or null",
    "SELECT spec_id, n_pixels, len(flux) AS n_flux, len(ivar) AS n_ivar FROM sdss.spectra"
    " WHERE release = ? AND (len(flux) <> n_pixels OR len(ivar) <> n_pixels"
    " OR len(and_mask) <> n_pixels OR len(or_mask) <> n_pixels OR len(wdisp) <> n_pixels"
    " OR len(sky) <> n_pixels OR len(model) <> n_pixels OR len(wavelength) <> n_pixels"
    " OR (wavelength_grid = 'log10' AND (coeff0 IS NULL OR coeff1 IS NULL))"
    " OR (wavelength_grid = 'linear' AND (crval1 IS NULL OR cd1_1 IS NULL))"
    " OR (wavelength_grid = 'table' AND wavelength IS NULL))",
)
ONE_LABEL = Check(
    "one_per_spectrum",
    "sdss.spectra_labels",
    "every spectrum has one row",
    "SELECT m.spec_id AS spectrum, l.spec_id AS label FROM sdss.spectra_metadata AS m"
    " FULL JOIN sdss.spectra_labels AS l ON l.release = m.release AND l.spec_id = m.spec_id"
    " WHERE coalesce(m.release, l.release) = ? AND (m.spec_id IS NULL OR l.spec_id IS NULL)",
)
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

ingest = ingested("sdss", checks=[RANGES, PIXELS])


@derived(tables=["sdss.line_list"], reads=[], version="1")
def lines_known(context: dg.AssetExecutionContext, home: lake.Home, release: str) -> Computed:
    """Write down the spectral lines that features are matched with."""
    from lake.sdss import line_list

    return Computed({"sdss.line_list": _of_release(line_list.line_list(), release)})


@derived(
    tables=["sdss.spectra_labels"],
    reads=["sdss.spectra_metadata", "sdss.label_catalogue"],
    version="1",
    checks=[ONE_LABEL],
)
def labels(context: dg.AssetExecutionContext, home: lake.Home, release: str) -> Computed:
    """Match every spectrum with the label catalogues; say which have none."""
    from lake.sdss import labels

    name = "sdss.spectra_labels"
    spectra = home.store.arrow(
        "SELECT release, spec_id, obj_id, plate, mjd, fiber, ra_deg, dec_deg, file_path,"
        " object_class, object_subclass, file_sha256 FROM sdss.spectra_metadata"
        " WHERE release = ? ORDER BY spec_id",
        [release],
    )
    catalogue = home.store.arrow(
        "SELECT * FROM sdss.label_catalogue WHERE release = ? ORDER BY label_source, file_sha256,"
        " file_row",
        [release],
    )
    options = home.sql(
        "SELECT sha256, options FROM meta.files WHERE mission = 'sdss' AND release = ?"
        " AND role = 'labels' AND status = 'committed'",
        [release],
    ).fetchall()
    given = {sha256: json.loads(text or "{}").get("radius_arcsec") for sha256, text in options}
    radii = {sha256: float(radius) for sha256, radius in given.items() if radius}
    found = labels.match(spectra, catalogue, radii_arcsec=radii)
    missing = labels.unmatched(found)
    context.log.info("labels by source: %s", missing)
    return Computed({name: found}, {name: {"how labels were found": metadata.bars(missing)}})


@derived(
    tables=["sdss.preprocessed_spectra", "sdss.recipe_log"],
    reads=["sdss.spectra", "sdss.spectra_metadata"],
    version="1",
)
def preprocessing(context: dg.AssetExecutionContext, home: lake.Home, release: str) -> Computed:
    """Bring every spectrum onto one grid in its rest frame, without dust and continuum.

    Spectra without a wavelength solution or a continuum are left out; the log says at which step.
    """
    from lake.commit import now
    from lake.sdss.preprocess import RECIPES, preprocess_table

    name = "sdss.preprocessed_spectra"
    counts = {"preprocessed": 0, "left out": 0}
    shown: dict[str, Mapping[str, Any]] = {name: counts}

    def parts() -> Iterator[tuple[str, pa.Table]]:
        for spectra in _stream(home, _RAW, release):
            made, log = preprocess_table(spectra, spectra, RECIPES[_RECIPE], now())
            counts["preprocessed"] += made.num_rows
            counts["left out"] += spectra.num_rows - made.num_rows
            progress.report(f"sdss {release}: preprocessed spectra", counts["preprocessed"])
            yield name, made
            yield "sdss.recipe_log", log

    return Computed(parts(), shown)


@derived(
    tables=["sdss.spectral_lines"],
    reads=["sdss.preprocessed_spectra", "sdss.line_list"],
    version="1",
)
def lines_found(context: dg.AssetExecutionContext, home: lake.Home, release: str) -> Computed:
    """Find emission and absorption features, and match them with the line list."""
    from lake.sdss import lines

    def parts() -> Iterator[tuple[str, pa.Table]]:
        for spectra in _stream(home, _PREPROCESSED, release):
            yield "sdss.spectral_lines", lines.find_lines(spectra)

    return Computed(parts())


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
        return Computed({name: _empty(name)})
    return Computed({name: learning.split_table(labelled, _SEED)})


@derived(
    tables=["sdss.cnn_models", "sdss.cnn_evaluation"],
    reads=["sdss.preprocessed_spectra", "sdss.splits"],
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

    names = ("sdss.cnn_models", "sdss.cnn_evaluation")
    examples = _examples(home, release)
    stored = home.store.fingerprints(release)
    try:
        trained = learning.train(
            examples,
            CONFIGURATIONS[_CONFIGURATION],
            recipe=_RECIPE,
            checkpoint=home.models / "sdss" / "checkpoints" / release,
            fingerprint=stored.get("sdss.splits", ""),
            progress=_epochs(f"sdss {release}: training, epoch"),
        )
    except lake.LacusError as error:
        context.log.warning("no model: %s", error)
        return Computed({name: _empty(name) for name in names})
    directory = home.models / "sdss"
    model_id = trained.save(directory)
    path = registry.network_path(directory, model_id)
    scores = learning.evaluation(trained, examples)
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
            "sdss.cnn_evaluation": _rows("sdss.cnn_evaluation", rows),
        },
        {
            "sdss.cnn_models": {"model": model_id, "epochs": len(trained.history)},
            "sdss.cnn_evaluation": {"scores on the test side": shown},
        },
        [(path, "model")],
    )


@derived(
    tables=["sdss.cnn_predictions"],
    reads=["sdss.preprocessed_spectra", "sdss.cnn_models"],
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
        [_RECIPE, release],
    ).fetchall()
    if not models:
        context.log.warning("no model, so nothing is classified")
    counts: dict[str, int] = {}
    shown: dict[str, Mapping[str, Any]] = {"sdss.cnn_predictions": {}}

    def parts() -> Iterator[tuple[str, pa.Table]]:
        from lake.sdss import cnn, learning

        for model_id, model_release in models:
            trained = cnn.load(home.models / "sdss", model_id)
            spectra = _stream(home, _PREPROCESSED, release)
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
    version=_NETWORKS,
    on_request=True,
)
def ablation(context: dg.AssetExecutionContext, home: lake.Home, release: str) -> Computed:
    """Train the network without each of its parts, on each recipe: what every part is worth.

    Ten networks are trained, on at most 2,000 spectra: `lacus run sdss.ablation_studies`.
    """
    from lake.sdss import learning
    from lake.sdss.configuration import CONFIGURATIONS

    name = "sdss.ablation_studies"
    rows: list[dict[str, Any]] = []
    examples: dict[str, learning.Examples] = {}
    for study, variant, recipe, configuration in learning.variants(CONFIGURATIONS["small"]):
        if recipe not in examples:
            examples[recipe] = _examples(home, release, recipe, _STUDIED)
        try:
            trained = learning.train(
                examples[recipe],
                configuration,
                recipe=recipe,
                progress=_epochs(f"sdss {release}: {study} {variant}, epoch"),
            )
        except lake.LacusError as error:
            context.log.warning("no ablation study: %s", error)
            return Computed({name: _empty(name)})
        rows += learning.ablation_rows(release, study, variant, trained, examples[recipe])
    return Computed({name: _rows(name, rows)})


_RAW = (
    "SELECT s.*, m.z_or_rv_kms, m.ebv_sfd, m.wavelength_frame FROM sdss.spectra AS s"
    " JOIN sdss.spectra_metadata AS m ON m.release = s.release AND m.spec_id = s.spec_id"
    " WHERE s.release = ?"
)
_PREPROCESSED = (
    f"SELECT * FROM sdss.preprocessed_spectra WHERE release = ? AND recipe = '{_RECIPE}'"
)


def _stream(home: lake.Home, query: str, release: str) -> Iterator[pa.Table]:
    """Rows of a query on a release, a part at a time."""
    reader = home.store.sql(query, [release], apart=True).to_arrow_reader(_PART)
    for batch in reader:
        yield pa.Table.from_batches([batch])


def _examples(home: lake.Home, release: str, recipe: str = _RECIPE, most: int | None = None) -> Any:
    """Labelled spectra of a release under a recipe; those not in the lake are preprocessed."""
    from lake.commit import now
    from lake.sdss.learning import Examples
    from lake.sdss.preprocess import RECIPES, preprocess_table

    chosen = "SELECT * FROM sdss.splits WHERE release = ?" + (
        f" ORDER BY hash(spec_id) LIMIT {most}" if most else ""
    )
    if recipe == _RECIPE:
        return Examples.of(
            home.store.arrow(
                f"SELECT p.flux, p.ivar, p.valid, c.class_mk, c.split FROM ({_PREPROCESSED}) AS p"
                f" JOIN ({chosen}) AS c ON c.spec_id = p.spec_id ORDER BY p.spec_id",
                [release, release],
            )
        )
    raw = home.store.arrow(
        f"SELECT r.*, c.class_mk, c.split FROM ({_RAW}) AS r JOIN ({chosen}) AS c"
        " ON c.spec_id = r.spec_id ORDER BY r.spec_id",
        [release, release],
    )
    made, _ = preprocess_table(raw, raw, RECIPES[recipe], now())
    there = pc.index_in(made["spec_id"], raw["spec_id"].combine_chunks())
    for column in ("class_mk", "split"):
        made = made.append_column(column, raw[column].take(there))
    return Examples.of(made)


def _epochs(what: str) -> Any:
    """Progress of a training."""
    return lambda epoch, total, *_: progress.report(what, epoch, total)


def _empty(name: str) -> pa.Table:
    return contracts.table(name).schema().empty_table()


def _rows(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, contracts.table(name).schema())


def _of_release(rows: pa.Table, release: str) -> pa.Table:
    return rows.add_column(0, "release", pa.repeat(release, rows.num_rows))


def _class_balance(home: lake.Home, release: str) -> Mapping[str, Any]:
    counts = home.sql(
        "SELECT class_mk, sum(n) FROM sdss.class_balance WHERE release = ? GROUP BY class_mk"
        " ORDER BY class_mk",
        [release],
    ).fetchall()
    return {"spectra by class": metadata.bars({name: int(n) for name, n in counts})}


def _confusion(home: lake.Home, release: str) -> Mapping[str, Any]:
    """Shade of each class taken for each other by the release's own network."""
    rows = home.sql(
        "SELECT c.class_mk, c.predicted_class, c.share FROM sdss.confusion AS c"
        " SEMI JOIN sdss.cnn_models AS m ON m.release = c.release AND m.model_id = c.model_id"
        " WHERE c.release = ?",
        [release],
    ).fetchall()
    classes = sorted({name for row in rows for name in row[:2]})
    shares = {(true, found): share for true, found, share in rows}
    if not classes:
        return {}
    shown = metadata.heat([[shares.get((t, p), 0.0) for p in classes] for t in classes], classes)
    return {"confusion (true class by row)": shown}


views = viewed(
    "sdss",
    show={"sdss.class_balance": _class_balance, "sdss.confusion": _confusion},
)
