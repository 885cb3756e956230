"""Bring the batches of a reader to the contract of their table.

Names, types and units become those of the contract; what does not fit is an error that names
row and column. Columns that the contract does not know are kept as they are, with a wide type.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake import contracts
from lake.errors import InputError
from lake.formats.reader import TableReader
from lake.inputs import InputFile, Role


@dataclass(frozen=True)
class _Plan:
    """How one input column becomes one stored column."""

    source: str
    field: pa.Field
    factor: float
    required: bool


def conform(
    reader: TableReader, file: InputFile, role: Role, stored: dict[str, pa.DataType]
) -> TableReader:
    """Rows of a file as its table wants them, with release, file_sha256 and file_row.

    Parameters
    ----------
    reader : TableReader
        What the role's reader gives.
    file : InputFile
    role : Role
    stored : dict
        Types of the columns that earlier inputs brought into the table, by lower-case name.

    Returns
    -------
    TableReader
        Its schema holds the contract's columns that the input has, then the input's others.

    Raises
    ------
    InputError
        If a required column is missing, a unit is of another kind, or, while iterating, a value
        does not fit its type, is infinite, or is null in a required column.
    """
    table = contracts.table(role.table)
    names = {field.name.lower(): field for field in reader.schema}
    for needed in role.required:
        if needed not in names:
            raise InputError(
                file.path,
                f"column {needed!r} is missing; the file has {_some(reader.schema.names)}",
            )
    plans, own = [], {"release", "file_sha256", "file_row"}
    for column in table.columns:
        given = names.get(column.name.lower())
        if given is not None and column.name not in own and given.type != pa.null():
            factor = _unit_factor(given, column.unit, file)
            plans.append(_Plan(given.name, column.field(), factor, column.name in role.required))
    if role.keeps_other_columns:
        for name, given in names.items():
            if name not in table.by_name and given.type != pa.null():
                plans.append(_Plan(given.name, _other(given, stored.get(name), file), 1.0, False))
    fixed = [table.by_name[name].field() for name in ("release", "file_sha256", "file_row")]
    schema = pa.schema([fixed[0], *(plan.field for plan in plans), *fixed[1:]])
    return TableReader(schema, _batches(reader, file, plans, schema))


def _batches(
    reader: TableReader, file: InputFile, plans: list[_Plan], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    start = 1
    for batch in reader:
        n = batch.num_rows
        arrays = [_convert(batch.column(plan.source), plan, file, start) for plan in plans]
        release = pa.repeat(file.release, n)
        sha256 = pa.repeat(file.sha256, n)
        rows = pa.array(np.arange(start, start + n, dtype=np.int64))
        yield pa.record_batch([release, *arrays, sha256, rows], schema=schema)
        start += n


def _convert(array: pa.Array, plan: _Plan, file: InputFile, start: int) -> pa.Array:
    """Cast a column; raise InputError for the first row that does not fit."""
    target, name = plan.field.type, plan.field.name
    if plan.required and array.null_count:
        row = _first(pc.is_null(array))
        raise InputError(
            file.path, "null, but this column must have a value", _at(start, row, name)
        )
    if array.type != target:
        try:
            array = _cast(array, target)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            row = _first_misfit(array, target)
            value = array[row].as_py()
            raise InputError(
                file.path, f"{value!r} is not {_noun(target)}", _at(start, row, name)
            ) from None
    if pa.types.is_floating(target):
        infinite = pc.is_inf(array)
        if pc.any(infinite).as_py():
            row = _first(infinite)
            raise InputError(
                file.path, f"{array[row].as_py()} is not a finite number", _at(start, row, name)
            )
        if plan.factor != 1.0:
            array = pc.multiply(array, pa.scalar(plan.factor, target))
    return array


def _cast(array: pa.Array, target: pa.DataType) -> pa.Array:
    if pa.types.is_boolean(array.type) and pa.types.is_string(target):
        return pc.if_else(array, "TRUE", "FALSE")
    if pa.types.is_string(array.type) and pa.types.is_boolean(target):
        upper = pc.utf8_upper(array)
        known = pc.is_in(upper, pa.array(["TRUE", "FALSE", "T", "F", "1", "0", None]))
        if not pc.all(known).as_py():
            raise pa.ArrowInvalid("not a truth value")
        return (
            pc.is_in(upper, pa.array(["TRUE", "T", "1"]))
            if not array.null_count
            else (
                pc.if_else(pc.is_valid(array), pc.is_in(upper, pa.array(["TRUE", "T", "1"])), None)
            )
        )
    return array.cast(target)


def _first_misfit(array: pa.Array, target: pa.DataType) -> int:
    """Index of the first value that cannot be cast, found by halving."""
    low, high = 0, len(array)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            _cast(array[low:middle], target)
            low = middle
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            high = middle
    return low


def _other(given: pa.Field, stored: pa.DataType | None, file: InputFile) -> pa.Field:
    """Field of a column that the contract does not know: widened, described, named as it is."""
    kind = stored if stored is not None else _widest(given.type)
    metadata = dict(given.metadata or {})
    metadata.setdefault(b"description", f"Kept from the input {file.path.name}".encode())
    return pa.field(given.name, kind, True, metadata)


def _widest(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_integer(kind):
        return pa.int64() if kind != pa.uint64() else pa.uint64()
    if pa.types.is_floating(kind):
        return pa.float64()
    if pa.types.is_list(kind):
        return pa.list_(_widest(kind.value_type))
    if pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
        return kind
    return pa.string()


def _unit_factor(given: pa.Field, wanted: str | None, file: InputFile) -> float:
    unit = (given.metadata or {}).get(b"unit", b"").decode().strip()
    if not unit or wanted is None or unit == wanted:
        return 1.0
    try:
        return unit_factor(unit, wanted)
    except ValueError as error:
        raise InputError(file.path, str(error), f"column {given.name!r}") from None


@functools.lru_cache(maxsize=4096)
def unit_factor(unit: str, wanted: str) -> float:
    """Factor that takes numbers of one unit to another.

    Parameters
    ----------
    unit : str
        As a file writes it, ``10^20/cm^2`` included. A unit that astropy does not know is taken
        to be the wanted one: files spell units in ways that no parser foresees.
    wanted : str
        VOUnit of the contract.

    Raises
    ------
    ValueError
        If the two are of different kinds.
    """
    import warnings

    from astropy import units

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", units.UnitsWarning)
        try:
            parsed = units.Unit(unit.replace("^", "**"))
        except ValueError:
            return 1.0
        try:
            factor = float(parsed.to(units.Unit(wanted)))
        except units.UnitConversionError:
            raise ValueError(f"unit {unit!r}, expected {wanted!r} or one of its kind") from None
    return 1.0 if abs(factor - 1.0) < 1e-12 else factor


def _noun(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return f"a whole number that fits {kind}"
    if pa.types.is_floating(kind):
        return "a number"
    return f"a value of type {kind}"


def _first(mask: pa.Array) -> int:
    return int(pc.index(mask, True).as_py())


def _at(start: int, row: int, column: str) -> str:
    return f"row {start + row}, column {column!r}"


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown or "no column"
