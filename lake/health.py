"""Is all well: versions, disk, registered sources, and every file that the catalogue names."""

import importlib.metadata
import platform
import shutil
from dataclasses import dataclass

import duckdb
import pyarrow.parquet as pq

from lake import contracts, inputs, migrate
from lake.errors import LacusError
from lake.failed_checks import failed_checks
from lake.home import Home
from lake.store import Store

_PACKAGES = (
    "lacus", "duckdb", "duckdb-extension-ducklake", "duckdb-extension-sqlite-scanner", "pyarrow",
    "polars", "numpy", "astropy", "scikit-learn", "sqlglot", "dagster",
)  # fmt: skip
_LEAST_FREE = 1 << 30


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: whether it is well, and what was seen."""

    subject: str
    well: bool
    detail: str


def examine(home: Home) -> list[Finding]:
    """Look at versions, disk, sources and catalogue; nothing is changed."""
    findings = [Finding("python", True, f"{platform.python_version()} ({platform.machine()})")]
    findings += [_package(name) for name in _PACKAGES]
    there = next(p for p in (home.root, *home.root.parents) if p.exists())
    free = shutil.disk_usage(there).free
    findings.append(Finding("disk", free > _LEAST_FREE, f"{free / 2**30:.1f} GiB free at {there}"))
    findings += _sources(home)
    if not home.store.exists:
        return [*findings, Finding("lake", True, f"none yet at {home.store.directory}")]
    try:
        return findings + _catalogue(home.store)
    except (LacusError, duckdb.Error) as error:
        return [*findings, Finding("lake", False, str(error))]


def in_line(store: Store) -> bool:
    """Whether a lake has the tables and views of the present contracts; so it has if there is none.

    `lake.migrate.sync`, which every commit begins with, brings it into line.
    """
    if not store.exists:
        return True
    return store.fingerprints("contracts").get("meta.columns") == migrate.digest()


def barren(home: Home, mission: str | None = None, release: str | None = None) -> list[str]:
    """Say which registered folders hold no input file, and what was looked for there.

    Parameters
    ----------
    home : Home
    mission, release : str, optional
        Of these only.
    """
    found = []
    for source in home.sources():
        if mission not in (None, source.mission) or release not in (None, source.release):
            continue
        suffixes = inputs.role(source.mission, source.role).suffixes
        what = f"{source.mission} {source.release} {source.role}"
        if not source.paths:
            found.append(f"{what}: no path is given")
        for path in source.paths:
            if next(inputs.stats_below(path, suffixes), None) is None:
                found.append(f"{what}: no file below {path} ends in {', '.join(suffixes)}")
    return found


def _sources(home: Home) -> list[Finding]:
    try:
        sources, wrong = home.sources(), barren(home)
    except LacusError as error:
        return [Finding("sources", False, str(error))]
    gone = [path for source in sources for path in source.paths if not path.exists()]
    wrong += [f"{path}: no such file or folder" for path in gone]
    return [Finding("sources", False, text) for text in wrong] or [
        Finding("sources", True, f"{len(sources)} in {home.sources_file}")
    ]


def _package(name: str) -> Finding:
    try:
        return Finding(name, True, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, False, "is not installed")


def _catalogue(store: Store) -> list[Finding]:
    """Compare the catalogue with its files: their footers, and the rows that it counts in them."""
    if in_line(store):
        findings = [Finding("lake", True, f"snapshot {store.snapshot()} at {store.directory}")]
    else:
        findings = [Finding("lake", False, "lags behind the contracts: `lacus run` renews it")]
    with store.connect() as connection:
        known = {
            f"{schema}.{table}"
            for schema, table in connection.execute(
                "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'lake'"
            ).fetchall()
        }
        for name in contracts.tables():
            namespace, _, table = name.partition(".")
            if name not in known:
                # What lags behind the contracts was said above, and once is enough.
                if findings[0].well:
                    findings.append(Finding(name, False, "is not in the catalogue"))
                continue
            try:
                files = connection.execute(
                    "SELECT data_file, delete_file"
                    " FROM ducklake_list_files('lake', ?, schema => ?)",
                    [table, namespace],
                ).fetchall()
            except duckdb.Error as error:
                findings.append(Finding(name, False, str(error)))
                continue
            bad = [reason for row in files for f in row if f and (reason := _unreadable(f))]
            if not bad:
                bad = _miscounted(connection, name, [data for data, _ in files])
            detail = "; ".join(bad[:3]) or f"{len(files)} file{'s' * (len(files) != 1)}"
            findings.append(Finding(name, not bad, detail))
    findings += [
        Finding(check.table, False, f"{check.release}: check {check.check} failed: {check.found}")
        for check in failed_checks(store)
    ]
    left = list((store.directory / "staging").glob("*.parquet"))
    if left:
        findings.append(
            Finding("staging", True, f"{len(left)} files of a writer at work, or of a killed one")
        )
    return findings


def _unreadable(file: str) -> str | None:
    """Why the footer of a Parquet file cannot be read; None if it can."""
    try:
        pq.read_metadata(file)
    except FileNotFoundError:
        return f"{file}: is missing"
    except (OSError, ValueError) as error:
        return f"{file}: {error}"
    return None


def _miscounted(connection: duckdb.DuckDBPyConnection, table: str, files: list[str]) -> list[str]:
    """Compare the rows in a table's files with those that the catalogue counts in them."""
    namespace, _, name = table.partition(".")
    row = connection.execute(
        "SELECT sum(f.record_count) FROM __ducklake_metadata_lake.ducklake_data_file AS f"
        " JOIN __ducklake_metadata_lake.ducklake_table AS t USING (table_id)"
        " JOIN __ducklake_metadata_lake.ducklake_schema AS s USING (schema_id)"
        " WHERE s.schema_name = ? AND t.table_name = ? AND f.end_snapshot IS NULL"
        " AND t.end_snapshot IS NULL AND s.end_snapshot IS NULL",
        [namespace, name],
    ).fetchone()
    counted = int(row[0] or 0) if row else 0
    there = sum(pq.read_metadata(file).num_rows for file in files)
    return [] if there == counted else [f"{there} rows in its files, {counted} in the catalogue"]
