"""The next step: how evselect and the ESAS take the region tables."""

from collections.abc import Sequence
from typing import NamedTuple

#: What the tables of each role are called.
TABLES = {"bkg": "bkg_region", "mask": "mask_region", "box": "box_table"}
_SAYS = {"bkg": "What is not cut out", "mask": "What is kept"}


class Made(NamedTuple):
    """A region table that was made, as the chain sees it."""

    role: str  # bkg, mask or box
    frame: str  # sky or det
    name: str
    label: int = 0


def file_name(exposure: str, role: str, frame: str, label: int = 0) -> str:
    """Name of a region table; the ESAS looks for ``pnS003-bkg_region-det.fits``.

    Parameters
    ----------
    exposure : str
    role : {"bkg", "mask", "box"}
    frame : {"sky", "det"}
    label : int
        Of a labelled mask; 0 is none.
    """
    of_label = f"-{label}" if label else ""
    return f"{exposure}-{TABLES[role]}{of_label}-{frame}.fits"


def expression(name: str) -> str:
    """Selection expression of evselect that takes a region table.

    A table may have any number of rows: it is named, not written out, so the expression stays
    below the length that evselect reads.

    Parameters
    ----------
    name : str
        Of the file; the columns that it is about stand in it (MFORM1).
    """
    return f"region({name})"


def selections(exposure: str, made: Sequence[Made]) -> dict[str, str]:
    """Give what the ESAS adds to its own selection: files by name, one for each label.

    Each names the table of detector pixels that says what is kept. Where there is one of what
    is cut out, that says it all.
    """
    found: dict[int, Made] = {}
    for table in made:
        if table.frame == "det" and table.role in ("bkg", "mask"):
            found.setdefault(table.label, table)
    return {
        f"{exposure}-region{f'-{label}' if label else ''}.txt": f"&&{expression(table.name)}\n"
        for label, table in found.items()
    }


def script(exposure: str, made: Sequence[Made]) -> str:
    """Give shell commands that take the region tables of one exposure.

    Parameters
    ----------
    exposure : str
        As the ESAS names it: pnS003, mos1S001.
    made : sequence of Made

    Returns
    -------
    str
        A script for a shell in which the SAS is set up, in the folder of the cleaned events.
    """
    events = f"{exposure}-allevc.fits"
    task, pattern = ("pnspectra", 4) if exposure.startswith("pn") else ("mosspectra", 12)
    lines = [
        "#!/bin/sh",
        f"# Takes the region tables of {exposure}. The SAS must be set up; run it where the",
        "# events and the region tables lie.",
        "set -e",
        "",
    ]
    for table in made:
        if table.role == "box":
            continue
        image = table.name.removesuffix(".fits") + "-im.fits"
        x, y = ("X", "Y") if table.frame == "sky" else ("DETX", "DETY")
        lines += [
            f"# {_SAYS[table.role]}, in {x} and {y}",
            f"evselect table={events}:EVENTS withimageset=yes imageset={image} \\",
            f"  xcolumn={x} ycolumn={y} imagebinning=imageSize ximagesize=900 yimagesize=900 \\",
            f"  filtertype=expression expression='{expression(table.name)}'",
            "",
        ]
    for name in selections(exposure, made):
        lines += [
            "# Spectra of what is kept",
            f"{task} eventfile={events} keepinterfiles=yes pattern={pattern} \\",
            f"  withregion=yes regionfile={name}",
            "",
        ]
    return "\n".join(lines)
