"""Energies of channels."""

import numpy as np
import pytest

from lake.errors import InputError
from lake.ogip import ebounds
from tests.ogip import hdus


def test_channels_and_energies():
    row, typed = ebounds.read(hdus.opened(hdus.ebounds(0, 2, TELESCOP="T"))[1])
    assert row["channel"].tolist() == [0, 1]
    assert row["e_min"].tolist() == [0.5, 1.75]
    assert row["e_max"].tolist() == [1.75, 3.0]
    assert (row["n_channels"], row["extname"], row["telescope"]) == (2, "EBOUNDS", "T")
    assert sorted(typed) == ["CHANNEL", "E_MAX", "E_MIN"]
    energies = ebounds.container(row)
    assert energies.channel.dtype == np.int64
    assert energies.e_min.dtype == np.float64


def test_a_missing_channel_column_counts_from_one_and_unknown_energies_stay():
    hdu = hdus.table(
        {"E_MIN": ("E", [np.nan, 2.0]), "E_MAX": ("E", [2.0, 3.0])}, {}, unit={"E_MIN": "keV"}
    )
    row, typed = ebounds.read(hdus.opened(hdu)[1])
    assert row["channel"].tolist() == [1, 2]
    assert np.isnan(row["e_min"][0])
    assert typed == ["E_MIN", "E_MAX"]


def test_bad_tables_are_named():
    columns = {"E_MIN": ("2E", [[1.0, 2.0]]), "E_MAX": ("2E", [[2.0, 3.0]])}
    with pytest.raises(InputError, match="'E_MIN': does not have one number in each of some rows"):
        ebounds.read(hdus.opened(hdus.table(columns, {}))[1])
