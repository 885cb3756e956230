"""A lake is brought into line with the contracts, and never loses data by it."""

import shutil
from types import MappingProxyType

import pyarrow as pa
import pytest

from lake import contracts, migrate, models
from lake.errors import LacusError
from lake.store import Store, now

UNDESCRIBED = """
SELECT c.schema_name || '.' || c.table_name AS table_name, c.column_name, m.description
FROM duckdb_columns() AS c LEFT JOIN meta.columns AS m
    ON m.table_name = c.schema_name || '.' || c.table_name AND m.column_name = c.column_name
        AND m.position = c.column_index AND m.datatype = c.data_type
WHERE c.database_name = 'lake' AND (m.description IS NULL OR length(m.description) < 4)
"""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("home") / "lake")
    with store.commit("nothing yet"):
        pass
    store.refresh()
    return store.directory


@pytest.fixture
def store(fresh, tmp_path) -> Store:
    shutil.copytree(fresh, tmp_path / "lake")
    return Store(tmp_path / "lake")


@pytest.fixture
def contract(monkeypatch):
    """Declare other tables or views than the files do."""

    def change(tables=None, views=None):
        if tables is not None:
            frozen = MappingProxyType(dict(contracts.tables()) | tables)
            monkeypatch.setattr(contracts, "tables", lambda: frozen)
        if views is not None:
            monkeypatch.setattr(models, "views", lambda: MappingProxyType(views))
        monkeypatch.setattr(migrate, "digest", lambda: "other")

    return change


def with_column(name: str, column: contracts.Column) -> dict[str, contracts.Table]:
    old = contracts.table(name)
    others = tuple(c for c in old.columns if c.name != column.name)
    return {name: contracts.Table(old.name, old.description, (*others, column), old.key)}


def put(store: Store, **columns: pa.Array) -> None:
    fields = {"release": ["R"], "name": ["A"], "file_sha256": ["f"], "file_row": [1]}
    table = pa.table(fields | columns)
    for name in columns:
        i = table.column_names.index(name)
        field = table.schema.field(i).with_metadata({"description": "Kept", "unit": "s"})
        table = table.cast(table.schema.set(i, field))
    with store.stage("csc.detections", "R", table.schema) as stage:
        stage.write(table.to_batches()[0])
    with store.commit("put") as commit:
        commit.add(stage.staged)


def test_a_fresh_lake_describes_every_column_of_every_table_and_view(store):
    columns = store.sql("SELECT count(*) FROM duckdb_columns() WHERE database_name = 'lake'")
    assert columns.fetchone()[0] == store.sql("SELECT count(*) FROM meta.columns").fetchone()[0]
    assert store.sql(UNDESCRIBED).fetchall() == []
    tables = store.sql("SELECT DISTINCT table_name FROM meta.columns").fetchall()
    assert {name for (name,) in tables} == {*contracts.tables(), *models.views()}


def test_tables_and_columns_carry_their_comments(store):
    rows = store.sql(
        "SELECT column_name FROM duckdb_columns() WHERE database_name = 'lake' AND comment IS NULL"
        " AND (schema_name || '.' || table_name) NOT IN (SELECT table_name FROM meta.lineage)"
    ).fetchall()
    assert rows == []
    uncommented = store.sql(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = 'lake' AND comment IS NULL"
        " UNION ALL SELECT view_name FROM duckdb_views()"
        " WHERE database_name = 'lake' AND comment IS NULL"
    ).fetchall()
    assert uncommented == []


def test_lineage_is_in_the_lake(store):
    query = (
        "SELECT source_table, source_column FROM meta.lineage"
        " WHERE table_name = 'csc.features' AND column_name = ? ORDER BY ALL"
    )
    assert store.sql(query, ["hard_ms"]).fetchall() == [("csc.detections", "hard_ms")]
    assert len(store.sql(query, ["missing"]).fetchall()) >= 12


def test_nothing_is_done_twice(store):
    before = store.snapshot()
    with store.commit("one more") as commit:
        assert migrate.sync(commit.connection) is False
        commit.insert("meta.pins", [{"name": "x", "snapshot": 0, "pinned_at": now()}])
    assert store.snapshot() == before + 1


def test_a_new_column_is_added_and_old_rows_have_null(store, contract):
    put(store)
    column = contracts.Column("hue", "Colour", pa.float64(), "DOUBLE", "deg", "pos.angDistance")
    contract(with_column("csc.detections", column))
    put_again = pa.table({"release": ["S"], "name": ["B"], "hue": [1.5]})
    put_again = put_again.append_column("file_sha256", pa.array(["g"]))
    put_again = put_again.append_column("file_row", pa.array([1]))
    parts = [("csc.detections", put_again)]
    store.replace("S", ["csc.detections"], parts, fingerprint="g", code_version="1", message="put")
    rows = store.sql("SELECT name, hue FROM csc.detections ORDER BY name").fetchall()
    assert rows == [("A", None), ("B", 1.5)]
    assert store.sql("SELECT unit FROM meta.columns WHERE column_name = 'hue'").fetchall() == [
        ("deg",)
    ]
    assert store.sql(UNDESCRIBED).fetchall() == []


def test_a_lake_that_does_not_tell_contents_yet_is_read_and_renewed(store):
    """`lacus status` asks what is stale before anything renews the lake."""
    put(store)
    before = store.made("R")
    with store.connect(read_only=False) as connection:
        for column in ("content", "read_snapshot"):
            connection.execute(f"ALTER TABLE lake.meta.releases DROP COLUMN {column}")
        connection.execute("UPDATE lake.meta.releases SET fingerprint = 'old' WHERE mission='meta'")
    store.refresh()
    assert store.made("R") == before
    assert all(made.content is None for made in before.values())
    with store.commit("renew"):
        pass
    assert store.made("R") == before
    query = "SELECT fingerprint, content FROM meta.releases WHERE mission = 'meta'"
    assert store.sql(query).fetchall() == [(migrate.digest(), None)]


def test_a_changed_type_is_refused_and_changes_nothing(store, contract):
    before = store.snapshot()
    column = contracts.Column("ra", "Position", pa.string(), "VARCHAR")
    contract(with_column("csc.detections", column))
    with pytest.raises(LacusError, match=r"csc\.detections\.ra is stored as DOUBLE and now decl"):
        put(store)
    assert store.snapshot() == before


def test_a_column_of_an_input_that_is_declared_later_is_described_once(store, contract):
    put(store, Hue=pa.array([2.5]))
    query = "SELECT column_name, origin, unit FROM meta.columns WHERE lower(column_name) = 'hue'"
    assert store.sql(query).fetchall() == [("Hue", "input", "s")]
    contract(
        with_column("csc.detections", contracts.Column("Hue", "Colour", pa.float64(), "DOUBLE"))
    )
    with store.commit("newer contracts"):
        pass
    assert store.sql(query).fetchall() == [("Hue", "contract", None)]
    assert store.sql("SELECT hue FROM csc.detections").fetchall() == [(2.5,)]


def test_columns_of_inputs_stay_described(store, contract):
    put(store, tint=pa.array([2.5]))
    contract(
        with_column("csc.detections", contracts.Column("hue", "Colour", pa.float64(), "DOUBLE"))
    )
    with store.commit("newer contracts"):
        pass
    assert store.sql(UNDESCRIBED).fetchall() == []


def test_a_view_that_is_no_more_goes_and_a_changed_one_follows(store, contract):
    views = dict(models.views())
    del views["csc.class_summary"]
    old = views["csc.features"]
    views["csc.features"] = models.View(
        old.name, old.sql + "\nWHERE name <> 'A'", "Other rows.", old.key, old.depends, old.columns
    )
    put(store)
    assert store.sql("SELECT name FROM csc.features").fetchall() == [("A",)]
    contract(views=views)
    with store.commit("newer views"):
        pass
    assert store.sql("SELECT name FROM csc.features").fetchall() == []
    assert store.sql(UNDESCRIBED).fetchall() == []
    names = store.sql(
        "SELECT schema_name || '.' || view_name FROM duckdb_views() WHERE database_name = 'lake'"
    )
    assert {name for (name,) in names.fetchall()} == set(views)


def test_the_digest_tells_contracts_apart(tmp_path, monkeypatch):
    for kind in ("schema", "sql"):
        shutil.copytree(contracts.contracts_dir(kind), tmp_path / kind)
    monkeypatch.setattr(contracts, "contracts_dir", lambda kind: tmp_path / kind)
    same = migrate.digest()
    assert same == migrate.digest()
    (tmp_path / "sql" / "README.md").write_text("not a contract")
    assert migrate.digest() == same
    view = next((tmp_path / "sql").glob("*/*.sql"))
    view.write_text(view.read_text() + "\n")
    assert migrate.digest() != same
