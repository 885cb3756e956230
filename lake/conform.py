"""Bring the batches of a reader to the contract of their table.

Names, types and units become those of the contract; what does not fit is an error that names
row and column. Columns that the contract does not know are kept as they are, with a wide type.
"""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake import contracts
from lake.errors import InputError
from lake.formats.columns import cell_text, list_parts, make_list, metadata
from lake.formats.delimited_types import without_nan
from lake.formats.reader import TableReader
from lake.inputs import InputFile, TableRole


@dataclass(frozen=True)
class _Plan:
    """How one input column becomes one stored column."""

    source: int
    field: pa.Field
    factor: float
    required: bool
    from_input: bool
    bounds: tuple[float, float] | None = None


def conform(
    reader: TableReader, file: InputFile, role: TableRole, stored: Mapping[str, pa.Field]
) -> TableReader:
    """Rows of a file as its table wants them, with release, file_sha256 and file_row.

    A NaN is a missing value, and becomes null.

    Parameters
    ----------
    reader : TableReader
        What the role's reader gives.
    file : InputFile
    role : TableRole
    stored : mapping
        Columns that earlier inputs brought into the table, by lower-case name: what this input
        has under the same name gets their spelling, type and unit.

    Returns
    -------
    TableReader
        Its schema holds the contract's columns that the input has, then the input's others.

    Raises
    ------
    InputError
        If a required column is missing, two columns have one name, a unit is of another kind,
        or, while iterating, a value does not fit its type, is infinite, lies outside what the
        column's UCD allows (a declination of 100 degrees), or is null in a required column.
    """
    table = contracts.table(role.table)
    given: dict[str, int] = {}
    for i, name in enumerate(reader.schema.names):
        if given.setdefault(name.lower(), i) != i:
            raise InputError(file.path, f"two columns are called {name!r}, in whatever case")
    for needed in role.required:
        if needed not in given:
            there = some_names(reader.schema.names)
            hint = f"; {role.hints[needed]}" if needed in role.hints else ""
            raise InputError(file.path, f"column {needed!r} is missing; the file has {there}{hint}")
    plans = []
    for column in table.columns:
        i = given.get(column.name.lower(), -1)
        if i >= 0 and column.name not in _OWN and reader.schema.field(i).type != pa.null():
            factor = _unit_factor(reader.schema.field(i), column.unit, file)
            required = column.name in role.required or not column.nullable
            plans.append(_Plan(i, column.field(), factor, required, False, column.bounds))
    if role.keeps_other_columns:
        for name, i in given.items():
            if name not in table.by_name and reader.schema.field(i).type != pa.null():
                plans.append(_other(i, reader.schema.field(i), stored.get(name), file))
    fixed = [table.by_name[name].field() for name in _OWN]
    schema = pa.schema([fixed[0], *(plan.field for plan in plans), *fixed[1:]])
    return TableReader(schema, _batches(reader, file, plans, schema))


#: Columns that say where a row comes from.
_OWN = ("release", "file_sha256", "file_row")


def _batches(
    reader: TableReader, file: InputFile, plans: list[_Plan], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    start = 1
    with reader:
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
    array = without_nan(array)
    if array.type != target or plan.factor != 1.0:
        try:
            array = without_nan(_cast(array, target, plan.factor))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            row = _first_misfit(array, target, plan.factor)
            problem = f"{array[row].as_py()!r} is not {_noun(target)}"
            if plan.from_input:
                problem += ", which earlier inputs made this column"
            raise InputError(file.path, problem, _at(start, row, name)) from None
    if plan.required and array.null_count:
        row = _first(pc.is_null(array))
        raise InputError(
            file.path, "null, but this column must have a value", _at(start, row, name)
        )
    if pa.types.is_floating(target):
        infinite = pc.is_inf(array)
        if pc.any(infinite).as_py():
            row = _first(infinite)
            raise InputError(
                file.path, f"{array[row].as_py()} is not a finite number", _at(start, row, name)
            )
    if plan.bounds is not None:
        low, high = plan.bounds
        outside = pc.or_(pc.less(array, low), pc.greater(array, high))
        if pc.any(outside).as_py():
            row = _first(outside)
            problem = f"{array[row].as_py()} does not lie in {low:g}..{high:g}"
            raise InputError(file.path, problem, _at(start, row, name))
    return array


def _cast(array: pa.Array, target: pa.DataType, factor: float = 1.0) -> pa.Array:
    """Cast, scaling numbers and lists of numbers by a factor.

    Raises
    ------
    pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError
        If a value does not fit.
    """
    if pa.types.is_list(target):
        if not (pa.types.is_list(array.type) or pa.types.is_fixed_size_list(array.type)):
            raise pa.ArrowInvalid("not a list")
        values, lengths = list_parts(array)
        return make_list(_cast(values, target.value_type, factor), lengths, array.is_null())
    if factor != 1.0:
        array = pc.multiply(array.cast(pa.float64()), factor)
    if pa.types.is_boolean(target):
        return _truth(array)
    if pa.types.is_string(target) and not pa.types.is_string(array.type):
        return cell_text(array)
    return array.cast(target)


def _truth(array: pa.Array) -> pa.Array:
    if pa.types.is_string(array.type):
        array = pc.utf8_upper(array)
        true, false = pa.array(["TRUE", "T", "1"]), pa.array(["FALSE", "F", "0"])
    else:
        true, false = pa.array([1]).cast(array.type), pa.array([0]).cast(array.type)
    is_true = pc.is_in(array, true)
    known = pc.or_(pc.or_(is_true, pc.is_in(array, false)), array.is_null())
    if not pc.all(known).as_py():
        raise pa.ArrowInvalid("not a truth value")
    return pc.if_else(array.is_null(), None, is_true)


def _first_misfit(array: pa.Array, target: pa.DataType, factor: float) -> int:
    """Index of the first value that cannot be cast, found by halving."""
    low, high = 0, len(array)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            _cast(array[low:middle], target, factor)
            low = middle
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            high = middle
    return low


def _other(source: int, given: pa.Field, stored: pa.Field | None, file: InputFile) -> _Plan:
    """Plan of a column that the contract does not know: kept as it is, but wide.

    If an earlier input brought it, it becomes what it is there.
    """
    if stored is not None:
        unit = metadata(stored, b"unit")
        return _Plan(source, stored, _unit_factor(given, unit, file), False, True)
    about = dict(given.metadata or {})
    about.setdefault(b"description", f"Kept from the input {file.path.name}".encode())
    field = pa.field(given.name, _widest(given.type), True, about)
    return _Plan(source, field, 1.0, False, False)


def _widest(kind: pa.DataType) -> pa.DataType:
    """Type in which a column of its own kind fits from whatever file it comes."""
    types = pa.types
    if types.is_integer(kind):
        return pa.int64() if kind != pa.uint64() else kind
    if types.is_floating(kind):
        return pa.float64()
    if types.is_list(kind) or types.is_fixed_size_list(kind):
        value = _widest(kind.value_type)
        # A list of lists or of structures has no column type here: it is kept as JSON.
        return pa.string() if types.is_nested(kind.value_type) else pa.list_(value)
    if types.is_timestamp(kind):
        return pa.timestamp("us", tz="UTC" if kind.tz else None)
    if types.is_boolean(kind) or types.is_date(kind):
        return kind
    return pa.string()


def _unit_factor(given: pa.Field, wanted: str | None, file: InputFile) -> float:
    unit = (metadata(given, b"unit") or "").strip()
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
        except units.UnitsError:
            raise ValueError(f"unit {unit!r}, expected {wanted!r} or one of its kind") from None
    return 1.0 if abs(factor - 1.0) < 1e-12 else factor


def _noun(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return f"a whole number that fits {kind}"
    if pa.types.is_floating(kind):
        return "a number"
    if pa.types.is_boolean(kind):
        return "true or false"
    return f"a value of type {kind}"


def _first(mask: pa.Array) -> int:
    return int(pc.index(mask, True).as_py())


def _at(start: int, row: int, column: str) -> str:
    return f"row {start + row}, column {column!r}"


def some_names(names: list[str]) -> str:
    """First few of some names, for a message."""
    shown = ", ".join(names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown or "no column"
