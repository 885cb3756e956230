"""A lake is brought into line with the contracts, and never loses data by it."""

import shutil
from types import MappingProxyType

import pyarrow as pa
import pytest

from lake import contracts, migrate, models
from lake.errors import LacusError
from lake.store import Store, now

pytestmark = pytest.mark.usefixtures("one_thread")

UNDESCRIBED = """
SELECT c.schema_name || '.' || c.table_name AS table_name, c.column_name, m.description
FROM duckdb_columns() AS c LEFT JOIN meta.columns AS m
    ON m.table_name = c.schema_name || '.' || c.table_name AND m.column_name = c.column_name
        AND m.position = c.column_index AND m.datatype = c.data_type
WHERE c.database_name = 'lake' AND (m.description IS NULL OR length(m.description) < 4)
"""


@pytest.fixture(scope="module", autouse=True)
def new_lakes():
    """Made from nothing, as anywhere but in tests."""


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

    def change(tables=None, views=None, without=()):
        if tables is not None:
            declared = dict(contracts.tables()) | tables
            frozen = MappingProxyType({n: t for n, t in declared.items() if n not in without})
            monkeypatch.setattr(contracts, "tables", lambda: frozen)
        if views is not None:
            monkeypatch.setattr(models, "views", lambda: MappingProxyType(views))
        monkeypatch.setattr(migrate, "digest", lambda: "other")

    return change


def with_column(name: str, *columns: contracts.Column) -> dict[str, contracts.Table]:
    old, names = contracts.table(name), {column.name for column in columns}
    others = tuple(c for c in old.columns if c.name not in names)
    return {name: contracts.Table(old.name, old.description, (*others, *columns), old.key)}


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


def test_comments_of_a_fresh_lake_are_those_that_statements_leave(store):
    query = (
        "SELECT schema_name, table_name, '' AS column_name, comment FROM duckdb_tables()"
        " WHERE database_name = 'lake' UNION ALL SELECT schema_name, view_name, '', comment"
        " FROM duckdb_views() WHERE database_name = 'lake' UNION ALL"
        " SELECT schema_name, table_name, column_name, comment FROM duckdb_columns()"
        " WHERE database_name = 'lake' ORDER BY ALL"
    )
    fresh = store.sql(query).fetchall()
    described = (*contracts.tables().values(), *models.views().values())
    with store.connect(read_only=False) as connection:
        connection.execute("BEGIN")
        for statement in (s for each in described for s in each.comments()):
            connection.execute(statement)
        connection.execute("COMMIT")
    store.refresh()
    assert store.sql(query).fetchall() == fresh


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


def changes(store: Store) -> list[tuple[str, bool]]:
    with store.connect() as connection:
        return [(change.what, change.destructive) for change in migrate.changes(connection)]


def test_a_changed_type_is_refused_and_changes_nothing(store, contract):
    put(store, ra=pa.array([10.5]))
    before = store.snapshot()
    contract(
        with_column("csc.detections", contracts.Column("ra", "Position", pa.int8(), "TINYINT"))
    )
    told = r"csc\.detections\.ra becomes TINYINT, was DOUBLE.*`lacus migrate --allow-destructive`"
    with pytest.raises(LacusError, match=told):
        store.pin("refused")
    assert store.snapshot() == before
    assert store.sql("SELECT ra FROM csc.detections").fetchall() == [(10.5,)]


def test_a_changed_type_is_made_on_demand_and_the_former_values_stay(store, contract):
    put(store, ra=pa.array([10.5]), ra_nom=pa.array([1000.0]))
    before = store.pin("old")
    columns = [
        contracts.Column("ra", "Position", pa.string(), "VARCHAR"),
        contracts.Column("ra_nom", "Pointing", pa.int8(), "TINYINT"),
    ]
    contract(with_column("csc.detections", *columns))
    assert all(lossy for what, lossy in changes(store) if "ra" in what)
    assert store.migrate(destructive=True)
    assert not store.migrate(destructive=True)
    query = "SELECT ra, typeof(ra), ra_nom FROM csc.detections"
    assert store.sql(query).fetchall() == [("10.5", "VARCHAR", None)]
    for former in (before, "old"):
        assert store.sql(query, at=former).fetchall() == [(10.5, "DOUBLE", 1000.0)]
    assert store.sql(UNDESCRIBED).fetchall() == []
    assert store.snapshots()[-1].info["changes"] == [
        "column csc.detections.ra becomes VARCHAR, was DOUBLE; null where a value does not fit",
        "column csc.detections.ra_nom becomes TINYINT, was DOUBLE; null where a value does not fit",
    ]
    assert len(store.snapshots()) == before + 3  # with that of the pin, one for all of it


def test_wider_types_need_no_flag(store, contract):
    put(store, obsid=pa.array([7], pa.int32()))
    column = contracts.Column("obsid", "Observation", pa.int64(), "BIGINT", nullable=True)
    contract(with_column("csc.detections", column))
    assert changes(store) == [("column csc.detections.obsid becomes BIGINT, was INTEGER", False)]
    put(store, obsid=pa.array([1 << 40], pa.int64()))
    query = "SELECT obsid, typeof(obsid) FROM csc.detections ORDER BY 1"
    assert store.sql(query).fetchall() == [(7, "BIGINT"), (1 << 40, "BIGINT")]


@pytest.mark.parametrize(
    ("old", "new", "wider"),
    [("INTEGER", "BIGINT", True), ("FLOAT", "DOUBLE", True), ("FLOAT[]", "DOUBLE[]", True),
     ("BIGINT", "INTEGER", False), ("INTEGER", "DOUBLE", False), ("FLOAT", "DOUBLE[]", False),
     ("INTEGER[]", "BIGINT", False), ("BIGINT", "VARCHAR", False)],
)  # fmt: skip
def test_which_types_hold_all_values_of_which(old, new, wider):
    assert migrate._widens(old, new) is wider


def test_what_may_be_null_now_may_be(store, contract):
    put(store)
    contract(
        with_column("csc.detections", contracts.Column("file_row", "Row", pa.int64(), "BIGINT"))
    )
    assert changes(store) == [("column csc.detections.file_row may be null", False)]
    with store.commit("no row number") as commit:
        rows = pa.table({"release": ["R"], "name": ["B"], "file_sha256": ["g"]})
        commit.insert("csc.detections", rows)
    query = "SELECT name FROM csc.detections WHERE file_row IS NULL"
    assert store.sql(query).fetchall() == [("B",)]


def test_columns_and_tables_go_on_demand_only(store, contract):
    put(store, ra=pa.array([10.5]), tint=pa.array([2.5]))
    with store.commit("a row of csc.labels") as commit:
        commit.insert(
            "csc.labels", [{"release": "R", "name": "A", "file_sha256": "f", "file_row": 1}]
        )
    before = store.snapshot()
    detections = contracts.table("csc.detections")
    fewer = contracts.Table(
        detections.name, detections.description,
        tuple(c for c in detections.columns if c.name != "ra"), detections.key,
    )  # fmt: skip
    unread = {n: v for n, v in models.views().items() if n.startswith("xmm.")}
    gone = ("csc.labels", "csc.validation")
    contract({fewer.name: fewer}, unread, without=gone)
    assert ("table csc.labels goes", True) in changes(store)
    assert ("table csc.validation goes", False) in changes(store)  # it has no row
    assert ("column csc.detections.ra goes", True) in changes(store)
    with pytest.raises(
        LacusError, match=r"csc\.labels goes; column csc\.detections\.ra goes\. `lacus m"
    ):
        store.migrate()
    assert store.snapshot() == before
    assert store.migrate(destructive=True)
    tables = store.sql("SELECT DISTINCT table_name FROM meta.columns").fetchall()
    assert not {*gone} & {name for (name,) in tables}
    assert store.sql("SELECT tint FROM csc.detections").fetchall() == [(2.5,)]
    assert store.sql("SELECT ra FROM csc.detections", at=before).fetchall() == [(10.5,)]
    assert store.sql("SELECT name FROM csc.labels", at=before).fetchall() == [("A",)]
    assert store.sql(UNDESCRIBED).fetchall() == []


def test_what_others_keep_in_the_lake_stays(store, contract):
    with store.commit("somebody's own") as commit:
        commit.connection.execute("CREATE TABLE lake.csc.mine AS SELECT 1 AS x")
    contract({})
    store.migrate()
    assert store.sql("SELECT x FROM csc.mine").fetchall() == [(1,)]


def test_a_migration_that_fails_leaves_the_lake_as_it_was(store, contract, monkeypatch):
    put(store, ra=pa.array([10.5]))
    before = store.snapshot()
    contract(
        with_column("csc.detections", contracts.Column("ra", "Position", pa.int8(), "TINYINT"))
    )

    def fail(connection):
        raise RuntimeError("in the middle")

    monkeypatch.setattr(migrate, "_describe", fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        store.migrate(destructive=True)
    assert store.snapshot() == before
    assert store.sql("SELECT typeof(ra), ra FROM csc.detections").fetchall() == [("DOUBLE", 10.5)]


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
