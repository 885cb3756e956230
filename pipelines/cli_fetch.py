"""The commands that fetch releases from their archives into a home."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

import lake
from pipelines import progress, show
from pipelines.command import FAILED, OK, SOME_REJECTED, Group, examples, in_home

if TYPE_CHECKING:
    from lake.fetch.archives import Fetched

#: Names of files that are printed before the rest is counted.
_SHOWN_NAMES = 10

RELEASE = click.option("--release", "-r", required=True, help="Data release, such as DR17.")
URL = click.option("--url", help="Another endpoint than the archive's own, kept for `again`.")


@click.group(
    cls=Group,
    short_help="Fetch a release from its archive, and register it.",
    epilog=examples(
        "lacus fetch sdss --release DR17 --plates 266,1000-1010",
        "lacus fetch again",
    ),
)
def fetch() -> None:
    """Fetch a release from its archive into the home, and register it; `lacus run` ingests it.

    What is there already is not fetched again, and a fetch that was cut off goes on where it
    was. What the archive gives no more is removed, and leaves the release with the next run; the
    former state of the lake stays readable. Ends with 3 if some files could not be had.
    """


@fetch.command(
    short_help="Detections of the Chandra Source Catalog.",
    epilog=examples(
        "lacus fetch csc --release CSC2.1",
        "lacus fetch csc --release CSC2.1-orion --cone 05:35:17.3 -05:23:28 10arcmin",
        "lacus fetch csc --release CSC2.0 --adql mine.adql",
    ),
)
@in_home
@RELEASE
@click.option(
    "--cone",
    nargs=3,
    metavar="RA DEC RADIUS",
    help="Only sources in a circle; degrees, or hh:mm:ss dd:mm:ss, and 10arcmin.",
)
@click.option(
    "--adql",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A query of your own; it has to give name and obsid.",
)
@URL
def csc(
    home: lake.Home,
    release: str,
    cone: tuple[str, str, str] | None,
    adql: Path | None,
    url: str | None,
) -> None:
    """Fetch per-observation detections from the archive of the Chandra Source Catalog.

    They are those that the classification takes: significant in the broad band, with a power law
    and a black body fitted. A request replaces the former one for the same release; a release may
    have a suffix, as CSC2.1-orion.
    """
    if cone and adql:
        raise lake.UsageError("expected --cone or --adql, not both")
    parameters = {}
    if cone:
        ra, dec, radius = cone
        # Blanks part the three from each other.
        position = (":".join(text.split()) for text in (ra, dec))
        parameters["cone"] = " ".join((*position, "".join(radius.split())))
    if adql:
        parameters["adql"] = adql.read_text(encoding="utf-8").strip()
    run(home, "csc", release, parameters, url)


@fetch.command(
    short_help="Types from SIMBAD for the sources of the lake.",
    epilog=examples("lacus fetch simbad", "lacus fetch simbad --release CSC2.1 --radius 2arcsec"),
)
@in_home
@click.option("--release", "-r", help="Release of csc; may be left out if there is one alone.")
@click.option("--radius", default="", help="How far an object may be; 1arcsec if not given.")
@URL
def simbad(home: lake.Home, release: str | None, radius: str, url: str | None) -> None:
    """Fetch SIMBAD's types of the objects nearest to the detections in the lake, as labels.

    The detections have to be in the lake: `lacus run` goes before.
    """
    there = [name for mission, name in home.releases() if mission == "csc"]
    if release is None and len(there) != 1:
        known = ", ".join(there) or "none"
        raise lake.UsageError(f"expected --release; registered releases of csc: {known}")
    chosen = (release or there[0]).removeprefix("csc:")
    run(home, "simbad", chosen, {"radius": radius}, url)


@fetch.command(
    short_help="Lite spectra of the SDSS, by plate or from a list.",
    epilog=examples(
        "lacus fetch sdss --release DR17 --plates 266,1000-1010,3586-55181",
        "lacus fetch sdss --release DR17 --list stars.csv",
    ),
)
@in_home
@RELEASE
@click.option("--plates", default="", help="Plates, PLATE-PLATE or PLATE-MJD, with commas.")
@click.option(
    "--list", "lists", multiple=True, type=click.Path(path_type=Path, dir_okay=False),
    help="A table with plate, mjd and fiberid, or lines with these or names of spec files.",
)  # fmt: skip
@click.option("--run2d", default="", help="Reductions, such as v5_13_2; those of the release.")
@URL
def sdss(
    home: lake.Home, release: str, plates: str, lists: tuple[Path, ...], run2d: str, url: str | None
) -> None:
    """Fetch lite spectra from the Science Archive Server of the SDSS.

    They are added to those of the release that were fetched before. A plate stands for all its
    MJDs. Lists are read again whenever the release is fetched again.
    """
    if not plates and not lists:
        raise lake.UsageError("expected --plates, --list, or both")
    names = "\n".join(str(path.absolute()) for path in lists)
    run(home, "sdss", release, {"plates": plates, "list": names, "run2d": run2d}, url)


@fetch.command(
    short_help="What the archives have changed since it was fetched.",
    epilog=examples("lacus fetch again", "lacus fetch again --release sdss:DR17"),
)
@in_home
@click.option("--release", "-r", metavar="MISSION:RELEASE", help="Only this release.")
def again(home: lake.Home, release: str | None) -> None:
    """Fetch again what the archives have changed of the releases that were fetched."""
    from lake.fetch import archives

    there = archives.releases(home)
    chosen = [pair for pair in there if release in (None, ":".join(pair))]
    if not there:
        raise lake.UsageError(f"nothing in {home.root} was fetched from an archive")
    if not chosen:
        known = ", ".join(map(":".join, there))
        raise lake.UsageError(f"release {release!r} was not fetched; there are {known}")
    fetched: list[Fetched] = []
    failed = False
    for pair in chosen:
        try:
            with progress.shown(f"asking for {' '.join(pair)}"):
                fetched += archives.refetch(home, *pair, progress.report)
        except lake.LacusError as error:  # another archive may be in order
            show.failed(f"{' '.join(pair)}: {error}")
            failed = True
    for each in fetched:
        _tell(each)
    if failed:
        sys.exit(FAILED)
    if not fetched:
        show.done("the archives have changed nothing")
    sys.exit(SOME_REJECTED if any(each.failures for each in fetched) else OK)


def run(
    home: lake.Home, archive: str, release: str, parameters: dict[str, str], url: str | None
) -> None:
    """Fetch from an archive, tell what came of it, and end with the exit code."""
    from lake.fetch import archives

    with progress.shown(f"asking {archive}"):
        fetched = archives.fetch(home, archive, release, parameters, progress.report, url)
    _tell(fetched)
    show.done(f"registered in {home.sources_file}; `lacus run` ingests it")
    sys.exit(SOME_REJECTED if fetched.failures else OK)


def _tell(fetched: "Fetched") -> None:
    """Say what a fetch changed, and what could not be had."""
    source = fetched.source
    show.done(f"{source.mission} {source.release} {source.role}: {fetched.describe()}")
    if fetched.removed:
        names = _some(fetched.removed)
        show.warn(f"gone from the archive, out of the release with the next run: {names}")
    for failure in fetched.failures:
        show.warn(str(failure))


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN_NAMES])
    more = len(names) - _SHOWN_NAMES
    return f"{shown} and {more:,} more" if more > 0 else shown
