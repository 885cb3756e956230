"""Whether what a derived table was made from has changed."""

from types import MappingProxyType

import pyarrow as pa
import pytest

from lake import models
from lake.freshness import base_tables, fingerprint
from lake.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(tmp_path_factory.mktemp("home") / "lake")


def put(
    store: Store,
    release: str,
    mark: str,
    table: str = "csc.detections",
    content: str | None = None,
) -> None:
    rows = pa.table(
        {"release": [release], "name": ["A"], "file_sha256": [mark], "file_row": pa.array([1])}
    )
    store.replace(
        release,
        [table],
        [(table, rows)],
        fingerprint=mark,
        code_version="1",
        message="put",
        content={table: content} if content else {},
    )


def test_views_rest_on_tables():
    assert base_tables(["csc.features"]) == ["csc.detections"]
    assert base_tables(["csc.labelled_features"]) == ["csc.detections", "csc.labels"]
    assert base_tables(["csc.labels", "csc.features"]) == ["csc.detections", "csc.labels"]
    assert base_tables([]) == []


def test_it_changes_with_what_is_read_and_with_nothing_else(store):
    def now(release="R", reads=("csc.features",), version="1"):
        return fingerprint(store, release, reads, version)

    nothing = now()  # there is no lake yet
    put(store, "R", "a")
    first = now()
    assert first != nothing
    put(store, "S", "a")
    put(store, "R", "labels", "csc.labels")
    assert now() == first
    assert now(reads=("csc.features", "csc.features")) != now(reads=("csc.labelled_features",))
    assert now(version="2") != first
    assert now(reads=("csc.detections",)) != first
    put(store, "R", "b")
    assert now() != first
    put(store, "R", "a")
    assert now() == first
    assert now("S") == first  # of equal inputs


def test_a_table_made_again_with_the_same_content_changes_nothing(store):
    def now(**given):
        return fingerprint(store, "C", ["csc.labels"], "1", **given)

    put(store, "C", "a", "csc.labels")
    plain = now()
    put(store, "C", "a", "csc.labels", content="x")
    first, across = now(), now(across=["csc.labels"])
    assert first != plain
    put(store, "C", "b", "csc.labels", content="x")
    assert store.fingerprints("C") == {"csc.labels": "b"}
    assert (now(), now(across=["csc.labels"])) == (first, across)
    put(store, "C", "b", "csc.labels", content="y")
    assert now() != first
    assert now(across=["csc.labels"]) != across


def test_it_changes_with_the_text_of_a_view_below(store, monkeypatch):
    reads = ["csc.labelled_features"]
    before = fingerprint(store, "R", reads, "1")
    order = fingerprint(store, "R", ["csc.labels", *reads], "1")
    assert order == fingerprint(store, "R", [*reads, "csc.labels"], "1")
    views = dict(models.views())
    old = views["csc.features"]
    views["csc.features"] = models.View(
        old.name, old.sql + " WHERE TRUE", old.description, old.key, old.depends, old.columns
    )
    monkeypatch.setattr(models, "views", lambda: MappingProxyType(views))
    assert fingerprint(store, "R", reads, "1") != before


def test_what_is_held_is_read_once_and_then_no_more(store, monkeypatch):
    put(store, "R", "held")
    read, asked = Store.arrow, []

    def arrow(of, query, *args, **options):
        asked.append(query)
        return read(of, query, *args, **options)

    monkeypatch.setattr(Store, "arrow", arrow)
    with store.held():
        first = store.fingerprints("R")
        with store.held():
            assert fingerprint(store, "R", ["csc.features"], "1", across=["csc.detections"])
        assert store.states_across("csc.detections")["R"] == first["csc.detections"] == "held"
    assert len(asked) == 1
    put(store, "R", "newer")
    assert store.fingerprints("R")["csc.detections"] == "newer"
