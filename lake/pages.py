"""Lists of pixels straight from the pages of a Parquet file.

Arrow goes through the levels of a list pixel by pixel, which takes longer than reading the pixels;
the runs that levels are written in tell in a few bytes a list where it begins and whether it is
null. What is not written as Arrow and DuckDB write pixels is left to Arrow: other types, encodings
and versions of pages, and lists that hold nulls.

The layout is that of the Apache Parquet format: pages of version 1, whose headers are Thrift
structures in the compact protocol; levels in the hybrid of runs and packed bits; values plain, or
as streams of their first, second, third and fourth bytes.

This module needs Numba, of the extra ``cnn``.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from lake.compiled import kernel

_Bytes = npt.NDArray[np.uint8]
_Slots = npt.NDArray[np.int64]

_KINDS = (pa.float32(), pa.int32(), pa.bool_())
#: Codecs of Arrow by their names in a file's metadata.
_CODECS = {"LZ4": "lz4_raw", "SNAPPY": "snappy", "UNCOMPRESSED": None, "ZSTD": "zstd"}
_DATA_PAGE = 0
_PLAIN, _RLE, _SPLIT = 0, 3, 9
#: Pixels of an array, whose offsets are int32.
_MOST = np.iinfo(np.int32).max
#: Definition levels of a list that is null, of one without pixels, and of a pixel.
_NULL, _EMPTY, _PIXEL = 0, 1, 3


class _Other(Exception):
    """What is written here is for Arrow to read."""


class _Page(NamedTuple):
    """Levels of a data page, of as many slots (pixels and lists without any), and its pixels."""

    slots: int
    repetition: _Bytes
    definition: _Bytes
    split: bool
    pixels: _Bytes


def lists(file: pq.ParquetFile, content: pa.Buffer, group: int, name: str) -> pa.ListArray | None:
    """Read a column of one row group.

    Parameters
    ----------
    file : pyarrow.parquet.ParquetFile
    content : pyarrow.Buffer
        All bytes of the file.
    group : int
    name : str
        Of the column.

    Returns
    -------
    pyarrow.ListArray or None
        What Arrow reads; None if that is left to it.
    """
    kind = file.schema_arrow.field(name).type
    if not pa.types.is_list(kind) or kind.value_type not in _KINDS:
        return None
    paths = [file.schema.column(i).path for i in range(len(file.schema))]
    path = f"{name}.list.{kind.value_field.name}"
    # Names may hold dots, and Arrow reads other layouts of lists, too.
    if paths.count(path) != 1:
        return None
    number = paths.index(path)
    if file.schema.column(number).max_definition_level != _PIXEL:
        return None
    rows = file.metadata.row_group(group)
    try:
        return _list_array(kind, rows.num_rows, rows.column(number), content)
    except (_Other, IndexError, pa.ArrowException, OSError):
        return None


def _list_array(
    kind: pa.ListType, rows: int, chunk: pq.ColumnChunkMetaData, content: pa.Buffer
) -> pa.ListArray:
    """Put together what the pages of a column hold."""
    if not 0 <= rows <= chunk.num_values <= _MOST:
        raise _Other
    boolean = kind.value_type == pa.bool_()
    whole = pa.allocate_buffer(chunk.num_values * (1 if boolean else 4))
    pixels = np.frombuffer(whole, np.bool_ if boolean else np.uint32)
    begins, zeros = np.empty(rows, np.int64), np.empty(rows, np.uint8)
    gaps, levels = np.empty_like(begins), np.empty_like(zeros)
    slots = lists = missing = 0
    for page in _pages(chunk, content):
        first = slots - missing
        lists = _unlike(page.repetition, 1, 1, page.slots, slots, begins, zeros, lists)
        missing = _unlike(page.definition, 2, _PIXEL, page.slots, slots, gaps, levels, missing)
        slots += page.slots
        if lists < 0 or missing < 0 or slots > chunk.num_values:
            raise _Other
        _fill(pixels[first : slots - missing], page)
    if (lists, slots) != (rows, chunk.num_values) or begins[:1].any():
        raise _Other
    there, offsets = _ends(begins, gaps[:missing], levels[:missing], slots)
    if boolean:
        whole = pa.py_buffer(np.packbits(pixels[: offsets[-1]].view(np.uint8), bitorder="little"))
    child = pa.Array.from_buffers(kind.value_type, int(offsets[-1]), [None, whole])
    return pa.ListArray.from_buffers(kind, rows, [there, pa.py_buffer(offsets)], children=[child])


def _ends(
    begins: _Slots, gaps: _Slots, levels: _Bytes, slots: int
) -> tuple[pa.Buffer | None, npt.NDArray[np.int32]]:
    """Tell which lists are there, None if all are, and where one ends and the next begins."""
    row = np.searchsorted(begins, gaps)
    if levels.max(initial=0) > _EMPTY or not np.array_equal(begins[row], gaps):
        raise _Other
    offsets = np.empty(len(begins) + 1, np.int32)
    offsets[:-1] = begins - np.searchsorted(gaps, begins)
    offsets[-1] = slots - len(gaps)
    null = row[levels == _NULL]
    if not len(null):
        return None, offsets
    bits = np.ones(len(begins), np.bool_)
    bits[null] = False
    return pa.py_buffer(np.packbits(bits, bitorder="little")), offsets


def _fill(pixels: npt.NDArray[Any], page: _Page) -> None:
    """Put the pixels of a page into their place."""
    if pixels.dtype == np.bool_:
        if page.split or len(page.pixels) != -(-len(pixels) // 8):
            raise _Other
        pixels[:] = np.unpackbits(page.pixels, count=len(pixels), bitorder="little")
        return
    if len(page.pixels) != pixels.nbytes:
        raise _Other
    if page.split:
        _join(page.pixels.reshape(4, -1), pixels)
    else:
        pixels.view(np.uint8)[:] = page.pixels


def _pages(chunk: pq.ColumnChunkMetaData, content: pa.Buffer) -> Iterator[_Page]:
    """Go through the pages of a column in one row group."""
    if chunk.has_dictionary_page or chunk.compression not in _CODECS:
        raise _Other
    name = _CODECS[chunk.compression]
    codec = None if name is None else pa.Codec(name)
    place = chunk.data_page_offset
    end = place + chunk.total_compressed_size
    while place < end:
        header, length = _header(memoryview(content).cast("B")[place:end])
        data = header.get(5, {})
        slots, encoding, *levels = (_whole(data, i) for i in (1, 2, 3, 4))
        kind, uncompressed, compressed = (_whole(header, i) for i in (1, 2, 3))
        if kind != _DATA_PAGE or encoding not in (_PLAIN, _SPLIT) or levels != [_RLE, _RLE]:
            raise _Other
        place += length
        body = content.slice(place, compressed)
        place += compressed
        if codec is not None:
            body = codec.decompress(body, uncompressed)
        repetition, rest = _levels(np.frombuffer(body, np.uint8))
        definition, pixels = _levels(rest)
        yield _Page(slots, repetition, definition, encoding == _SPLIT, pixels)


def _whole(fields: Any, number: int) -> int:
    """Give a field that is to be a whole number, and not negative."""
    value = fields.get(number) if isinstance(fields, dict) else None
    if not isinstance(value, int) or value < 0:
        raise _Other
    return value


def _levels(page: _Bytes) -> tuple[_Bytes, _Bytes]:
    """Part levels, whose length in bytes is before them, from what follows."""
    end = 4 + int.from_bytes(page[:4].tobytes(), "little")
    if end > len(page):
        raise _Other
    return page[4:end], page[end:]


def _header(content: memoryview, depth: int = 3) -> tuple[dict[int, Any], int]:
    """Read a Thrift structure: its fields by number, and how many bytes it takes.

    The header of a page holds that of a data page, which holds statistics: three at most.
    """
    fields: dict[int, Any] = {}
    number = at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            if shift > 28:
                raise _Other
            byte = content[at]
            value |= (byte & 127) << shift
            at, shift = at + 1, shift + 7
            if byte < 128:
                return value

    while content[at]:
        step, kind = divmod(content[at], 16)
        at += 1
        if step == 0:
            raise _Other
        number += step
        if kind in (4, 5, 6):
            value = varint()
            fields[number] = value >> 1 ^ -(value & 1)
        elif kind == 8:
            size = varint()
            at += size
        elif kind == 12 and depth > 1:
            fields[number], length = _header(content[at:], depth - 1)
            at += length
        elif kind not in (1, 2):
            raise _Other
    return fields, at + 1


@kernel
def _unlike(levels, width, usual, slots, first, places, found, count):  # type: ignore[no-untyped-def]
    """Find the levels of a page that are not the usual one.

    Parameters
    ----------
    levels : ndarray of uint8
        Runs and packed bits.
    width : int
        Bits of a level: 1 or 2.
    usual : int
    slots : int
        Levels of the page.
    first : int
        Levels before this page.
    places, found : ndarray of int64, uint8
        Which levels are others, and what they are: filled from `count` on.
    count : int

    Returns
    -------
    int
        How many are filled now; -1 if there is no place for more or the runs end too soon.
    """
    at = slot = 0
    per = 8 // width
    mask = (1 << width) - 1
    all_usual = 255 // mask * usual
    while slot < slots:
        header = shift = np.int64(0)
        while True:
            if at == len(levels) or shift > 28:
                return -1
            byte = np.int64(levels[at])
            at += 1
            header |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        if header < 2:
            return -1
        if header & 1:
            for _ in range((header >> 1) * width):
                if at == len(levels):
                    return -1
                byte = np.int64(levels[at])
                at += 1
                for k in range(0 if byte != all_usual else per, per):
                    level = byte >> k * width & mask
                    if level != usual and slot + k < slots:
                        if count == len(places):
                            return -1
                        places[count] = first + slot + k
                        found[count] = level
                        count += 1
                slot += per
        else:
            if at == len(levels):
                return -1
            level = levels[at]
            at += 1
            end = min(slot + (header >> 1), slots)
            if level != usual:
                if count + end - slot > len(places):
                    return -1
                for place in range(slot, end):
                    places[count] = first + place
                    found[count] = level
                    count += 1
            slot = end
    return count


@kernel
def _join(streams, words):  # type: ignore[no-untyped-def]
    """Put words together whose first, second, third and fourth bytes are in streams."""
    for i in range(len(words)):
        words[i] = (
            np.uint32(streams[0, i])
            | np.uint32(streams[1, i]) << 8
            | np.uint32(streams[2, i]) << 16
            | np.uint32(streams[3, i]) << 24
        )
