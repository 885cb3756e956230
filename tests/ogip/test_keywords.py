"""Keywords as missions write them."""

import pytest

from lake.ogip import keywords
from tests.ogip import hdus


def header(**values):
    return hdus.opened(hdus.pha(**values))[1].header


@pytest.mark.parametrize(
    ("written", "expected"),
    [(True, True), (False, False), ("False", False), ("T", True), ("maybe", None), (None, None)],
)
def test_flags_may_be_text(written, expected):
    assert keywords.flag(header(POISSERR=written), "POISSERR") is expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [(1, 1.0), (2.5, 2.5), ("0.5", 0.5), ("", None), ("none", None), (True, None), (None, None)],
)
def test_numbers_may_be_text_or_nothing(written, expected):
    assert keywords.number(header(CORRSCAL=written), "CORRSCAL") == expected


def test_whole_numbers_are_whole():
    assert keywords.whole(header(DETCHANS="1024"), "DETCHANS") == 1024
    assert keywords.whole(header(DETCHANS=10.5), "DETCHANS") is None


@pytest.mark.parametrize("written", ["none", "NONE", "%match%", "None", "", "  ", None])
def test_no_file_has_many_spellings(written):
    assert keywords.file_name(written) is None


def test_long_names_go_over_several_cards():
    name = "a_rather_deep/" * 8 + "response.rmf"
    assert keywords.file_name(header(RESPFILE=name)["RESPFILE"]) == name


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("keV", 1.0),
        ("KEV", 1.0),
        (" eV ", 1e-3),
        ("TeV", 1e9),
        ("[keV]", 1.0),
        ("", None),
        ("Angstrom", None),
    ],
)
def test_units_of_energy(unit, factor):
    assert keywords.energy_factor(unit) == factor


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("cm2", 1.0), ("cm**2", 1.0), ("cm^2", 1.0), ("cm**2 count/photon", 1.0), ("m**2", 1e4),
     ("cm**2*counts/photon", 1.0), ("m2.count", 1e4), ("m+2", 1e4), ("mm2", 1e-2),
     ("[CM**2]", 1.0), ("cm**21", None), ("count cm2", None), ("", None), ("au", None),
     (None, None)],
)  # fmt: skip
def test_units_of_area(unit, factor):
    assert keywords.area_factor(unit) == factor
