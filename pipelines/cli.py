"""The command line, `lacus`: what fills a home and keeps it. Reading it is in `cli_read`.

Exit codes: 0 done; 1 failed; 2 wrong usage; 3 done, but some inputs were rejected.
"""

import io
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import click
import duckdb

import lake
from lake.sources import Source
from pipelines import (
    cli_demo,
    cli_fetch,
    cli_keep,
    cli_own,
    cli_read,
    cli_regions,
    cli_time,
    show,
)
from pipelines.command import (
    FAILED,
    OK,
    WRONG_USAGE,
    Group,
    examples,
    in_home,
)
from pipelines.update import update, warn_of_barren


class _Group(Group):
    """All commands; errors without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        # A terminal that lacks a character gets its number, not an error after all is done.
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
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
        except UnicodeEncodeError as error:  # bytes of the command line that are no text
            _fail(f"{error.object!r}: is not UTF-8", WRONG_USAGE)
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


for _command in cli_demo.COMMANDS:
    main.add_command(_command)


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
@click.argument("paths", nargs=-1, required=True, type=click.Path())
@click.option(
    "-o", "--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of the role."
)
def add(
    home: lake.Home,
    mission: str,
    release: str,
    role: str,
    paths: tuple[str, ...],
    options: tuple[str, ...],
) -> None:
    """Register input files or folders; `lacus run` ingests them.

    A path that is registered for the same role already takes the new options; a file or folder
    that lies in one which is registered, too, goes by its own.
    """
    pairs = [option.partition("=") for option in options]
    wrong = [key for key, equals, _ in pairs if not equals]
    if wrong:
        raise lake.UsageError(f"-o {wrong[0]}: expected KEY=VALUE")
    given = {key: value for key, _, value in pairs}
    if "" in paths:  # a shell's variable that is not set; to a Path it is the working directory
        raise lake.UsageError("a path is empty; `.` is this folder")
    source = Source(mission, release, role, tuple(map(Path, paths)), given)
    home.add(source)
    number = len(set(source.paths))
    show.done(f"{mission} {release} {role}: {show.count(number, 'path')} in {home.sources_file}")
    warn_of_barren(home, mission, release)


main.add_command(cli_fetch.fetch)


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
    if selection is not None:
        releases = _concerned(selection, releases)
    sys.exit(update(home, releases, selection, jobs))


def _concerned(selection: str, releases: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Releases of the mission that a selection is of: those of others are neither made nor judged.

    Raises
    ------
    UsageError
        If there is no such mission, table or view, or no release that it could be made of.
    """
    from pipelines import jobs as runner

    runner.selected(selection, [])
    mission = selection.partition(".")[0]
    concerned = [pair for pair in releases if pair[0] == mission]
    if not concerned:
        there = ", ".join(map(":".join, releases))
        raise lake.UsageError(f"{selection}: no release of {mission} to make it of, but {there}")
    return concerned


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


for _command in (
    *cli_keep.COMMANDS, *cli_read.COMMANDS, *cli_time.COMMANDS, *cli_own.COMMANDS,
    *cli_regions.COMMANDS,
):  # fmt: skip
    main.add_command(_command)
