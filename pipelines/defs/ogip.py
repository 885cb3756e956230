"""OGIP spectra: from files of any mission to what goes with what, and to net counts."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

import lake
from lake.plan import originals
from lake.store import Store
from pipelines import metadata
from pipelines.assets import Computed, derived, ingested, of_release, viewed
from pipelines.checks import Check

#: Spectra that the page of a view lists.
_LISTED = 10

LISTS = Check(
    "lists",
    "ogip.spectra",
    "all lists of a spectrum have one number per channel, and there are counts or a rate",
    "SELECT spec_id, n_channels, len(counts) AS n_counts, len(rate) AS n_rates FROM ogip.spectra"
    " WHERE release = ? AND (coalesce(counts, rate) IS NULL OR len(counts) <> n_channels"
    " OR len(rate) <> n_channels OR len(channel) <> n_channels OR len(stat_err) <> n_channels"
    " OR len(sys_err) <> n_channels OR len(quality) <> n_channels OR len(grouping) <> n_channels"
    " OR len(areascal_channel) <> n_channels OR len(backscal_channel) <> n_channels"
    " OR (quantity = 'COUNTS') <> (counts IS NOT NULL))",
)
EXPOSURES = Check(
    "exposures",
    "ogip.spectra",
    "exposures are above 0",
    "SELECT spec_id, exposure FROM ogip.spectra WHERE release = ? AND NOT exposure > 0",
    warns=True,
)
BINS = Check(
    "bins",
    "ogip.responses",
    "a matrix has as many energy bins as it says, in order, and its groups lie in its channels",
    "SELECT r.response_id, r.n_energies, count(m.bin) AS bins FROM ogip.responses AS r"
    " LEFT JOIN ogip.redistribution AS m ON m.release = r.release"
    " AND m.response_id = r.response_id WHERE r.release = ?"
    " GROUP BY r.response_id, r.n_energies HAVING count(m.bin) <> r.n_energies"
    " OR min(m.bin) <> 1 OR max(m.bin) <> r.n_energies",
)
POINTERS = Check(
    "pointers",
    "ogip.pairs",
    "every spectrum has one row, and what it names is in the lake",
    "SELECT s.spec_id, p.spec_id AS pair, p.background_id, p.response_id, p.area_id"
    " FROM ogip.spectra AS s"
    " FULL JOIN ogip.pairs AS p ON p.release = s.release AND p.spec_id = s.spec_id"
    " LEFT JOIN ogip.spectra AS b ON b.release = p.release AND b.spec_id = p.background_id"
    " LEFT JOIN ogip.responses AS r ON r.release = p.release AND r.response_id = p.response_id"
    " LEFT JOIN ogip.effective_area AS a ON a.release = p.release AND a.area_id = p.area_id"
    " WHERE coalesce(s.release, p.release) = ? AND (s.spec_id IS NULL OR p.spec_id IS NULL"
    " OR (p.background_id IS NOT NULL AND b.spec_id IS NULL)"
    " OR (p.response_id IS NOT NULL AND r.response_id IS NULL)"
    " OR (p.area_id IS NOT NULL AND a.area_id IS NULL))",
)
FOLDABLE = Check(
    "foldable",
    "ogip.pairs",
    "what can be folded has a response of as many channels, with an area",
    "SELECT p.spec_id, s.n_channels, r.n_channels AS response_channels, p.area_id"
    " FROM ogip.pairs AS p"
    " JOIN ogip.spectra AS s ON s.release = p.release AND s.spec_id = p.spec_id"
    " LEFT JOIN ogip.responses AS r ON r.release = p.release AND r.response_id = p.response_id"
    " WHERE p.release = ? AND p.foldable AND (r.response_id IS NULL"
    " OR r.n_channels <> s.n_channels OR (p.area_id IS NULL AND NOT r.includes_area))",
)
COMPLETE = Check(
    "complete",
    "ogip.pairs",
    "every spectrum but backgrounds has its response, area and background, and all fit",
    "SELECT p.spec_id, p.missing, p.problems FROM ogip.pairs AS p"
    " JOIN ogip.spectra AS s ON s.release = p.release AND s.spec_id = p.spec_id"
    " ANTI JOIN ogip.pairs AS o ON o.release = p.release AND o.background_id = p.spec_id"
    " WHERE p.release = ? AND coalesce(s.content, '') <> 'BKG'"
    " AND (len(p.missing) > 0 OR len(p.problems) > 0)",
    warns=True,
)
LIMITS = Check(
    "limits",
    "ogip.net_count_limits",
    "upper limits are above 0 and above the net counts, and every spectrum has a row",
    "SELECT g.spec_id, g.net_counts, l.upper_limit_90, l.upper_limit_90_estimated"
    " FROM ogip.good_counts AS g FULL JOIN ogip.net_count_limits AS l"
    " ON l.release = g.release AND l.spec_id = g.spec_id WHERE coalesce(g.release, l.release) = ?"
    " AND (g.spec_id IS NULL OR l.spec_id IS NULL OR l.upper_limit_90 <= 0"
    " OR l.upper_limit_90_estimated <= 0 OR l.upper_limit_90 < g.net_counts)",
)
RATIOS = Check(
    "ratios",
    "ogip.band_rates",
    "hardness ratios lie in -1..1",
    "SELECT spec_id, hard_hm, hard_hs, hard_ms FROM ogip.band_rates WHERE release = ?"
    " AND (abs(hard_hm) > 1 OR abs(hard_hs) > 1 OR abs(hard_ms) > 1)",
)

ingest = ingested("ogip", checks=[LISTS, EXPOSURES, BINS])


def _originals(store: Store, release: str) -> dict[str, str]:
    """Copies of files: a response is found in any folder that it was copied to."""
    return originals(store, "ogip", release)


@derived(
    tables=["ogip.pairs"],
    reads=["ogip.spectra", "ogip.responses", "ogip.effective_area"],
    version="3",
    checks=[POINTERS, FOLDABLE, COMPLETE],
    beside=_originals,
)
def pairs(context: dg.AssetExecutionContext, home: lake.Home, release: str) -> Computed:
    """Find the background, response and effective area of every spectrum."""
    from lake.ogip import pairing

    def rows(table: str, columns: Sequence[str]) -> pa.Table:
        query = f"SELECT {', '.join(columns)} FROM ogip.{table} WHERE release = ?"
        return home.store.arrow(f"{query} ORDER BY path, hdu, file_row", [release])

    options = home.sql(
        "SELECT sha256, options FROM meta.files WHERE mission = 'ogip' AND release = ?"
        " AND status = 'committed'",
        [release],
    ).fetchall()
    found = pairing.pair(
        rows("spectra", pairing.SPECTRA),
        rows("responses", pairing.RESPONSES),
        rows("effective_area", pairing.AREAS),
        {sha256: json.loads(text or "{}") for sha256, text in options},
        _originals(home.store, release),
    )
    missing = pc.value_counts(pc.list_flatten(found["missing"])).to_pylist()
    shown = {
        "spectra that can be folded": pc.sum(found["foldable"]).as_py() or 0,
        "without": metadata.bars({row["values"]: row["counts"] for row in missing}),
    }
    return Computed({"ogip.pairs": found}, {"ogip.pairs": shown})


@derived(
    tables=["ogip.net_count_limits"],
    reads=["ogip.good_counts", "ogip.spectra", "ogip.effective_area", "ogip.responses"],
    version="2",
    checks=[LIMITS],
)
def limits(context: dg.AssetExecutionContext, home: lake.Home, release: str) -> Computed:
    """Say how significant the net counts of every spectrum are, and what may hide in them.

    The most significant spectrum is drawn.
    """
    from lake import figures
    from lake.ogip import excess, picture

    name = "ogip.net_count_limits"
    sums = home.store.arrow(
        "SELECT g.*, s.content FROM ogip.good_counts AS g"
        " JOIN ogip.spectra AS s ON s.release = g.release AND s.spec_id = g.spec_id"
        " WHERE g.release = ? ORDER BY g.spec_id",
        [release],
    )
    made = excess.net_count_limits(sums)
    rows = {name: of_release(made, release)}
    top = pc.max(made["significance"]).as_py()
    if top is None:
        return Computed(rows)
    brightest = made["spec_id"][pc.index(made["significance"], top).as_py()].as_py()
    path = home.products / "ogip" / release / "most_significant.svg"
    figures.save(picture.plot(home, brightest, release), path)
    shown = {"most significant": brightest, "its spectrum": dg.MetadataValue.path(path)}
    return Computed(rows, {name: shown}, [(path, "figure")])


def _brightest(home: lake.Home, release: str) -> Mapping[str, Any]:
    found = home.sql(
        "SELECT spec_id, counts, background, net_counts, net_counts_error, upper_limit_90,"
        " significance FROM ogip.net_counts WHERE release = ? AND significance IS NOT NULL"
        f" ORDER BY significance DESC LIMIT {_LISTED}",
        [release],
    )
    return {"the most significant": metadata.table(found.columns, found.fetchall())}


views = viewed("ogip", checks=[RATIOS], show={"ogip.net_counts": _brightest})
