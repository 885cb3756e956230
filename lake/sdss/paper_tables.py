"""Tables for a paper on spectra: rows of the lake in, the table out, and how it is written.

Every column has a description, its unit and the digits that are worth printing in its field
metadata.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from lake.errors import LacusError
from lake.export import Origin, export
from lake.sdss.sequence import spectral_sequence
from lake.sdss.splits import SPLITS
from lake.sdss.table_columns import CLASS, column, declared, of_one, table_of

_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")
#: So many different values of a parameter are listed one by one.
_LISTED = 3


_OVERVIEW = pa.schema(
    [
        CLASS,
        column("n_spectra", pa.int64(), "Spectra", ucd="meta.number"),
        column(
            "sn_median",
            pa.float64(),
            "Median over the spectra of their median signal-to-noise ratio",
            ucd="stat.snr;stat.median",
            form="F7.1",
        ),
        column(
            "wavelength_min",
            pa.float64(),
            "Shortest wavelength, vacuum",
            unit="Angstrom",
            ucd="em.wl;stat.min",
            form="F8.0",
        ),
        column(
            "wavelength_max",
            pa.float64(),
            "Longest wavelength, vacuum",
            unit="Angstrom",
            ucd="em.wl;stat.max",
            form="F8.0",
        ),
        column(
            "resolution_r",
            pa.float64(),
            "Median resolving power",
            ucd="spect.resolution;stat.median",
            form="F6.0",
        ),
        column("data_releases", pa.string(), "Releases of the reduction", ucd="meta.version"),
    ]
)


def dataset_overview(overview: pa.Table) -> pa.Table:
    """Table A: what the spectra of each class are like.

    Parameters
    ----------
    overview : pyarrow.Table
        Rows of the view sdss.dataset_overview of one release.

    Returns
    -------
    pyarrow.Table
        A row per class from hot to cool, last the spectra without a label.

    Raises
    ------
    LacusError
        The rows are of several releases.
    """
    of_one(overview, ["release"])
    rows = {row["class_mk"]: row for row in overview.to_pylist()}
    order: list[str | None] = [*spectral_sequence(c for c in rows if c is not None)]
    return table_of([rows[c] for c in [*order, *([None] if None in rows else [])]], _OVERVIEW)


_STEPS = pa.schema(
    [
        column("step_order", pa.int64(), "Place of the step in the chain", ucd="meta.number"),
        column("step_name", pa.string(), "Step", ucd="meta.id"),
        column("parameters", pa.string(), "Parameters", ucd="meta.note"),
        column("n_spectra", pa.int64(), "Spectra it was applied to", ucd="meta.number"),
        column("n_warned", pa.int64(), "Spectra with a warning", ucd="meta.number"),
        column(
            "warnings",
            pa.string(),
            "Warnings and how many spectra have them, numbers in them left out",
            ucd="meta.note",
        ),
    ]
)


def preprocessing_steps(log: pa.Table) -> pa.Table:
    """Table B: the steps of a recipe.

    Parameters
    ----------
    log : pyarrow.Table
        Rows of the view sdss.preprocessing_log of one release: those of loading (recipe
        ``load``) and of one recipe.

    Returns
    -------
    pyarrow.Table
        A row per step. Parameters that differ between spectra, as those of loading do, are
        listed with their values, or with the number of these.

    Raises
    ------
    LacusError
        The rows are of several releases or recipes.
    """
    frame = pl.DataFrame(log)
    of_one(log, ["release"])
    recipes = sorted(set(frame["recipe"]) - {"load"})
    if len(recipes) > 1:
        raise LacusError(f"a table shows one recipe, not {', '.join(recipes)}")
    steps = frame.group_by("step_order", "step_name").agg(
        pl.col("params_json").unique().sort(),
        pl.len().alias("n_spectra"),
        pl.col("warnings").is_not_null().sum().alias("n_warned"),
        pl.col("warnings").drop_nulls().value_counts().alias("warned"),
    )
    rows = [
        {
            **step,
            "parameters": _parameters(step["params_json"]),
            "warnings": _warnings(step["warned"]),
        }
        for step in steps.sort("step_order", "step_name").iter_rows(named=True)
    ]
    return table_of(rows, _STEPS)


def _parameters(texts: Sequence[str]) -> str:
    """``r_v = 3.1, sfd_scale = 0.86``; several values of a parameter are listed or counted."""
    values: dict[str, list[str]] = {}
    for text in texts:
        for key, value in json.loads(text).items():
            shown = value if isinstance(value, str) else json.dumps(value)
            if shown not in (known := values.setdefault(key, [])):
                known.append(shown)
    return ", ".join(
        f"{key} = {' or '.join(known)}" if len(known) <= _LISTED else f"{key}: {len(known)} values"
        for key, known in values.items()
    )


def _warnings(counts: Sequence[dict[str, Any]]) -> str | None:
    """Kinds of warnings, the most frequent first: those that differ in numbers are one kind."""
    kinds: Counter[str] = Counter()
    for entry in counts:
        for kind in {_NUMBER.sub("#", part) for part in entry["warnings"].split("; ")}:
            kinds[kind] += entry["count"]
    ordered = sorted(kinds.items(), key=lambda pair: (-pair[1], pair[0]))
    return "; ".join(f"{kind} ({n})" for kind, n in ordered) or None


_SPLITS = pa.schema(
    [
        CLASS,
        *(column(f"n_{side}", pa.int64(), f"Spectra for {side}") for side in SPLITS),
        *(
            column(f"groups_{side}", pa.int64(), f"Leakage groups (plates) for {side}")
            for side in SPLITS
        ),
    ]
)


def split_counts(balance: pa.Table) -> pa.Table:
    """Supplement: how many spectra and plates of each class are on each side of the split.

    Parameters
    ----------
    balance : pyarrow.Table
        Rows of the view sdss.class_balance of one release: release, class_mk, split, n,
        n_groups.

    Returns
    -------
    pyarrow.Table
        A row per class from hot to cool.

    Raises
    ------
    LacusError
        The rows are of several releases.
    """
    of_one(balance, ["release"])
    found: dict[str, dict[str, Any]] = {}
    for row in balance.to_pylist():
        # A side without spectra of the class has no row: none, not unknown.
        empty = dict.fromkeys(_SPLITS.names[1:], 0)
        target = found.setdefault(row["class_mk"], {"class_mk": row["class_mk"], **empty})
        target[f"n_{row['split']}"] = row["n"]
        target[f"groups_{row['split']}"] = row["n_groups"]
    return table_of([found[name] for name in spectral_sequence(found)], _SPLITS)


def line_list(lines: pa.Table) -> pa.Table:
    """Supplement: the lines that features are matched with, by wavelength.

    Parameters
    ----------
    lines : pyarrow.Table
        Rows of sdss.line_list, or what `lake.sdss.line_list.line_list` gives.

    Returns
    -------
    pyarrow.Table
    """
    schema = declared(
        "sdss.line_list",
        ("elem", "transition", "lambda_rest_A", "lambda_air_A", "lower_upper_levels", "ref",
         "use_flag"),
        {"lambda_rest_A": "F9.2", "lambda_air_A": "F9.2"},
    )  # fmt: skip
    return lines.sort_by("lambda_rest_A").select(schema.names).cast(schema)


def write(table: pa.Table, path: Path, origin: Origin) -> list[Path]:
    """Write a table for LaTeX and for everything else.

    Parameters
    ----------
    table : pyarrow.Table
    path : Path
        Without an ending; its folder is made if need be.
    origin : Origin
        Its title becomes the caption.

    Returns
    -------
    list of Path
        `path` with .tex and with .csv.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    written = [path.with_name(path.name + ending) for ending in (".tex", ".csv")]
    for target in written:
        export(table, target, origin)
    return written
