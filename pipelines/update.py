"""Bring releases up to date, and tell what came of it."""

from collections.abc import Sequence
from typing import Any

import lake
from pipelines import progress, show
from pipelines.command import FAILED, OK, SOME_REJECTED


def update(
    home: lake.Home, releases: Sequence[tuple[str, str]], selection: str | None, jobs: int
) -> int:
    """Run what is stale of some releases; returns the exit code."""
    from pipelines import jobs as runner
    from pipelines.resources import renew

    failures: list[runner.Failure] = []
    not_made: list[str] = []
    with_data = 0
    with progress.shown("looking for what is out of date"):
        # Asked of all before the contracts are renewed: that makes the views stale.
        todo = {pair: runner.stale(home, *pair, selection) for pair in releases}
        if selection is not None:
            todo = {pair: runner.selected(selection, names) for pair, names in todo.items()}
        if renew(home):
            show.done("the lake is in line with the present contracts again")
        for (mission, release), names in todo.items():
            failed = []
            if names:
                progress.err.print(f"{mission} {release}", style="bold")
                outcome = runner.run(home, mission, release, names, jobs)
                failed, not_made = outcome.failures, not_made + outcome.not_made
            nothing = None if failed else runner.empty(home, mission, release)
            if nothing:
                failed = [nothing]
            else:
                warn_of_barren(home, mission, release)
            failures += failed
            with_data += not any(failure.all_rejected for failure in failed)
    if not any(todo.values()) and not failures:
        show.done(f"{selection or 'everything'} is up to date")
    for failure in failures:
        show.failed(f"{failure.mission} {failure.release}, {failure.what}: {failure.reason}")
    if not_made:
        show.warn(f"not made because of that: {', '.join(not_made)}")
    rejected = rejections(home, releases)
    for row in rejected:
        show.warn(rejection(row))
    if any(not failure.all_rejected for failure in failures) or not with_data:
        return FAILED
    return SOME_REJECTED if rejected or failures else OK


def rejections(
    home: lake.Home, releases: Sequence[tuple[str, str]] | None = None
) -> list[dict[str, Any]]:
    """Files, and files of which some rows, are not in the lake, and why."""
    if not home.store.exists:
        return []
    rows = home.store.arrow(
        "SELECT mission, release, role, path, reason, rows_rejected, status FROM meta.files"
        " WHERE status = 'rejected' OR (status = 'committed' AND rows_rejected > 0)"
        " ORDER BY ALL"
    ).to_pylist()
    return [row for row in rows if releases is None or (row["mission"], row["release"]) in releases]


def rejection(row: dict[str, Any]) -> str:
    """Say in one line that a file was rejected, wholly or in part, and why."""
    word = "rejected" if row["status"] == "rejected" else "rejected in part"
    return f"{word}: {row['path']}: {row['reason']}"


def warn_of_barren(home: lake.Home, mission: str, release: str) -> None:
    """Warn of registered folders without an input file."""
    from lake import health

    for text in health.barren(home, mission, release):
        show.warn(text)
