"""Spectral classes as SDSS, SIMBAD and people write them."""

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from lake.formats import read_fits_file
from lake.sdss.mk import is_plain, learnt_class, normalise, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("G2", ("G2", "G", 2.0, None)),
        ("K5 \u2162", ("K5III", "K", 5.0, "III")),  # the Roman numeral of one character
        ("\uff2b5\u00a0III", ("K5III", "K", 5.0, "III")),  # a full-width K, a no-break space
        ("K3III (101673)", ("K3III", "K", 3.0, "III")),
        ("F8V (G_243-63)", ("F8V", "F", 8.0, "V")),
        ("K0 (III)", ("K0III", "K", 0.0, "III")),
        ("B0.5Ibe... (187459)", ("B0.5Ib", "B", 0.5, "I")),
        ("K3Iab: (4817)", ("K3Iab", "K", 3.0, "I")),
        ("K0IIIa (57669)", ("K0IIIa", "K", 0.0, "III")),
        ("K1IVa (142091)", ("K1IVa", "K", 1.0, "IV")),
        ("O9.7Ia-0", ("O9.7Ia-0", "O", 9.7, "I")),
        ("M0.0V", ("M0V", "M", 0.0, "V")),
        ("L5.5", ("L5.5", "L", 5.5, None)),
        ("  M8V:  ", ("M8V", "M", 8.0, "V")),
        # Peculiarities and second components go.
        ("A0p", ("A0", "A", 0.0, None)),
        ("A0IVn (25642)", ("A0IV", "A", 0.0, "IV")),
        ("B2(V)E", ("B2V", "B", 2.0, "V")),
        ("M3.5eV", ("M3.5V", "M", 3.5, "V")),
        ("M4.5:III (123657)", ("M4.5III", "M", 4.5, "III")),
        ("M7IIIevar (177940)", ("M7III", "M", 7.0, "III")),
        ("G5III+... (157910)", ("G5III", "G", 5.0, "III")),
        ("A0V+K1III", ("A0V", "A", 0.0, "V")),
        ("kA2hA5mF0", ("A5", "A", 5.0, None)),
        ("kA2mF0", ("A2", "A", 2.0, None)),
        # Of a range, the first.
        ("F3/F5V (30743)", ("F3V", "F", 3.0, "V")),
        ("O8/O9 (167771)", ("O8", "O", 8.0, None)),
        ("K0/1III", ("K0III", "K", 0.0, "III")),
        ("G5/G6IVw (26297)", ("G5IV", "G", 5.0, "IV")),
        ("B2IV-V (176819)", ("B2IV", "B", 2.0, "IV")),
        ("B3Ib/II (51309)", ("B3Ib", "B", 3.0, "I")),
        # Words and prefixes.
        ("M1      Dwarf", ("M1V", "M", 1.0, "V")),
        ("F4 -1.0 Dwarf", ("F4V", "F", 4.0, "V")),
        ("G8 +0.0 Sub-giant", ("G8IV", "G", 8.0, "IV")),
        ("K giant", ("KIII", "K", None, "III")),
        ("dM3e", ("M3V", "M", 3.0, "V")),
        ("sdF3 (140283)", ("sdF3", "F", 3.0, "VI")),
        ("sd:F0 (G_84-29)", ("sdF0", "F", 0.0, "VI")),
        ("usdM5", ("sdM5", "M", 5.0, "VI")),
        # A letter alone.
        ("O", ("O", "O", None, None)),
        ("Am (78362)", ("A", "A", None, None)),
        ("Be", ("B", "B", None, None)),
        # Small letters, where they are no word.
        ("f5", ("F5", "F", 5.0, None)),
        ("g2 IV", ("G2IV", "G", 2.0, "IV")),
        ("k3iab:", ("K3Iab", "K", 3.0, "I")),
        ("m0.5 v", ("M0.5V", "M", 0.5, "V")),
        ("gK2", ("K2III", "K", 2.0, "III")),
        *((text, (text, None, None, None)) for text in ("galaxy", "g", "m31", "a star", "g2gal")),
        # No MK class.
        *((text, (text, None, None, None)) for text in ("CV", "WDmagnetic", "Carbon_lines", "OB")),
        *((text, (text, None, None, None)) for text in ("AGN", "BROADLINE", "DA2", "WN5", "BHB")),
        ("STARFORMING  BROADLINE ", ("STARFORMING BROADLINE", None, None, None)),
        ("M31", ("M31", None, None, None)),
        ("G102-30", ("G102-30", None, None, None)),
        ("Carbon (2001)", ("Carbon", None, None, None)),
    ],
)
def test_a_class_and_its_parts(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize("text", ["", "   ", "nan", "null", "--", "NA", "...", "STAR", "Unknown"])
def test_what_says_nothing_is_no_class(text):
    assert parse(text) is None


def test_a_luminosity_column_fills_what_the_class_leaves_open():
    classes = pa.chunked_array([["K3", "K3III", "CV"], ["G2", "sdF3", "G2", None, "G2"]])
    luminosity = pa.array(["V", "V", "V", "giant", "V", None, "V", "no"])
    table = normalise(classes, luminosity)
    assert table["class_mk"].to_pylist() == [
        "K3V", "K3III", "CV", "G2III", "sdF3", "G2", None, "G2",
    ]  # fmt: skip
    assert table["luminosity_class"].to_pylist() == [
        "V", "III", None, "III", "VI", None, None, None,
    ]  # fmt: skip


def test_a_column_keeps_its_order_and_its_nulls():
    classes = pa.array(["G2V", None, "A0p", "", "CV", "G2V"] * 1000)
    table = normalise(classes)
    assert table.num_rows == 6000
    assert table.slice(5994).to_pydict() == {
        "class_mk": ["G2V", None, "A0", None, "CV", "G2V"],
        "spectral_letter": ["G", None, "A", None, None, "G"],
        "spectral_subtype": [2.0, None, 0.0, None, None, 2.0],
        "luminosity_class": ["V", None, None, None, None, "V"],
        "learnt_class": ["G2", None, "A0", None, "CV", "G2"],
    }
    assert normalise(pa.array([], pa.string())).num_rows == 0


def test_what_is_learnt_has_no_luminosity():
    classes = pa.array(["K3III", "B0.5Ib", "sdF3", "A", "CV", None])
    assert learnt_class(classes).to_pylist() == ["K3", "B0.5", "F3", "A", "CV", None]


def test_names_of_folders():
    for name in ("A0", "K", "M5V", "B9.5", "G2III"):
        assert is_plain(name)
    for name in ("spectra", "M31", "Am", "A0p", "a0", "CV", "F3/F5V", "data", "K3III (1)"):
        assert not is_plain(name)


def sdss_classes(folder: Path) -> set[str]:
    header = read_fits_file(folder / "spEigenStar-55734.fits")[0].header
    texts = {header[key] for key in header if re.fullmatch(r"NAME\d+", key)}
    texts |= set(pq.read_table(folder / "stellar_spectra.parquet")["subclass"].to_pylist())
    table = pyarrow.csv.read_csv(folder / "sdss_dr14_star_class_lists.csv")
    return texts | set(pc.unique(table["subclass"]).to_pylist())


@pytest.mark.real
def test_every_class_of_the_survey(real_data: Path):
    texts = sdss_classes(real_data / "sdss")
    assert len(texts) > 150
    parsed = {text: parse(text) for text in texts}
    for text, found in parsed.items():
        assert found is not None, text
        wanted = re.match(r"(?:sd:?)?([OBAFGKMLT])(\d(?:\.\d)?)?", text)
        if text == "OB" or not wanted:
            assert found == (text, None, None, None)
            continue
        assert found.letter == wanted[1]
        assert found.subtype == (wanted[2] and float(wanted[2]))
        # What was read is read the same again, and holds letter and subtype as written.
        assert parse(found.class_mk) == found
        roman = re.search(r"\d:?(III|II|IV|V|I)|$", re.sub(r"/[OBAFGKM]\d", "", text))
        words = {"sd": "VI", "Ld": "V"}
        assert found.luminosity == words.get(text[:2], roman[1])
    others = {text for text, found in parsed.items() if found and found.letter is None}
    assert others == {
        "CV", "OB", "WD", "Carbon", "Carbon_lines", "CarbonWD", "CalciumWD",
        "WDcooler", "WDhotter", "WDmagnetic",
    }  # fmt: skip


@pytest.mark.real
def test_types_that_people_gave(real_data: Path):
    lines = (real_data / "sdss" / "human_types_dev_and_held.txt").read_text().splitlines()
    texts = [line.split("\t")[1] for line in lines]
    found = normalise(pa.array(texts))["class_mk"].to_pylist()
    assert found == ["M1V", "M2V", "M5V", "B2", "F4V", "G8V", "K2V", "M2V", "L0"]
