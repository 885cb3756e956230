"""From what a reader gives to what a table wants."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lake import contracts
from lake.conform import conform, some_names, unit_factor
from lake.csc import ROLES
from lake.errors import InputError
from lake.formats.reader import TableReader
from lake.inputs import InputFile

FILE = InputFile(Path("in.csv"), "csc", "R", "detections", {}, 0, 0, "f" * 64)
DETECTIONS = ROLES["detections"]


def run(columns, role=DETECTIONS, stored=None, batch=1000, units=None) -> pa.Table:
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    for name, unit in (units or {}).items():
        i = table.column_names.index(name)
        field = table.schema.field(i).with_metadata({"unit": unit})
        table = table.cast(table.schema.set(i, field))
    reader = TableReader(table.schema, iter(table.to_batches(max_chunksize=batch)))
    return conform(reader, FILE, role, stored or {}).read_all()


def named(n: int = 2, **columns) -> dict:
    return {"name": [f"S{i}" for i in range(n)], "obsid": list(range(n)), **columns}


def reason(*arguments, **options) -> str:
    with pytest.raises(InputError) as caught:
        run(*arguments, **options)
    return caught.value.reason


def test_rows_say_where_they_come_from():
    out = run(named(5), batch=2)
    assert out.column_names == ["release", "name", "obsid", "file_sha256", "file_row"]
    assert out["file_row"].to_pylist() == [1, 2, 3, 4, 5]
    assert set(out["release"].to_pylist()) == {"R"}
    assert set(out["file_sha256"].to_pylist()) == {"f" * 64}


def test_columns_take_name_type_and_meaning_of_the_contract():
    out = run(named(HARD_hm=pa.array([1, None], pa.int8())))
    declared = contracts.table("csc.detections").by_name["hard_hm"].field()
    assert out.schema.field("hard_hm").equals(declared, check_metadata=True)
    assert out["hard_hm"].to_pylist() == [1.0, None]
    assert out.schema.field("obsid").type == pa.int32()


@pytest.mark.parametrize(
    ("column", "unit", "given", "wanted"),
    [
        ("ra", "deg", 10.0, 10.0),
        ("ra", "rad", np.pi, 180.0),
        ("ra", "hourangle", 2.0, 30.0),
        ("theta", "deg", 0.5, 30.0),
        ("theta", "arcsec", 90.0, 1.5),
        ("gti_elapse", "ks", 2.5, 2500.0),
        ("bb_kt", "eV", 500.0, 0.5),
        ("powlaw_nh", "10^20/cm^2", 3.0, 3.0),
        ("powlaw_nh", "cm**-2", 3e20, 3.0),
        ("powlaw_nh", "10**22 cm**-2", 0.03, 3.0),
        ("flux_aper_b", "mW/m^2", 2.0, 2.0),  # 1 mW/m^2 is 1 erg/s/cm^2
        ("flux_aper_b", "erg/s/cm^2", 2.0, 2.0),
        ("ra", "no unit at all", 10.0, 10.0),
        ("ra", "", 10.0, 10.0),
    ],
)
def test_units_are_converted(column, unit, given, wanted):
    out = run(named(1, **{column: [given]}), units={column: unit})
    assert out[column].to_pylist() == [pytest.approx(wanted, rel=1e-12)]


@pytest.mark.parametrize(
    ("column", "unit"), [("ra", "keV"), ("theta", "s"), ("bb_kt", "mag"), ("gti_elapse", "Jy")]
)
def test_units_of_another_kind_are_refused(column, unit):
    declared = contracts.table("csc.detections").by_name[column].unit
    assert reason(named(1, **{column: [1.0]}), units={column: unit}) == (
        f"column '{column}': unit '{unit}', expected '{declared}' or one of its kind"
    )


def test_lists_and_whole_numbers_are_scaled_too(monkeypatch):
    old = contracts.table("csc.detections")
    more = (
        contracts.Column("curve", "Light curve", pa.list_(pa.float64()), "DOUBLE[]", "s"),
        contracts.Column("length", "Length", pa.int32(), "INTEGER", "s"),
    )
    table = replace(old, columns=old.columns + more)
    monkeypatch.setattr(contracts, "table", lambda name: table)
    curve = pa.array([[1.0, 2.0], None], pa.list_(pa.float32()))
    given = named(curve=curve, length=pa.array([1.5, None]))
    out = run(given, units={"curve": "ms", "length": "ks"})
    assert out["curve"].to_pylist() == [pytest.approx([0.001, 0.002]), None]
    assert out["length"].to_pylist() == [1500, None]
    message = "row 1, column 'length': 1.0005 is not a whole number that fits int32"
    assert reason(named(length=[1.0005, 1.0]), units={"length": "ks"}) == message


def test_the_factor_is_exactly_one_for_equal_units():
    assert unit_factor("erg/s/cm^2", "erg.s**-1.cm**-2") == 1.0
    assert unit_factor("arcsec", "deg") == pytest.approx(1 / 3600)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (pa.array([3.0, None]), [3, None]),
        (pa.array(["3", None]), [3, None]),
        (pa.array([float("nan"), 3.0]), [None, 3]),
        (pa.array([True, False]), [1, 0]),
        (pa.array([3, None], pa.uint64()), [3, None]),
    ],
)
def test_to_whole_numbers(given, wanted):
    assert run(named(obi=given))["obi"].to_pylist() == wanted


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (pa.array(["1.5", "-2e3"]), [1.5, -2000.0]),
        (pa.array([1, None], pa.int16()), [1.0, None]),
        (pa.array([float("nan"), 2.5], pa.float32()), [None, 2.5]),
        (pa.array(["nan", None]), [None, None]),
        (pa.array([None, None], pa.string()), [None, None]),
    ],
)
def test_to_numbers(given, wanted):
    assert run(named(flux_aper_b=given))["flux_aper_b"].to_pylist() == wanted


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (pa.array([4, None]), ["4", None]),
        (pa.array([True, None]), ["true", None]),
        (pa.array([1.5, 2.0]), ["1.5", "2"]),
    ],
)
def test_to_text(given, wanted):
    assert run(named(instrument=given))["instrument"].to_pylist() == wanted


BOOLEAN = next(
    c.name for c in contracts.table("csc.detections").columns if c.arrow == pa.bool_()
)  # fmt: skip


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (pa.array(["TRUE", "f", None]), [True, False, None]),
        (pa.array(["1", "0", "t"]), [True, False, True]),
        (pa.array([1, 0, None]), [True, False, None]),
        (pa.array([1.0, 0.0, None]), [True, False, None]),
    ],
)
def test_to_truth_values(given, wanted):
    assert run(named(3, **{BOOLEAN: given}))[BOOLEAN].to_pylist() == wanted


@pytest.mark.parametrize(
    ("column", "given", "message"),
    [
        (BOOLEAN, pa.array(["TRUE", "maybe"]), "'maybe' is not true or false"),
        (BOOLEAN, pa.array([0, 2]), "2 is not true or false"),
        ("obi", pa.array([1, 2**31]), "2147483648 is not a whole number that fits int32"),
        ("obi", pa.array([1.0, 2.5]), "2.5 is not a whole number that fits int32"),
        ("ra", pa.array(["1", "1:2"]), "'1:2' is not a number"),
        ("ra", pa.array([1.0, float("-inf")]), "-inf is not a finite number"),
        ("ra", pa.array(["1", "inf"]), "inf is not a finite number"),
        ("ra", pa.array([360.0, 360.1]), "360.1 does not lie in 0..360"),
        ("dec", pa.array([-90.0, -91.0]), "-91.0 does not lie in -90..90"),
        ("var_prob_b", pa.array([1.0, 1.5]), "1.5 does not lie in 0..1"),
        ("obsid", pa.array([1, None]), "null, but this column must have a value"),
        ("obsid", pa.array([1.0, float("nan")]), "null, but this column must have a value"),
        ("ra", pa.array([[1.0], [2.0]]), "is not a number"),
    ],
)
def test_the_first_value_that_does_not_fit_is_named(column, given, message):
    rows = 30
    long = pa.concat_arrays([given[:1]] * (rows - 1) + [given[1:]])
    said = reason(named(rows, **({column: long})), batch=7)
    place, _, problem = said.partition(": ")
    assert place == f"row {'1' if 'list' in str(given.type) else rows}, column '{column}'"
    assert problem.endswith(message)


def test_what_is_missing_or_double_is_named():
    assert reason({"name": ["A"], "ra": [1.0]}) == (
        "column 'obsid' is missing; the file has name, ra; detections are rows of a source and an"
        " observation, which tables of master sources, as VizieR's, have not"
    )
    assert reason({"obsid": [1], "ra": [1.0]}) == "column 'name' is missing; the file has obsid, ra"
    assert reason({"obsid": [1], "name": ["A"], "Ra": [1.0], "RA": [2.0]}) == (
        "two columns are called 'RA', in whatever case"
    )
    many = [f"c{i}" for i in range(20)]
    assert some_names(many).endswith("c11 and 8 more")
    assert some_names([]) == "no column"


def test_other_columns_are_kept_with_their_meaning():
    out = run(
        named(hue=pa.array([1.0, None], pa.float32()), Tag=["x", None], flag=[True, None]),
        units={"hue": "mag"},
    )
    assert out["hue"].to_pylist() == [1.0, None]
    assert {name: out.schema.field(name).type for name in ("hue", "Tag", "flag")} == {
        "hue": pa.float64(), "Tag": pa.string(), "flag": pa.bool_(),
    }  # fmt: skip
    assert out.schema.field("hue").metadata == {
        b"unit": b"mag", b"description": b"Kept from the input in.csv",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "kind", "wanted"),
    [
        (pa.array([1, 2], pa.uint8()), pa.int64(), [1, 2]),
        (pa.array([1, 2**63], pa.uint64()), pa.uint64(), [1, 2**63]),
        (pa.array([[1], None], pa.list_(pa.int8())), pa.list_(pa.int64()), [[1], None]),
        (pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2)), pa.list_(pa.float64()),
         [[1.0, 2.0], None]),
        (pa.array([[[1]], None]), pa.string(), ["[[1]]", None]),
        (pa.array([{"a": 1}, None]), pa.string(), ['{"a":1}', None]),
        (pa.array([0, None], pa.time64("us")), pa.string(), ["00:00:00.000000", None]),
    ],
)  # fmt: skip
def test_other_columns_of_any_type_have_a_type_that_the_lake_has(given, kind, wanted):
    out = run(named(extra=given))
    assert out.schema.field("extra").type == kind
    assert out["extra"].to_pylist() == wanted
    assert contracts.duckdb_type(kind)


def test_times_are_kept_to_the_microsecond_in_utc():
    given = pa.array([0, 1_500_000], pa.timestamp("ns", tz="+02:00"))
    out = run(named(at=given))
    assert out.schema.field("at").type == pa.timestamp("us", tz="UTC")


def test_an_earlier_input_sets_spelling_type_and_unit():
    stored = {"hue": pa.field("Hue", pa.float64(), metadata={"unit": "deg"})}
    out = run(named(HUE=["30", "60"]), stored=stored, units={"HUE": "arcmin"})
    assert out["Hue"].to_pylist() == [0.5, 1.0]
    assert reason(named(hue=["1", "red"]), stored=stored) == (
        "row 2, column 'Hue': 'red' is not a number, which earlier inputs made this column"
    )
    assert reason(named(hue=[1.0, 2.0]), stored=stored, units={"hue": "keV"}) == (
        "column 'hue': unit 'keV', expected 'deg' or one of its kind"
    )


def test_columns_without_a_type_are_passed_over():
    out = run(named(ra=pa.nulls(2), extra=pa.nulls(2)))
    assert "ra" not in out.column_names
    assert "extra" not in out.column_names


def test_a_role_may_drop_other_columns():
    given = {"name": ["A"], "main_type": ["QSO"], "release": ["mine"], "extra": [1]}
    out = run(given, role=ROLES["labels"])
    assert out.column_names == ["release", "name", "main_type", "file_sha256", "file_row"]
    assert out["release"].to_pylist() == ["R"]


def test_an_input_may_not_say_where_it_comes_from():
    out = run(named(file_row=[7, 8], FILE_SHA256=["x", "y"]))
    assert out["file_row"].to_pylist() == [1, 2]
    assert out["file_sha256"].to_pylist() == ["f" * 64] * 2


def test_the_reader_is_closed_after_an_error():
    closed = []

    def batches():
        try:
            yield pa.record_batch({"name": ["A"], "obsid": ["x"]})
        finally:
            closed.append(True)

    schema = pa.schema([("name", pa.string()), ("obsid", pa.string())])
    with pytest.raises(InputError, match="row 1, column 'obsid'"):
        conform(TableReader(schema, batches()), FILE, DETECTIONS, {}).read_all()
    assert closed == [True]
