"""FITS headers: cards found by name in the raw bytes, parsed only when asked for.

Keywords, values and long strings follow the FITS standard 4.0 (Pence et al. 2010,
A&A 524, A42, and its 2018 revision), sections 4.1 to 4.2.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

CARD = 80
BLOCK = 2880
_END = b"END" + b" " * 77
_CARD = np.dtype({"names": ["keyword"], "formats": ["V8"], "itemsize": CARD})
_COMMENTARY = ("COMMENT", "HISTORY", "")
_STRING = re.compile(r"\s*'((?:[^']|'')*)'\s*(?:/\s?(.*))?", re.DOTALL)
_INTEGER = re.compile(r"[+-]?\d+")
_FLOAT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[EDed][+-]?\d+)?")
_COMPLEX = re.compile(r"\(\s*([^,\s]+)\s*,\s*([^)\s]+)\s*\)")

Value = str | bool | int | float | complex | None


class Malformed(ValueError):
    """What is wrong in an HDU; the reader, who knows the file, makes an `InputError` of it."""

    def __init__(self, problem: str, *, column: str | None = None, row: int | None = None) -> None:
        super().__init__(problem)
        self.problem, self.column, self.row = problem, column, row


class Card(NamedTuple):
    """One keyword of a header, with the `CONTINUE` cards of its long string."""

    keyword: str
    value: Value
    comment: str


class Header(Mapping[str, Any]):
    """Read-only view of a header; nothing is parsed before it is asked for.

    ``header["NAME"]`` is the value of the first card of that name: ``str``, ``bool``,
    ``int``, ``float``, ``complex`` or ``None`` (no value). A value that is none of these
    in FITS' own spelling (an unquoted word, say) is given as the text that stands there.
    ``header["HISTORY"]`` and ``header["COMMENT"]`` are all such lines, joined.

    Parameters
    ----------
    raw : bytes
        The cards, without the END card.
    """

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    @cached_property
    def names(self) -> bytes:
        """Keywords of all cards, eight bytes each: equal for headers of the same make."""
        return np.frombuffer(self.raw, _CARD, len(self.raw) // CARD)["keyword"].tobytes()

    @cached_property
    def _index(self) -> dict[str, int]:
        """Offset of the first card of each keyword, in capitals and without blanks."""
        return _offsets(self.names)

    def _find(self, keyword: str) -> int:
        """Offset of the first card that gives a keyword a value, or -1."""
        index = self._index
        at = index.get(keyword, -1)
        if at >= 0 and self.raw[at + 8 : at + 9] == b"=" and keyword not in _COMMENTARY:
            return at
        if "HIERARCH" in index:
            for at in range(index["HIERARCH"], len(self.raw), CARD):
                card = self.raw[at : at + CARD]
                if card[:9] == b"HIERARCH " and _hierarchical(card)[0].upper() == keyword:
                    return at
        return -1

    def __getitem__(self, keyword: str) -> Any:
        keyword = keyword.upper()
        at = self._find(keyword)
        if at >= 0:
            return _parse(self.raw, at)[0].value
        # Cards without a value are lines of text, such as HISTORY.
        if lines := self.all(keyword):
            return "\n".join(str(line) for line in lines)
        raise KeyError(keyword)

    def get(self, keyword: str, default: Any = None) -> Any:
        """Value of a keyword, or a default where there is no such card."""
        # Readers ask for many keywords that are not there: that must cost next to nothing.
        index = self._index
        at = index.get(keyword)
        if at is None:
            if keyword.isupper() and "HIERARCH" not in index:
                return default
        elif self.raw[at + 8 : at + 10] == b"= " and keyword not in _COMMENTARY:
            value = _fixed(self.raw[at + 10 : at + CARD])
            if value is not None:
                return value
        return super().get(keyword, default)

    def __contains__(self, keyword: object) -> bool:
        return isinstance(keyword, str) and (
            self._find(keyword.upper()) >= 0 or bool(self.all(keyword))
        )

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(card.keyword for card in self.cards))

    def __len__(self) -> int:
        return len({card.keyword for card in self.cards})

    @cached_property
    def cards(self) -> list[Card]:
        """All cards in the file's order, long strings joined."""
        cards, at = [], 0
        while at < len(self.raw):
            card, at = _parse(self.raw, at)
            cards.append(card)
        return cards

    def all(self, keyword: str) -> list[Value]:
        """Values of all cards of a keyword, in the file's order."""
        keyword = keyword.upper()
        # Keywords in other letters than FITS allows are not in the index as they are spelt.
        known = keyword in self._index or not keyword.isascii()
        if not known and self._find(keyword) < 0:
            return []
        return [card.value for card in self.cards if card.keyword.upper() == keyword]

    def comment(self, keyword: str) -> str:
        """Comment of the first card of a keyword; empty where it has none.

        Raises
        ------
        KeyError
            There is no such keyword.
        """
        at = self._find(keyword.upper())
        if at < 0:
            raise KeyError(keyword)
        return _parse(self.raw, at)[0].comment

    def integer(self, keyword: str, default: int | None = None) -> int:
        """Value of a keyword that the structure of the HDU rests on.

        Raises
        ------
        Malformed
            It is absent and has no default, or is not a whole number from 0 on.
        """
        at = self._find(keyword)
        # Written as the standard asks, the number stands alone in columns 11 to 30.
        if at >= 0 and (digits := self.raw[at + 10 : at + 30].strip()).isdigit():
            return int(digits)
        value = self.get(keyword, default)
        if value is None:
            raise Malformed(f"keyword {keyword} is missing")
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise Malformed(f"keyword {keyword} is {value!r}, expected a whole number from 0 on")
        return value


@lru_cache(maxsize=512)
def _offsets(names: bytes) -> dict[str, int]:
    """Offset of the first card of each keyword in a header with these keywords."""
    text = names.upper().decode("latin-1")
    last = len(text) // 8 - 1
    return {text[8 * n : 8 * n + 8].rstrip(): CARD * n for n in range(last, -1, -1)}


def read_header(data: Any, start: int) -> tuple[Header, int]:
    """Header that begins at a byte of a file.

    Parameters
    ----------
    data : bytes or mmap.mmap
        The file.
    start : int
        Offset of the header.

    Returns
    -------
    Header
        Its cards.
    int
        Offset of the data that follow, on the next boundary of 2880 bytes.

    Raises
    ------
    Malformed
        There is no END card, or what stands before it is not a header.
    """
    end = data.find(_END, start)
    while end >= 0 and (end - start) % CARD:
        end = data.find(_END, end + 1)
    if end < 0:
        raise Malformed("the header has no END card: the file is cut off inside the header")
    raw = data[start:end]
    if b"\0" in raw:
        raise Malformed("the header has no END card before binary data begin")
    return Header(raw), start + -(-(end + CARD - start) // BLOCK) * BLOCK


def _text(raw: bytes) -> str:
    # The standard allows ASCII only; observatories write degrees and angstroms in both.
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _hierarchical(card: bytes) -> tuple[str, str]:
    """Keyword and value of ``HIERARCH ESO TEL NAME = ...``, a convention of ESO."""
    keyword, _, body = _text(card[9:]).partition("=")
    return keyword.strip(), body


@lru_cache(maxsize=4096)
def _fixed(raw: bytes) -> str | bool | int | float | None:
    """Value of a card from column 11 on, in fixed format (section 4.2); None for any other.

    Most cards of a file are those of other files, too: what was observed together says so.
    """
    if raw[:1] == b"'":
        end = raw.find(b"'", 1)
        text = raw[1:end].rstrip(b" ")
        plain = end > 0 and raw[end + 1 : end + 2] != b"'" and text[-1:] != b"&"
        return text.decode() if plain and text.isascii() else None
    number, _, rest = raw.lstrip(b" ").partition(b" ")
    if rest.lstrip(b" ")[:1] not in (b"/", b""):
        return None
    if number.isdigit():
        return int(number)
    if number in (b"T", b"F"):
        return number == b"T"
    # Not what Python, but not FITS, takes for a number: nan, inf, 1_000.
    if number[-1:].isdigit() and b"_" not in number:
        try:
            return float(number) if b"." in number or b"E" in number else int(number)
        except ValueError:
            return None
    return None


def _parse(raw: bytes, at: int) -> tuple[Card, int]:
    """Card at an offset and the offset of the card after it (and its CONTINUE cards)."""
    card = raw[at : at + CARD]
    after = at + CARD
    keyword = _text(card[:8]).rstrip()
    if keyword == "HIERARCH" and b"=" in card:
        keyword, body = _hierarchical(card)
    elif card[8:9] == b"=" and keyword not in _COMMENTARY:
        body = _text(card[9:])
    else:
        return Card(keyword, _text(card[8:]).rstrip(), ""), after
    if not (match := _STRING.match(body)):
        value, _, comment = body.partition("/")
        return Card(keyword, _value(value.strip()), comment.strip()), after
    text, comments = match[1], [match[2] or ""]
    while text.rstrip().endswith("&") and raw[after : after + 10] == b"CONTINUE  ":
        match = _STRING.match(_text(raw[after + 10 : after + CARD]))
        if not match:
            break
        text = text.rstrip()[:-1] + match[1]
        comments.append(match[2] or "")
        after += CARD
    comment = " ".join(filter(None, (part.strip() for part in comments)))
    return Card(keyword, text.replace("''", "'").rstrip(), comment), after


def _value(text: str) -> Value:
    if not text:
        return None
    if text in ("T", "F"):
        return text == "T"
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text.upper().replace("D", "E"))
    if match := _COMPLEX.fullmatch(text):
        parts = [_value(part) for part in match.groups()]
        if all(isinstance(part, (int, float)) for part in parts):
            return complex(*parts)  # type: ignore[arg-type]
    return text
