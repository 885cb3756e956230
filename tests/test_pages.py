"""Lists that are read from the pages of a file are those that Arrow reads."""

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pages = pytest.importorskip("lake.pages", exc_type=ImportError)

#: Names and types of columns; those of pixels are read from their pages.
PIXELS = {"flux": pa.float32(), "and_mask": pa.int32(), "valid": pa.bool_()}
SPLIT = ["flux.list.element", "and_mask.list.element"]


def column(kind: pa.DataType, lengths: list[int | None], rng: np.random.Generator) -> pa.ListArray:
    rows = [
        None if length is None else (1000 * rng.normal(size=length)).astype(int).tolist()
        for length in lengths
    ]
    if kind == pa.bool_():
        rows = [row and [value % 3 == 0 for value in row] for row in rows]
    return pa.array(rows, pa.list_(kind))


def table(lengths: list[int | None]) -> pa.Table:
    rng = np.random.default_rng(len(lengths))
    names = pa.array([str(i) for i in range(len(lengths))])
    lists = {name: column(kind, lengths, rng) for name, kind in PIXELS.items()}
    return pa.table({"spec_id": names, **lists})


def read(path: Path) -> dict[str, list[pa.ListArray | None]]:
    """What is read from pages of each column, by row group; it is sound where it is read."""
    content = pa.py_buffer(path.read_bytes())
    with pq.ParquetFile(path) as file:
        found = {
            name: [pages.lists(file, content, g, name) for g in range(file.num_row_groups)]
            for name in file.schema_arrow.names
        }
        for name, groups in found.items():
            for group, array in enumerate(groups):
                if array is not None:
                    array.validate(full=True)
                    assert array.equals(file.read_row_group(group)[name].combine_chunks())
    return found


ROWS = {
    "spectra": [2336] * 50,
    "lengths": [*range(1, 40), 500, 3, 3, 3, 1000, 8, 7, 9, 16],
    "absent": [None, 5, 5, None, None, 0, 0, 7, 2000, None, 1, 0],
    "single pixels": [1] * 100,
    "none": [None] * 30,
    "empty": [0] * 30,
    "mixed": [None, 0, 1] * 40,
}
WRITERS = {
    "as staged": {"use_byte_stream_split": SPLIT, "compression": "lz4"},
    "zstd": {"compression": "zstd"},
    "snappy": {"compression": "snappy"},
    "uncompressed": {"compression": "none", "write_statistics": True},
    "small pages": {"data_page_size": 64, "write_batch_size": 7, "use_byte_stream_split": SPLIT},
    "groups": {"row_group_size": 7},
}


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("writer", WRITERS)
def test_what_arrow_writes(rows, writer, tmp_path):
    path = tmp_path / "lists.parquet"
    written = table(ROWS[rows])
    pq.write_table(written, path, use_dictionary=False, **WRITERS[writer])
    found = read(path)
    assert found.pop("spec_id")[0] is None
    for name, arrays in found.items():
        assert pa.chunked_array(arrays).equals(written[name]), name


@pytest.mark.parametrize("rows", ROWS)
def test_what_duckdb_writes(rows, tmp_path):
    path = tmp_path / "lists.parquet"
    written = table(ROWS[rows])
    with duckdb.connect() as connection:
        connection.register("written", written)
        options = "PARQUET_VERSION v1, DICTIONARY_SIZE_LIMIT 1"
        connection.execute(f"COPY (SELECT * FROM written) TO '{path}' ({options})")
    found = read(path)
    assert rows != "spectra" or all(e is not None for e in found["flux"] + found["valid"])


@pytest.mark.parametrize(
    "options",
    [{"use_dictionary": True}, {"data_page_version": "2.0"}, {"compression": "gzip"}],
    ids=str,
)
def test_other_pages_are_left_to_arrow(options, tmp_path):
    path = tmp_path / "lists.parquet"
    pq.write_table(table(ROWS["spectra"]).select(["flux"]), path, **options)
    assert read(path) == {"flux": [None]}


def test_names_with_dots_are_those_of_other_columns(tmp_path):
    path = tmp_path / "lists.parquet"
    kinds = {"flux.list": pa.float32(), "flux.list.element": pa.bool_(), "flux": pa.float32()}
    rng = np.random.default_rng(0)
    lists = {name: column(kind, [2, 3], rng) for name, kind in kinds.items()}
    pq.write_table(pa.table(lists), path, use_dictionary=False)
    assert all(array is not None for (array,) in read(path).values())
    inner = pa.array([{"flux": [1.0]}], pa.struct({"flux": pa.list_(pa.float32())}))
    outer = pa.array([[2.0]], pa.list_(pa.float32()))
    pq.write_table(pa.table({"of": inner, "of.flux": outer}), path, use_dictionary=False)
    assert read(path) == {"of": [None], "of.flux": [None]}


def test_numbers_that_are_repeated_by_themselves_are_left_to_arrow():
    """As older writers make lists; Arrow writes none."""
    root, flux = b"\x48\x06schema\x15\x02\x00", b"\x15\x08\x25\x04\x18\x04flux\x00"
    footer = b"\x15\x02\x19\x2c" + root + flux + b"\x16\x00\x19\x0c\x00"
    content = pa.py_buffer(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    with pq.ParquetFile(content) as file:
        assert pa.types.is_list(file.schema_arrow.field("flux").type)
        assert pages.lists(file, content, 0, "flux") is None


@pytest.mark.parametrize(
    "values",
    [
        pa.array([[1.0, None, 2.0]], pa.list_(pa.float32())),
        pa.array([[None] * 20, [True] * 20], pa.list_(pa.bool_())),
        pa.array([[1.0, 2.0]], pa.list_(pa.float64())),
        pa.array([[1.0, 2.0]], pa.list_(pa.field("element", pa.float32(), nullable=False))),
        pa.array([[1.0, 2.0]], pa.large_list(pa.float32())),
        pa.array([[[1.0], [2.0]]], pa.list_(pa.list_(pa.float32()))),
        pa.array([["a"]], pa.list_(pa.string())),
        pa.array([1.0], pa.float32()),
    ],
    ids=lambda values: str(values.type),
)
def test_other_columns_are_left_to_arrow(values, tmp_path):
    path = tmp_path / "lists.parquet"
    pq.write_table(pa.table({"values": values}), path, use_dictionary=False)
    assert read(path) == {"values": [None]}


@pytest.mark.parametrize("seed", range(3))
def test_damaged_pages_are_left_to_arrow(seed, tmp_path):
    """Whatever bytes there are, what is read is a sound array, or is left to Arrow."""
    path = tmp_path / "lists.parquet"
    pq.write_table(
        table(ROWS["absent"]), path, use_dictionary=False, compression="none", data_page_size=64
    )
    rng = np.random.default_rng(seed)
    whole = path.read_bytes()
    left = 0
    with pq.ParquetFile(path) as file:
        for _ in range(700):
            damaged = bytearray(whole)
            for place in rng.integers(4, len(whole), 5):
                damaged[place] = rng.integers(256)
            for name in PIXELS:
                array = pages.lists(file, pa.py_buffer(bytes(damaged)), 0, name)
                left += array is None
                if array is not None:
                    array.validate(full=True)
    assert left > 0


@pytest.mark.parametrize("number", ["uncompressed", "compressed", "slots"])
def test_numbers_beyond_all_bounds_are_left_to_arrow(number, tmp_path):
    """The header of a page as small as here holds numbers of one byte, from its fourth on."""
    path = tmp_path / "lists.parquet"
    small = pa.table({"flux": pa.array([[1.0], [2.0]], pa.list_(pa.float32()))})
    pq.write_table(small, path, use_dictionary=False, compression="zstd", write_statistics=False)
    whole = path.read_bytes()
    with pq.ParquetFile(path) as file:
        chunk = file.metadata.row_group(0).column(0)
        place = chunk.data_page_offset + {"uncompressed": 3, "compressed": 5, "slots": 8}[number]
        damaged = whole[:place] + b"\xfe" * 10 + b"\x01" + whole[place + 1 :]
        assert pages.lists(file, pa.py_buffer(whole), 0, "flux") is not None
        assert pages.lists(file, pa.py_buffer(damaged), 0, "flux") is None


def test_more_lists_than_levels_are_left_to_arrow(tmp_path):
    path = tmp_path / "lists.parquet"
    pq.write_table(table([1, 2]), path, use_dictionary=False)
    kind, content = pa.list_(pa.float32()), pa.py_buffer(path.read_bytes())
    with pq.ParquetFile(path) as file:
        chunk = file.metadata.row_group(0).column(1)
        assert len(pages._list_array(kind, 2, chunk, content)) == 2
        for rows in (-1, 3, 1 << 62):
            with pytest.raises(pages._Other):
                pages._list_array(kind, rows, chunk, content)
