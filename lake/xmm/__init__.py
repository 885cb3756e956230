"""XMM-Newton EPIC: from masks to the region tables of the ESAS, in sky and detector pixels."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lake.inputs import RecordRole
from lake.later import later
from lake.xmm import control, exposure, mask_rows

# At once: the function has the name of its module, which a later import would put in its place.
from lake.xmm.contains import contains

if TYPE_CHECKING:
    from lake.xmm.ds9 import read_ds9
    from lake.xmm.esas import read_region_table
    from lake.xmm.mask import read_mask
    from lake.xmm.picture import plot
    from lake.xmm.regions import region_tables

__all__ = [
    "CITATIONS",
    "EXPORTS",
    "ROLES",
    "contains",
    "plot",
    "read_ds9",
    "read_mask",
    "read_region_table",
    "region_tables",
]

ROLES = {
    "masks": RecordRole(
        name="masks",
        table="xmm.masks",
        also=("xmm.mask_regions",),
        records=mask_rows.records,
        suffixes=(".fits", ".fit", ".fts", ".reg", ".csv", ".ecsv"),
        options=mask_rows.OPTIONS,
        version=5,
    ),
    "images": RecordRole(
        name="images",
        table="xmm.images",
        records=exposure.records,
        suffixes=(".fits", ".fit", ".fts", ".ftz", ".ds"),
        # An exposure map or event list says where its exposure looked, too, but is no image.
        yields="counts IS NULL",
        options={
            "sas_compatible": "yes: round detector pixels of these exposures as the SAS does",
        },
        version=4,
    ),
    "control": RecordRole(
        name="control",
        table="xmm.control",
        records=control.records,
        suffixes=(".fits", ".fit", ".fts", ".ftz", ".ds", ".csv", ".ecsv", ".txt"),
        options={
            "obsid": "observation of the places, where the file does not say",
            "exposure": "their exposure (pnS003), where the file does not say",
            "instrument": "their camera (EPN, EMOS1, EMOS2), where the file does not say",
            "force": "yes: take them however large their residual is",
        },
        version=3,
    ),
}

#: What to cite for products made from this mission's tables.
CITATIONS = (
    "Jansen et al. 2001, A&A 365, L1: XMM-Newton observatory",
    "Snowden et al. 2008, A&A 478, 615: the Extended Source Analysis Software (ESAS)",
)


def _export(read: Any, rows: Any, directory: Path) -> list[Path]:
    from lake.xmm import files

    return files.export(read, rows, directory)


#: Tables whose rows can be written as files of the mission, and what writes them.
EXPORTS = {"xmm.region_tables": _export}

_LATER = {
    "plot": "picture",
    "read_ds9": "ds9",
    "read_mask": "mask",
    "read_region_table": "esas",
    "region_tables": "regions",
}

__getattr__ = later(__name__, _LATER)
