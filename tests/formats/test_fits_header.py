import io

import pytest
from astropy.io import fits as astropy_fits
from hypothesis import example, given
from hypothesis import strategies as st

from lake.formats.fits_header import Header, Malformed, read_header


def header(*cards: str) -> Header:
    return Header("".join(card.ljust(80) for card in cards).encode())


@pytest.mark.parametrize(
    ("card", "value"),
    [
        ("KEY     =                   42 / answer", 42),
        ("KEY     = -1.5D+03", -1500.0),
        ("KEY     = .5", 0.5),
        ("KEY     =                    T", True),
        ("KEY     = F", False),
        ("KEY     = 'it''s  '           / quoted", "it's"),
        ("KEY     = '  lead'", "  lead"),
        ("KEY     = ''", ""),
        ("KEY     = '0'", "0"),
        ("KEY     = 'a / b' / c", "a / b"),
        ("KEY     =                      / nothing", None),
        ("KEY     = (1.5, -2)", 1.5 - 2j),
        ("KEY     = 2001-01-01", "2001-01-01"),
        ("KEY     =5", 5),
        ("KEY     =15", 15),
        ("KEY     ='15'", "15"),
        ("KEY     = +15 / plus", 15),
        ("KEY     = 15.", 15.0),
        ("KEY     = 1E3/no blank", 1000.0),
        ("KEY     = 1_000", "1_000"),
        ("KEY     = nan", "nan"),
        ("KEY     = 1 000", "1 000"),
        ("KEY     = ''''", "'"),
        ("KEY     = 'open", "'open"),
    ],
)
def test_values(card, value):
    cards = header("OTHER   = 1", card)
    for found in (cards["KEY"], cards.get("KEY"), cards.get("key")):
        assert found == value
        assert type(found) is type(value)


def test_get_has_a_default_for_what_is_not_there():
    cards = header("COMMENT = 5", "HISTORY first", "EMPTY   =")
    assert cards.get("MISSING") is None
    assert cards.get("MISSING", 3) == 3
    assert cards.get("COMMENT") == cards["COMMENT"]
    assert cards.get("EMPTY", 3) is None


def test_headers_with_the_same_keywords_have_their_own_values():
    first, second = header("ONE     = 1", "TWO     = 2"), header("ONE     = 3", "TWO     = 4")
    assert first.names == second.names == b"ONE     TWO     "
    assert (first["ONE"], second["ONE"], second["TWO"]) == (1, 3, 4)


def test_the_first_of_repeated_keywords_is_the_value_and_all_are_there():
    cards = header("HISTORY one", "KEY     = 1 / first", "KEY     = 2", "HISTORY two", "COMMENT")
    assert cards["KEY"] == 1
    assert cards.comment("key") == "first"
    assert cards.all("KEY") == [1, 2]
    assert cards["HISTORY"] == "one\ntwo"
    assert list(cards) == ["HISTORY", "KEY", "COMMENT"]
    assert len(cards) == 3
    assert [card.keyword for card in cards.cards] == ["HISTORY", "KEY", "KEY", "HISTORY", "COMMENT"]


def test_a_name_inside_of_a_text_is_no_keyword():
    cards = header("NOTE    = 'x'", "COMMENT " + " " * 64 + "EXPTIME = 5", "EXPTIMEX= 1")
    assert "EXPTIME" not in cards
    assert cards.get("EXPTIME") is None
    with pytest.raises(KeyError):
        cards["EXPTIME"]
    with pytest.raises(KeyError):
        cards.comment("EXPTIME")


def test_keywords_in_small_or_foreign_letters_are_found():
    texts = "telescop= 'XMM'".ljust(80), "Größe   = 1".ljust(80)
    cards = Header("".join(texts).encode("latin-1"))
    assert cards["TELESCOP"] == cards["telescop"] == "XMM"
    assert dict(cards)["telescop"] == "XMM"
    assert len(dict(cards)) == 2
    assert cards["größe"] == "1"


def test_long_strings_and_hierarchical_keywords():
    cards = header(
        "BACKFILE= 'a very long &' / first",
        "CONTINUE  'name&'",
        "CONTINUE  '.pha' / second",
        "HIERARCH ESO TEL FOCU LEN = 1.5 / [m]",
        "LAST    = 'R&'",
    )
    assert cards["BACKFILE"] == "a very long name.pha"
    assert cards.comment("BACKFILE") == "first second"
    assert cards["ESO TEL FOCU LEN"] == 1.5
    assert "ESO TEL FOCU" not in cards
    # Without a CONTINUE after it, the ampersand is the file's own.
    assert cards["LAST"] == "R&"


@given(
    st.dictionaries(
        st.text("ABCXYZ019_-", min_size=1, max_size=8).filter(lambda key: key != "END"),
        st.one_of(
            st.booleans(),
            st.integers(-(2**63), 2**63),
            st.floats(allow_nan=False, allow_infinity=False, width=32),
            st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=150),
        ),
        max_size=8,
    )
)
@example({"0": "'/"})  # astropy itself reads it back as a quote alone
def test_what_astropy_writes_is_read_back(keywords):
    written = astropy_fits.Header()
    for key, value in keywords.items():
        written[key] = value
    raw = written.tostring().encode()
    read, data_start = read_header(raw, 0)
    assert data_start == len(raw)
    for key, value in keywords.items():
        if not isinstance(value, str):
            assert read[key] == astropy_fits.Header.fromstring(raw)[key]
        elif not value.rstrip().endswith("&"):  # which is also how a long text goes on
            assert read[key] == value.rstrip()


def test_header_without_end():
    raw = io.BytesIO(b"SIMPLE  = T".ljust(2880)).getvalue()
    with pytest.raises(Malformed, match="no END card"):
        read_header(raw, 0)
    with pytest.raises(Malformed, match="no END card before binary data"):
        read_header(raw + bytes(80) + b"END".ljust(80), 0)


def test_integer_is_a_whole_number_or_an_error():
    cards = header("NAXIS1  = 5", "BAD     = 1.5", "NEG     = -1")
    assert cards.integer("NAXIS1") == 5
    assert cards.integer("ABSENT", 7) == 7
    for key in ("BAD", "NEG", "ABSENT"):
        with pytest.raises(Malformed, match=key):
            cards.integer(key)
