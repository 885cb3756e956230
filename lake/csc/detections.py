"""Chandra Source Catalog inputs: per-observation detections and their labels."""

import re
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from lake.conform import some_names
from lake.errors import InputError
from lake.formats import TableReader, scan_table
from lake.formats.sexagesimal import degrees
from lake.inputs import InputFile, TableRole

#: Names that the archive's interfaces give to columns that the catalogue calls otherwise.
_ALIASES = {"sepn": "separation"}
_LABEL_ALIASES = {"angdist": "separation_arcsec", "separation": "separation_arcsec"}
#: Columns of VizieR's IX/57/csc2master and IX/70/csc21mas; a table that has the first is of them.
_VIZIER = {"2cxo": "name", "raicrs": "ra", "deicrs": "dec"}
#: A name as VizieR gives it, without its catalogue.
_SHORT_NAME = r"^\s*(?:2CXO)?\s*(J\d{6}\.\d[+-]\d{6}[A-Z]{0,2})\s*$"
#: A column's own name after the table, or its one-letter alias, that a query puts before it.
_QUALIFIED = re.compile(
    r"^(?:master_source|observation_source|stack_source|stack_observation|[a-z])?\.",
    re.IGNORECASE,
)
_LABEL_COLUMNS = (
    "name", "obsid", "main_id", "main_type", "other_types", "separation_arcsec", "catalogue",
)  # fmt: skip


def read_detections(file: InputFile) -> TableReader:
    """Detections of a VOTable, FITS, CSV, command-line TSV or Parquet file.

    Table prefixes (``master_source.name``, ``m.name``) go, positions in sexagesimal, as CSCview
    exports them, become degrees. Name and position of VizieR's tables (``2CXO``, ``RAICRS``,
    ``DEICRS``) are known; a name without its ``2CXO`` gets it.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    reader = scan_table(file.path)
    names = _plain_names(reader.schema.names, _ALIASES)
    schema = pa.schema(
        [f.with_name(n) for f, n in zip(reader.schema, names, strict=True)], reader.schema.metadata
    )
    sexagesimal = [
        i for i, f in enumerate(schema) if f.name in ("ra", "dec") and pa.types.is_string(f.type)
    ]
    for i in sexagesimal:
        schema = schema.set(
            i, pa.field(schema.field(i).name, pa.float64(), metadata={b"unit": b"deg"})
        )
    return TableReader(schema, _renamed(reader, schema, sexagesimal, file))


def read_labels(file: InputFile) -> TableReader:
    """Labels of a table: `name`, `main_type`, and where the file has them `obsid` and the others.

    The columns of a detection table that carries its labels (as cross-match services return it)
    are passed over here; register it as detections too to keep them.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    reader = scan_table(file.path)
    names = [name.lower() for name in _plain_names(reader.schema.names, _LABEL_ALIASES)]
    chosen = {n: i for i, n in reversed(list(enumerate(names))) if n in _LABEL_COLUMNS}
    for needed in ("name", "main_type"):
        if needed not in chosen:
            raise InputError(
                file.path,
                f"column {needed!r} is missing; the file has {some_names(reader.schema.names)}",
            )
    schema = pa.schema([reader.schema.field(i).with_name(n) for n, i in chosen.items()])
    of_name = list(chosen).index("name")
    catalogue = None
    if "catalogue" not in chosen:
        catalogue = file.options.get("catalogue", "SIMBAD")
        schema = schema.append(pa.field("catalogue", pa.string()))

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            arrays = [batch.column(i) for i in chosen.values()]
            arrays[of_name] = full_names(arrays[of_name])
            if catalogue is not None:
                arrays.append(pa.repeat(catalogue, batch.num_rows))
            yield pa.record_batch(arrays, schema=schema)

    return TableReader(schema, batches())


def full_names(names: pa.Array) -> pa.Array:
    """Give names of the catalogue the ``2CXO`` that they lack: ``2CXO J004307.5-092302``.

    Others, and what is no text, stay.
    """
    if not (pa.types.is_string(names.type) or pa.types.is_large_string(names.type)):
        return names
    return pc.replace_substring_regex(names, _SHORT_NAME, r"2CXO \1")


def _plain_names(names: list[str], aliases: dict[str, str]) -> list[str]:
    """Names without table prefixes, each once: where two would be equal the prefix stays."""
    plain = [_QUALIFIED.sub("", name) for name in names]
    if "2cxo" in (name.lower() for name in plain):
        aliases = aliases | _VIZIER
    taken = {name.lower() for name in plain}
    plain = [
        name if (alias := aliases.get(name.lower(), name)) in taken else alias for name in plain
    ]
    lower = [name.lower() for name in plain]
    return [
        name if lower.index(name.lower()) == i else original.replace(".", "_").strip("_")
        for i, (name, original) in enumerate(zip(plain, names, strict=True))
    ]


def _renamed(
    reader: TableReader, schema: pa.Schema, sexagesimal: list[int], file: InputFile
) -> Iterator[pa.RecordBatch]:
    row = 1
    of_name = schema.get_field_index("name")
    for batch in reader:
        arrays = list(batch.columns)
        if of_name >= 0:
            arrays[of_name] = full_names(arrays[of_name])
        for i in sexagesimal:
            name = schema.field(i).name
            arrays[i] = degrees(arrays[i], name, file.path, row, hours=name == "ra")
        yield pa.record_batch(arrays, schema=schema)
        row += batch.num_rows


_SUFFIXES = (
    ".vot", ".votable", ".xml", ".fits", ".fit", ".csv", ".tsv", ".txt", ".ecsv", ".parquet",
)  # fmt: skip

ROLES = {
    "detections": TableRole(
        name="detections",
        table="csc.detections",
        read=read_detections,
        required=("name", "obsid"),
        hints={
            "obsid": "detections are rows of a source and an observation, which tables of master "
            "sources, as VizieR's, have not"
        },
        suffixes=_SUFFIXES,
        keeps_other_columns=True,
        version=2,
    ),
    "labels": TableRole(
        name="labels",
        table="csc.labels",
        read=read_labels,
        required=("name",),
        suffixes=_SUFFIXES,
        matches=("csc.detections", "name"),
        version=2,
        options={"catalogue": "catalogue that gives the labels where the file does not say"},
    ),
}
