"""The command line, `lacus`: what fills a home and keeps it. Reading it is in `cli_read`.

Exit codes: 0 done; 1 failed; 2 wrong usage; 3 done, but some inputs were rejected.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click
import duckdb
import pyarrow as pa

import lake
from lake.home import Source
from pipelines import cli_own, cli_read, progress, show
from pipelines.command import (
    FAILED,
    OK,
    SOME_REJECTED,
    WRONG_USAGE,
    Command,
    examples,
    in_home,
)


class _Group(click.Group):
    """Commands in the order of their definition; errors without a traceback."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except lake.UsageError as error:
            lost = isinstance(error.__cause__, duckdb.IOException)  # a file, not the query
            _fail(str(error), FAILED if lost else WRONG_USAGE)
        except lake.LacusError as error:
            _fail(str(error), FAILED)
        except BrokenPipeError:  # `lacus sql ... | head`
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for what Python flushes at exit
            sys.exit(OK)
        except OSError as error:  # a folder that cannot be made or read, a full disk
            where = f"{error.filename}: " if error.filename else ""
            _fail(f"{where}{error.strerror or error}", FAILED)
        except duckdb.Error as error:  # a lake that another program has damaged
            _fail(str(error), FAILED)


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"lacus: {message}", err=True)
    sys.exit(code)


@click.group(
    cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="lacus", message="%(prog)s %(version)s")
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="LACUS_HOME",
    help="Home directory; $LACUS_HOME or ./lacus-home by default.",
)
@click.pass_context
def main(ctx: click.Context, home: Path | None) -> None:
    """Lacus: an X-ray and optical survey lake.

    Files go in (`add`, `run`), a versioned lake comes out (`sql`, `export`, `ui`). Start with
    `lacus demo`. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but some inputs rejected.
    """
    ctx.obj = home


SIZES = click.Choice(["small", "medium", "large"])


@main.command(
    short_help="Fill a lake with sample data and print what came out.",
    epilog=examples("lacus --home demo-home demo"),
)
@in_home
@click.option("--size", type=SIZES, default="small", show_default=True)
def demo(home: lake.Home, size: str) -> None:
    """Write sample inputs, ingest them, compute, and print what came out."""
    from lake.sample import write_samples

    with progress.shown("writing sample inputs"):
        files = write_samples(home.root / "sample", size)  # type: ignore[arg-type]
    for file in files:
        home.add(Source(file.mission, file.release, file.role, (file.path,)))
        show.done(f"{file.mission} {file.release} {file.role}: {file.path}")
    releases = list(dict.fromkeys((file.mission, file.release) for file in files))
    code = _run(home, releases, None, 1)
    if code in (OK, SOME_REJECTED):
        _show_demo(home, releases[0][1])
    sys.exit(code)


def _show_demo(home: lake.Home, release: str) -> None:
    summary = (
        "SELECT class, agg_class, detections, soft_sources, hard_sources, unique_sources,"
        " mean_probability FROM csc.class_summary WHERE method = 'posterior' AND release = ?"
        " ORDER BY detections DESC"
    )
    scores = (
        "SELECT metric, max(value) FILTER (method = 'softmin') AS softmin,"
        " max(value) FILTER (method = 'posterior') AS posterior FROM csc.validation"
        " WHERE level = 'overall' AND metric IN ('log_loss', 'brier', 'accuracy',"
        " 'expected_calibration_error') AND release = ? GROUP BY metric ORDER BY metric"
    )
    for title, query in (
        ("Classes of the detections and sources (csc.class_summary, method posterior)", summary),
        ("How good they are (csc.validation, cross-validated by source)", scores),
    ):
        data = home.store.arrow(query, [release])
        numbers = [f.name for f in data.schema if not pa.types.is_string(f.type)]
        rows = [list(row.values()) for row in data.to_pylist()]
        print()
        show.title(title)
        show.table(data.column_names, rows, right=numbers, digits=3)
    default = home.root == Path("lacus-home").absolute()
    command = "lacus" if default else f"lacus --home {shlex.quote(str(home.root))}"
    print(
        "\nNext:"
        f'\n  {command} sql "SELECT name, master_class, p_qso FROM csc.uniquely_classified"'
        f"\n  {command} export csc.uniquely_classified -o unique.vot"
        f"\n  {command} ui"
    )


@main.command(
    short_help="Write the sample inputs, and print the commands that add them.",
    epilog=examples(
        "lacus sample inputs --size medium",
        "lacus sample inputs | sh        # writes and adds them",
    ),
)
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--size", type=SIZES, default="small", show_default=True)
@click.option("--seed", type=int, default=42, show_default=True)
def sample(directory: Path, size: str, seed: int) -> None:
    """Only write the sample inputs, and print the commands that add them."""
    from lake.sample import write_samples

    with progress.shown("writing sample inputs"):
        files = write_samples(directory, size, seed)  # type: ignore[arg-type]
    for file in files:
        words = ["lacus", "add", file.mission, file.release, file.role, str(file.path)]
        print(shlex.join(words))


@main.command(
    short_help="Register input files or folders; `lacus run` ingests them.",
    epilog=examples(
        "lacus add csc CSC2.0 detections detections.vot",
        "lacus add csc CSC2.0 labels simbad.csv -o catalogue=SIMBAD",
    ),
)
@in_home
@click.argument("mission")
@click.argument("release")
@click.argument("role")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o", "--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of the role."
)
def add(
    home: lake.Home,
    mission: str,
    release: str,
    role: str,
    paths: tuple[Path, ...],
    options: tuple[str, ...],
) -> None:
    """Register input files or folders; `lacus run` ingests them.

    A path that is registered for the same role already takes the new options.
    """
    pairs = [option.partition("=") for option in options]
    wrong = [key for key, equals, _ in pairs if not equals]
    if wrong:
        raise lake.UsageError(f"-o {wrong[0]}: expected KEY=VALUE")
    given = {key: value for key, _, value in pairs}
    source = Source(mission, release, role, paths, given)
    home.add(source)
    number = len(set(source.paths))
    show.done(f"{mission} {release} {role}: {show.count(number, 'path')} in {home.sources_file}")
    _warn_of_barren(home, mission, release)


def _warn_of_barren(home: lake.Home, mission: str, release: str) -> None:
    from lake import health

    for text in health.barren(home, mission, release):
        show.warn(text)


@main.command(
    short_help="Bring the lake up to date: ingest, compute, check.",
    epilog=examples("lacus run", "lacus run csc.class_probabilities --release csc:CSC2.0"),
)
@in_home
@click.argument("selection", required=False)
@click.option("--release", "-r", metavar="MISSION:RELEASE", help="Only this release.")
@click.option(
    "--jobs", "-j", type=click.IntRange(1), default=1, show_default=True, help="Processes."
)
def run(home: lake.Home, selection: str | None, release: str | None, jobs: int) -> None:
    """Materialise whatever is out of date: ingest, compute, check.

    SELECTION is a mission, or a table or view, which stands for itself and what it is made from.
    Ends with 1 if a step or a check failed, with 3 if some inputs were rejected.
    """
    releases = home.releases()
    if not releases:
        raise lake.UsageError(
            f"nothing is registered in {home.root}: `lacus add MISSION RELEASE ROLE PATH...`"
        )
    if release is not None:
        wanted = tuple(release.partition(":")[::2])
        if wanted not in releases:
            known = ", ".join(":".join(pair) for pair in releases)
            raise lake.UsageError(f"release {release!r} is not registered; there are {known}")
        releases = [pair for pair in releases if pair == wanted]
    sys.exit(_run(home, releases, selection, jobs))


def _run(
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
                _warn_of_barren(home, mission, release)
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
        show.warn(_rejection(row))
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


def _rejection(row: dict[str, Any]) -> str:
    word = "rejected" if row["status"] == "rejected" else "rejected in part"
    return f"{word}: {row['path']}: {row['reason']}"


@main.command(
    short_help="Releases, rows, rejected files, and what is out of date.",
    epilog=examples("lacus status", "lacus status --json | jq .out_of_date"),
)
@in_home
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(home: lake.Home, as_json: bool) -> None:
    """Releases, row counts, rejected files, and what is out of date."""
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
    out_of_date = {
        f"{mission}:{release}": names
        for mission, release in releases
        if (names := runner.stale(home, mission, release))
    }
    nothing = [n for pair in releases if not out_of_date and (n := runner.empty(home, *pair))]
    rejected = rejections(home)
    if as_json:
        show.as_json(
            {
                "home": str(home.root),
                "snapshot": home.store.snapshot() if there else None,
                "releases": made,
                "rejected": rejected,
                "out_of_date": out_of_date,
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
    if not releases:
        print("nothing is registered: `lacus add MISSION RELEASE ROLE PATH...`, or `lacus demo`")
    for release, names in out_of_date.items():
        print(f"{release} is out of date, `lacus run` makes: {', '.join(names)}")
    for failure in nothing:
        print(f"{failure.mission}:{failure.release}: {failure.reason}")
    if releases and not out_of_date and not nothing:
        print("everything is up to date")
    for row in rejected:
        print(_rejection(row))


@main.command(
    short_help="Open the Dagster UI on this home.", epilog=examples("lacus ui --port 3001")
)
@in_home
@click.option("--port", "-p", type=click.IntRange(1, 65535), default=3000, show_default=True)
def ui(home: lake.Home, port: int) -> None:
    """Open the Dagster UI on this home, for this machine alone; Ctrl-C ends it."""
    from pipelines import serve

    sys.exit(serve.ui(home, port))


@main.command(
    short_help="Is all well: versions, disk, sources, every file of the lake.",
    epilog=examples("lacus doctor"),
)
@in_home
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(home: lake.Home, as_json: bool) -> None:
    """Versions, disk, registered sources, and whether every file of the catalogue is there.

    Ends with 1 if anything is not well.
    """
    from lake import health

    findings = health.examine(home)
    if as_json:
        show.as_json([vars(finding) for finding in findings])
    else:
        rows = [("✓" if f.well else "✗", f.subject, f.detail) for f in findings]
        show.table(["", "subject", "finding"], rows)
    sys.exit(OK if all(finding.well for finding in findings) else FAILED)


for _command in (*cli_read.COMMANDS, *cli_own.COMMANDS):
    main.add_command(_command)
