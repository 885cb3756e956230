"""The Chandra Source Catalog's own archive: per-observation detections over its TAP service.

The query is that of the method (Perez-Diaz et al. 2024, arXiv 2401.12203), cut into bands of
right ascension. The service has no geometry (https://cxc.cfa.harvard.edu/csc/cli/adql.html): a
cone is a box there that is cut to the circle here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lake.commit import now
from lake.csc.simbad import SIMBAD
from lake.csc.sky import Band, Cone
from lake.errors import UsageError
from lake.fetch.archives import Archive, Request, Result
from lake.fetch.download import each
from lake.fetch.folder import digest
from lake.fetch.parts import bring_parts, is_here, state_of
from lake.fetch.session import FetchError
from lake.fetch.settings import Settings
from lake.fetch.tables import keep_table
from lake.fetch.tap import Overflow, Query, QueryError, answer, ask, forget_answers

#: Service and schema by release.
_RELEASES = {
    "CSC2.0": ("https://cda.cfa.harvard.edu/csc2tap", "csc2"),
    "CSC2.1": ("https://cda.cfa.harvard.edu/csc21tap", "csc21"),
}
_BANDS = "bhms"
_LIMITS = ("", "_lolim", "_hilim")
_IDENTIFIERS = ("o.obsid", "o.obi", "o.region_id")
#: Numbers of the method's query; the name and the identifiers go before them.
_NUMBERS = (
    "o.theta", "m.ra", "m.dec", "m.significance",
    "m.likelihood", "o.src_area_b", "o.flux_aper_b", "o.hard_hm", "o.hard_hs", "o.hard_ms",
    *(f"o.powlaw_gamma{limit}" for limit in _LIMITS),
    *(f"o.bb_kt{limit}" for limit in _LIMITS),
    *(f"o.var_{what}_{band}"
      for what in ("prob", "sigma", "mean", "min", "max") for band in _BANDS),
    *(f"o.{what}_prob_{band}" for what in ("ks", "kp") for band in _BANDS),
    "o.gti_start", "o.gti_stop", "o.gti_elapse",
)  # fmt: skip
_FROM = """FROM {schema}.master_source m, {schema}.master_stack_assoc a,
  {schema}.observation_source o, {schema}.stack_observation_assoc b, {schema}.stack_source s
WHERE m.name = a.name
  AND s.detect_stack_id = a.detect_stack_id AND s.region_id = a.region_id
  AND s.detect_stack_id = b.detect_stack_id AND s.region_id = b.region_id
  AND o.obsid = b.obsid AND o.obi = b.obi AND o.region_id = b.region_id
  AND o.flux_significance_b > 5 AND o.powlaw_gamma IS NOT NULL AND o.bb_kt IS NOT NULL"""
_KEY = ("name", "obsid", "obi", "region_id")

#: Bands of right ascension (an hour wide) that the sky is asked for in. Their edges are fixed and
#: those of narrower ones halve them, so that a change at the archive changes one file, and a name
#: of a file says for good which part of the sky is in it.
_HOURS = tuple(Band(15.0 * hour, 15.0 * (hour + 1)) for hour in range(24))


@dataclass(frozen=True)
class _Slice:
    """Detections of one band, as the archive sums them up.

    Attributes
    ----------
    band : Band
    adql : str
    rows : int
        Including repeated ones.
    stamp : str
        Digest of the query, the number of rows, and the sums of all columns.
    """

    band: Band
    adql: str
    rows: int
    stamp: str

    @property
    def name(self) -> str:
        return f"detections-{self.band.name}.parquet"


class _Asked:
    """A request for detections that the method's query gives."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.url, schema = _service(request)
        cone = request.parameters.get("cone")
        self.cone = Cone.of(cone) if cone else None
        self.tables = _FROM.format(schema=schema)
        self.bands = list(_HOURS)
        if self.cone is not None:
            low, high, self.bands = self.cone.box()
            self.tables += f"\n  AND m.dec >= {low:.12f} AND m.dec <= {high:.12f}"

    def slices(self) -> list[_Slice]:
        """Ask for the sums of all bands, halving those of too many rows."""
        found: list[_Slice] = []
        request = self.request
        for failure in each(
            request.session, self.bands, lambda band: found.extend([*self.weigh(band)]),
            lambda done: request.report("counts", done, len(self.bands)),
        ):  # fmt: skip
            raise failure
        return sorted(found, key=lambda part: part.band.low)

    def weigh(self, band: Band) -> Iterator[_Slice]:
        """Slices of a band that hold some rows, and not too many."""
        where = self.tables
        # The ends of the circle are left open, lest a source lies on them.
        if band.low > 0:
            where += f"\n  AND m.ra >= {band.low:.12f}"
        if band.high < 360:
            where += f"\n  AND m.ra < {band.high:.12f}"
        sums = [f"SUM({name})" for name in _NUMBERS]
        # The sum of many integers may be more than the service's integers hold.
        sums += [f"{end}({name})" for name in ("m.name", *_IDENTIFIERS) for end in ("MIN", "MAX")]
        columns = ", ".join(f"{term} AS s{i}" for i, term in enumerate(sums))
        query = Query(self.url, f"SELECT COUNT(*) AS n, {columns}\n{where}")
        (row,) = ask(self.request.session, query).to_pylist()
        rows = int(row.pop("n"))
        halves = band.halves()
        if rows > self.request.session.settings.rows and halves is not None:
            for half in halves:
                yield from self.weigh(half)
        elif rows:
            columns = ", ".join(("m.name", *_IDENTIFIERS, *_NUMBERS))
            adql = f"SELECT {columns}\n{where}\nORDER BY {', '.join(_KEY)}"
            # Another order of summation changes the last digits.
            short = [f"{v:.9g}" if isinstance(v, float) else v for v in row.values()]
            yield _Slice(band, adql, rows, digest([adql, rows, *short]))

    def bring(self, part: _Slice, names: set[str]) -> None:
        """Have the file of a slice; where the service cuts the answer, of its halves."""
        if is_here(self.request, part):
            return
        try:
            self._bring(part, names)
        except Overflow:
            halves = part.band.halves()
            if halves is None:
                raise
            names.discard(part.name)
            narrower = [one for half in halves for one in self.weigh(half)]
            names.update(one.name for one in narrower)
            for one in narrower:
                self.bring(one, names)

    def _bring(self, part: _Slice, names: set[str]) -> None:
        request = self.request
        query = Query(self.url, part.adql, max_rows=part.rows + 1, version=part.stamp)
        with answer(request.session, query, request.folder, part.name) as table:
            if table.num_rows != part.rows:
                problem = f"{table.num_rows:,} rows of {part.name} came; expected {part.rows:,}"
                raise QueryError(self.url, problem)
            table = _distinct(table)
            if self.cone is not None:
                position = (np.asarray(table[name], np.float64) for name in ("ra", "dec"))
                table = table.filter(pa.array(self.cone.holds(*position)))
            if not table.num_rows:
                names.discard(part.name)
                return
            keep_table(
                request.folder, part.name, table, url=self.url, query=part.adql,
                stamp=part.stamp, order=_KEY,
            )  # fmt: skip


def fetch(request: Request) -> Result:
    """Bring detections into the request's folder; see `lake.fetch.archives.Archive`."""
    if "adql" in request.parameters:
        return _fetch_own(request)
    asked = _Asked(request)
    slices = asked.slices()
    names = {part.name for part in slices}
    return bring_parts(request, slices, names, lambda part: asked.bring(part, names), "slices")


def state(request: Request) -> str:
    """Digest of the sums over all slices.

    What a query of the user's own would give cannot be told without running it: its state is
    another one every time.
    """
    if "adql" in request.parameters:
        return now().isoformat()
    return state_of(_Asked(request).slices())


def _fetch_own(request: Request) -> Result:
    """Bring the answer to a query of the user's own into the folder, as one file."""
    if "cone" in request.parameters:
        raise UsageError("a request has either a query (adql) or a cone, not both")
    started = state(request)
    url, _ = _service(request)
    adql, name = request.parameters["adql"].strip(), "detections.parquet"
    request.report("the query", None, None)
    try:
        with answer(request.session, Query(url, adql), request.folder, name) as table:
            if table.num_rows:
                keep_table(
                    request.folder, name, table, url=url, query=adql, stamp=started, order=_KEY
                )
    except Overflow as error:
        raise FetchError(url, f"{error.problem}; ask for less of it at a time") from error
    request.folder.keep([name] if table.num_rows else [])
    forget_answers(request.folder)
    return Result(started)


def _distinct(table: pa.Table) -> pa.Table:
    """Rows that differ: a detection can belong to a source through several stacks."""
    groups = table.group_by(table.column_names, use_threads=False).aggregate([])
    return groups.select(table.column_names).cast(table.schema)


def _service(request: Request) -> tuple[str, str]:
    """URL of the service and its schema, for a release; the release may have a suffix."""
    known = re.match(rf"({'|'.join(map(re.escape, _RELEASES))})(?![0-9])", request.release)
    if known is None:
        raise UsageError(
            f"the archive has the releases {' and '.join(_RELEASES)}, which may have a suffix, as"
            f" {next(iter(_RELEASES))}-orion; not {request.release!r}"
        )
    url, schema = _RELEASES[known[0]]
    return (url if request.url == request.archive.url else request.url), schema


CSC = Archive(
    name="csc",
    mission="csc",
    role="detections",
    url=_RELEASES["CSC2.1"][0],
    description="Chandra Source Catalog: per-observation detections, over TAP",
    parameters={
        "adql": "a query of your own; it has to give name and obsid",
        "cone": "RA DEC RADIUS of a circle, instead of the whole sky",
    },
    fetch=fetch,
    state=state,
    settings=Settings(requests_per_second=2.0, parallel=2, timeout_s=300.0, rows=20_000),
)

ARCHIVES = (CSC, SIMBAD)
