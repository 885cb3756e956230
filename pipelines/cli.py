"""The command line, `lacus`: what fills a home and keeps it. Reading it is in `cli_read`.

Exit codes: 0 done; 1 failed; 2 wrong usage; 3 done, but some inputs were rejected.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

import lake
from lake.home import Source
from pipelines import cli_read, progress, show
from pipelines.in_home import in_home

OK, FAILED, WRONG_USAGE, SOME_REJECTED = 0, 1, 2, 3


class _Group(click.Group):
    """Commands in the order of their definition; errors of the library without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except lake.UsageError as error:
            _fail(str(error), WRONG_USAGE)
        except lake.LacusError as error:
            _fail(str(error), FAILED)
        except BrokenPipeError:  # `lacus sql ... | head`
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for what Python flushes at exit
            sys.exit(OK)


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"lacus: {message}", err=True)
    sys.exit(code)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
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
    `lacus demo`.
    """
    ctx.obj = home


SIZES = click.Choice(["small", "medium", "large"])


@main.command()
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
        _show_demo(home, [release for _, release in releases])
    sys.exit(code)


def _show_demo(home: lake.Home, releases: Sequence[str]) -> None:
    summary = (
        "SELECT class, agg_class, detections, soft_sources, hard_sources, unique_sources"
        " FROM csc.class_summary WHERE method = 'posterior' AND release = ?"
        " ORDER BY detections DESC"
    )
    scores = (
        "SELECT metric, max(value) FILTER (method = 'softmin') AS softmin,"
        " max(value) FILTER (method = 'posterior') AS posterior FROM csc.validation"
        " WHERE level = 'overall' AND metric IN ('log_loss', 'brier', 'accuracy',"
        " 'expected_calibration_error') AND release = ? GROUP BY metric ORDER BY metric"
    )
    for title, query in (
        ("Classes of the sources (csc.class_summary, method posterior)", summary),
        ("How good they are (csc.validation, cross-validated by source)", scores),
    ):
        data = home.store.arrow(query, [releases[0]])
        show.out.print(f"\n[bold]{title}[/]")
        show.arrow(data, "table")
    option = "" if home.root == Path("lacus-home").absolute() else f" --home {home.root}"
    show.out.print(
        "\nNext:"
        f'\n  lacus{option} sql "SELECT name, master_class, p_qso FROM csc.uniquely_classified"'
        f"\n  lacus{option} export csc.uniquely_classified -o unique.vot"
        f"\n  lacus{option} ui",
        highlight=False,
        soft_wrap=True,
    )


@main.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--size", type=SIZES, default="small", show_default=True)
@click.option("--seed", type=int, default=42, show_default=True)
def sample(directory: Path, size: str, seed: int) -> None:
    """Only write the sample inputs, and the commands that add them."""
    from lake.sample import write_samples

    with progress.shown("writing sample inputs"):
        files = write_samples(directory, size, seed)  # type: ignore[arg-type]
    for file in files:
        print(f"lacus add {file.mission} {file.release} {file.role} {file.path}")


@main.command()
@in_home
@click.argument("mission")
@click.argument("release")
@click.argument("role")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--option", "options", multiple=True, metavar="KEY=VALUE")
def add(
    home: lake.Home,
    mission: str,
    release: str,
    role: str,
    paths: tuple[Path, ...],
    options: tuple[str, ...],
) -> None:
    r"""Register input files or folders; `lacus run` ingests them.

    \b
    lacus add csc CSC2.0 detections detections.vot
    lacus add csc CSC2.0 labels simbad.csv -o catalogue=SIMBAD
    """
    pairs = [option.partition("=") for option in options]
    wrong = [key for key, equals, _ in pairs if not equals]
    if wrong:
        raise lake.UsageError(f"-o {wrong[0]}: expected KEY=VALUE")
    given = {key: value for key, _, value in pairs}
    home.add(Source(mission, release, role, tuple(p.absolute() for p in paths), given))
    show.done(f"{mission} {release} {role}: {len(paths)} paths in {home.sources_file}")


@main.command()
@in_home
@click.argument("selection", required=False)
@click.option("--release", "-r", metavar="MISSION:RELEASE", help="Only this release.")
@click.option("--jobs", "-j", type=click.IntRange(1), default=1, show_default=True)
def run(home: lake.Home, selection: str | None, release: str | None, jobs: int) -> None:
    """Materialise whatever is out of date: ingest, compute, check.

    SELECTION is a mission, or a table or view with what it is made from: `csc`,
    `csc.class_probabilities`.
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

    failures, ran, succeeded = [], False, 0
    with progress.shown("looking for what is out of date"):
        for mission, release in releases:
            names = runner.stale(home, mission, release)
            if selection is not None:
                names = runner.selected(selection, names)
            if not names:
                succeeded += 1
                continue
            ran = True
            progress.err.print(f"[bold]{mission} {release}[/]", highlight=False)
            failed = runner.run(home, mission, release, names, jobs)
            failures += failed
            succeeded += not failed
    if not ran:
        show.done("everything is up to date")
    for failure in failures:
        progress.err.print(
            f"[red]✗[/] {failure.mission} {failure.release}, {failure.step}:", end=" "
        )
        progress.err.print(failure.reason, markup=False, highlight=False)
    rejected = rejections(home, releases)
    for row in rejected:
        progress.err.print("[yellow]![/] rejected", end=" ")
        progress.err.print(f"{row['path']}: {row['reason']}", markup=False, highlight=False)
    if failures and not (rejected and succeeded):
        return FAILED
    return SOME_REJECTED if rejected else OK


def rejections(
    home: lake.Home, releases: Sequence[tuple[str, str]] | None = None
) -> list[dict[str, Any]]:
    """Files, and files of which some rows, are not in the lake, and why."""
    if not home.store.exists:
        return []
    rows = home.store.arrow(
        "SELECT mission, release, role, path, reason, rows_rejected FROM meta.files"
        " WHERE status = 'rejected' OR (status = 'committed' AND rows_rejected > 0)"
        " ORDER BY ALL"
    ).to_pylist()
    return [row for row in rows if releases is None or (row["mission"], row["release"]) in releases]


@main.command()
@in_home
@click.option("--json", "as_json", is_flag=True)
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
    out_of_date = {
        f"{mission}:{release}": names
        for mission, release in home.releases()
        if (names := runner.stale(home, mission, release))
    }
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
    show.out.print(f"{home.root}, snapshot {home.store.snapshot() if there else 'none yet'}\n")
    show.table(
        None,
        ["mission", "release", "table", "rows", "snapshot", "since"],
        [list(row.values()) for row in made],
        right=["rows", "snapshot"],
    )
    for release, names in out_of_date.items():
        show.out.print(f"\n{release} is out of date: {', '.join(names)}", highlight=False)
    if not out_of_date and made:
        show.out.print("\neverything is up to date")
    for row in rejected:
        show.out.print(f"\nrejected: {row['path']}: {row['reason']}", highlight=False, markup=False)


@main.command()
@in_home
@click.option("--port", "-p", type=int, default=3000, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True)
def ui(home: lake.Home, port: int, host: str) -> None:
    """Open the Dagster UI on this home; Ctrl-C ends it."""
    from pipelines import jobs as runner

    runner.prepare(home)
    show.done(f"Dagster UI on http://{host}:{port} (home {home.root}); Ctrl-C ends it")
    command = [sys.executable, "-m", "dagster", "dev", "-m", "pipelines.definitions"]
    command += ["-h", host, "-p", str(port), "--log-level", "warning"]
    try:
        sys.exit(subprocess.run(command, check=False).returncode)
    except KeyboardInterrupt:
        sys.exit(OK)


@main.command()
@in_home
@click.option("--json", "as_json", is_flag=True)
def doctor(home: lake.Home, as_json: bool) -> None:
    """Versions, extensions, disk, and whether every file of the catalogue is there."""
    from lake import health

    findings = health.examine(home)
    if as_json:
        show.as_json([vars(finding) for finding in findings])
    else:
        rows = [("✓" if f.well else "✗", f.subject, f.detail) for f in findings]
        show.table(None, ["", "subject", "finding"], rows)
    sys.exit(OK if all(finding.well for finding in findings) else FAILED)


for _command in cli_read.COMMANDS:
    main.add_command(_command)
