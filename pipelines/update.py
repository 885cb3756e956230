"""Bring releases up to date, and tell what came of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import lake
from pipelines import progress, show
from pipelines.command import FAILED, OK, SOME_REJECTED

#: Told where a command has brought a lake into line on its way.
RENEWED = "the lake is in line with the present contracts again"


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
        todo = _stale(home, releases, selection)
        if renew(home):
            show.done(RENEWED)
        for (mission, release), why in todo.items():
            failed, left = _run(home, mission, release, why, jobs, selection)
            not_made += left
            nothing = None if failed else runner.empty(home, mission, release)
            if nothing:
                failed = [nothing]
            else:
                warn_of_barren(home, mission, release)
            failures += failed
            with_data += not any(failure.all_rejected for failure in failed)
        if any(todo.values()) and not failures:
            # What reads all releases of a table had not seen those that were made after it.
            for (mission, release), why in _stale(home, releases, selection).items():
                failed, left = _run(home, mission, release, why, jobs)
                failures, not_made = failures + failed, not_made + left
    told = {(failure.mission, failure.release, failure.what) for failure in failures}
    failures += [
        failure
        for failure in runner.still_failing(home, releases, selection)
        if (failure.mission, failure.release, failure.what) not in told
    ]
    if not any(todo.values()) and not failures:
        show.done(f"{selection or 'everything'} is up to date")
    for failure in failures:
        show.failed(f"{failure.mission} {failure.release}, {failure.what}: {failure.reason}")
    if not_made:
        show.warn(f"not made because of that: {', '.join(not_made)}")
    rejected = rejections(home, releases)
    for row in rejected:
        show.warn(rejection(row["status"], row["path"], row["reason"]))
    if any(not failure.all_rejected for failure in failures) or not with_data:
        return FAILED
    return SOME_REJECTED if rejected or failures else OK


def _stale(
    home: lake.Home, releases: Sequence[tuple[str, str]], selection: str | None
) -> dict[tuple[str, str], dict[str, str]]:
    """What is out of date of some releases and why, as far as it is asked for."""
    from pipelines import jobs as runner

    with home.store.held():
        todo = {pair: runner.stale(home, *pair, selection) for pair in releases}
    if selection is None:
        return todo
    return {
        pair: {name: why[name] for name in runner.selected(selection, list(why))}
        for pair, why in todo.items()
    }


def _run(
    home: lake.Home,
    mission: str,
    release: str,
    why: Mapping[str, str],
    jobs: int,
    asked: str | None = None,
) -> tuple[list[Any], list[str]]:
    """Make tables and views of a release: what failed, and what was therefore not made."""
    from pipelines import jobs as runner
    from pipelines.assets import ASKED

    if not why:
        return [], []
    progress.err.print(f"{mission} {release}", style="bold", end="")
    progress.err.print(f": {reason}" if (reason := runner.summary(why)) else "")
    tags = {ASKED: asked} if asked else {}
    outcome = runner.run(home, mission, release, why, jobs, tags)
    return outcome.failures, outcome.not_made


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


def rejection(status: str, path: str, reason: str | None) -> str:
    """Say in one line that a file was rejected, wholly or in part, and why."""
    word = "rejected" if status == "rejected" else "rejected in part"
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in path)
    return f"{word}: {shown}: {reason}"


def warn_of_barren(home: lake.Home, mission: str, release: str) -> None:
    """Warn of registered folders without an input file."""
    from lake import health

    for text in health.barren(home, mission, release):
        show.warn(text)
