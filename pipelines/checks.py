"""Checks of assets: SQL that returns the bad rows of a release, which is its only parameter."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from lake import contracts, failed_checks, inputs, models
from lake.errors import LacusError
from lake.failed_checks import FailedCheck
from lake.store import Store
from pipelines import metadata


@dataclass(frozen=True)
class Check:
    """A check of one asset: SQL that returns the bad rows of the release ``?``.

    One that only `warns` tells of a science result that is unusual, not wrong.
    """

    name: str
    table: str
    description: str
    sql: str
    warns: bool = False

    def spec(self) -> dg.AssetCheckSpec:
        """Declaration for Dagster."""
        return dg.AssetCheckSpec(
            self.name, asset=metadata.key(self.table), description=self.description
        )

    def run(self, store: Store, release: str) -> dg.AssetCheckResult:
        """Run on a release; the first bad rows are in the metadata.

        One that cannot be worked out has failed, whatever it is of.
        """
        parameters = [release] * self.sql.count("?")
        query = f"SELECT *, count(*) OVER () AS bad_rows FROM ({self.sql}) LIMIT 5"
        try:
            first = store.arrow(query, parameters).to_pylist()
        except LacusError as error:
            return dg.AssetCheckResult(
                passed=False,
                description=f"cannot be worked out: {' '.join(str(error).split())}",
                asset_key=metadata.key(self.table),
                check_name=self.name,
            )
        number = first[0]["bad_rows"] if first else 0
        found: dict[str, Any] = {"bad rows": number}
        description = None
        if first:
            rows = [{k: v for k, v in row.items() if k != "bad_rows"} for row in first]
            found["first"] = metadata.table(list(rows[0]), [list(row.values()) for row in rows])
            shown = ", ".join(f"{name}={value}" for name, value in rows[0].items())
            description = f"not so: {self.description}; bad rows: {number}, the first: {shown}"
        return dg.AssetCheckResult(
            passed=not first,
            severity=dg.AssetCheckSeverity.WARN if self.warns else dg.AssetCheckSeverity.ERROR,
            description=description,
            asset_key=metadata.key(self.table),
            check_name=self.name,
            metadata=found,
        )


#: Checks by table or view and name.
CHECKS: dict[tuple[str, str], Check] = {}


def declare(checks: Iterable[Check]) -> list[dg.AssetCheckSpec]:
    """Make checks known by name; gives their declarations for Dagster."""
    declared = list(checks)
    CHECKS.update({(check.table, check.name): check for check in declared})
    return [check.spec() for check in declared]


def run_all(store: Store, release: str, checks: Iterable[Check]) -> list[dg.AssetCheckResult]:
    """Run checks on a release, and note in the lake which of them failed.

    Dagster keeps of a check only its last result, whatever release that was of.
    """
    results = {(check.table, check.name): check.run(store, release) for check in checks}
    failed_checks.note(store, release, {key: _wrong(result) for key, result in results.items()})
    return list(results.values())


def run_again(store: Store, noted: Sequence[FailedCheck]) -> list[FailedCheck]:
    """Look again at checks that failed; gives those that still do.

    What they look at may be as it was and they may not: a check that is no more has passed.
    """
    for of in dict.fromkeys((check.mission, check.release) for check in noted):
        keys = [(c.table, c.check) for c in noted if (c.mission, c.release) == of]
        failed_checks.note(store, of[1], {key: None for key in keys if key not in CHECKS})
        run_all(store, of[1], [CHECKS[key] for key in keys if key in CHECKS])
    asked = {(check.release, check.what) for check in noted}
    return [c for c in failed_checks.failed_checks(store) if (c.release, c.what) in asked]


def _wrong(result: dg.AssetCheckResult) -> str | None:
    """What is wrong by the result of a check; None where it passed, or only warns."""
    if result.passed or result.severity is dg.AssetCheckSeverity.WARN:
        return None
    return result.description or "failed"


def key_check(name: str) -> Check:
    """The key of a table or view is unique, its required columns are not null."""
    made = models.named(name)
    columns = ", ".join(map(contracts.quote, made.key))
    required = [c.name for c in made.columns if not getattr(c, "nullable", True)]
    bad = (
        f"SELECT {columns}, count(*) AS repeats FROM {name} WHERE release = ?"
        " GROUP BY ALL HAVING count(*) > 1"
    )
    # A view requires nothing. Of a table's files, statistics tell where there is no null: to look
    # for nulls apart costs less than to count them in every group.
    if required:
        nulls = " OR ".join(f"{contracts.quote(c)} IS NULL" for c in required)
        bad += (
            f" UNION ALL BY NAME SELECT {columns}, 0 AS repeats FROM {name}"
            f" WHERE release = ? AND ({nulls})"
        )
    return Check(
        "contract",
        name,
        f"({', '.join(made.key)}) is unique and required columns have values",
        bad,
    )


def conservation_check(name: str) -> Check:
    """Every row of every input file was committed or rejected, and is there."""
    mission = name.split(".")[0]
    roles = inputs.roles(mission).values()
    counted = [role.name for role in roles if role.table == name]
    to_it = [role.name for role in roles if name in role.tables]
    # For each column that is compared by itself, DuckLake looks up statistics of the files.
    wanted = ", ".join(f"('{mission}', {contracts.literal(r)}, 'committed')" for r in to_it)
    files = (
        "SELECT name, sha256, rows_read, rows_committed, rows_rejected FROM meta.files"
        f" WHERE release = ? AND (mission, role, status) IN ({wanted})"
    )
    stored = (
        f"SELECT file_sha256 AS sha256, count(*) AS stored FROM {name} WHERE release = ?"
        " GROUP BY ALL"
    )
    wrong = "f.sha256 IS NULL OR t.sha256 IS NULL"
    said = "the table holds rows of every committed file and of no other"
    if any(isinstance(role, inputs.RecordRole) and name in role.some for role in roles):
        wrong = "f.sha256 IS NULL"
        said = "the table holds rows of committed files only"
    if counted:
        wrong = (
            "f.sha256 IS NULL OR f.rows_read <> f.rows_committed + f.rows_rejected"
            " OR f.rows_committed <> coalesce(t.stored, 0)"
        )
        said = (
            "rows read = rows committed + rows rejected,"
            " and the table holds these rows and no others"
        )
    return Check(
        "conservation",
        name,
        said,
        "SELECT f.name, coalesce(f.sha256, t.sha256) AS sha256, f.rows_read, f.rows_committed,"
        " f.rows_rejected, coalesce(t.stored, 0) AS stored"
        f" FROM ({files}) AS f FULL JOIN ({stored}) AS t ON t.sha256 = f.sha256 WHERE {wrong}",
    )
