"""SDSS spectra: from pixels and labels to calibrated classes."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import pyarrow as pa

import lake
from pipelines import metadata, progress
from pipelines.assets import Computed, derived, ingested, of_release, viewed
from pipelines.checks import Check

#: Recipe that classifiers and line finders see.
RECIPE = "default"
#: Spectra that are worked on at a time.
_PART = 2048

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
ingest = ingested("sdss", checks=[RANGES, PIXELS])


@derived(tables=["sdss.line_list"], reads=[], version="1")
def lines_known(context: dg.AssetExecutionContext, home: lake.Home, release: str) -> Computed:
    """Write down the spectral lines that features are matched with."""
    from lake.sdss import line_list

    return Computed({"sdss.line_list": of_release(line_list.line_list(), release)})


@derived(
    tables=["sdss.spectra_labels"],
    reads=["sdss.spectra_metadata", "sdss.label_catalogue"],
    version="3",
    checks=[ONE_LABEL],
)
def labels(context: dg.AssetExecutionContext, home: lake.Home, release: str) -> Computed:
    """Match every spectrum with the label catalogues; say which have none."""
    from lake.sdss import labels

    name = "sdss.spectra_labels"
    spectra = home.store.arrow(
        "SELECT release, spec_id, obj_id, plate, mjd, fiber, ra_deg, dec_deg, file_path,"
        " object_class, object_subclass, z_warning, file_sha256 FROM sdss.spectra_metadata"
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
    if catalogue.num_rows and missing["unmatched"]:
        context.log.warning(
            "%d of %d spectra are in no label catalogue", missing["unmatched"], found.num_rows
        )
    return Computed({name: found}, {name: {"how labels were found": metadata.bars(missing)}})


@derived(
    tables=["sdss.preprocessed_spectra", "sdss.recipe_log"],
    reads=["sdss.spectra", "sdss.spectra_metadata"],
    version="2",
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
        for spectra, about in _raw(home, release):
            made, log = preprocess_table(spectra, about, RECIPES[RECIPE], now())
            counts["preprocessed"] += made.num_rows
            counts["left out"] += spectra.num_rows - made.num_rows
            progress.report(f"sdss {release}: preprocessed spectra", counts["preprocessed"])
            yield name, made
            yield "sdss.recipe_log", log
        if out := counts["left out"]:
            context.log.warning(
                "%d of %d spectra are left out: sdss.recipe_log says why", out, sum(counts.values())
            )

    return Computed(parts(), shown)


@derived(
    tables=["sdss.spectral_lines"],
    reads=["sdss.preprocessed_spectra", "sdss.line_list"],
    version="4",
)
def lines_found(context: dg.AssetExecutionContext, home: lake.Home, release: str) -> Computed:
    """Find emission and absorption features, and match them with the line list."""
    from lake.sdss import lines

    def parts() -> Iterator[tuple[str, pa.Table]]:
        for spectra in preprocessed(home, release):
            yield "sdss.spectral_lines", lines.find_lines(spectra)

    return Computed(parts())


#: What preprocessing needs of a spectrum and to know about it: other lists are not read.
_READ = [
    "release", "spec_id", "wavelength_grid", "coeff0", "coeff1", "crval1", "cd1_1", "wavelength",
    "flux", "ivar", "and_mask", "file_sha256",
]  # fmt: skip
_KNOWN = ["z_or_rv_kms", "at_rest", "ebv_sfd", "wavelength_frame"]
RAW = (
    f"SELECT {', '.join(f's.{n}' for n in _READ)}, {', '.join(f'm.{n}' for n in _KNOWN)}"
    " FROM sdss.spectra AS s JOIN sdss.spectra_metadata AS m"
    " ON m.release = s.release AND m.spec_id = s.spec_id WHERE s.release = ?"
)
PREPROCESSED = f"SELECT * FROM sdss.preprocessed_spectra WHERE release = ? AND recipe = '{RECIPE}'"


def _raw(home: lake.Home, release: str) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Spectra of a release and what is known about them, a part at a time."""
    about = (
        f"SELECT release, spec_id, {', '.join(_KNOWN)} FROM sdss.spectra_metadata"
        " WHERE release = ? AND spec_id IN (SELECT unnest(?))"
    )
    for batch in home.store.scan("sdss.spectra", {"release": release}, _READ, size=_PART):
        known = home.store.arrow(about, [release, batch["spec_id"].to_pylist()])
        yield pa.Table.from_batches([batch]), known


def preprocessed(home: lake.Home, release: str) -> Iterator[pa.Table]:
    """Spectra of a release as line finders and classifiers see them, a part at a time."""
    where = {"release": release, "recipe": RECIPE}
    for batch in home.store.scan("sdss.preprocessed_spectra", where, size=_PART):
        yield pa.Table.from_batches([batch])


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
