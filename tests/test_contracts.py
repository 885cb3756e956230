"""The contracts: what Felis and astropy say of them, and what is derived from them."""

import re

import duckdb
import pyarrow as pa
import pytest
import yaml

from lake import contracts
from lake.errors import LacusError, UsageError

FILES = sorted(contracts.contracts_dir("schema").glob("*.yaml"))
COLUMNS = [(t.name, c) for t in contracts.tables().values() for c in t.columns]


@pytest.fixture
def declare(tmp_path, monkeypatch):
    """Write a schema of one table and load it instead of the lake's."""

    def write(**column):
        declared = {"name": "x", "datatype": "int", "description": "Some number"} | column
        schema = {
            "name": "demo",
            "tables": [
                {
                    "name": "things",
                    "description": "One row per thing.",
                    "primaryKey": ["#things.release", "#things.x"],
                    "columns": [
                        {"name": "release", "datatype": "text", "nullable": False,
                         "description": "Release"},
                        declared,
                    ],
                }
            ],
        }  # fmt: skip
        (tmp_path / "demo.yaml").write_text(yaml.safe_dump(schema))
        monkeypatch.setattr(contracts, "contracts_dir", lambda kind: tmp_path)
        contracts.tables.cache_clear()
        return contracts.tables()["demo.things"]

    yield write
    contracts.tables.cache_clear()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_felis_accepts_the_schema(path):
    from felis.datamodel import Schema

    declared = yaml.safe_load(path.read_text(encoding="utf-8"))
    schema = Schema.model_validate(declared, context={"id_generation": True})
    assert schema.name == path.stem
    assert [f"{schema.name}.{t.name}" for t in schema.tables] == [
        name for name in contracts.tables() if name.startswith(f"{schema.name}.")
    ]


@pytest.mark.filterwarnings("ignore:.*deprecated in the VOUnit standard")
def test_every_unit_is_a_vounit():
    from astropy import units

    given = {column.unit for _, column in COLUMNS if column.unit}
    assert "deg" in given
    for unit in given:
        units.Unit(unit, format="vounit", parse_strict="raise")
        # astropy is laxer than the standard, which has no blanks and no point after a factor.
        assert not re.search(r"\s|^10\*\*[-\d]+\.", unit), unit


def test_every_column_has_a_ucd_of_the_controlled_vocabulary():
    from astropy.io.votable.ucd import check_ucd

    bad = {
        (table, column.name, column.ucd)
        for table, column in COLUMNS
        if not (column.ucd and check_ucd(column.ucd, check_controlled_vocabulary=True))
    }
    assert not bad


def test_units_and_ucds_are_of_one_kind():
    """What has the UCD of a physical quantity has a unit of it, so that tools may convert it."""
    from astropy import units

    wanted = {
        "phys.temperature": ("K", "keV"),
        "phys.columnDensity": ("cm**-2",),
        "phys.angArea": ("arcsec**2",),
        "phot.flux": ("photon.s**-1.cm**-2", "erg.s**-1.cm**-2"),
        "time.duration": ("s",),
        "pos.eq.ra": ("deg",),
        "pos.eq.dec": ("deg",),
        "em.energy": ("keV",),
    }
    bad = []
    for table, column in COLUMNS:
        words = (column.ucd or "").split(";")
        # A statistic of a quantity is in its unit, a ratio of two in none.
        first = next((word for word in words if not word.startswith("stat.")), "")
        if first in wanted and "arith.ratio" not in words:
            unit = units.Unit(column.unit or "")
            kinds = [units.Unit(kind) for kind in wanted[first]]
            if not any(unit.is_equivalent(kind) for kind in kinds):
                bad.append((table, column.name, column.unit, column.ucd))
    assert not bad


def test_modified_julian_dates_are_in_days():
    dates = [column for _, column in COLUMNS if re.search(r"(^|_)mjd(_|$)", column.name)]
    assert {column.unit for column in dates} == {"d"}


def test_every_column_is_described():
    assert len(COLUMNS) > 300
    assert not [(table, c.name) for table, c in COLUMNS if len(c.description.strip()) < 4]


def test_keys_are_columns_and_missions_are_partitioned_by_release():
    for table in contracts.tables().values():
        assert set(table.key) <= {c.name for c in table.columns}
        assert len({c.name.lower() for c in table.columns}) == len(table.columns)
        if table.namespace != "meta":
            assert table.partitioned, table.name
            assert not table.by_name["release"].nullable


def test_input_tables_name_the_file_of_each_row():
    for name in ("csc.detections", "csc.labels"):
        assert {"file_sha256", "file_row"} <= set(contracts.table(name).by_name)


def test_a_schema_carries_units_and_ucds():
    field = contracts.table("csc.detections").schema().field("ra")
    assert field.type == pa.float64()
    assert field.metadata[b"unit"] == b"deg"
    assert field.metadata[b"ucd"] == b"pos.eq.ra;meta.main"
    assert b"unit" not in contracts.table("csc.detections").schema().field("name").metadata


def test_ddl_makes_the_table_with_its_comments(declare):
    table = declare(**{"ivoa:unit": "deg", "ivoa:ucd": "pos.eq.ra", "description": "It's an angle"})
    with duckdb.connect() as connection:
        connection.execute("ATTACH ':memory:' AS lake")
        connection.execute("CREATE SCHEMA lake.demo")
        for statement in (*table.ddl(), *table.comments()):
            if "PARTITIONED" not in statement:  # DuckLake's own
                connection.execute(statement)
        rows = connection.execute(
            "SELECT column_name, data_type, is_nullable, comment FROM duckdb_columns()"
            " WHERE database_name = 'lake' ORDER BY column_index"
        ).fetchall()
    assert rows == [
        ("release", "VARCHAR", False, "Release"),
        ("x", "INTEGER", True, "It's an angle [deg] {pos.eq.ra}"),
    ]


@pytest.mark.parametrize(
    ("given", "arrow", "duckdb_type"),
    [
        ({"datatype": "double", "votable:arraysize": "*"}, pa.list_(pa.float64()), "DOUBLE[]"),
        ({"datatype": "text", "votable:arraysize": "*"}, pa.string(), "VARCHAR"),
        ({"datatype": "text", "votable:arraysize": "64x*"}, pa.list_(pa.string()), "VARCHAR[]"),
        ({"datatype": "timestamp"}, pa.timestamp("us", "UTC"), "TIMESTAMP WITH TIME ZONE"),
    ],
)
def test_types_and_lists(declare, given, arrow, duckdb_type):
    column = declare(**given).by_name["x"]
    assert (column.arrow, column.duckdb) == (arrow, duckdb_type)
    assert contracts.duckdb_type(arrow) == duckdb_type


def test_an_unknown_datatype_is_named(declare):
    with pytest.raises(LacusError, match=r"demo\.things: column x: no datatype 'complex'"):
        declare(datatype="complex")


def test_an_unknown_table_is_named_with_the_known_ones():
    with pytest.raises(UsageError, match=r"no table csc\.nothing; there are csc\.detections"):
        contracts.table("csc.nothing")


def test_a_type_without_a_counterpart_is_refused():
    with pytest.raises(TypeError, match="no DuckDB type for month"):
        contracts.duckdb_type(pa.month_day_nano_interval())


def test_names_and_texts_are_quoted():
    with duckdb.connect() as connection:
        name, text = 'a "b"', "it's"
        query = f"SELECT {contracts.literal(text)} AS {contracts.quote(name)}"
        relation = connection.sql(query)
        assert (relation.columns, relation.fetchall()) == ([name], [(text,)])
