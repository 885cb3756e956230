"""Object types from SIMBAD, for the sources of a release, over its TAP service.

Source of the tables (basic, alltypes): https://simbad.cds.unistra.fr/simbad/tap/tapsearch.html.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.commit import now
from lake.csc.sky import Band, angle, bands, separation
from lake.errors import UsageError
from lake.fetch.archives import Archive, Request, Result
from lake.fetch.folder import digest
from lake.fetch.parts import bring_parts, is_here, state_of
from lake.fetch.session import FetchError
from lake.fetch.settings import Settings
from lake.fetch.tables import keep_table
from lake.fetch.tap import Query, answer, ask

#: One position for every source, whatever the order of the files.
_SOURCES = """
SELECT name, ra, dec
FROM csc.detections
WHERE release = ? AND name IS NOT NULL AND ra IS NOT NULL AND dec IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY name ORDER BY obsid, obi, region_id, ra, dec) = 1
ORDER BY name
"""
_MATCHES = """SELECT u.source, b.main_id, b.otype, a.otypes, b.ra, b.dec
FROM TAP_UPLOAD.sources AS u
JOIN basic AS b
  ON 1 = CONTAINS(POINT('ICRS', b.ra, b.dec), CIRCLE('ICRS', u.ra, u.dec, {radius:.12f}))
LEFT JOIN alltypes AS a ON a.oidref = b.oid"""
#: SIMBAD has no other sign of what it would give than when it was last worked on.
_UPDATED = "SELECT COUNT(*) AS objects, MAX(update_date) AS updated FROM basic"
_RADIUS = "1arcsec"


@dataclass(frozen=True)
class _Batch:
    """Sources of one band of the sky.

    Attributes
    ----------
    band : Band
    sources : pyarrow.Table
        name, ra, dec.
    query : str
        As it is noted.
    stamp : str
        Digest of the query, the sources and the state of SIMBAD.
    """

    band: Band
    sources: pa.Table
    query: str
    stamp: str

    @property
    def name(self) -> str:
        return f"simbad-{self.band.name}.parquet"


def fetch(request: Request) -> Result:
    """Match the release's sources, batch by batch; see `lake.fetch.archives.Archive`."""
    adql, batches = _batches(request)
    names = {batch.name for batch in batches}

    def match(batch: _Batch) -> None:
        if is_here(request, batch):
            return
        numbers = pa.array(np.arange(batch.sources.num_rows), pa.int32())
        sources = batch.sources.select(["ra", "dec"]).add_column(0, "source", numbers)
        query = Query(request.url, adql, uploads={"sources": sources}, version=batch.stamp)
        with answer(request.session, query, request.folder, batch.name) as found:
            labels = nearest(batch.sources, found)
            if not labels.num_rows:
                names.discard(batch.name)
                return
            keep_table(
                request.folder, batch.name, labels, url=request.url, query=batch.query,
                stamp=batch.stamp, order=("name",),
            )  # fmt: skip

    return bring_parts(request, batches, names, match, "batches of sources")


def state(request: Request) -> str:
    """Digest of the sources, and of when SIMBAD was last worked on."""
    return state_of(_batches(request)[1])


def nearest(sources: pa.Table, found: pa.Table) -> pa.Table:
    """Labels of sources: of each the nearest object; of equally near ones the first by name.

    Parameters
    ----------
    sources : pyarrow.Table
        name, ra, dec in degrees.
    found : pyarrow.Table
        source (row of `sources`, from 0), main_id, otype, otypes, ra, dec: all matches.

    Returns
    -------
    pyarrow.Table
        Columns of csc.labels; a source without a match has no row.
    """
    numbers = np.asarray(found["source"], np.int64)
    of = sources.take(pa.array(numbers))
    ra1, dec1, ra2, dec2 = (
        np.asarray(table[name], np.float64) for table in (of, found) for name in ("ra", "dec")
    )
    text = {name: pc.utf8_trim_whitespace(found[name].cast(pa.string()))
            for name in ("main_id", "otype", "otypes")}  # fmt: skip
    matches = pa.table(
        {
            "name": of["name"],
            "main_id": text["main_id"],
            "main_type": text["otype"],
            "other_types": text["otypes"],
            "separation_arcsec": pa.array(3600 * separation(ra1, dec1, ra2, dec2)),
            "catalogue": pa.repeat("SIMBAD", len(numbers)),
        }
    ).sort_by([(key, "ascending") for key in ("name", "separation_arcsec", "main_id")])
    names = matches["name"].to_numpy()
    first = np.ones(len(names), bool)
    first[1:] = names[1:] != names[:-1]
    unit = pa.field("separation_arcsec", pa.float64(), metadata={b"unit": b"arcsec"})
    return matches.filter(pa.array(first)).cast(
        matches.schema.set(matches.schema.get_field_index(unit.name), unit)
    )


def _batches(request: Request) -> tuple[str, list[_Batch]]:
    """The query, and the release's sources in batches that stay what they are."""
    radius = angle(request.parameters.get("radius", _RADIUS), "arcsec")
    store = request.home.store
    sources = store.arrow(_SOURCES, [request.release]) if store.exists else None
    if sources is None or not sources.num_rows:
        raise UsageError(
            f"the lake has no detections of csc {request.release} with a position: fetch or add"
            " them, then `lacus run`"
        )
    adql = _MATCHES.format(radius=radius)
    updated = _updated(request)
    ra = np.asarray(sources["ra"], np.float64) % 360
    batches = []
    for band, inside in bands(ra, request.session.settings.rows):
        rows = sources.take(pa.array(inside))
        query = (
            f"{adql}\n-- sources: {rows.num_rows} of csc {request.release},"
            f" {band.low:g} <= ra < {band.high:g}"
        )
        stamp = digest([query, updated, rows.to_pydict()])
        batches.append(_Batch(band, rows, query, stamp))
    return adql, batches


def _updated(request: Request) -> list[str]:
    """When SIMBAD was last worked on; where it does not say that, it counts as changed."""
    try:
        (row,) = ask(request.session, Query(request.url, _UPDATED)).to_pylist()
    except FetchError:  # if nothing goes there, the match will tell
        return [now().isoformat()]
    return [str(value) for value in row.values()]


SIMBAD = Archive(
    name="simbad",
    mission="csc",
    role="labels",
    url="https://simbad.cds.unistra.fr/simbad/sim-tap",
    description="SIMBAD: object types at the positions of the lake's detections, over TAP",
    parameters={"radius": f"how far an object may be from a source; {_RADIUS} by default"},
    fetch=fetch,
    state=state,
    settings=Settings(requests_per_second=2.0, parallel=2, timeout_s=120.0, rows=10_000),
)
