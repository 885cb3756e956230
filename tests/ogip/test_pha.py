"""Spectra as OGIP and the missions write them."""

import json

import numpy as np
import pytest

from lake.errors import InputError
from lake.ogip import pha
from tests.ogip import hdus


def read(hdu) -> pha.Spectra:
    return pha.read(hdus.opened(hdu)[1])


def only(hdu) -> dict:
    [row] = read(hdu).rows
    return row


def test_type_i():
    found = read(hdus.pha(BACKFILE="none", RESPFILE="x.rmf", ANCRFILE="NONE", OBS_ID="17",
                          DETCHANS=4, TSTART=5.0, TSTOP=6.0, RA_OBJ=83.5))  # fmt: skip
    [row] = found.rows
    assert found.typed == ["CHANNEL", "COUNTS"]
    assert row["counts"].tolist() == [5, 0, 7, 1]
    assert row["channel"].tolist() == [1, 2, 3, 4]
    expected = {
        "spectrum_type": "I", "quantity": "COUNTS", "content": "TOTAL", "exposure": 100.0,
        "areascal": 1.0, "backscal": 0.5, "corrscal": 0.0, "poisserr": True, "telescope": "TEST",
        "instrument": "CAM", "backfile": None, "respfile": "x.rmf", "ancrfile": None,
        "obs_id": "17", "first_channel": 1, "n_channels": 4, "t_start": 5.0, "t_stop": 6.0,
        "ra_obj": 83.5, "detchans": 4, "warnings": None,
    }  # fmt: skip
    assert {k: row[k] for k in expected} == expected
    assert row.get("stat_err") is None
    assert row.get("rate") is None


def test_rates_and_errors():
    row = only(
        hdus.pha(
            {"CHANNEL": ("I", [0, 1]), "RATE": ("E", [0.5, np.nan]), "STAT_ERR": ("E", [0.1, 0.2]),
             "QUALITY": ("I", [0, 5]), "GROUPING": ("I", [1, -1])},
            POISSERR=False, SYS_ERR=0.02,
        )
    )  # fmt: skip
    assert row["quantity"] == "RATE"
    assert row["first_channel"] == 0
    assert row["rate"].tolist()[0] == 0.5
    assert row["stat_err"].tolist() == pytest.approx([0.1, 0.2])
    assert row["sys_err"].tolist() == [0.02, 0.02]
    assert row["quality"].tolist() == [0, 5]
    assert row["grouping"].tolist() == [1, -1]
    assert row["warnings"] == ["RATE has no number in 1 channels"]


def test_keywords_hold_for_all_channels_and_zero_error_says_nothing():
    row = only(hdus.pha(STAT_ERR=0, SYS_ERR=0, QUALITY=1, GROUPING=0))
    assert "stat_err" not in row
    assert row["sys_err"].tolist() == [0.0] * 4
    assert row["quality"].tolist() == [1] * 4
    assert row["grouping"].tolist() == [0] * 4


def test_scaling_may_be_a_column():
    columns = {
        "CHANNEL": ("I", [1, 2]), "COUNTS": ("J", [1, 2]), "BACKSCAL": ("E", [1.0, 0.5]),
        "AREASCAL": ("D", [1.0, 0.9]),
    }  # fmt: skip
    found = read(hdus.pha(columns, BACKSCAL=7.0, AREASCAL=7.0))
    [row] = found.rows
    assert (row["areascal"], row["backscal"]) == (None, None)
    assert row["backscal_channel"].tolist() == [1.0, 0.5]
    assert row["areascal_channel"].tolist() == [1.0, 0.9]
    assert found.typed == ["CHANNEL", "COUNTS", "AREASCAL", "BACKSCAL"]
    spectrum = pha.container(row)
    assert spectrum.backscal.tolist() == [1.0, 0.5]


def test_counts_of_all_integers_are_exact():
    for form, zero, values in (
        ("I", 32768, [0, 40000, 65535, 1]),
        ("J", 2**31, [0, 2**32 - 1, 5, 6]),
        ("B", None, [0, 255, 3, 4]),
        ("K", None, [0, 2**40, 3, 4]),
    ):
        formats = {"bzero": {"COUNTS": zero}} if zero else {}
        columns = {"COUNTS": (form, np.array(values, "u8" if form == "J" else "i8"))}
        found = read(hdus.pha(columns, formats=formats))
        assert found.rows[0]["counts"].astype(float).tolist() == values
        assert found.typed == ["COUNTS"]


def test_scaled_counts_and_nulls_are_given_but_not_exact():
    hdu = hdus.pha({"COUNTS": ("I", np.array([4, 9], "i2"))})
    hdu.header["TSCAL1"] = 0.5
    scaled = read(hdu)
    assert scaled.rows[0]["counts"].tolist() == [2.0, 4.5]
    assert scaled.typed == []
    formats = {"null": {"COUNTS": -1}}
    nulls = read(hdus.pha({"COUNTS": ("I", np.array([3, -1], "i2"))}, formats=formats))
    assert nulls.rows[0]["counts"].tolist() == [3, None]
    assert nulls.typed == []
    assert "COUNTS has no number in 1 channels" in nulls.rows[0]["warnings"]
    values = pha.container(nulls.rows[0]).values
    assert values[0] == 3
    assert np.isnan(values[1])


def test_a_channel_may_be_a_whole_number_in_floating_point():
    columns = {"CHANNEL": ("E", [1.0, 2.0]), "COUNTS": ("J", [1, 2])}
    found = read(hdus.pha(columns))
    assert found.rows[0]["channel"].tolist() == [1, 2]
    assert found.rows[0]["channel"].dtype == np.int32
    assert found.typed == ["CHANNEL", "COUNTS"]
    columns["CHANNEL"] = ("E", [1.0, 2.5])
    with pytest.raises(InputError, match=r"HDU 1, row 2, column 'CHANNEL': 2.5 is no whole number"):
        read(hdus.pha(columns))


def two(**more):
    return {
        "SPEC_NUM": ("I", [1, 2]),
        "TSTART": ("D", [10.0, 20.0]),
        "TELAPSE": ("D", [5.0, 6.0]),
        "CHANNEL": ("3I", [[1, 2, 3]] * 2),
        "COUNTS": ("3J", [[1, 2, 3], [4, 5, 6]]),
        "EXPOSURE": ("E", [4.0, 5.0]),
        "BACKFILE": ("9A", ["b.bak{1}", "none"]),
        **more,
    }


@pytest.mark.parametrize("label", ["TYPE:II", "TYPEII", "Type:II", "PHA:II"])
def test_type_ii_in_all_spellings(label):
    found = read(hdus.pha(two(), HDUCLAS4=label, EXPOSURE=None))
    first, second = found.rows
    assert (first["row"], second["row"]) == (1, 2)
    assert second["counts"].tolist() == [4, 5, 6]
    assert (first["exposure"], second["exposure"]) == (4.0, 5.0)
    assert (first["t_start"], first["t_stop"]) == (10.0, 15.0)
    assert (first["backfile"], second["backfile"]) == ("b.bak{1}", None)
    assert json.loads(first["row_json"]) == {"SPEC_NUM": 1}
    assert first["spectrum_type"] == "II"
    assert found.typed == ["CHANNEL", "COUNTS"]
    assert first["warnings"] is None


def test_the_background_columns_of_gratings_have_scales_of_their_own():
    beside = {name: ("3J", [[0, 1, 0], [1, 0, 1]]) for name in ("BACKGROUND_UP", "BACKGROUND_DOWN")}
    scales = {"BACKSCUP": 4.0, "BACKSCDN": 5.0}
    first, second = read(hdus.pha(two(**beside), EXPOSURE=None, **scales)).rows
    assert second["background_up"].tolist() == [1, 0, 1]
    assert (first["backscup"], second["backscdn"]) == (4.0, 5.0)
    assert first["warnings"] is None
    first, _ = read(hdus.pha(two(**beside), EXPOSURE=None, BACKSCUP=4.0, BACKSCDN=0.0)).rows
    assert (first["backscup"], first["backscdn"]) == (4.0, None)
    assert first["warnings"] == ["BACKGROUND_DOWN is not taken as a background: BACKSCDN is 0.0"]
    # Without the columns there is nothing to scale.
    assert only(hdus.pha(**scales)).get("backscup") is None


def test_one_row_may_be_type_ii():
    columns = {"COUNTS": ("3J", [[1, 2, 3]]), "EXPOSURE": ("E", [4.0])}
    row = only(hdus.pha(columns))
    assert (row["row"], row["n_channels"], row["spectrum_type"]) == (1, 3, "II")


def test_a_label_of_type_ii_does_not_make_one():
    row = only(hdus.pha(HDUCLAS4="TYPE:II"))
    assert row["spectrum_type"] == "I"
    assert row["warnings"] == ["HDUCLAS says TYPE:II, but the table holds one spectrum"]


def test_flags_of_a_row_hold_for_its_channels():
    found = read(hdus.pha(two(QUALITY=("I", [0, 1]), SYS_ERR=("3E", [[0.1] * 3] * 2))))
    assert [row["quality"].tolist() for row in found.rows] == [[0, 0, 0], [1, 1, 1]]
    assert found.rows[0]["sys_err"].tolist() == pytest.approx([0.1] * 3)


def test_a_time_with_an_offset_is_right_and_its_column_is_kept_apart():
    columns = {"TIME": ("D", [1.5, 2.5]), "ENDTIME": ("D", [2.5, 3.5]),
               "COUNTS": ("2I", [[1, 2], [3, 4]]), "EXPOSURE": ("E", [1.0, 1.0])}  # fmt: skip
    hdu = hdus.pha(columns)
    hdu.header["TZERO1"] = 243216766.613542
    found = read(hdu)
    assert found.rows[0]["t_start"] == pytest.approx(243216768.113542, abs=1e-6)
    assert found.rows[1]["t_stop"] == 3.5
    assert found.typed == ["COUNTS"]


def test_variable_length_rows():
    columns = {"COUNTS": ("PJ()", hdus.ragged([[1, 2, 3], [4, 5]])), "EXPOSURE": ("E", [1.0, 2.0])}
    found = read(hdus.pha(columns))
    assert [row["counts"].tolist() for row in found.rows] == [[1, 2, 3], [4, 5]]
    assert [row["n_channels"] for row in found.rows] == [3, 2]


def test_what_is_unusual_is_said():
    row = only(hdus.pha({"COUNTS": ("J", [1, 2])}, EXPOSURE=None, POISSERR="False", DETCHANS=3))
    assert row["poisserr"] is False
    assert row["warnings"] == [
        "POISSERR is 'False', not a logical value",
        "EXPOSURE is missing",
        "there is no column CHANNEL",
        "DETCHANS is 3, but there are 2 channels",
    ]
    row = only(hdus.pha({"CHANNEL": ("I", [1, 2, 4]), "COUNTS": ("J", [1, 2, 3])}))
    assert row["warnings"] == ["channel numbers are not consecutive"]


def test_a_keyword_that_is_no_number_is_said():
    row = only(hdus.pha(EXPOSURE="100.0 s", BACKSCAL="scale.fits"))
    assert (row["exposure"], row["backscal"]) == (None, None)
    assert row["warnings"] == [
        "EXPOSURE is '100.0 s', not a number",
        "BACKSCAL is 'scale.fits', not a number",
    ]


@pytest.mark.parametrize(
    ("scale", "said"),
    [
        (None, ["BACKSCAL is missing, taken as 1"]),
        (0.0, ["BACKSCAL is 0: no background can be scaled by it"]),
        (0.5, None),
    ],
)
def test_a_scale_that_is_missing_or_nothing_is_said(scale, said):
    assert only(hdus.pha(BACKSCAL=scale))["warnings"] == said
    columns = {"CHANNEL": ("I", [1, 2]), "COUNTS": ("J", [1, 2]), "BACKSCAL": ("E", [0.0, 1.0])}
    assert only(hdus.pha(columns, BACKSCAL=scale))["warnings"] is None


def test_flags_may_be_logicals_and_are_then_not_exact():
    found = read(hdus.pha({
        "CHANNEL": ("I", [1, 2]), "COUNTS": ("J", [3, 4]), "QUALITY": ("L", [False, True]),
    }))  # fmt: skip
    assert found.rows[0]["quality"].tolist() == [0, 1]
    assert found.typed == ["CHANNEL", "COUNTS"]


@pytest.mark.parametrize(
    ("hdu", "message"),
    [
        (hdus.pha({"CHANNEL": ("I", [1])}),
         "HDU 1: a spectrum without COUNTS and RATE; its columns are CHANNEL"),
        (hdus.pha(EXPOSURE=-3.0), "HDU 1: EXPOSURE is -3 s, expected a positive time"),
        (hdus.pha({"COUNTS": ("4A", ["many"])}),
         "HDU 1, column 'COUNTS': is of type A, expected numbers"),
        (hdus.pha({"CHANNEL": ("I", []), "COUNTS": ("J", [])}), "HDU 1: a spectrum without rows"),
        (hdus.pha({"COUNTS": ("J", [1]), "QUALITY": ("K", [2**40])}),
         "HDU 1, row 1, column 'QUALITY': 1099511627776 is no whole number of 32 bits"),
    ],
)  # fmt: skip
def test_bad_spectra_are_named(hdu, message):
    with pytest.raises(InputError) as caught:
        read(hdu)
    assert caught.value.reason == message


def test_a_bad_row_does_not_hold_up_the_others():
    found = read(hdus.pha(two(EXPOSURE=("E", [-1.0, 5.0]))))
    assert [row["row"] for row in found.rows] == [2]
    assert found.rejected == [(1, "HDU 1, row 1: EXPOSURE is -1 s, expected a positive time")]


def test_lists_of_other_lengths_are_rejected():
    found = read(hdus.pha(two(STAT_ERR=("2E", [[1, 2], [3, 4]]))))
    assert found.rows == []
    assert [r[1] for r in found.rejected] == [
        f"HDU 1, row {n}: STAT_ERR does not have 3 numbers, one per channel" for n in (1, 2)
    ]


def test_container():
    spectrum = pha.container(only(hdus.pha(QUALITY=0, OBS_ID="17")))
    assert spectrum.values.dtype == np.float64
    assert spectrum.values.tolist() == [5, 0, 7, 1]
    assert spectrum.quality.tolist() == [0] * 4
    assert spectrum.exposure == 100.0
    assert spectrum.backscal == 0.5
    assert spectrum.about["obs_id"] == "17"
    assert "counts" not in spectrum.about
    assert spectrum.stat_err is None
