"""Is all well: versions, extensions, disk, and whether every file of the catalogue is there."""

import importlib.metadata
import platform
import shutil
from dataclasses import dataclass

import duckdb
import pyarrow.parquet as pq

from lake import contracts
from lake.errors import LacusError
from lake.home import Home

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
    """Look at versions, disk and catalogue; nothing is changed."""
    findings = [Finding("python", True, f"{platform.python_version()} ({platform.machine()})")]
    findings += [_package(name) for name in _PACKAGES]
    there = next(p for p in (home.root, *home.root.parents) if p.exists())
    free = shutil.disk_usage(there).free
    findings.append(Finding("disk", free > _LEAST_FREE, f"{free / 2**30:.1f} GiB free at {there}"))
    if not home.store.exists:
        return [*findings, Finding("lake", True, f"none yet at {home.store.directory}")]
    try:
        return findings + _catalogue(home)
    except LacusError as error:
        return [*findings, Finding("lake", False, str(error))]


def _package(name: str) -> Finding:
    try:
        return Finding(name, True, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, False, "is not installed")


def _catalogue(home: Home) -> list[Finding]:
    """Compare the catalogue with the footers of its files: counts alone would hide a loss."""
    findings = [Finding("lake", True, f"snapshot {home.store.snapshot()} of {home.root}")]
    with home.store.connect() as connection:
        for name in contracts.tables():
            namespace, _, table = name.partition(".")
            files = connection.execute(
                "SELECT data_file FROM ducklake_list_files('lake', ?, schema => ?)",
                [table, namespace],
            ).fetchall()
            bad = [reason for (file,) in files if (reason := _unreadable(file))]
            detail = "; ".join(bad[:3]) or f"{len(files)} files"
            findings.append(Finding(name, not bad, detail))
        try:
            for name in contracts.tables():
                connection.execute(f"SELECT * FROM {name} LIMIT 0")
        except duckdb.Error as error:
            findings.append(Finding(name, False, str(error)))
    left = list((home.store.directory / "staging").glob("*.parquet"))
    if left:
        findings.append(
            Finding("staging", True, f"{len(left)} files of a writer at work, or of a killed one")
        )
    return findings


def _unreadable(file: str) -> str | None:
    try:
        pq.read_metadata(file)
    except (OSError, ValueError) as error:
        return f"{file}: {error}"
    return None
