"""Results of queries keep the meaning of the columns that they pass through."""

import dataclasses

import pyarrow as pa
import pytest

from lake import models, query
from lake.errors import UsageError
from lake.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    made = Store(tmp_path_factory.mktemp("home") / "lake")
    schema = pa.schema(
        [
            ("release", pa.string()), ("name", pa.string()), ("obsid", pa.int32()),
            ("ra", pa.float64()), ("file_sha256", pa.string()), ("file_row", pa.int64()),
            pa.field("Mixed", pa.float64(), metadata={"unit": "keV", "description": "an own one"}),
        ]
    )  # fmt: skip
    rows = [["R", f"S{i}", i, i / 10, "f", i + 1, float(i)] for i in range(5)]
    data = pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema)
    with made.stage("csc.detections", "R", schema) as stage:
        stage.write(data.to_batches()[0])
    with made.commit("some detections") as commit:
        commit.add(stage.staged)
        commit.record("R", {"csc.detections": ("f", "1")})
    made.pin("few")
    with made.commit("less") as commit:
        commit.delete("csc.detections", "obsid > 2")
    return made


def units(store: Store, text: str) -> dict[str, str | None]:
    schema = query.annotated(store, text).schema
    return {f.name: (f.metadata or {}).get(b"unit", b"").decode() or None for f in schema}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT ra FROM csc.detections", {"ra": "deg"}),
        ("SELECT ra AS x, ra + 1 AS y FROM csc.detections", {"x": "deg", "y": None}),
        ("SELECT d.RA FROM CSC.detections AS d", {"ra": "deg"}),
        ("WITH a AS (SELECT ra AS z FROM csc.detections) SELECT z FROM a", {"z": "deg"}),
        ("SELECT ra FROM csc.detections UNION ALL SELECT ra FROM csc.features", {"ra": "deg"}),
        ("SELECT ra FROM csc.detections UNION ALL SELECT hard_hm FROM csc.features", {"ra": None}),
        ('SELECT "Mixed" FROM csc.detections', {"Mixed": "keV"}),
        ("SELECT mixed FROM csc.detections", {"Mixed": "keV"}),
        ("SELECT i AS ra FROM range(3) AS t(i)", {"ra": None}),
        ("SELECT 1 AS one", {"one": None}),
        ("FROM range(3)", {"range": None}),
    ],
)
def test_units_of_what_is_passed_through(text, expected, store):
    found = units(store, text)
    assert {k.lower(): v for k, v in found.items()} == {k.lower(): v for k, v in expected.items()}


def test_a_name_stands_for_the_whole_table(store):
    for text in ("csc.detections", " csc.detections;\n"):
        table = query.annotated(store, text).read_all()
        assert table.num_rows == 3
        field = table.schema.field("ra")
        assert field.metadata[b"unit"] == b"deg"
        assert field.metadata[b"ucd"].startswith(b"pos.eq.ra")
        assert field.metadata[b"description"]


def test_ucd_and_description_come_with_a_view(store):
    field = query.annotated(store, "csc.features").schema.field("ra")
    assert field.metadata[b"ucd"].startswith(b"pos.eq.ra")


@pytest.mark.parametrize("ask", ["csc.shuffled", " csc.shuffled;\n"])
def test_rows_of_a_view_come_sorted(ask, store, monkeypatch):
    view = dataclasses.replace(models.views()["csc.features"], name="shuffled")
    monkeypatch.setattr(models, "views", lambda: {"csc.shuffled": view})
    with store.commit("a view whose rows come in no order") as commit:
        commit.connection.execute(
            "CREATE OR REPLACE VIEW lake.csc.shuffled AS SELECT hash(i) % 97 AS a, i AS b"
            " FROM range(1000) AS t(i) ORDER BY hash(i + 1)"
        )
    rows = query.annotated(store, ask).read_all().to_pylist()
    assert len(rows) == 1000
    assert rows == sorted(rows, key=lambda row: (row["a"], row["b"]))
    chosen = query.in_order("FROM csc.shuffled WHERE b < 9", ask)
    found = query.annotated(store, chosen).read_all().to_pylist()
    assert found == [row for row in rows if row["b"] < 9]
    kept = query.annotated(store, "FROM csc.shuffled ORDER BY b DESC").read_all().to_pylist()
    assert [row["b"] for row in kept] == list(range(999, -1, -1))


def test_a_former_state(store):
    assert query.annotated(store, "csc.detections", at="few").read_all().num_rows == 5


@pytest.mark.parametrize(("column", "most"), [("i", 65_536), ("[i]", 1024)])
def test_results_come_batch_by_batch(store, column, most):
    """Those with lists, which may be long, in smaller ones."""
    reader = query.annotated(store, f"SELECT {column} AS x FROM range(100000) AS t(i)")
    rows = [batch.num_rows for batch in reader]
    assert sum(rows) == 100_000
    assert most // 2 < max(rows) <= most


def test_two_results_may_be_read_at_once(store):
    one = query.annotated(store, "SELECT i FROM range(100000) AS t(i)")
    two = query.annotated(store, "csc.detections")
    first = next(iter(one))
    assert two.read_all().num_rows == 3
    assert first.num_rows + one.read_all().num_rows == 100_000


@pytest.mark.parametrize(
    "text",
    ["SELEC 1", "SELECT nope FROM csc.detections", "csc.nope", "", "DELETE FROM csc.detections",
     "SELECT CAST(name AS INTEGER) FROM csc.detections"],
)  # fmt: skip
def test_a_query_that_is_wrong(text, store):
    with pytest.raises(UsageError):
        query.annotated(store, text)


def test_a_value_that_fails_after_the_first_rows(store):
    text = (
        "SELECT CASE WHEN i > 900000 THEN CAST('a' || i AS INT) END AS x FROM range(1000000) t(i)"
    )
    # Of several threads, DuckDB may name one that it interrupted, and not the value.
    store.reader().execute("SET threads = 1")
    try:
        reader = query.annotated(store, text)
        with pytest.raises(UsageError, match="'a900001'"):
            reader.read_all()
    finally:
        store.reader().execute("RESET threads")


def test_a_query_beyond_the_parser_keeps_its_result(store, monkeypatch):
    from lake import models

    def trace(*args: object) -> None:
        raise ValueError("no such syntax")

    monkeypatch.setattr(models, "trace", trace)
    table = query.annotated(store, "SELECT ra FROM csc.detections").read_all()
    assert table.num_rows == 3
    assert not table.schema.field("ra").metadata


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("csc.detections", {"csc.detections"}),
        ("SELECT 1", set()),
        ("SELECT * FROM csc.labels JOIN csc.features USING (name)", {"csc.labels", "csc.features"}),
        ("SELECT (", set()),
        ("SELECT 'open", set()),
    ],
)
def test_what_a_query_reads(text, expected):
    assert query.reads(text) == expected
