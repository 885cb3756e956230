"""What a VOTable says before and after the rows: fields, parameters, and where the data begin."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any
from xml.parsers import expat

import pyarrow as pa

from lake.errors import InputError
from lake.formats.source import unique_names

# Table 1 of the VOTable standard. A complex number is the pair (real, imaginary).
ARROW_TYPES: dict[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "bit": pa.bool_(),
    "unsignedByte": pa.uint8(),
    "short": pa.int16(),
    "int": pa.int32(),
    "long": pa.int64(),
    "char": pa.string(),
    "unicodeChar": pa.string(),
    "float": pa.float32(),
    "double": pa.float64(),
    "floatComplex": pa.list_(pa.float32(), 2),
    "doubleComplex": pa.list_(pa.float64(), 2),
}
_ARRAYSIZE = re.compile(r"(?:[1-9][0-9]*x)*(?:[0-9]+\*?|\*)")


@dataclass(frozen=True)
class Field:
    """A FIELD: how its cells are laid out, and what they mean.

    Attributes
    ----------
    name : str
        Unique in the table, whatever the case.
    datatype : str
        A key of `ARROW_TYPES`.
    dims : tuple of int
        The fixed dimensions, fastest first. Empty for a scalar; ``arraysize="1"`` is a scalar.
    variable : bool
        Whether one more dimension, of the row's own length, follows.
    null : str or None
        What VALUES declares as null.
    metadata : dict
        Arrow field metadata.
    """

    name: str
    datatype: str
    dims: tuple[int, ...] = ()
    variable: bool = False
    null: str | None = None
    metadata: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def step(self) -> int:
        """How many elements the fixed dimensions hold together."""
        return prod(self.dims)

    @property
    def is_text(self) -> bool:
        """Whether the elements are characters."""
        return self.datatype in ("char", "unicodeChar")

    @property
    def is_complex(self) -> bool:
        """Whether an element is a pair of numbers."""
        return self.datatype.endswith("Complex")

    @property
    def is_list(self) -> bool:
        """Whether a cell holds several values; the first dimension of characters is one string."""
        if self.is_text:
            return len(self.dims) > 1 or (self.variable and bool(self.dims))
        return self.variable or bool(self.dims)

    @property
    def element_type(self) -> pa.DataType:
        """The Arrow type of one value."""
        return ARROW_TYPES[self.datatype]

    @property
    def type(self) -> pa.DataType:
        """The Arrow type of a cell; dimensions are flattened, their shape is in the metadata."""
        return pa.list_(self.element_type) if self.is_list else self.element_type

    def to_arrow(self) -> pa.Field:
        """Give the Arrow field."""
        return pa.field(self.name, self.type, metadata=self.metadata)


class _Element(dict[str, str]):
    """The attributes of an element, its description, and the elements it collects."""

    def __init__(self, attributes: dict[str, str]) -> None:
        super().__init__(attributes)
        self.fields: list[_Element] = []
        self.params: list[_Element] = []
        self.null: str | None = None
        self.description = ""


class Document:
    """The parts of a VOTable outside of its rows, fed in pieces.

    The rows of the wanted table are never fed: the caller stops at `in_data`, takes them from
    the bytes, and goes on with what follows them, so that the XML around them is still checked
    from end to end.

    Parameters
    ----------
    path : str
        For the messages.
    wanted : int or str
        The number of a TABLE in document order, from 0, or its name or ID.

    Raises
    ------
    lake.errors.InputError
        From `feed` and `close`, for XML that is not well-formed, an entity declaration, a
        document that is no VOTable, an error document, and fields that cannot be read.
    """

    def __init__(self, path: str, wanted: int | str) -> None:
        self.path = path
        self.table: _Element | None = None
        self.fields: list[Field] = []
        self.in_data = False
        self.data_attributes: dict[str, str] = {}
        self.serialisation = ""
        self.prefix = ""
        self.number = 0
        self._wanted = wanted
        self._count = 0
        self._tables: dict[str, _Element] = {}
        self._current: _Element | None = None
        self._stack: list[tuple[str, _Element]] = []
        self._scopes: list[list[_Element]] = []
        self._visible: list[list[_Element]] = []
        self._systems: dict[str, list[_Element]] = {"COOSYS": [], "TIMESYS": []}
        self._text: list[str] = []
        # The bytes are UTF-8 by now, whatever their declaration says.
        self._parser = expat.ParserCreate("UTF-8")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text.append
        self._parser.EntityDeclHandler = self._entity
        self._parser.buffer_text = True

    @property
    def is_wanted(self) -> bool:
        """Whether the table being read is the wanted one."""
        return self.table is not None and self._current is self.table

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._parse(data, False)

    def close(self) -> None:
        """Check that the document is complete."""
        self._parse(b"", True)

    def _parse(self, data: bytes, final: bool) -> None:
        try:
            self._parser.Parse(data, final)
        except expat.ExpatError as error:
            if not self._count and not self._stack:
                raise InputError(self.path, f"not XML, a VOTable is expected ({error})") from None
            what = expat.errors.messages.get(error.code, str(error))
            # Once rows were taken out, the parser's line numbers are no longer the file's.
            where = f"line {error.lineno}" if self.table is None else "after the rows"
            if final:
                what = "the file ends early; it is truncated"
            raise InputError(self.path, what, where) from None
        if final and self.table is None:
            found = f"{self._count} table{'' if self._count == 1 else 's'}"
            raise InputError(self.path, f"no table {self._wanted!r}: the file has {found}")

    def _entity(self, name: str, *_: object) -> None:
        raise InputError(self.path, f"declares the entity {name!r}; entities are not accepted")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._stack:
            self.prefix, _, root = name.rpartition(":")
            self.prefix += ":" if self.prefix else ""
            if root != "VOTABLE":
                raise InputError(self.path, f"not a VOTable: the root element is <{name}>")
        # An element of another vocabulary keeps its prefix and so is none of ours.
        tag = name.removeprefix(self.prefix)
        element = _Element(attributes)
        parent_tag, parent = self._stack[-1] if self._stack else ("", element)
        self._stack.append((tag, element))
        self._text.clear()
        if tag in ("VOTABLE", "RESOURCE"):
            self._scopes.append([])
        elif tag == "TABLE":
            self._open_table(element)
        elif tag == "FIELD" and self._current is not None:
            self._current.fields.append(element)
        elif tag in ("PARAM", "INFO"):
            owner = self._scopes[-1] if self._current is None else self._current.params
            owner.append(element)
        elif tag in self._systems:
            self._systems[tag].append(element)
        elif tag == "VALUES" and parent_tag == "FIELD":
            parent.null = attributes.get("null", parent.null)
        elif tag in ("TABLEDATA", "STREAM") and self._current is not None:
            self.in_data = True
            self.serialisation = parent_tag if tag == "STREAM" else tag
            # The FITS element names the extension, its STREAM says how it is encoded.
            self.data_attributes = {**parent, **attributes}
            if self.is_wanted and attributes.get("href"):
                problem = (
                    f"the rows are not in the file but at {attributes['href']}; get them first"
                )
                raise InputError(self.path, problem)
            if self.is_wanted:
                self._fix_fields()

    def _end(self, name: str) -> None:
        tag, element = self._stack.pop()
        if tag == "DESCRIPTION" and self._stack:
            self._stack[-1][1].description = " ".join("".join(self._text).split())
        elif tag == "INFO":
            element.description = element.description or " ".join("".join(self._text).split())
            self._check_status(element)
        elif tag in ("TABLEDATA", "STREAM"):
            self.in_data = False
        elif tag == "TABLE":
            if self.is_wanted:
                self._fix_fields()
            self._current = None
        elif tag in ("VOTABLE", "RESOURCE"):
            self._scopes.pop()
        self._text.clear()

    def _open_table(self, element: _Element) -> None:
        identifiers = (element.get("ID"), element.get("name"))
        matches = self._wanted in identifiers or self._wanted == self._count
        if matches and self.table is None:
            self.table = element
            self.number = self._count
            self._visible = list(self._scopes)
        if "ID" in element:
            self._tables[element["ID"]] = element
        template = self._tables.get(element.get("ref", ""))
        if template is not None:
            element.fields = list(template.fields)
        self._current = element
        self._count += 1

    def _check_status(self, info: _Element) -> None:
        # DALI 1.1, section 4.4: how a service says that the query failed.
        if info.get("name") == "QUERY_STATUS" and info.get("value", "").upper() == "ERROR":
            message = info.description or "no message"
            raise InputError(self.path, f"the service answered with an error: {message}")

    def _fix_fields(self) -> None:
        """Make the fields of the wanted table, which has now declared all of them."""
        assert self.table is not None
        if self.fields:
            return
        if not self.table.fields:
            raise InputError(self.path, "the table has no FIELD")
        names = unique_names([self._name(i, e) for i, e in enumerate(self.table.fields, 1)])
        pairs = enumerate(zip(names, self.table.fields, strict=True), 1)
        self.fields = [self._field(number, name, element) for number, (name, element) in pairs]

    def _name(self, number: int, element: _Element) -> str:
        name = element.get("name", "").strip() or element.get("ID", "")
        if not name:
            raise InputError(self.path, "neither name nor ID", f"FIELD {number}")
        return name

    def _field(self, number: int, name: str, element: _Element) -> Field:
        where = f"FIELD {number}, column {name!r}"
        datatype = element.get("datatype", "").strip()
        if datatype not in ARROW_TYPES:
            expected = ", ".join(ARROW_TYPES)
            raise InputError(self.path, f"datatype {datatype!r} is none of {expected}", where)
        arraysize = element.get("arraysize", "").strip()
        if arraysize and not _ARRAYSIZE.fullmatch(arraysize):
            raise InputError(self.path, f"arraysize {arraysize!r} is not understood", where)
        keys = ("unit", "ucd", "utype", "xtype", "width")
        metadata = {key.encode(): element[key].encode() for key in keys if element.get(key)}
        if element.description:
            metadata[b"description"] = element.description.encode()
        if precision := element.get("precision", "").strip():
            # A bare number of decimals is what F says explicitly.
            metadata[b"format"] = f"{'F' if precision.isdigit() else ''}{precision}".encode()
        variable = arraysize.endswith("*")
        sizes = [int(size) for size in re.findall(r"[0-9]+(?!\*|[0-9])", arraysize)]
        dims = () if sizes == [1] and not variable else tuple(sizes)
        if dims or variable:
            metadata[b"arraysize"] = arraysize.encode()
        return Field(name, datatype, dims, variable, element.null, metadata)

    def schema(self, more_params: list[dict[str, str]] | None = None) -> pa.Schema:
        """Make the Arrow schema from what was read until now.

        Parameters
        ----------
        more_params : list of dict, optional
            Attributes of INFO elements found elsewhere in the file.
        """
        assert self.table is not None
        scopes = [*self._visible, self.table.params]
        params = [_param(element, element.description) for scope in scopes for element in scope]
        params += [_param(attributes, "") for attributes in more_params or []]
        metadata: dict[bytes, bytes] = {}
        if name := self.table.get("name") or self.table.get("ID"):
            metadata[b"name"] = name.encode()
        if self.table.description:
            metadata[b"description"] = self.table.description.encode()
        blocks: dict[bytes, list[Any]] = {
            b"params": params,
            b"coosys": [dict(element) for element in self._systems["COOSYS"]],
            b"timesys": [dict(element) for element in self._systems["TIMESYS"]],
        }
        metadata |= {key: json.dumps(value).encode() for key, value in blocks.items() if value}
        return pa.schema([f.to_arrow() for f in self.fields], metadata=metadata)

    def overflowed(self) -> bool:
        """Tell whether the service says that it cut the table (DALI 1.1, section 4.4.1)."""
        return any(is_overflow(info) for scope in self._visible for info in scope)


def is_overflow(info: Mapping[str, str]) -> bool:
    """Tell whether the attributes of an INFO say that the service cut the table."""
    return info.get("name") == "QUERY_STATUS" and info.get("value", "").upper() == "OVERFLOW"


def _param(attributes: dict[str, str], description: str) -> dict[str, str]:
    keys = ("name", "value", "unit", "ucd")
    found = {key: attributes[key] for key in keys if key in attributes}
    return {**found, "description": description} if description else found
