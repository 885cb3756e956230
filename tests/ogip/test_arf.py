"""Effective areas."""

import json

import numpy as np
import pytest

from lake.errors import InputError
from lake.ogip import arf
from tests.ogip import hdus


def read(hdu) -> arf.Areas:
    return arf.read(hdus.opened(hdu)[1])


@pytest.mark.parametrize("unit", ["cm2", "cm**2", "cm^2"])
def test_type_i(unit):
    found = read(hdus.arf(unit=unit, OBS_ID="17", RESPFILE="grid(x.rmf)", EXPOSURE=9.0))
    [row] = found.rows
    assert row["energ_lo"].tolist() == [0.5, 1.0, 2.0]
    assert row["energ_hi"].tolist() == [1.0, 2.0, 3.0]
    assert row["specresp"].tolist() == [100.0, 200.0, 50.0]
    assert (row["row"], row["n_energies"], row["obs_id"]) == (None, 3, "17")
    assert (row["respfile"], row["exposure"], row["warnings"]) == ("grid(x.rmf)", 9.0, None)
    assert found.typed == ["ENERG_LO", "ENERG_HI", "SPECRESP"]


def test_other_units_are_brought_to_kev_and_cm2_and_not_exact():
    found = read(hdus.arf(unit="m**2", energy="eV"))
    assert found.rows[0]["energ_hi"].tolist() == pytest.approx([0.001, 0.002, 0.003])
    assert found.rows[0]["specresp"].tolist() == [1e6, 2e6, 5e5]
    assert found.typed == []


def test_missing_units_are_said():
    assert read(hdus.arf(unit="", energy="")).rows[0]["warnings"] == [
        "ENERG_LO has no unit: taken as keV",
        "ENERG_HI has no unit: taken as keV",
        "SPECRESP has the unit '': taken as cm2",
    ]


@pytest.mark.parametrize("unit", ["cm2 s", "cm**2.s", "cm**2*ks", "cm^2 sec"])
def test_an_area_times_a_time_is_said_to_be_one(unit):
    warned = f"SPECRESP has the unit {unit!r}: an exposure is in the area"
    assert read(hdus.arf(unit=unit)).rows[0]["warnings"] == [warned]


def test_an_area_per_photon_is_an_area():
    assert read(hdus.arf(unit="cm**2 counts/photon")).rows[0]["warnings"] is None


def test_type_ii():
    columns = {
        "SPEC_NUM": ("I", [3, 4]),
        "ENERG_LO": ("2E", [[1, 2], [3, 4]]),
        "ENERG_HI": ("2E", [[2, 3], [4, 5]]),
        "SPECRESP": ("2E", [[10, 20], [30, 40]]),
    }
    found = read(hdus.arf(columns))
    assert [row["row"] for row in found.rows] == [1, 2]
    assert found.rows[1]["specresp"].tolist() == [30, 40]
    assert found.rows[1]["energ_lo"].tolist() == [3, 4]
    assert json.loads(found.rows[1]["row_json"]) == {"SPEC_NUM": 4}
    assert found.typed == ["ENERG_LO", "ENERG_HI", "SPECRESP"]


def test_equal_curves_have_equal_hashes_in_whatever_precision():
    single, double = hdus.arf(), hdus.arf({"SPECRESP": ("D", [100.0, 200.0, 50.0])})
    other = hdus.arf({"SPECRESP": ("E", [100.0, 200.0, 51.0])})
    hashes = [read(hdu).rows[0]["content_hash"] for hdu in (single, double, other)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_energies_from_zero_are_kept_and_said():
    row = read(hdus.arf({"ENERG_LO": ("E", [0.0, 1.0, 2.0])})).rows[0]
    assert row["energ_lo"][0] == 0
    assert row["warnings"] == ["ENERG_LO begins at 0 keV"]
    row = read(hdus.arf({"ENERG_HI": ("E", [0.5, 2.0, 3.0])})).rows[0]
    assert row["warnings"] == ["1 energy bins have no width"]
    row = read(hdus.arf({"SPECRESP": ("E", [1.0, np.nan, 3.0])})).rows[0]
    assert row["warnings"] == ["SPECRESP is NaN in 1 bins"]


def test_energies_may_fall_and_it_is_said():
    falling = {
        "ENERG_LO": ("E", [2.0, 1.0, 0.5]), "ENERG_HI": ("E", [3.0, 2.0, 1.0]),
        "SPECRESP": ("E", [50.0, 200.0, 100.0]),
    }  # fmt: skip
    row = read(hdus.arf(falling)).rows[0]
    assert row["energ_lo"].tolist() == [2.0, 1.0, 0.5]
    assert row["specresp"].tolist() == [50.0, 200.0, 100.0]
    assert row["warnings"] == ["energies decrease from bin to bin"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"ENERG_LO": ("E", [0.5, 2.0, 1.0]), "ENERG_HI": ("E", [1.0, 3.0, 2.0])},
         "HDU 1, row 3: energies do not increase: a bin from 1 to 2 keV after 2"),
        ({"ENERG_LO": ("E", [2.0, 0.1, 0.5]), "ENERG_HI": ("E", [3.0, 0.5, 1.0])},
         "HDU 1, row 3: energies do not decrease: a bin from 0.5 to 1 keV after 0.1"),
        ({"ENERG_HI": ("E", [1.0, 0.5, 3.0])},
         "HDU 1, row 2: energies do not increase: a bin from 1 to 0.5 keV after 0.5"),
        ({"ENERG_LO": ("E", [np.nan, 1.0, 2.0])},
         "HDU 1, row 1: energies do not increase: a bin from nan to 1 keV"),
        ({"SPECRESP": ("3A", ["abc"] * 3)},
         "HDU 1, column 'SPECRESP': is of type A, expected numbers"),
    ],
)  # fmt: skip
def test_bad_areas_are_named(columns, message):
    with pytest.raises(InputError) as caught:
        read(hdus.arf(columns))
    assert caught.value.reason == message


def test_a_unit_of_something_else_is_named():
    with pytest.raises(InputError, match="'ENERG_LO': has the unit 'Angstrom', expected one of"):
        read(hdus.arf(energy="Angstrom"))


def test_container():
    area = arf.container(read(hdus.arf(OBS_ID="17")).rows[0])
    assert area.specresp.dtype == area.energ_lo.dtype == np.float64
    assert area.specresp.tolist() == [100.0, 200.0, 50.0]
    assert area.about["obs_id"] == "17"
