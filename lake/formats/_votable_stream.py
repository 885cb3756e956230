"""The bytes of a VOTable, block by block: decompressed, in UTF-8, markup resolved."""

import codecs
import gzip
import io
import re
from collections.abc import Iterator
from types import TracebackType

from lake.errors import InputError
from lake.formats.source import GZIP_FAULTS, Source, label, open_stream

# Large enough for the work per block to vanish beside the work per byte, small enough for the
# processor's cache to hold most of what is made of it.
BLOCK = 2 << 20
_TAIL = 1 << 16

# What is not complete yet reaches to the end: nothing inside of it may be taken for markup.
_HIDDEN = re.compile(
    rb"<!--.*?-->|<!\[CDATA\[(?P<text>.*?)\]\]>|<\?.*?\?>|(?P<rest><[!?].*)", re.DOTALL
)
_DECLARED = re.compile(rb"<\?xml[^>]*?\bencoding\s*=\s*[\"']([A-Za-z0-9._-]+)[\"']")
_BYTE_ORDER_MARKS = {codecs.BOM_UTF16_BE: "utf-16", codecs.BOM_UTF16_LE: "utf-16"}
# Python has codecs that are no character sets (zlib, unicode_escape): only these are taken.
_CHARACTER_SET = re.compile(r"utf|iso-?8859|us-ascii|ascii|latin|windows-?125|cp125")


class ByteStream:
    """A file as a growing window on its bytes.

    Parameters
    ----------
    source : str, PathLike or bytes
        A path, or the content itself; gzip is told by its first bytes.

    Attributes
    ----------
    name : str
        For the messages.
    buffer : bytes
        What was read and not yet consumed; consumers cut from its front.

    Raises
    ------
    lake.errors.InputError
        A file that cannot be opened, a broken gzip stream, an unknown character set.
    """

    def __init__(self, source: Source) -> None:
        self.name = label(source)
        self.buffer = b""
        self._file = open_stream(source)
        self.compressed = isinstance(self._file, gzip.GzipFile)
        self._decoder: codecs.IncrementalDecoder | None = None
        try:
            self.more()
            self._choose_decoder()
        except InputError:
            self.close()
            raise

    def __enter__(self) -> "ByteStream":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if isinstance(self._file, gzip.GzipFile) and self._file.fileobj is not None:
            self._file.fileobj.close()
        self._file.close()

    def more(self) -> bool:
        """Append the next block to the buffer; tell whether there was one."""
        try:
            block = self._file.read(BLOCK)
        except GZIP_FAULTS as error:
            raise InputError(self.name, f"broken gzip stream: {error}") from None
        except OSError as error:
            raise InputError(self.name, error.strerror or str(error)) from None
        self.buffer += block if self._decoder is None else self._transcode(block)
        return bool(block)

    def _choose_decoder(self) -> None:
        encoding = _BYTE_ORDER_MARKS.get(self.buffer[:2])
        if encoding is None:
            declared = _DECLARED.search(self.buffer[:1024])
            encoding = declared[1].decode().lower() if declared else "utf-8"
        if encoding in ("utf-8", "utf8", "us-ascii", "ascii"):
            return
        try:
            if not _CHARACTER_SET.match(encoding):
                raise LookupError
            self._decoder = codecs.getincrementaldecoder(encoding)()
        except LookupError:
            raise InputError(self.name, f"unknown character set {encoding!r}") from None
        self.buffer = self._transcode(self.buffer)

    def _transcode(self, block: bytes) -> bytes:
        assert self._decoder is not None
        try:
            return self._decoder.decode(block, final=not block).encode()
        except UnicodeError as error:
            raise InputError(self.name, f"not in the declared character set: {error}") from None

    def tail(self) -> bytes:
        """Give the end of a file that is not compressed, without moving in it."""
        if self.compressed or self._decoder is not None:
            return b""
        position = self._file.tell()
        self._file.seek(max(0, self._file.seek(0, io.SEEK_END) - _TAIL))
        end = self._file.read()
        self._file.seek(position)
        return end

    def until(self, end_tag: bytes, cut_after: bytes) -> Iterator[bytes]:
        """Give the content of an element in pieces.

        Comments and processing instructions are left out and CDATA sections written with
        entities, so that every ``<`` in a piece begins a tag.

        Parameters
        ----------
        end_tag : bytes
            How the element's end tag begins. The buffer is left at it.
        cut_after : bytes
            A piece ends after the last of these; where empty, anywhere before a tag.

        Yields
        ------
        bytes

        Raises
        ------
        EOFError
            The file ends before the element does. What was left is in the buffer.
        """
        while True:
            limit = self._resolve_markup()
            end = self.buffer.find(end_tag, 0, limit)
            if end >= 0:
                piece, self.buffer = self.buffer[:end], self.buffer[end:]
                yield piece
                return
            if cut_after:
                cut = self.buffer.rfind(cut_after, 0, limit) + len(cut_after)
            else:
                cut = self.buffer.find(b"<", 0, limit)
                cut = limit if cut < 0 else cut
            if cut >= max(1, len(cut_after)):
                piece, self.buffer = self.buffer[:cut], self.buffer[cut:]
                yield piece
            if not self.more():
                raise EOFError

    def _resolve_markup(self) -> int:
        """Replace what hides tags; give the place of the first such thing not yet complete."""
        # The last byte may be half of a mark.
        limit = len(self.buffer) - 1
        # A search for one rare byte takes a twentieth of the time of one for "<!".
        if not (b"!" in self.buffer or b"?" in self.buffer):
            return limit
        if b"<!" in self.buffer or b"<?" in self.buffer:
            self.buffer = _HIDDEN.sub(_written_out, self.buffer)
        opened = [self.buffer.find(mark) for mark in (b"<!", b"<?")]
        return min([place for place in opened if place >= 0], default=len(self.buffer) - 1)


def _written_out(match: re.Match[bytes]) -> bytes:
    if match["rest"] is not None:
        return match["rest"]
    return (match["text"] or b"").replace(b"&", b"&amp;").replace(b"<", b"&lt;")
