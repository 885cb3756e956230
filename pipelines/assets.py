"""How every mission's tables and views become assets: ingested, derived, or looked at.

A mission's module in `defs/` calls `ingested` once, writes one function per computation under
`derived`, and calls `viewed`. Checks run in the same step as their asset.
"""

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa

import lake
from lake import contracts, freshness, inputs, models
from lake.ingest import Progress, ingest
from lake.store import Part, Store
from pipelines import metadata, progress
from pipelines.checks import Check, conservation_check, declare, key_check, run_all
from pipelines.partitions import RELEASES
from pipelines.resources import HomeResource

#: Tag of a run: the table that the user asked for.
ASKED = "lacus/asked"

Results = Iterator[dg.MaterializeResult | dg.AssetCheckResult]

#: Archives correct their releases now and then: inputs that nobody has compared with theirs for
#: half a year deserve a look, after a year a warning.
_LOOKED_AT = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(days=365), warn_window=timedelta(days=183)
)


def ingested(mission: str, checks: Sequence[Check] = ()) -> dg.AssetsDefinition:
    """Assets of the tables that a mission's input files go to, made in one commit."""
    tables = inputs.tables(mission)
    all_checks = [
        *map(conservation_check, tables),
        *map(key_check, tables),
        *checks,
    ]

    @dg.multi_asset(
        name=f"{mission}_ingest",
        specs=[
            _spec(table, deps=[], kinds={"parquet"}).replace_attributes(freshness_policy=_LOOKED_AT)
            for table in tables
        ],
        check_specs=declare(all_checks),
        partitions_def=RELEASES[mission],
    )
    def ingest_release(context: dg.AssetExecutionContext, home: HomeResource) -> Results:
        opened = home.open()
        outcome = ingest(
            opened,
            mission,
            context.partition_key,
            _telling(context),
        )
        context.log.info("%s", outcome.describe())
        refused = [(str(r.file.path), r.reason) for r in outcome.rejected + outcome.partly_rejected]
        for path, reason in refused:  # the command line lists them when all is done
            context.log.info("rejected %s: %s", path, reason)
        for copy in outcome.copies:
            context.log.warning("counts once: %s %s", copy.file.path, copy.reason)
        shown = {"rejected": metadata.table(["file", "reason"], refused)} if refused else {}
        if outcome.rejected and not outcome.committed and not outcome.unchanged:
            number = len(outcome.rejected)
            reason = f"nothing could be ingested: {number} of {number} inputs were rejected"
            raise dg.Failure(reason, metadata=shown, allow_retries=False)
        facts = {
            **shown,
            "files committed": len(outcome.committed),
            "files unchanged": outcome.unchanged,
            "files rejected": len(outcome.rejected),
        }
        for table in tables:
            yield _materialised(opened, table, context.partition_key, facts)
        yield from run_all(opened.store, context.partition_key, all_checks)

    return ingest_release


def _telling(context: dg.AssetExecutionContext) -> Progress:
    """Progress of a step; that it waits for another process is said wherever it runs."""

    def told(what: str, done: int | None, total: int | None) -> None:
        if what == "waiting":
            step, release = context.op_execution_context.op.name, context.partition_key
            context.log.warning("%s of %s: another process makes it; waiting", step, release)
        progress.report(what, done, total)

    return told


@dataclass(frozen=True)
class Computed:
    """What a computation gives.

    Attributes
    ----------
    rows : mapping or iterable
        Rows by table, or (table, rows) in parts of any size, which are written as they come.
    metadata : mapping
        What the UI shows beside each table; it may be filled while the parts come.
    products : sequence
        Files it made, as (path below the home, kind).
    content : mapping
        Digest of what the rows of a table say, where they say little: what is made from the table
        is out of date only if this changes.
    read_snapshot : int or None
        Snapshot that all was read from; noted for those that ask what changed since.
    part : Part or None
        Which rows are replaced; None for all of the release.
    """

    rows: Mapping[str, pa.Table] | Iterable[tuple[str, pa.Table]]
    metadata: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    products: Sequence[tuple[Path, str]] = ()
    content: Mapping[str, str] = field(default_factory=dict)
    read_snapshot: int | None = None
    part: Part | None = None

    def parts(self) -> Iterable[tuple[str, pa.Table]]:
        """Rows as (table, rows)."""
        return self.rows.items() if isinstance(self.rows, Mapping) else self.rows


Stands = Callable[[lake.Home, str], str | None]
Beside = Callable[[Store, str], Any]


@dataclass(frozen=True)
class Derivation:
    """A computation that the lake's state depends on; `lacus run` asks whether it is stale.

    One `on_request` is long, and made only when its table is asked for by name. One that `stands`
    is made anew when its table is asked for by name, though it is not out of date: the function
    tells in words that something has changed since, or gives None. What it depends on `beside` the
    tables that it reads is told by a function, as JSON can hold it.
    """

    name: str
    tables: tuple[str, ...]
    reads: tuple[str, ...]
    version: str
    assets: dg.AssetsDefinition
    across: tuple[str, ...] = ()
    on_request: bool = False
    stands: Stands | None = None
    beside: Beside | None = None

    def fingerprint(self, store: Store, release: str) -> str:
        """Digest of what the tables would be made from now."""
        beside = self.beside and self.beside(store, release)
        return freshness.fingerprint(store, release, self.reads, self.version, self.across, beside)


#: Derivations by mission, in the order of their modules.
DERIVATIONS: dict[str, list[Derivation]] = {}


def asked(context: dg.AssetExecutionContext, tables: Collection[str]) -> bool:
    """Whether a run is for some tables by name: as `lacus run TABLE`, or they alone in the UI."""
    alone = context.run.asset_selection
    named = {metadata.key(table) for table in tables}
    return context.run.tags.get(ASKED) in tables or (bool(alone) and set(alone or ()) <= named)


def no_rows(name: str) -> pa.Table:
    """A table without rows."""
    return contracts.table(name).schema().empty_table()


def of_release(rows: pa.Table, release: str) -> pa.Table:
    """Rows with their release in front."""
    return rows.add_column(0, "release", pa.repeat(release, rows.num_rows))


Compute = Callable[[dg.AssetExecutionContext, lake.Home, str], Computed]


def derived(
    *,
    tables: Sequence[str],
    reads: Sequence[str],
    version: str,
    checks: Sequence[Check] = (),
    across: Sequence[str] = (),
    on_request: bool = False,
    stands: Stands | None = None,
    beside: Beside | None = None,
) -> Callable[[Compute], dg.AssetsDefinition]:
    """Make assets of a function ``(context, home, release) -> Computed``.

    The tables are replaced in one commit. If nothing that they were made from has changed, the
    function is not called.

    Parameters
    ----------
    tables : sequence of str
        Tables that the function gives, all of them.
    reads : sequence of str
        Tables and views that it reads.
    version : str
        Raised when it gives other rows for the same input.
    checks : sequence of Check
    across : sequence of str
        Tables of which it reads the rows of all releases.
    on_request : bool
        See `Derivation`.
    stands, beside : callable, optional
        See `Derivation`.
    """
    mission = tables[0].split(".")[0]
    all_checks = [*(key_check(table) for table in tables), *checks]

    def wrap(compute: Compute) -> dg.AssetsDefinition:
        name = compute.__name__
        text = inspect.cleandoc(compute.__doc__ or "")

        @dg.multi_asset(
            name=f"{mission}_{name}",
            specs=[
                _spec(t, deps=reads, kinds={"python"}, version=version, note=text) for t in tables
            ],
            check_specs=declare(all_checks),
            partitions_def=RELEASES[mission],
        )
        def compute_release(context: dg.AssetExecutionContext, home: HomeResource) -> Results:
            opened, release = home.open(), context.partition_key
            shown: Mapping[str, Mapping[str, Any]] = {}
            # Of two runs at once, the second finds that there is nothing left to do.
            told = _telling(context)
            alone = opened.store.ingesting(
                f"{mission}_{name}", release, lambda: told("waiting", None, None)
            )
            with alone:
                print_ = derivation.fingerprint(opened.store, release)
                stored = opened.store.fingerprints(release)
                again = stands and asked(context, tables) and stands(opened, release)
                if not again and all(stored.get(table) == print_ for table in tables):
                    context.log.info("unchanged: made from the same input by the same code")
                else:
                    computed = compute(context, opened, release)
                    opened.store.replace(
                        release,
                        tables,
                        computed.parts(),
                        fingerprint=print_,
                        code_version=version,
                        message=f"{mission} {release}: {name.replace('_', ' ')}",
                        products=lambda: [
                            opened.product(path, mission, release, kind)
                            for path, kind in computed.products
                        ],
                        content=computed.content,
                        read_snapshot=computed.read_snapshot,
                        part=computed.part,
                    )
                    shown = computed.metadata
            for table in tables:
                yield _materialised(opened, table, release, shown.get(table, {}))
            yield from run_all(opened.store, release, all_checks)

        derivation = Derivation(
            name, tuple(tables), tuple(reads), version, compute_release, tuple(across), on_request,
            stands, beside,
        )  # fmt: skip
        DERIVATIONS.setdefault(mission, []).append(derivation)
        return compute_release

    return wrap


def viewed(
    mission: str,
    *,
    checks: Sequence[Check] = (),
    show: Mapping[str, Callable[[lake.Home, str], Mapping[str, Any]]] | None = None,
) -> list[dg.AssetsDefinition]:
    """Assets of a mission's views: their counts, checks and pictures, release by release."""
    return [
        _view_asset(view, [c for c in checks if c.table == view.name], (show or {}).get(view.name))
        for view in models.for_namespace(mission)
    ]


def _view_asset(
    view: models.View,
    checks: Sequence[Check],
    show: Callable[[lake.Home, str], Mapping[str, Any]] | None,
) -> dg.AssetsDefinition:
    all_checks = [key_check(view.name), *checks]

    @dg.multi_asset(
        name=view.name.replace(".", "_"),
        specs=[_spec(view.name, deps=view.depends, kinds={"sql"})],
        check_specs=declare(all_checks),
        partitions_def=RELEASES[view.namespace],
    )
    def look(context: dg.AssetExecutionContext, home: HomeResource) -> Results:
        opened, release = home.open(), context.partition_key
        yield _materialised(opened, view.name, release, show(opened, release) if show else {})
        yield from run_all(opened.store, release, all_checks)

    return look


def _spec(
    name: str, *, deps: Iterable[str], kinds: set[str], version: str | None = None, note: str = ""
) -> dg.AssetSpec:
    made = models.named(name)
    shown: dict[str, Any] = {"dagster/column_schema": metadata.column_schema(name)}
    if (columns := metadata.lineage(name)) is not None:
        shown["dagster/column_lineage"] = columns
    return dg.AssetSpec(
        metadata.key(name),
        deps=[metadata.key(dep) for dep in deps],
        description=f"{made.description}\n\n{note}".strip(),
        group_name=name.split(".")[0],
        kinds={"duckdb", *kinds},
        owners=["team:lacus"],
        code_version=version,
        metadata=shown,
    )


def _materialised(
    home: lake.Home, name: str, release: str, shown: Mapping[str, Any]
) -> dg.MaterializeResult:
    count = home.sql(f"SELECT count(*) FROM {name} WHERE release = ?", [release]).fetchone()
    facts = {key: value for key, value in shown.items() if value is not None}
    return dg.MaterializeResult(
        metadata.key(name),
        metadata={
            "dagster/row_count": count[0] if count else 0,
            "snapshot": home.store.snapshot(),
            **facts,
        },
    )
