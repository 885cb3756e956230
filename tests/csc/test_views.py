"""The views of the mission: rows in, rows out; and the numbers of the published method."""

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from lake import contracts
from lake.csc.features import AGGREGATE, CLASSES, FEATURES, PROBABILITIES
from tests.views import Row, insert

STDS = tuple(f"{name}_std" for name in PROBABILITIES)


SCHEMAS = {
    name: contracts.table(name).schema()
    for name in ("csc.detections", "csc.labels", "csc.class_probabilities")
}


def view(tables: duckdb.DuckDBPyConnection, query: str) -> list[Row]:
    return tables.sql(query).to_arrow_table().to_pylist()


def detection(name: str = "A", obsid: int = 1, **columns: Any) -> Row:
    return {"release": "R", "name": name, "obsid": obsid, "file_sha256": "f", **columns}


def complete(name: str = "A", obsid: int = 1, **columns: Any) -> Row:
    """A detection with all features given, as ready ratios."""
    return detection(name, obsid, **(dict.fromkeys(FEATURES, 0.5) | columns))


def classified(name: str = "A", obsid: int = 1, *, like: Any = None, **columns: Any) -> Row:
    """A classified detection; `like` is its class or a mapping from classes to probabilities."""
    given = {like: 1.0} if isinstance(like, str) else (like or {})
    row: Row = detection(name, obsid, method="softmin", model_id="m")
    if given:
        values = [given.get(class_, 0.0) for class_ in CLASSES]
        row |= dict(zip(PROBABILITIES, values, strict=True))
        row["detection_class"] = CLASSES[int(np.argmax(values))]
    return row | columns


# --- features ----------------------------------------------------------------------------------


def test_features_from_raw_terms(tables):
    raw = {
        **{f"var_sigma_{band}": 1.0 for band in "bhs"},
        "var_mean_b": 2.0,
        "var_mean_h": 4.0,
        "var_mean_s": 8.0,
        "var_max_b": 6.0,
        "var_min_b": 1.0,
        **dict.fromkeys(("var_ratio_b", "var_ratio_h", "var_ratio_s", "var_newq_b"), 9.0),
    }
    insert(tables, "csc.detections", [detection(**raw)])
    (row,) = view(tables, "SELECT * FROM csc.features")
    assert (row["var_ratio_b"], row["var_ratio_h"], row["var_ratio_s"]) == (0.5, 0.25, 0.125)
    assert row["var_newq_b"] == 1.75


@pytest.mark.parametrize(
    ("absent", "features"),
    [
        ("var_sigma_b", ["var_ratio_b"]),
        ("var_mean_b", ["var_ratio_b", "var_newq_b"]),
        ("var_max_b", ["var_newq_b"]),
        ("var_min_b", ["var_newq_b"]),
    ],
)
def test_a_given_ratio_stands_in_for_an_absent_term(tables, absent, features):
    terms = {"var_sigma_b": 1.0, "var_mean_b": 2.0, "var_max_b": 6.0, "var_min_b": 1.0}
    expected = {"var_ratio_b": 0.5, "var_newq_b": 1.75} | dict.fromkeys(features, 9.0)
    given = {"var_ratio_b": 9.0, "var_newq_b": 9.0}
    insert(tables, "csc.detections", [detection(**(terms | given | {absent: None}))])
    assert view(tables, "SELECT var_ratio_b, var_newq_b FROM csc.features") == [expected]


def test_a_mean_of_zero_gives_null(tables):
    terms = {f"var_{term}_{band}": 1.0 for term in ("sigma", "max", "min") for band in "bhs"}
    zero = {f"var_mean_{band}": 0.0 for band in "bhs"}
    known = contracts.table("csc.detections").by_name
    assert not (terms | zero).keys() - known.keys()
    insert(tables, "csc.detections", [detection(**terms, **zero)])
    query = "SELECT var_ratio_b, var_ratio_h, var_ratio_s, var_newq_b FROM csc.features"
    assert tables.sql(query).fetchall() == [(None, None, None, None)]


def test_features_name_what_is_missing(tables):
    rows = [
        complete("all there"),
        complete("two", bb_kt=None, hard_hs=None),
        detection("nothing"),
        *(complete(name, **{name: None}) for name in FEATURES),
    ]
    insert(tables, "csc.detections", rows)
    found = dict(tables.sql("SELECT name, missing FROM csc.features").fetchall())
    assert found == {
        "all there": None,
        "two": "hard_hs, bb_kt",
        "nothing": ", ".join(FEATURES),
    } | {name: name for name in FEATURES}


# --- labelled features -------------------------------------------------------------------------


def labels_of(tables: duckdb.DuckDBPyConnection) -> dict[tuple[str, int], str | None]:
    rows = tables.sql("SELECT name, obsid, main_type FROM csc.labelled_features").fetchall()
    assert len({row[:2] for row in rows}) == len(rows)
    return {(name, obsid): main_type for name, obsid, main_type in rows}


def label(main_type: str | None, obsid: int | None = None, row: int = 1, **columns: Any) -> Row:
    return detection("A", main_type=main_type, file_row=row) | {"obsid": obsid} | columns


def test_every_detection_has_a_row_and_its_label(tables):
    insert(tables, "csc.detections", [complete("A", 1), complete("A", 2), complete("B", 1)])
    insert(tables, "csc.labels", [label("QSO", 2)])
    assert labels_of(tables) == {("A", 1): None, ("A", 2): "QSO", ("B", 1): None}


def test_a_label_of_the_source_holds_where_the_observation_has_none(tables):
    insert(tables, "csc.detections", [complete("A", 1), complete("A", 2)])
    insert(
        tables,
        "csc.labels",
        [label("Star", separation_arcsec=0.1), label("QSO", 2, separation_arcsec=0.9)],
    )
    assert labels_of(tables) == {("A", 1): "Star", ("A", 2): "QSO"}


def test_the_nearer_object_gives_the_label(tables):
    insert(tables, "csc.detections", [complete()])
    rows = [
        label("AGN", 1, separation_arcsec=None),
        label("Star", 1, separation_arcsec=0.8),
        label("QSO", 1, separation_arcsec=0.2),
    ]
    insert(tables, "csc.labels", rows)
    assert labels_of(tables) == {("A", 1): "QSO"}


def test_equally_near_objects_are_taken_by_catalogue_and_row(tables):
    insert(tables, "csc.detections", [complete()])
    rows = [
        label("Star", 1, row=1, catalogue="SIMBAD"),
        label("AGN", 1, row=3, catalogue="NED"),
        label("QSO", 1, row=2, catalogue="NED"),
    ]
    insert(tables, "csc.labels", rows)
    assert labels_of(tables) == {("A", 1): "QSO"}


@pytest.mark.parametrize("order", [1, -1])
def test_equal_rows_of_two_files_are_taken_in_one_order(tables, order):
    insert(tables, "csc.detections", [complete()])
    rows = [
        label("AGN", 1) | {"main_id": "x", "file_sha256": "b"},
        label("QSO", 1) | {"main_id": "y", "file_sha256": "a"},
    ]
    insert(tables, "csc.labels", rows[::order])
    assert labels_of(tables) == {("A", 1): "QSO"}


def test_an_object_without_type_gives_no_label(tables):
    insert(tables, "csc.detections", [complete("A", 1), complete("A", 2)])
    rows = [
        label(None, 1, separation_arcsec=0.1),
        label("QSO", 1, separation_arcsec=0.5),
        label(None, 2, separation_arcsec=0.1),
        label("YSO", separation_arcsec=0.7),
    ]
    insert(tables, "csc.labels", rows)
    assert labels_of(tables) == {("A", 1): "QSO", ("A", 2): "YSO"}


def test_labels_stay_within_their_release(tables):
    insert(tables, "csc.detections", [complete(), complete(release="S")])
    insert(tables, "csc.labels", [label("QSO", 1), label("YSO", None, release="S")])
    query = "SELECT release, main_type FROM csc.labelled_features ORDER BY release"
    assert tables.sql(query).fetchall() == [("R", "QSO"), ("S", "YSO")]


def test_detections_of_one_observation_each_have_one_row(tables):
    rows = [
        complete(obi=0, region_id=1),
        complete(obi=0, region_id=2),
        complete(obi=None, region_id=None),
    ]
    insert(tables, "csc.detections", rows)
    insert(tables, "csc.labels", [label("QSO", 1), label("Star")])
    query = "SELECT region_id, main_type FROM csc.labelled_features ORDER BY region_id"
    assert tables.sql(query).fetchall() == [(1, "QSO"), (2, "QSO"), (None, "QSO")]


# --- soft master class -------------------------------------------------------------------------


def test_soft_class_has_means_and_population_deviations(tables):
    rows = [
        classified("A", 1, like={"QSO": 0.9, "YSO": 0.1}),
        classified("A", 2, like={"QSO": 0.1, "YSO": 0.9}),
        classified("A", 3, like={"QSO": 0.2, "YSO": 0.8}),
        classified("B", 1, like={"XB": 0.6, "AGN": 0.4}),
    ]
    insert(tables, "csc.class_probabilities", rows)
    a, b = view(tables, "SELECT * FROM csc.soft_master_class ORDER BY name")
    assert (a["soft_master_class"], a["detection_count"]) == ("YSO", 3)
    assert a["p_qso"] == pytest.approx(0.4, abs=1e-15)
    assert a["p_yso"] == pytest.approx(0.6, abs=1e-15)
    # ddof 0: sqrt(mean of (0.5, -0.3, -0.2)^2)
    assert a["p_qso_std"] == pytest.approx(np.sqrt(0.38 / 3), abs=1e-15)
    assert a["p_agn"] == a["p_agn_std"] == 0
    assert (b["soft_master_class"], b["detection_count"]) == ("XB", 1)
    assert [b[name] for name in PROBABILITIES] == [0, 0.4, 0, 0, 0, 0, 0.6, 0, 0, 0]
    assert {b[name] for name in STDS} == {0.0}


@pytest.mark.parametrize(("first", "second"), list(itertools.pairwise(CLASSES)))
def test_soft_class_is_the_first_of_equals(tables, first, second):
    rows = [classified("A", 1, like=second), classified("A", 2, like=first)]
    rows.append(classified("B", 1, like={first: 0.5, second: 0.5}))
    insert(tables, "csc.class_probabilities", rows)
    query = "SELECT name, soft_master_class FROM csc.soft_master_class ORDER BY name"
    assert tables.sql(query).fetchall() == [("A", first), ("B", first)]


def test_the_first_detection_keeps_its_nulls(tables):
    rows = [
        classified("A", 2, obi=0, region_id=0, like="QSO"),
        classified("A", 1, obi=None, region_id=5, like="QSO"),
        classified("B", 3, obi=1, region_id=2, like="QSO"),
        classified("B", 3, obi=1, region_id=None, like="QSO"),
        classified("C", 4, obi=None, region_id=None, like="QSO"),
    ]
    insert(tables, "csc.class_probabilities", rows)
    query = "SELECT name, obsid, obi, region_id FROM csc.source_probabilities ORDER BY name"
    assert tables.sql(query).fetchall() == [
        ("A", 1, None, 5),
        ("B", 3, 1, None),
        ("C", 4, None, None),
    ]
    query = "SELECT name, detection_count FROM csc.repeated_sources ORDER BY name"
    assert tables.sql(query).fetchall() == [("A", 2), ("B", 2)]


# --- hard master class -------------------------------------------------------------------------


def hard(tables: duckdb.DuckDBPyConnection) -> dict[str, tuple[str, int, int, bool]]:
    """Class, votes, count of detections and `tied` by name."""
    rows = tables.sql(
        "SELECT name, hard_master_class, votes, detection_count, tied FROM csc.hard_master_class"
    ).fetchall()
    assert len({row[0] for row in rows}) == len(rows)
    return {row[0]: row[1:] for row in rows}


def test_hard_class_is_the_most_frequent(tables):
    rows = [
        *(classified("A", i, like=c) for i, c in enumerate(["XB", "YSO", "YSO", "QSO"])),
        classified("B", 1, like="LMXB"),
        *(classified("C", i, like="AGN") for i in range(2)),
    ]
    insert(tables, "csc.class_probabilities", rows)
    assert hard(tables) == {
        "A": ("YSO", 2, 4, False),
        "B": ("LMXB", 1, 1, False),
        "C": ("AGN", 2, 2, False),
    }


OBSERVATION_ORDERS = {
    "obsid": [(7, None, None), (10, 0, 0)],
    "obi": [(7, 1, 9), (7, 2, 0)],
    "obi null first": [(7, None, 9), (7, 0, 0)],
    "region": [(7, 1, 3), (7, 1, 11)],
    "region null first": [(7, None, None), (7, None, 0)],
}


@pytest.mark.parametrize("case", list(OBSERVATION_ORDERS))
@pytest.mark.parametrize("classes", [("YSO", "AGN"), ("AGN", "YSO")])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_tie_goes_to_the_class_of_the_first_observation(tables, case, classes, backwards):
    rows = [
        classified(obsid=obsid, obi=obi, region_id=region, like=class_)
        for (obsid, obi, region), class_ in zip(OBSERVATION_ORDERS[case], classes, strict=True)
    ]
    insert(tables, "csc.class_probabilities", rows[::-1] if backwards else rows)
    assert hard(tables) == {"A": (classes[0], 1, 2, True)}


def test_the_tie_is_among_the_most_frequent_only(tables):
    order = ["XB", "YSO", "AGN", "AGN", "YSO"]
    insert(
        tables,
        "csc.class_probabilities",
        [classified("A", i, like=class_) for i, class_ in enumerate(order)],
    )
    assert hard(tables) == {"A": ("YSO", 2, 5, True)}


def test_hard_class_does_not_depend_on_the_order_of_insertion(tables):
    random = np.random.default_rng(5)
    rows = [
        classified(f"S{i % 40}", i, like=str(random.choice(["QSO", "YSO", "XB"])))
        for i in range(130)
    ]
    insert(tables, "csc.class_probabilities", rows)
    once = hard(tables)
    for source, (class_, votes, count, tied) in once.items():
        mine = [row["detection_class"] for row in rows if row["name"] == source]
        tally = Counter(mine)  # in the order of observation, which most_common keeps
        assert (class_, votes) == tally.most_common(1)[0]
        assert count == len(mine)
        assert tied == (sum(n == votes for n in tally.values()) > 1)
    for _ in range(3):
        tables.execute("DELETE FROM csc.class_probabilities")
        shuffled = [rows[i] for i in random.permutation(len(rows))]
        insert(tables, "csc.class_probabilities", shuffled)
        assert hard(tables) == once


def test_detections_without_observation_tie_by_name_of_the_class(tables):
    rows = [classified(obsid=None, like=class_) for class_ in ("YSO", "AGN", "XB")]
    insert(tables, "csc.class_probabilities", rows)
    assert hard(tables) == {"A": ("AGN", 1, 3, True)}


# --- both together -----------------------------------------------------------------------------

# Soft AGN, as one detection is sure of it; hard YSO, as two lean to it.
SPLIT = [
    classified("split", 1, obi=0, like={"YSO": 0.5, "AGN": 0.4, "XB": 0.1}),
    classified("split", 2, like={"YSO": 0.5, "AGN": 0.4, "XB": 0.1}),
    classified("split", 3, like={"AGN": 1.0}),
]
AGREED = [
    classified("agreed", 9, obi=1, region_id=2, like="LMXB"),
    classified("agreed", 9, obi=1, region_id=None, like="LMXB"),
]
ALONE = [classified("alone", 4, region_id=7, like={"Orion_V*": 0.7, "TTau*": 0.3})]


def test_master_class_has_position_and_features_of_the_first_detection(tables):
    insert(tables, "csc.class_probabilities", [*SPLIT[::-1], *AGREED, *ALONE])
    rows = [
        complete("split", 0, ra=-1.0),  # has no probabilities: a labelled detection
        complete("split", 1, obi=0, ra=1.0, dec=-1.0, bb_kt=0.1),
        complete("split", 2, ra=2.0),
        complete("split", 3, ra=3.0),
        complete("agreed", 9, obi=1, region_id=2, ra=4.0),
        complete("agreed", 9, obi=1, region_id=None, ra=5.0),
        complete("alone", 4, region_id=7, ra=6.0),
        complete("alone", 4, region_id=8, ra=7.0),
    ]
    insert(tables, "csc.detections", rows)
    found = view(
        tables,
        "SELECT name, soft_master_class, hard_master_class, detection_count, ra"
        " FROM csc.master_class ORDER BY name",
    )
    assert [tuple(row.values()) for row in found] == [
        ("agreed", "LMXB", "LMXB", 2, 5.0),
        ("alone", "Orion_V*", "Orion_V*", 1, 6.0),
        ("split", "AGN", "YSO", 3, 1.0),
    ]
    (split,) = view(tables, "SELECT * FROM csc.master_class WHERE name = 'split'")
    assert (split["dec"], split["bb_kt"], split["hard_hm"]) == (-1.0, 0.1, 0.5)
    assert split["p_agn"] == pytest.approx(0.6, abs=1e-15)
    assert split["p_agn_std"] == pytest.approx(np.sqrt(0.08), abs=1e-15)


def test_master_class_needs_no_features(tables):
    insert(tables, "csc.class_probabilities", [*SPLIT, *ALONE])
    query = "SELECT name, ra, bb_kt FROM csc.master_class ORDER BY name"
    assert tables.sql(query).fetchall() == [("alone", None, None), ("split", None, None)]


def test_every_source_is_either_unique_or_ambiguous(tables):
    insert(tables, "csc.class_probabilities", [*SPLIT, *AGREED, *ALONE])
    insert(tables, "csc.detections", [complete("agreed", 9, obi=1, ra=5.0)])
    unique = view(tables, "SELECT * FROM csc.uniquely_classified ORDER BY name")
    assert [(r["name"], r["master_class"], r["agg_master_class"]) for r in unique] == [
        ("agreed", "LMXB", "XB"),
        ("alone", "Orion_V*", "YSO"),
    ]
    assert (unique[0]["detection_count"], unique[0]["p_lmxb"], unique[0]["ra"]) == (2, 1.0, 5.0)
    (row,) = view(tables, "SELECT * FROM csc.ambiguous_classification")
    assert (row["name"], row["soft_master_class"], row["hard_master_class"]) == (
        "split", "AGN", "YSO",
    )  # fmt: skip
    assert row["detection_count"] == 3


@pytest.mark.parametrize("class_", CLASSES)
def test_aggregated_class(tables, class_):
    insert(tables, "csc.class_probabilities", [classified(like=class_)])
    expected = AGGREGATE[class_]
    assert tables.sql("SELECT agg_master_class FROM csc.uniquely_classified").fetchone() == (
        expected,
    )
    assert tables.sql("SELECT agg_class FROM csc.class_summary").fetchone() == (expected,)


def test_class_summary(tables):
    insert(tables, "csc.class_probabilities", [*SPLIT, *AGREED, *ALONE])
    found = {row["class"]: row for row in view(tables, "SELECT * FROM csc.class_summary")}
    counts = ("detections", "soft_sources", "hard_sources", "unique_sources")
    assert {name: tuple(row[c] for c in counts) for name, row in found.items()} == {
        "YSO": (2, 0, 1, 0),
        "AGN": (1, 1, 0, 0),
        "LMXB": (2, 1, 1, 1),
        "Orion_V*": (1, 1, 1, 1),
    }
    assert found["YSO"]["mean_probability"] == 0.5
    assert found["Orion_V*"]["mean_probability"] == 0.7


def test_class_summary_of_a_class_that_only_the_means_give(tables):
    rows = [
        classified("A", 1, like={"QSO": 0.6, "AGN": 0.4}),
        classified("A", 2, like={"YSO": 0.6, "AGN": 0.4}),
    ]
    insert(tables, "csc.class_probabilities", rows)
    query = "SELECT detections, soft_sources, mean_probability FROM csc.class_summary"
    assert tables.sql(f"{query} WHERE class = 'AGN'").fetchall() == [(0, 1, None)]


MASTER_VIEWS = (
    "repeated_sources",
    "source_probabilities",
    "soft_master_class",
    "hard_master_class",
    "master_class",
    "uniquely_classified",
    "ambiguous_classification",
    "class_summary",
)


@pytest.mark.parametrize("name", MASTER_VIEWS)
def test_rows_without_probabilities_never_count(tables, name):
    rows = [*SPLIT, *AGREED, *ALONE]
    insert(tables, "csc.class_probabilities", rows)
    before = view(tables, f"SELECT * FROM csc.{name} ORDER BY ALL")
    nothing = [
        classified(row["name"], obsid, obi=row.get("obi"), reason="missing: all twelve features")
        for row in rows
        for obsid in (0, 99)
    ]
    insert(tables, "csc.class_probabilities", [*nothing, classified("nothing", 1)])
    assert view(tables, f"SELECT * FROM csc.{name} ORDER BY ALL") == before


@pytest.mark.parametrize("name", MASTER_VIEWS)
def test_methods_and_releases_never_mix(tables, name):
    """Each of four side by side gives what it gives alone."""
    here = {"release": "R", "method": "softmin"}
    sets = {
        ("R", "softmin"): [*SPLIT, *AGREED, *ALONE],
        ("R", "posterior"): [*SPLIT[:2], *AGREED[:1], classified("alone", 5, like="QSO"), *ALONE],
        ("S", "softmin"): [classified("split", 1, obi=0, like="TTau*"), *AGREED],
        ("S", "posterior"): [*SPLIT[1:], classified("agreed", 1, like="Seyfert_2")],
    }
    parts = {
        (release, method): [row | here | {"release": release, "method": method} for row in rows]
        for (release, method), rows in sets.items()
    }
    alone: list[Row] = []
    for rows in parts.values():
        insert(tables, "csc.class_probabilities", rows)
        alone += view(tables, f"SELECT * FROM csc.{name}")
        tables.execute("DELETE FROM csc.class_probabilities")
    insert(tables, "csc.class_probabilities", itertools.chain(*parts.values()))
    together = view(tables, f"SELECT * FROM csc.{name}")
    assert sorted(map(repr, together)) == sorted(map(repr, alone))
    assert together


# --- the published numbers ---------------------------------------------------------------------


def probabilities_of(table: pa.Table) -> pa.Table:
    """Rows of csc.class_probabilities from a table that names probabilities by their classes.

    Some pairs of name and obsid occur twice: region_id numbers them in the order of the table.
    """
    rows = table.select(["name", "obsid", *CLASSES])
    rows = rows.rename_columns(["name", "obsid", *PROBABILITIES])
    best = np.column_stack([rows[name].to_numpy() for name in PROBABILITIES]).argmax(axis=1)
    constants = {"release": "R", "method": "softmin", "model_id": "published", "file_sha256": "f"}
    for name, value in constants.items():
        rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
    rows = rows.append_column("region_id", pa.array(range(rows.num_rows), pa.int32()))
    classes = pc.take(pa.array(CLASSES), pa.array(best))
    return rows.append_column("detection_class", classes)


@pytest.mark.real
def test_the_seeds_master_classes(tables, real_data: Path):
    """Means and deviations to 1e-9, both classes everywhere: the tie rule is the seed's own."""
    given = pq.read_table(real_data / "csc" / "method_check_expected_detections.parquet")
    expected = pq.read_table(real_data / "csc" / "method_check_expected_master.parquet")
    rows = probabilities_of(given)
    assert rows["detection_class"].equals(given["assigned_type"].cast(pa.string()))
    order = np.random.default_rng(3).permutation(rows.num_rows)
    insert(tables, "csc.class_probabilities", rows.take(pa.array(order)))
    found = tables.sql("SELECT * FROM csc.master_class ORDER BY name").to_arrow_table()
    expected = expected.sort_by("name")
    assert found["name"].equals(expected["name"].cast(pa.string()))
    for name, class_ in zip(PROBABILITIES, CLASSES, strict=True):
        for ours, theirs in ((name, f"{class_}_mean"), (f"{name}_std", f"{class_}_std")):
            np.testing.assert_allclose(
                found[ours].to_numpy(), expected[theirs].to_numpy(), rtol=0, atol=1e-9
            )
    for column in ("detection_count", "soft_master_class", "hard_master_class"):
        assert found[column].to_pylist() == expected[column].to_pylist()


@pytest.mark.real
@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("published_uniquely_classified.csv", "uniquely_classified"),
        ("published_ambiguous.csv", "ambiguous_classification"),
    ],
)
def test_the_published_tables(tables, real_data: Path, file, name):
    """Classes, counts, means and deviations of every source all of whose detections are here."""
    given = pyarrow.csv.read_csv(real_data / "csc" / "published_detection_level.csv")
    published = pyarrow.csv.read_csv(real_data / "csc" / file)
    insert(tables, "csc.class_probabilities", probabilities_of(given))
    here = Counter(given["name"].to_pylist())
    expected = [r for r in published.to_pylist() if here[r["name"]] == r["detection_count"]]
    assert len(expected) > 0.9 * published.num_rows
    found = {row["name"]: row for row in view(tables, f"SELECT * FROM csc.{name}")}
    for row in expected:
        ours = found[row["name"]]
        for column in ("master_class", "agg_master_class", "soft_master_class"):
            assert ours.get(column) == row.get(column)
        assert ours["detection_count"] == row["detection_count"]
        for class_, column in zip(CLASSES, PROBABILITIES, strict=True):
            mean, deviation = map(float, row[class_].split("±"))
            # Printed to three decimals, from probabilities that were printed to six.
            assert ours[column] == pytest.approx(mean, abs=5.1e-4)
            assert ours[f"{column}_std"] == pytest.approx(deviation, abs=5.1e-4)
