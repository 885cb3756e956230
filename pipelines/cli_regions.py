"""The command that makes region tables of the ESAS from a mask; no lake is needed."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines import progress, show
from pipelines.command import Command, examples

if TYPE_CHECKING:
    from lake.xmm.mask import Mask
    from lake.xmm.regions import ExposureTables, RegionTables

#: Labels, and expressions of each exposure, that are shown.
_SHOWN_LABELS = 12
_COUNTED = {"bkg": "regions_excluded", "mask": "regions_included"}

FILE = click.Path(path_type=Path)
ALGORITHMS = click.Choice(["fewest", "rows", "columns", "merged", "greedy", "cover"])


@click.command(
    cls=Command,
    short_help="ESAS region tables of XMM-Newton from one mask; no lake is needed.",
    epilog=examples(
        "lacus regions mask.fits --image pnS003-obj-image-sky.fits -o regions",
        "lacus regions mask.fits --exclude ones --image mos2S002-obj-image-sky.fits \\",
        "    --events mos2S002-allevc.fits -o regions",
        "lacus regions sources.reg --image pnS003-obj-image-sky.fits -o regions",
    ),
)
@click.argument("mask", type=FILE)
@click.option(
    "--image", "images", type=FILE, multiple=True, required=True,
    help="An image or exposure map of each exposure.",
)  # fmt: skip
@click.option(
    "--events", "events", type=FILE, multiple=True,
    help="An event list to calibrate the detector frame of its exposure on.",
)  # fmt: skip
@click.option(
    "--control", "control", type=FILE, multiple=True,
    help="Places with detector pixels (table, or what ecoordconv prints), likewise.",
)  # fmt: skip
@click.option(
    "--exclude", type=click.Choice(["zeros", "ones"]),
    help="What is cut out: zeros (default) or ones of an image; of DS9 regions and labels, ones "
    "are what they hold.",
)  # fmt: skip
@click.option("--labelled", is_flag=True, help="Each value of the image is a mask of its own.")
@click.option("--algorithm", type=ALGORITHMS, default="fewest", show_default=True)
@click.option("--sas-compatible", is_flag=True, help="Round directions as the SAS does.")
@click.option("--force", is_flag=True, help="Take control points that do not fit.")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, file_okay=False), default=Path(),
    help="The folder for the files; this one by default.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def regions(
    mask: Path,
    images: tuple[Path, ...],
    events: tuple[Path, ...],
    control: tuple[Path, ...],
    exclude: str | None,
    labelled: bool,
    algorithm: str,
    sas_compatible: bool,
    force: bool,
    output: Path,
    as_json: bool,
) -> None:
    """Make region tables of the ESAS from one mask, for every exposure; no lake is needed.

    MASK is a FITS image of zeros and ones or of labels, a DS9 file, a region table, or a table
    of boxes and circles. For every exposure given by an image there are tables of what is cut
    out (bkg_region), what is kept (mask_region) and the box around all (box_table), the same as
    DS9 files, and a shell file with the commands that take them; files of the same names are
    replaced. Without an event list or control points of an exposure its detector frame is good
    to about 1.5 arcsec.
    """
    from lake.xmm.regions import region_tables

    with progress.shown(f"making regions of {mask.name}"):
        made = region_tables(
            mask, images, output, control=[*events, *control], exclude=exclude, labelled=labelled,
            algorithm=algorithm, sas_compatible=sas_compatible, force=force,
        )  # fmt: skip
    number = sum(len(e.tables) for e in made.exposures)
    show.done(f"{output}: {show.count(number, 'region table')}, and DS9 and shell files")
    if as_json:
        show.as_json(
            {"mask": _mask(made.mask), "exposures": [_exposure(e) for e in made.exposures]}
        )
    else:
        _show(made)


def _mask(mask: "Mask") -> dict[str, Any]:
    """What became of the mask: pixels and regions of each label."""
    labels: dict[int, dict[str, Any]] = {}
    for part in mask.parts:
        out, kept = (mask.pixels or {}).get(part.label, (None, None))
        row = labels.setdefault(
            part.label,
            {"label": part.label, "pixels_excluded": out, "pixels_included": kept,
             "regions_excluded": 0, "regions_included": 0},
        )  # fmt: skip
        if part.role in _COUNTED:
            row[_COUNTED[part.role]] += len(part.regions)
    return {
        "name": mask.name, "kind": mask.kind, "exclude": mask.exclude,
        "pixel_scale_arcsec": mask.pixel_scale, "algorithm": mask.algorithm,
        "fewest": mask.fewest, "labels": list(labels.values()),
    }  # fmt: skip


def _exposure(made: "ExposureTables") -> dict[str, Any]:
    """What was made for an exposure, and how well its detector frame is known."""
    found, frame = made.calibration, made.calibration.frame
    return {
        "obsid": made.exposure.obsid,
        "exposure": made.exposure.name,
        "instrument": made.exposure.camera.name,
        "calibration": {
            "kind": found.kind, "source": found.source, "points": found.points,
            "residual_median_arcsec": found.median, "residual_p95_arcsec": found.p95,
            "residual_max_arcsec": found.largest,
            "det_x": frame.det_x, "det_y": frame.det_y, "roll_deg": frame.roll,
            "scale": frame.scale,
        },
        "tables": [
            {"path": str(path), "expression": made.expressions[path.name]} for path in made.tables
        ],
        "ds9": [str(path) for path in made.ds9],
        "script": str(made.script),
    }  # fmt: skip


def _show(made: "RegionTables") -> None:
    """Print counts, calibrations, expressions and what comes next, for people."""
    mask = _mask(made.mask)
    how = "" if mask["algorithm"] is None else f", {mask['algorithm']}"
    if mask["fewest"]:
        how += " (no fewer boxes are possible)"
    exclude = f"; {mask['exclude']} are cut out" if mask["exclude"] else ""
    show.title(f"{mask['name']}: {mask['kind']}{exclude}{how}")
    labels = mask["labels"]
    if len(labels) > _SHOWN_LABELS:
        print(f"the first {_SHOWN_LABELS} of {len(labels):,} labels; --json prints all")
    header = ["label", "pixels cut out", "kept", "regions cut out", "kept"]
    rows = [list(row.values()) for row in labels[:_SHOWN_LABELS]]
    show.table(header, rows, right=header)
    print()
    show.title("Detector frame (residuals in arcsec)")
    found = [(e, e.calibration) for e in made.exposures]
    show.table(
        ["exposure", "by", "points", "median", "95 %", "largest"],
        [[e.exposure.name, c.kind, c.points, c.median, c.p95, c.largest] for e, c in found],
        right=["points", "median", "95 %", "largest"],
        digits=2,
    )
    print()
    show.title("Selection expressions of evselect")
    for exposure in made.exposures:
        for name, expression in list(exposure.expressions.items())[:_SHOWN_LABELS]:
            if "-box_" not in name:
                print(f"{exposure.exposure.name}  {expression}")
    print("\nNext, where the events lie and the SAS is set up:")
    for exposure in made.exposures:
        print(f"  sh {shlex.quote(str(exposure.script))}")


COMMANDS = (regions,)
