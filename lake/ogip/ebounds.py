"""EBOUNDS tables: the nominal energies of the channels of a detector (CAL/GEN/92-002)."""

from typing import Any

import numpy as np

from lake.formats.fits_hdu import HDU
from lake.ogip.containers import Ebounds
from lake.ogip.keywords import instrument
from lake.ogip.numbers import about, energies, exact, whole_numbers, wrong


def read(hdu: HDU) -> tuple[dict[str, Any], list[str]]:
    """Row of `ogip.ebounds`, without its identifiers, and the columns that it holds exactly.

    Channels are numbered from 1 where the table has no such column.

    Raises
    ------
    InputError
        The table has no rows, a channel is no whole number, or a unit is none of energy.
    """
    warnings: list[str] = []
    columns: dict[str, Any] = {}
    typed = []
    for name, field in (("E_MIN", "e_min"), ("E_MAX", "e_max")):
        if not hdu.rows or not about(hdu, name).scalar:
            raise wrong(hdu, name, "does not have one number in each of some rows")
        columns[field], same = energies(hdu, name, warnings)
        typed += [about(hdu, name).name] if same else []
    if "CHANNEL" in hdu:
        columns["channel"] = channel = whole_numbers(hdu, "CHANNEL")
        typed += [about(hdu, "CHANNEL").name] if exact(hdu, "CHANNEL", channel) else []
    else:
        columns["channel"] = np.arange(1, hdu.rows + 1, dtype=np.int32)
    known = {"extname": hdu.name or None, "n_channels": hdu.rows, **instrument(hdu.header)}
    return {**known, **columns}, typed


def container(row: dict[str, Any]) -> Ebounds:
    """Channel energies of a row of `ogip.ebounds`."""
    return Ebounds(
        np.asarray(row["channel"], np.int64),
        np.asarray(row["e_min"], np.float64),
        np.asarray(row["e_max"], np.float64),
    )
