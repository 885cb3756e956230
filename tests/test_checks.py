"""Checks of staged files against themselves and each other."""

import random

import duckdb
import pyarrow as pa
import pytest

from lake import checks
from lake.errors import InputError
from lake.staging import Stage, Staged


@pytest.fixture
def connection():
    with duckdb.connect() as connection:
        yield connection


@pytest.fixture
def stage(tmp_path):
    def write(*keys: tuple, columns=("name", "obsid"), sha256="f", table="csc.detections"):
        rows = [dict(zip(columns, key, strict=True)) for key in keys]
        data = pa.Table.from_pylist([r | {"file_row": i} for i, r in enumerate(rows, 1)])
        data = data.append_column("file_sha256", pa.array([sha256] * len(rows)))
        path = tmp_path / f"{random.random()}.parquet"
        writer = Stage(table, "R", path, data.schema)
        for batch in data.to_batches():
            writer.write(batch)
        writer.close()
        return writer.staged

    return write


def read(staged: Staged) -> list[tuple]:
    return duckdb.sql(f"SELECT name, file_row FROM '{staged.path}'").fetchall()


def test_unique_keys_pass_unread(connection, stage):
    staged = stage(("A", 1), ("A", 2), ("B", 1))
    assert checks.unique(connection, staged, "f", keep_first=False) == (staged, None)


def test_null_is_a_value_of_a_key(connection, stage):
    three = ("name", "obsid", "obi")
    staged = stage(("A", 1, None), ("A", 1, 0), ("A", 1, None), columns=three)
    with pytest.raises(InputError, match=r"row 3: repeats the key \(name, obsid, obi\) of row 1;"):
        checks.unique(connection, staged, "f", keep_first=False)


def test_the_first_repeat_is_named_and_the_others_are_counted(connection, stage):
    staged = stage(("B", 1), ("A", 1), ("B", 1), ("A", 1), ("A", 1))
    with pytest.raises(InputError, match=r"row 3: .*of row 1 \(3 rows of this file repeat one\)"):
        checks.unique(connection, staged, "f", keep_first=False)
    kept, note = checks.unique(connection, staged, "f", keep_first=True)
    assert read(kept) == [("B", 1), ("A", 2)]
    assert (kept.rows, note) == (
        2, "3 rows left out: row 3 repeats the key (name, obsid) of row 1, and so on",
    )  # fmt: skip
    assert not staged.path.exists()


def test_keys_of_other_files_are_found(connection, stage):
    files = [
        stage(("A", 1), sha256="a"),
        stage(("B", 1), sha256="b"),
        stage(("C", 1), ("A", 1), sha256="c"),
    ]
    assert checks.apart(connection, files, "abc", "") == {"c": checks.Clash(2, 1, "a")}
    assert checks.apart(connection, files, "bc", "") == {}
    assert checks.apart(connection, [], "", "SELECT 1") == {}


def test_few_files_are_seen_to_be_distinct(stage, monkeypatch):
    keyed = [
        stage(*((*k, 0, 0) for k in keys), columns=("name", "obsid", "obi", "region_id"))
        for keys in ([("A", 1), ("B", None)], [("B", 1)], [("B", None)])
    ]
    assert checks.distinct([])
    assert checks.distinct(keyed[:2])
    assert not checks.distinct(keyed)
    assert not checks.distinct([*keyed[:1], stage(("C", 1))]), "a column of the key is lacking"
    monkeypatch.setattr(checks, "_FEW", 2)
    assert not checks.distinct(keyed[:2]), "there are too many rows"


def test_a_refused_file_refuses_no_other(connection, stage):
    chain = [stage((str(i), 1), (str(i + 1), 1), sha256=str(i)) for i in range(7)]
    assert checks.apart(connection, chain, [str(i) for i in range(7)], "") == {
        str(i): checks.Clash(1, 2, str(i - 1)) for i in (1, 3, 5)
    }


def test_what_stands_goes_before_what_comes(connection, stage):
    connection.execute(
        "CREATE TABLE kept AS SELECT 'A' AS name, 1::INTEGER AS obsid, NULL::INTEGER AS obi,"
        " 5 AS file_row, 'k' AS file_sha256"
    )
    files = [
        stage(("A", 1), sha256="a"),
        stage(("A", 1), sha256="b"),
        stage(("A", 1, 0), columns=("name", "obsid", "obi"), sha256="c"),
    ]
    assert checks.apart(connection, files, "abc", "SELECT * FROM kept") == {
        "a": checks.Clash(1, 5, "k"), "b": checks.Clash(1, 5, "k"),
    }  # fmt: skip


def greedy(files: list[list[tuple]]) -> set[int]:
    """Files refused if they are taken one after the other."""
    taken, refused = set(), set()
    for i, keys in enumerate(files):
        if taken.isdisjoint(keys):
            taken.update(keys)
        else:
            refused.add(i)
    return refused


@pytest.mark.parametrize("seed", range(6))
def test_the_outcome_is_that_of_taking_one_after_the_other(connection, stage, seed):
    rng = random.Random(seed)
    keys = [(f"S{i}", i % 3) for i in range(40)]
    files = [rng.sample(keys, rng.randint(1, 4)) for _ in range(30)]
    staged = [stage(*sorted(rows), sha256=str(i)) for i, rows in enumerate(files)]
    found = checks.apart(connection, staged, [str(i) for i in range(len(files))], "")
    assert set(map(int, found)) == greedy(files)
    for i, clash in ((int(i), clash) for i, clash in found.items()):
        other = int(clash.other_sha256)
        assert other < i
        assert str(other) not in found
        assert sorted(files[i])[clash.row - 1] == sorted(files[other])[clash.other_row - 1]


def test_files_of_nothing_known_are_found(connection, stage):
    files = [
        stage(("A", 1), ("B", 1), sha256="a"),
        stage(("C", 1), sha256="b"),
        stage(("D", 1), ("B", 2), sha256="c"),
    ]
    known = "SELECT unnest(['B', 'X']) AS name"
    assert checks.unrelated(connection, files, "abc", "name", known) == {"b"}
    assert checks.unrelated(connection, files, "abc", "name", "") == {"a", "b", "c"}
    assert checks.unrelated(connection, [], "", "name", known) == set()
