"""Labels of spectra: the class and the parameters that catalogues give them."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from lake import contracts
from lake.sdss import mk
from lake.sdss.label_catalogue import RADIUS_ARCSEC

_PARAMETERS = ("teff_k", "logg_cgs", "fe_h_dex")
_OF_LABEL = (
    *_PARAMETERS, "class_original", "luminosity_class", "label_source", "label_quality",
)  # fmt: skip
_OF_CATALOGUE = (
    "object_id", "plate", "mjd", "fiber", "ra_deg", "dec_deg", *_OF_LABEL, "file_sha256",
)  # fmt: skip
_OF_SPECTRUM = (
    "release", "spec_id", "obj_id", "plate", "mjd", "fiber", "ra_deg", "dec_deg", "file_path",
    "object_class", "object_subclass", "z_warning", "file_sha256",
)  # fmt: skip
#: MANY_OUTLIERS, the only flag of ZWARNING that good stars have, too; the others say sky fibre,
#: no signal or an undecided fit (https://www.sdss4.org/dr17/algorithms/bitmasks/#ZWARNING).
_HARMLESS = 1 << 4
_KEYS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("spec_id", ("spec_id",), ("object_id",)),
    ("spec_id", ("obj_id",), ("object_id",)),
    ("plate-mjd-fibre", ("plate", "mjd", "fiber"), ("plate", "mjd", "fiber")),
)
_METHODS = ("spec_id", "plate-mjd-fibre", "position", "directory", "pipeline")
_ARCSEC = np.pi / 180 / 3600


def match(
    spectra: pa.Table, catalogue: pa.Table, *, radii_arcsec: Mapping[str, float] | None = None
) -> pa.Table:
    """Label of every spectrum.

    In each catalogue, a spectrum is looked for by its identifier (its own, then its object's),
    then by plate, MJD and fibre, then by position; of catalogues, the first that gives a class
    counts, else the first that gives a parameter. A spectrum that none of them has gets the
    name of its file's folder as class if that is an MK class; if the release has no catalogue
    at all, a star gets the subclass that the survey's pipeline found, unless the pipeline warns
    of it (ZWARNING other than MANY_OUTLIERS). `label_source` and `match_method` tell which it
    was.

    Parameters
    ----------
    spectra : pyarrow.Table
        Columns of sdss.spectra_metadata: release, spec_id, obj_id, plate, mjd, fiber, ra_deg,
        dec_deg, file_path, object_class, object_subclass, z_warning, file_sha256.
    catalogue : pyarrow.Table
        Columns of sdss.label_catalogue. Catalogues are told apart by file_sha256 and count in
        the order in which they first occur.
    radii_arcsec : mapping, optional
        Radius of a match by position for each file_sha256, in arcsec; 1 for the others.

    Returns
    -------
    pyarrow.Table
        As sdss.spectra_labels, one row per row of `spectra`, in its order; null where there is
        no label.
    """
    own = _frame(spectra, "sdss.spectra_metadata", _OF_SPECTRUM)
    given = _frame(catalogue, "sdss.label_catalogue", _OF_CATALOGUE).with_row_index("row")
    classes = pl.Series("class_mk", _classes(given)["class_mk"])
    says_something = pl.any_horizontal(pl.col("class_mk", *_PARAMETERS).is_not_null())
    rows = given.with_columns(classes).filter(says_something)
    search = _Search(own)
    for (sha256,), part in rows.group_by("file_sha256", maintain_order=True):
        search.catalogue(part, (radii_arcsec or {}).get(str(sha256), RADIUS_ARCSEC))
    labels = _labels(own, given, search)
    labels = _fall_back(labels, own, use_pipeline=catalogue.num_rows == 0)
    return _normalised(labels)


def unmatched(labels: pa.Table) -> dict[str, int]:
    """How the spectra of a release came by their labels, and how many have none.

    Parameters
    ----------
    labels : pyarrow.Table
        As `match` gives it.

    Returns
    -------
    dict
        Number of ``spectra``, of those matched by each method, ``unmatched``, and
        ``without class`` (unmatched, or matched with a row that gives parameters only).
    """
    method = pl.Series(labels["match_method"])
    counts = {name: int((method == name).sum()) for name in _METHODS}
    return {
        "spectra": labels.num_rows,
        **counts,
        "unmatched": method.null_count(),
        "without class": labels["class_mk"].null_count,
    }


class _Search:
    """Rows of the catalogue found for the spectra so far."""

    def __init__(self, spectra: pl.DataFrame) -> None:
        keys = ("spec_id", "obj_id", "plate", "mjd", "fiber", "ra_deg", "dec_deg")
        self.spectra = spectra.select(keys).with_row_index("spectrum")
        n = len(spectra)
        self.row = np.full(n, -1)
        self.method = np.full(n, -1)
        self.separation = np.full(n, np.nan)
        self._open = np.ones(n, bool)  # without a class so far

    def catalogue(self, rows: pl.DataFrame, radius: float) -> None:
        """Look for the spectra without a class in one catalogue."""
        has_class = rows["class_mk"].is_not_null()
        for part in (rows.filter(has_class), rows.filter(~has_class)):
            for method, ours, theirs in _KEYS:
                here = part.drop_nulls(theirs).unique(theirs, keep="first", maintain_order=True)
                found = self._left.drop_nulls(ours).join(here, left_on=ours, right_on=theirs)
                self._take(found, method)
            self._take(_nearest(self._left, part, radius), "position")

    @property
    def _left(self) -> pl.DataFrame:
        return self.spectra.filter(pl.Series(self._open))

    def _take(self, found: pl.DataFrame, method: str) -> None:
        """Keep what was found where it has a class, or is the first to have anything."""
        spectrum = found["spectrum"].to_numpy()
        has_class = found["class_mk"].is_not_null().to_numpy()
        better = has_class | (self.row[spectrum] < 0)
        spectrum = spectrum[better]
        self.row[spectrum] = found["row"].to_numpy()[better]
        self.method[spectrum] = _METHODS.index(method)
        self.separation[spectrum] = np.nan
        if "separation" in found.columns:
            self.separation[spectrum] = found["separation"].to_numpy()[better]
        self._open[spectrum] = ~has_class[better]


def _nearest(spectra: pl.DataFrame, rows: pl.DataFrame, radius: float) -> pl.DataFrame:
    """Pair each spectrum with the nearest row within a radius; separation in arcsec."""
    from scipy.spatial import cKDTree

    spectra, rows = (part.drop_nulls(["ra_deg", "dec_deg"]) for part in (spectra, rows))
    if not len(spectra) or not len(rows):
        return rows.clear().with_columns(spectra["spectrum"].clear())
    # Chords of the unit sphere: a query within one is a query within an angle.
    chord, place = cKDTree(_unit_vectors(rows)).query(
        _unit_vectors(spectra), distance_upper_bound=2 * np.sin(radius * _ARCSEC / 2) * (1 + 1e-9)
    )
    near = np.isfinite(chord)
    return rows[place[near]].with_columns(
        spectra["spectrum"].filter(pl.Series(near)),
        pl.Series("separation", 2 * np.arcsin(chord[near] / 2) / _ARCSEC),
    )


def _unit_vectors(frame: pl.DataFrame) -> npt.NDArray[np.float64]:
    ra, dec = np.radians(frame["ra_deg"].to_numpy()), np.radians(frame["dec_deg"].to_numpy())
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def _labels(own: pl.DataFrame, catalogue: pl.DataFrame, search: _Search) -> pl.DataFrame:
    """Bring the rows that were found beside their spectra."""
    row = pl.Series("row", np.maximum(search.row, 0), pl.UInt32)
    row = pl.select(pl.when(pl.Series(search.row >= 0)).then(row)).to_series().rename("row")
    columns = catalogue.select("row", *_OF_LABEL)
    method = pl.Series(np.array([*_METHODS, None], object)[search.method].tolist(), dtype=pl.String)
    return pl.concat(
        [
            own.select("release", "spec_id", "file_sha256"),
            row.to_frame().join(columns, on="row", how="left", maintain_order="left").drop("row"),
            method.to_frame("match_method"),
            pl.Series(search.separation).fill_nan(None).to_frame("separation_arcsec"),
        ],
        how="horizontal",
    )


def _fall_back(labels: pl.DataFrame, own: pl.DataFrame, *, use_pipeline: bool) -> pl.DataFrame:
    folder = own["file_path"].str.extract(r"([^/\\]+)[/\\]+[^/\\]*$")
    plain = [name for name in folder.unique().drop_nulls() if mk.is_plain(name)]
    named = pl.select(pl.when(folder.is_in(plain)).then(folder)).to_series()
    fallbacks = {"directory": named}
    if use_pipeline:
        star = own.select(
            pl.when(
                pl.col("object_class").str.strip_chars() == "STAR",
                (pl.col("z_warning").fill_null(0) & ~_HARMLESS) == 0,
            )
            .then(pl.col("object_subclass").str.strip_chars())
            .replace("", None)
        )
        fallbacks["pipeline"] = star.to_series()
    for name, given in fallbacks.items():
        here = labels["match_method"].is_null() & given.is_not_null()
        labels = labels.with_columns(
            pl.when(here).then(given).otherwise("class_original").alias("class_original"),
            *(
                pl.when(here).then(pl.lit(name)).otherwise(column).alias(column)
                for column in ("label_source", "match_method")
            ),
        )
    return labels


def _normalised(labels: pl.DataFrame) -> pa.Table:
    classes = _classes(labels).drop_columns(["learnt_class"])
    table = labels.drop("luminosity_class").to_arrow()
    for name in classes.column_names:
        table = table.append_column(name, classes[name])
    schema = contracts.table("sdss.spectra_labels").schema()
    return table.select(schema.names).cast(schema)


def _classes(frame: pl.DataFrame) -> pa.Table:
    return mk.normalise(
        frame["class_original"].to_arrow().cast(pa.string()),
        frame["luminosity_class"].to_arrow().cast(pa.string()),
    )


def _frame(table: pa.Table, contract: str, columns: tuple[str, ...]) -> pl.DataFrame:
    """Columns in the types of their contract, those that are not there null."""
    declared = contracts.table(contract).by_name
    arrays = {}
    for name in columns:
        kind = declared[name].field().type
        given = table[name].cast(kind) if name in table.column_names else None
        arrays[name] = pa.nulls(table.num_rows, kind) if given is None else given
    return pl.DataFrame(pa.table(arrays))
