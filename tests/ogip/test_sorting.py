"""What an HDU is, its columns and keywords say."""

import numpy as np
import pytest
from astropy.io import fits

from lake.ogip.sorting import content
from tests.ogip import hdus

LABELS = {"HDUCLASS": None, "HDUCLAS1": None, "HDUCLAS2": None, "HDUCLAS3": None}


def what(*made) -> list[str]:
    return [content(hdu) for hdu in hdus.opened(*made)][1:]


def test_labelled_tables_are_what_they_say():
    made = hdus.pha(), hdus.matrix(), hdus.ebounds(), hdus.arf()
    assert what(*made) == ["spectrum", "matrix", "ebounds", "effective_area"]


@pytest.mark.parametrize("name", ["MATRIX", "SPECRESP MATRIX", "RSP_MATRIX"])
def test_a_matrix_is_known_by_its_name(name):
    assert what(hdus.matrix(EXTNAME=name, **LABELS)) == ["matrix"]


def test_a_matrix_and_an_area_are_known_by_their_columns():
    made = hdus.matrix(EXTNAME="RESP", **LABELS), hdus.arf(EXTNAME="AREA", **LABELS)
    assert what(*made) == ["matrix", "effective_area"]


def test_an_area_that_is_called_a_matrix_is_an_area():
    assert what(hdus.arf(EXTNAME="SPECRESP MATRIX", **LABELS)) == ["effective_area"]


def test_a_spectrum_is_known_by_name_or_columns():
    named = hdus.pha(**LABELS)
    nameless = hdus.pha(EXTNAME="ISGR-EVTS-SPE", **LABELS)
    labelled = hdus.pha(EXTNAME="ISGR-EVTS-SPE")
    mislabelled = hdus.pha(HDUCLAS1="PHA")
    assert what(named, nameless, labelled, mislabelled) == ["spectrum"] * 4


def test_all_else_is_other():
    gti = hdus.table({"START": ("D", [0.0]), "STOP": ("D", [1.0])}, {"EXTNAME": "GTI"})
    light_curve = hdus.table(
        {"TIME": ("D", [0.0]), "RATE": ("E", [1.0])},
        {"EXTNAME": "RATE", "HDUCLASS": "OGIP", "HDUCLAS1": "LIGHTCURVE"},
    )
    events = hdus.table({"CHANNEL": ("I", [5]), "TIME": ("D", [0.0])}, {"EXTNAME": "EVENTS"})
    weights = hdus.table(
        {"ENERG_LO": ("E", [0.1]), "ENERG_HI": ("E", [0.2])},
        {"EXTNAME": "EBOUNDS", "HDUCLAS1": "RESPONSE", "HDUCLAS2": "EBOUNDS"},
    )
    histogram = hdus.pha(EXTNAME="PULSE", HDUCLAS1="HISTOGRAM")
    image = fits.ImageHDU(np.zeros((2, 2)))
    assert what(gti, light_curve, events, weights, histogram, image) == ["other"] * 6


def test_a_table_that_only_says_so_is_left_to_its_reader():
    assert what(hdus.table({"X": ("I", [1])}, {"EXTNAME": "MATRIX"})) == ["matrix"]
