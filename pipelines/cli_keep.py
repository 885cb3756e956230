"""The commands that keep a home: how it stands, and letting it keep itself up to date."""

import sys
from datetime import UTC, datetime

import click

import lake
from lake import failed_checks
from lake import watch as inputs
from pipelines import show
from pipelines.command import Command, examples, in_home
from pipelines.update import rejection, rejections


@click.command(
    cls=Command,
    short_help="Releases, rows, rejected files, failed checks, and what is out of date.",
    epilog=examples("lacus status", "lacus status --json | jq .out_of_date"),
)
@in_home
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(home: lake.Home, as_json: bool) -> None:
    """Releases, row counts, rejected files, failed checks, and what is out of date."""
    from pipelines import jobs as runner

    there = home.store.exists
    made = (
        home.store.arrow(
            "SELECT mission, release, table_name, rows, snapshot, committed_at FROM meta.releases"
            " WHERE mission <> 'meta' ORDER BY mission, release, committed_at, table_name"
        ).to_pylist()
        if there
        else []
    )
    releases = home.releases()
    with home.store.held():
        out_of_date = {
            f"{mission}:{release}": why
            for mission, release in releases
            if (why := runner.stale(home, mission, release))
        }
        standing = {
            f"{mission}:{release}": texts
            for mission, release in releases
            if (texts := runner.standing(home, mission, release))
        }
        nothing = [n for pair in releases if not out_of_date and (n := runner.empty(home, *pair))]
    rejected, failing = rejections(home), failed_checks.failed_checks(home.store)
    ingested = _ingested(home)
    watched = inputs.last_report(home)
    if as_json:
        show.as_json(
            {
                "home": str(home.root),
                "snapshot": home.store.snapshot() if there else None,
                "releases": made,
                "ingested": ingested,
                "rejected": rejected,
                "failed_checks": [vars(check) for check in failing],
                "out_of_date": out_of_date,
                "standing": standing,
                "watched": watched,
            }
        )
        return
    print(f"{home.root}, {f'snapshot {home.store.snapshot()}' if there else 'no lake yet'}")
    if made:
        print()
        show.table(
            ["mission", "release", "table", "rows", "snapshot", "since (UTC)"],
            [list(row.values()) for row in made],
            right=["rows", "snapshot"],
        )
    print()
    for release, at in ingested.items():
        print(f"{release} was last ingested {_ago(at)}")
    if not releases:
        print("nothing is registered: `lacus add MISSION RELEASE ROLE PATH...`, or `lacus demo`")
    for release, why in out_of_date.items():
        print(f"{release} is out of date, `lacus run` makes: {', '.join(why)}")
        print(f"  why: {runner.summary(why)}")
    for release, texts in standing.items():
        for text in texts:
            print(f"{release}: {text}")
    for check in failing:
        print(check)
    for failure in nothing:
        print(f"{failure.mission}:{failure.release}: {failure.reason}")
    if releases and not out_of_date and not nothing and not failing:
        print("everything is up to date")
    for row in rejected:
        print(rejection(row["status"], row["path"], row["reason"]))
    if watched:
        looked = _ago(datetime.fromisoformat(watched["at"]))
        print(f"`lacus watch` or `lacus ui` last looked at the inputs {looked}")
        for name, text in watched["told"].items():
            print(f"  {name}: {text}")


def _ingested(home: lake.Home) -> dict[str, datetime]:
    """When something was last ingested of each release, UTC."""
    if not home.store.exists:
        return {}
    rows = home.sql(
        "SELECT mission, release, max(ingested_at) FROM meta.files GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    return {f"{mission}:{release}": at for mission, release, at in rows}


def _ago(at: datetime) -> str:
    """How long ago a time was, in its largest unit."""
    seconds = max(0, int((datetime.now(UTC) - at).total_seconds()))
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds >= length:
            number = seconds // length
            return f"{number} {unit}{'s' * (number > 1)} ago"
    return "now"


@click.command(
    cls=Command,
    short_help="Open the Dagster UI on this home.",
    epilog=examples("lacus ui --port 3001"),
)
@in_home
@click.option("--port", "-p", type=click.IntRange(1, 65535), default=3000, show_default=True)
def ui(home: lake.Home, port: int) -> None:
    """Open the Dagster UI on this home, for this machine alone; Ctrl-C ends it."""
    from pipelines import serve

    sys.exit(serve.ui(home, port))


@click.command(
    cls=Command,
    short_help="Bring the lake up to date whenever inputs change, until Ctrl-C.",
    epilog=examples("lacus watch", "lacus watch --once   # from cron"),
)
@in_home
@click.option(
    "--every", type=click.FloatRange(0.1), default=30.0, show_default=True,
    help="Seconds between two looks.",
)  # fmt: skip
@click.option(
    "--jobs", "-j", type=click.IntRange(1), default=1, show_default=True, help="Processes of a run."
)
@click.option("--once", is_flag=True, help="End when nothing is left to be made now.")
def watch(home: lake.Home, every: float, jobs: int, once: bool) -> None:
    """Bring the lake up to date whenever inputs change, until Ctrl-C.

    Sees what `lacus add` registers, files that change, and releases dropped as MISSION/RELEASE/
    into a folder that [watch] in sources.toml names. What fails is tried again, later and later;
    `lacus status` tells of it. `lacus ui` does the same beside its pages.
    """
    from pipelines import watching

    sys.exit(watching.watch(home, every, jobs, once))


COMMANDS = (status, watch, ui)
