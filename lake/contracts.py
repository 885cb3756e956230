"""The contracts: `schema/*.yaml` (Felis) and what is derived from them.

Each stored table is declared once, in Felis (https://felis.lsst.io); Arrow schemas, DuckDB DDL,
comments and the rows of `meta.columns` all come from that declaration. The files hold no Python,
so that another engine or a TAP service can read them as they are.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import yaml

from lake.errors import LacusError, UsageError

# Felis datatype -> (Arrow type, DuckDB type)
_TYPES: dict[str, tuple[pa.DataType, str]] = {
    "boolean": (pa.bool_(), "BOOLEAN"),
    "byte": (pa.int8(), "TINYINT"),
    "short": (pa.int16(), "SMALLINT"),
    "int": (pa.int32(), "INTEGER"),
    "long": (pa.int64(), "BIGINT"),
    "float": (pa.float32(), "FLOAT"),
    "double": (pa.float64(), "DOUBLE"),
    "char": (pa.string(), "VARCHAR"),
    "string": (pa.string(), "VARCHAR"),
    "text": (pa.string(), "VARCHAR"),
    "unicode": (pa.string(), "VARCHAR"),
    "binary": (pa.binary(), "BLOB"),
    "timestamp": (pa.timestamp("us", tz="UTC"), "TIMESTAMP WITH TIME ZONE"),
}


#: What a value can be, by the first word of its UCD: a contract with that UCD promises no less.
_BOUNDS = {"pos.eq.ra": (0.0, 360.0), "pos.eq.dec": (-90.0, 90.0), "stat.probability": (0.0, 1.0)}


@dataclass(frozen=True)
class Column:
    """A declared column.

    Attributes
    ----------
    name, description : str
    arrow : pyarrow.DataType
    duckdb : str
        Type in DuckDB's DDL.
    unit, ucd : str or None
        VOUnit and UCD1+.
    nullable : bool
    """

    name: str
    description: str
    arrow: pa.DataType
    duckdb: str
    unit: str | None = None
    ucd: str | None = None
    nullable: bool = True

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Least and greatest value that the UCD allows, if it bounds any."""
        return _BOUNDS.get((self.ucd or "").partition(";")[0])

    def field(self) -> pa.Field:
        """Arrow field with unit, UCD and description in its metadata."""
        return pa.field(
            self.name,
            self.arrow,
            self.nullable,
            field_metadata(self.unit, self.ucd, self.description),
        )


@dataclass(frozen=True)
class Table:
    """A declared table; `name` carries its namespace, as in ``csc.detections``."""

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    @property
    def namespace(self) -> str:
        """The part of the name before the dot."""
        return self.name.split(".")[0]

    @property
    def partitioned(self) -> bool:
        """Whether the table is kept in one partition per release, as all mission tables are."""
        return self.key[:1] == ("release",)

    @functools.cached_property
    def by_name(self) -> MappingProxyType[str, Column]:
        """Columns by lower-case name, since SQL does not tell cases apart."""
        return MappingProxyType({column.name.lower(): column for column in self.columns})

    def schema(self) -> pa.Schema:
        """Arrow schema with units and UCDs in the field metadata."""
        return pa.schema(
            [column.field() for column in self.columns],
            {b"name": self.name.encode(), b"description": self.description.encode()},
        )

    def arrow(self, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
        """Make Arrow rows of the table; a column that a row does not name is null there."""
        return pa.Table.from_pylist(rows, self.schema())

    def ddl(self, catalog: str = "lake") -> Iterator[str]:
        """Statements that create the table with its partitioning."""
        target = f"{catalog}.{self.name}"
        body = ", ".join(
            f"{quote(c.name)} {c.duckdb}{'' if c.nullable else ' NOT NULL'}" for c in self.columns
        )
        yield f"CREATE TABLE {target} ({body})"
        if self.partitioned:
            yield f"ALTER TABLE {target} SET PARTITIONED BY (release)"

    def comments(self, catalog: str = "lake") -> Iterator[str]:
        """Statements that describe the table and its columns."""
        target = f"{catalog}.{self.name}"
        yield f"COMMENT ON TABLE {target} IS {literal(self.description)}"
        for column in self.columns:
            yield comment(target, column.name, column.description, column.unit, column.ucd)


def quote(name: str) -> str:
    """Quote an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def comment(table: str, column: str, description: str, unit: str | None, ucd: str | None) -> str:
    """Give the statement that comments a column; see `comment_text`."""
    text = comment_text(description, unit, ucd)
    return f"COMMENT ON COLUMN {table}.{quote(column)} IS {literal(text)}"


def comment_text(description: str, unit: str | None, ucd: str | None) -> str:
    """Description, unit and UCD of a column in one line."""
    return description + (f" [{unit}]" if unit else "") + (f" {{{ucd}}}" if ucd else "")


def field_metadata(
    unit: str | None, ucd: str | None, description: str | None
) -> dict[bytes, bytes]:
    """Metadata of an Arrow field; what is not known has no key."""
    given = {b"unit": unit, b"ucd": ucd, b"description": description}
    return {key: value.encode() for key, value in given.items() if value}


def is_any_list(arrow: pa.DataType) -> bool:
    """Whether values of an Arrow type are lists, which DuckDB has but one kind of."""
    return (
        pa.types.is_list(arrow)
        or pa.types.is_large_list(arrow)
        or pa.types.is_fixed_size_list(arrow)
    )


def duckdb_type(arrow: pa.DataType) -> str:
    """DuckDB type of an Arrow type that a reader gives.

    Raises
    ------
    TypeError
        If the lake has no such type.
    """
    if is_any_list(arrow):
        return duckdb_type(arrow.value_type) + "[]"
    if pa.types.is_timestamp(arrow):
        return "TIMESTAMP WITH TIME ZONE" if arrow.tz else "TIMESTAMP"
    names = {pa.uint8(): "UTINYINT", pa.uint16(): "USMALLINT", pa.uint32(): "UINTEGER"}
    names |= {pa.uint64(): "UBIGINT", pa.date32(): "DATE", pa.large_string(): "VARCHAR"}
    names |= dict(_TYPES.values())
    if arrow not in names:
        raise TypeError(f"no DuckDB type for {arrow}")
    return names[arrow]


def contracts_dir(kind: str) -> Path:
    """Directory of the contracts: beside the packages in a checkout, inside them in a wheel."""
    packaged = Path(__file__).parent / "_contracts" / kind
    return packaged if packaged.is_dir() else Path(__file__).parents[1] / kind


@functools.cache
def tables() -> MappingProxyType[str, Table]:
    """All declared tables by name, in the order of their files.

    Raises
    ------
    LacusError
        If a file declares something that the lake cannot hold; the message names the column.
    """
    found: dict[str, Table] = {}
    for path in sorted(contracts_dir("schema").glob("*.yaml")):
        declared = yaml.load(
            path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        )
        for table in declared["tables"]:
            name = f"{declared['name']}.{table['name']}"
            columns = tuple(_column(name, column) for column in table["columns"])
            key = tuple(reference.rsplit(".", 1)[-1] for reference in table["primaryKey"])
            found[name] = Table(name, table["description"].strip(), columns, key)
    return MappingProxyType(found)


def table(name: str) -> Table:
    """Contract of one table.

    Raises
    ------
    UsageError
        If there is no such table.
    """
    try:
        return tables()[name]
    except KeyError:
        raise UsageError(f"no table {name}; there are {', '.join(tables())}") from None


def namespaces() -> tuple[str, ...]:
    """Namespaces in the order of their files."""
    return tuple(dict.fromkeys(t.namespace for t in tables().values()))


def missions() -> tuple[str, ...]:
    """Namespaces that hold a mission's data: all but `meta`."""
    return tuple(name for name in namespaces() if name != "meta")


def _column(table: str, declared: dict[str, Any]) -> Column:
    name, datatype = declared["name"], declared["datatype"]
    if datatype not in _TYPES:
        raise LacusError(f"schema of {table}: column {name}: no datatype {datatype!r}")
    arrow, duckdb = _TYPES[datatype]
    # "*" on text is merely its length; an array of text is "64x*" (VOTable 1.4, section 2.2).
    shape = str(declared.get("votable:arraysize", ""))
    if "x" in shape if arrow == pa.string() else shape == "*":
        arrow, duckdb = pa.list_(arrow), duckdb + "[]"
    return Column(
        name,
        " ".join(declared["description"].split()),
        arrow,
        duckdb,
        declared.get("ivoa:unit"),
        declared.get("ivoa:ucd"),
        declared.get("nullable", True),
    )
