"""Redistribution matrices in all the ways their groups are written."""

import numpy as np
import pyarrow as pa
import pytest

from lake import contracts
from lake.errors import InputError
from lake.ogip import ebounds, rmf
from tests.ogip import hdus

FIXED = {
    "F_CHAN": ("2I", [[1, 0], [1, 4], [0, 0]]),
    "N_CHAN": ("2I", [[2, 0], [1, 2], [0, 0]]),
    "MATRIX": ("4E", [[0.25, 0.5, 0, 0], [0.125, 0.5, 0.25, 9.0], [7, 7, 7, 7]]),
}
ONE = {
    "N_GRP": ("I", [1, 1, 1]),
    "F_CHAN": ("I", [1, 1, 1]),
    "N_CHAN": ("I", [5, 5, 5]),
    "MATRIX": ("5E", hdus.DENSE),
}


def read(matrix, channels=None, **options) -> rmf.Response:
    file = hdus.opened(matrix, *([channels] if channels else []))
    energies = ebounds.container(ebounds.read(file[2])[0]) if channels else None
    return rmf.read(file[1], energies)


@pytest.mark.parametrize(
    "columns",
    [
        {},
        FIXED,
        ONE,
        {"MATRIX": ("PD()", hdus.GROUPS["MATRIX"][1])},
        {"F_CHAN": FIXED["F_CHAN"], "N_CHAN": FIXED["N_CHAN"]},
        {"F_CHAN": ("QJ()", hdus.GROUPS["F_CHAN"][1])},
        {"F_CHAN": ("PI(2)", hdus.GROUPS["F_CHAN"][1])},
    ],
)  # fmt: skip
def test_groups_in_all_columns(columns):
    response = read(hdus.matrix(columns), hdus.ebounds())
    assert response.as_sparse().toarray().tolist() == hdus.DENSE
    assert response.energ_lo.tolist() == [0.5, 1.0, 2.0]
    assert (response.first_channel, response.first_channel_from) == (1, "TLMIN")
    assert response.channel.tolist() == [1, 2, 3, 4, 5]
    assert response.ebounds.e_max[-1] == 3.0
    assert response.warnings == ()
    assert not response.includes_area
    precision = np.float64 if columns.get("MATRIX", ("",))[0] == "PD()" else np.float32
    assert response.matrix.dtype == precision


def shifted(first: int) -> dict:
    cells = [[first], [first, first + 3], []]
    return {"F_CHAN": ("PI()", hdus.ragged(cells))}


@pytest.mark.parametrize(
    ("tlmin", "f_chan", "start", "expected"),
    [
        (1, 1, 1, (1, "TLMIN", [])),
        (0, 0, 0, (0, "TLMIN", [])),
        (1, 1, 0, (1, "TLMIN", ["TLMIN4 is 1, EBOUNDS begins with channel 0"])),
        ("0", 0, 0, (0, "TLMIN", ["TLMIN4 is the text '0'"])),
        (None, 0, 0, (0, "EBOUNDS", ["TLMIN4 is missing"])),
        (None, 1, 1, (1, "EBOUNDS", ["TLMIN4 is missing"])),
        # EBOUNDS from 0 and F_CHAN from 1 go together in files of the Fermi GBM.
        (None, 1, 0, (1, "assumed", ["TLMIN4 is missing: channels are taken to start at 1"])),
        ("0", 1, 0, (1, "assumed", ["TLMIN4 is missing: channels are taken to start at 1"])),
        (None, 1, None,
         (1, "assumed", ["there is no EBOUNDS table",
                         "TLMIN4 is missing: channels are taken to start at 1"])),
        (None, 0, None,
         (0, "assumed", ["there is no EBOUNDS table",
                         "TLMIN4 is missing: channels are taken to start at 0"])),
    ],
)  # fmt: skip
def test_first_channel(tlmin, f_chan, start, expected):
    channels = None if start is None else hdus.ebounds(start)
    response = read(hdus.matrix(shifted(f_chan), TLMIN4=tlmin), channels)
    found = (response.first_channel, response.first_channel_from, list(response.warnings))
    assert found == expected
    assert response.as_sparse().toarray().tolist() == hdus.DENSE


def test_without_any_word_on_channels_the_groups_say_how_many():
    response = read(hdus.matrix(TLMIN4=None, DETCHANS=None))
    assert (response.first_channel, response.n_channels) == (1, 5)
    assert response.channel.tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("hduclas3", "unit", "factor", "expected"),
    [
        ("REDIST", None, 1, False), ("DETECTOR", "cm**2", 9, False), ("FULL", None, 1, True),
        (None, "cm**2", 1, True), (None, None, 100, True), (None, None, 1, False),
        ("Undefined", "au", 1, False),
    ],
)  # fmt: skip
def test_whether_the_area_is_in_it(hduclas3, unit, factor, expected):
    cells = [np.array(row) * factor for row in hdus.GROUPS["MATRIX"][1]]
    hdu = hdus.matrix({"MATRIX": ("PE()", hdus.ragged(cells))}, HDUCLAS3=hduclas3)
    if unit:
        hdu.header["TUNIT6"] = unit
    response = read(hdu, hdus.ebounds())
    assert response.includes_area is expected
    assert response.about["max_row_sum"] == pytest.approx(0.875 * factor)


@pytest.mark.parametrize(
    ("columns", "keywords", "message"),
    [
        ({"F_CHAN": ("PI()", hdus.ragged([[1], [1, 5], []]))}, {},
         "HDU 1, row 2, column 'F_CHAN': a group reaches channel 6, expected 1 to 5"),
        ({"F_CHAN": ("PI()", hdus.ragged([[0], [1, 4], []]))}, {},
         "HDU 1, row 1, column 'F_CHAN': a group reaches channel 0, expected 1 to 5"),
        ({"N_GRP": ("I", [1, 2, 1])}, {},
         "HDU 1, row 3, column 'N_GRP': counts 1 groups, F_CHAN and N_CHAN have 0"),
        ({"N_GRP": ("I", [-1, 2, 0])}, {},
         "HDU 1, row 1, column 'N_GRP': counts -1 groups, F_CHAN and N_CHAN have 1"),
        ({"N_CHAN": ("PI()", hdus.ragged([[2], [1, 2, 3], []]))}, {},
         "HDU 1, row 2, column 'N_CHAN': has 3 numbers, F_CHAN has 2"),
        ({"N_CHAN": ("PI()", hdus.ragged([[2], [1, -2], []]))}, {},
         "HDU 1, row 2, column 'N_CHAN': -2 channels"),
        ({"MATRIX": ("PE()", hdus.ragged([[0.25], [1, 2, 3], []]))}, {},
         "HDU 1, row 1, column 'MATRIX': has 1 elements, the groups of the bin need 2"),
        ({"ENERG_LO": ("E", [0.5, 2.0, 1.0]), "ENERG_HI": ("E", [1.0, 3.0, 2.0])}, {},
         "HDU 1, row 3: energies do not increase: a bin from 1 to 2 keV after 2"),
        ({"MATRIX": ("4A", ["abcd"] * 3)}, {},
         "HDU 1, column 'MATRIX': is of type A, expected numbers"),
    ],
)  # fmt: skip
def test_bad_matrices_are_named(columns, keywords, message):
    with pytest.raises(InputError) as caught:
        read(hdus.matrix(columns, **keywords), hdus.ebounds())
    assert caught.value.reason == message


def test_a_missing_column_is_named():
    file = hdus.opened(hdus.table({"ENERG_LO": ("E", [1.0])}, {"EXTNAME": "MATRIX"}))
    with pytest.raises(InputError, match="no column 'ENERG_HI'; there are ENERG_LO"):
        rmf.read(file[1], None)


def test_empty_groups_may_stand_anywhere():
    columns = {
        "F_CHAN": ("2I", [[0, 1], [1, 4], [0, 0]]), "N_CHAN": ("2I", [[0, 2], [1, 2], [0, 0]]),
        "N_GRP": ("I", [2, 2, 1]),
    }  # fmt: skip
    response = read(hdus.matrix(columns), hdus.ebounds())
    assert response.as_sparse().toarray().tolist() == hdus.DENSE


def test_what_is_unusual_is_kept_and_said():
    cells = hdus.ragged([[0.25, np.nan], [0.125, 0.5, 0.25], []])
    columns = {"ENERG_LO": ("E", [0.0, 1.0, 2.0]), "MATRIX": ("PE()", cells)}
    response = read(hdus.matrix(columns, DETCHANS=7), hdus.ebounds())
    assert response.warnings == (
        "ENERG_LO begins at 0 keV",
        "DETCHANS is 7, but there are 5 channels",
        "MATRIX is not finite in 1 energy bins",
    )
    assert response.energ_lo[0] == 0


def test_equal_responses_have_one_hash():
    hashes = {
        rmf.content_hash(read(hdus.matrix(columns), hdus.ebounds()))
        for columns in ({}, FIXED, {"MATRIX": ("PD()", hdus.GROUPS["MATRIX"][1])})
    }
    assert len(hashes) == 1
    moved = read(hdus.matrix(shifted(0), TLMIN4=0), hdus.ebounds())
    assert {rmf.content_hash(moved)} == hashes
    other = read(hdus.matrix({"ENERG_HI": ("E", [1.0, 2.0, 3.5])}), hdus.ebounds())
    assert {rmf.content_hash(other)} != hashes


@pytest.mark.parametrize("columns", [{}, FIXED])
def test_rows_of_the_lake_hold_the_file_and_give_the_response_again(columns):
    response = read(hdus.matrix(columns), hdus.ebounds())
    table = rmf.table(response, "r")
    declared = contracts.table("ogip.redistribution").schema()
    assert all(table.schema.field(n).type == declared.field(n).type for n in table.column_names)
    row = table.to_pylist()[1]
    assert (row["bin"], row["energ_lo"], row["energ_hi"], row["n_grp"]) == (2, 1.0, 2.0, 2)
    assert (row["f_chan"], row["n_chan"]) == ([1, 4], [1, 2])
    assert row["matrix"] == [0.125, 0.5, 0.25, 9.0][: len(row["matrix"])]
    assert len(row["matrix"]) == (4 if columns else 3)
    shuffled = pa.concat_tables([table.slice(1), table.slice(0, 1)])
    again = rmf.container(rmf.row(response), shuffled, response.ebounds)
    assert again.as_sparse().toarray().tolist() == hdus.DENSE
    assert rmf.content_hash(again) == rmf.content_hash(response)


def test_sums_of_bins_do_not_depend_on_how_they_are_divided(monkeypatch):
    rng = np.random.default_rng(1)
    sizes = rng.integers(0, 9, 200)
    starts = np.concatenate([[0], np.cumsum(sizes + rng.integers(0, 3, 200))])
    matrix = rng.random(starts[-1]).astype(np.float32)
    expected = [
        matrix[a : a + n].astype(float).sum() for a, n in zip(starts[:-1], sizes, strict=True)
    ]
    for part in (1, 7, 64, 10_000):
        monkeypatch.setattr(rmf, "_PART", part)
        assert rmf._row_sums(matrix, starts[:-1], sizes) == pytest.approx(expected, abs=1e-12)


def test_energies_may_fall():
    falling = {name: (form, cells[::-1]) for name, (form, cells) in hdus.GROUPS.items()}
    response = read(hdus.matrix(falling), hdus.ebounds())
    assert response.energ_lo.tolist() == [2.0, 1.0, 0.5]
    assert response.as_sparse().toarray().tolist() == hdus.DENSE[::-1]
    assert response.warnings == ("energies decrease from bin to bin",)
    row = rmf.row(response)
    assert (row["energy_min"], row["energy_max"]) == (0.5, 3.0)


def test_areas_of_a_matrix_are_in_cm2_and_its_cells_then_not_exact():
    hdu = hdus.matrix(HDUCLAS3="FULL")
    hdu.header["TUNIT6"] = "m**2"
    file = hdus.opened(hdu)
    response = rmf.read(file[1], None)
    np.testing.assert_array_equal(response.as_sparse().toarray(), np.array(hdus.DENSE) * 1e4)
    assert response.about["matrix_unit"] == "m**2"
    assert "MATRIX" not in rmf.typed_columns(file[1])


def test_row():
    row = rmf.row(read(hdus.matrix(LO_THRES=1e-6, TSTART=5.0, TSTOP=7.0), hdus.ebounds()))
    expected = {
        "n_energies": 3, "n_channels": 5, "n_groups": 3, "n_elements": 5, "lo_thres": 1e-6,
        "energy_min": 0.5, "energy_max": 3.0, "t_start": 5.0, "t_stop": 7.0, "hduclas3": "REDIST",
        "telescope": "TEST", "warnings": None,
    }  # fmt: skip
    assert {k: row[k] for k in expected} == expected
