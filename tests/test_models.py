"""The views: checked against the contracts before anything runs."""

import pytest

from lake import contracts, models
from lake.errors import LacusError, UsageError

GOOD = """\
-- One row per source: how often it was seen.
-- key: release, name
-- columns:
--   times: detections of the source {meta.number}
SELECT release, name, count(*) AS times
FROM csc.detections
GROUP BY release, name
"""


@pytest.fixture
def load(tmp_path):
    def write(**files):
        (tmp_path / "csc").mkdir()
        for name, text in files.items():
            (tmp_path / "csc" / f"{name}.sql").write_text(text)
        return models.load(tmp_path)

    return write


def test_every_column_of_every_view_is_described():
    for view in models.views().values():
        assert view.description
        assert set(view.key) <= {column.name for column in view.columns}
        assert not [c.name for c in view.columns if len(c.description.strip()) < 4], view.name


def test_units_and_ucds_of_views_are_valid():
    from astropy import units
    from astropy.io.votable.ucd import check_ucd

    for view in models.views().values():
        for column in view.columns:
            if column.unit:
                units.Unit(column.unit, parse_strict="raise")
            assert column.ucd is None or check_ucd(column.ucd, check_controlled_vocabulary=True)


def test_duckdb_makes_the_columns_that_the_header_promises():
    types = models.view_types()
    assert {name: list(columns) for name, columns in types.items()} == {
        view.name: [c.name for c in view.columns] for view in models.views().values()
    }


def test_a_header_gives_meaning_and_a_passed_column_keeps_its_own(load):
    view = load(seen=GOOD)["csc.seen"]
    assert view.description == "One row per source: how often it was seen."
    assert view.key == ("release", "name")
    name, times = view.columns[1:]
    assert name.description == contracts.table("csc.detections").by_name["name"].description
    assert name.ucd == "meta.id;meta.main"
    assert (times.description, times.unit, times.ucd) == (
        "detections of the source", None, "meta.number",
    )  # fmt: skip
    assert view.sql.startswith("SELECT release, name")


def test_views_come_after_those_they_read(load):
    double = GOOD.replace("csc.detections", "csc.z_seen").replace("count(*)", "sum(times)")
    assert list(load(a_double=double, z_seen=GOOD)) == ["csc.z_seen", "csc.a_double"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("csc.detections", "csc.nowhere", r"csc\.seen: there is no table or view csc\.nowhere"),
        ("count(*) AS", "max(nothing) AS", r"csc\.seen: .*nothing"),
        ("release, name, count(*) AS times", "*", r"csc\.seen: SELECT \* hides"),
        ("name, count(*)", "detections.*, count(*)", r"csc\.seen: SELECT \* hides"),
        ("count(*) AS times", "COLUMNS('n.*')", r"csc\.seen: SELECT \* hides"),
        ("--   times: detections of the source {meta.number}\n", "",
         r"csc\.seen: the header must describe column times"),
        ("--   times:", "--   hours: of the day\n--   times:",
         r"csc\.seen: header describes no column of it: \['hours'\]"),
        ("-- key: release, name\n", "", r"csc\.seen: the header must say .* its key"),
        ("-- One row per source: how often it was seen.\n", "", r"the header must say what a row"),
        ("-- key: release, name", "-- key: release, obsid",
         r"key columns are not selected: \['obsid'\]"),
        ("GROUP BY", "GROUP BY BY (", r"csc\.seen: "),
    ],
)  # fmt: skip
def test_a_wrong_view_is_refused_in_words(load, old, new, message):
    assert old in GOOD
    with pytest.raises(LacusError, match=message):
        load(seen=GOOD.replace(old, new))


def test_a_subquery_may_not_select_everything_either(load):
    nested = GOOD.replace("FROM csc.detections", "FROM (SELECT * FROM csc.detections)")
    with pytest.raises(LacusError, match="SELECT \\*"):
        load(seen=nested)


def test_a_cycle_is_shown(load):
    with pytest.raises(LacusError, match=r"depend on each other: csc\.(a -> csc\.b|b -> csc\.a)"):
        load(a=GOOD.replace("csc.detections", "csc.b"), b=GOOD.replace("csc.detections", "csc.a"))


def test_a_renamed_column_needs_no_line_a_computed_one_does(load):
    renamed = GOOD.replace("release, name, count(*) AS times", "release, name, ra AS times")
    renamed = renamed.replace("\nGROUP BY release, name", "")
    renamed = renamed.replace("--   times: detections of the source {meta.number}\n", "")
    assert load(seen=renamed)["csc.seen"].columns[2].unit == "deg"


@pytest.mark.parametrize(
    ("view", "column", "sources"),
    [
        ("csc.features", "hard_hm", [("csc.detections", "hard_hm")]),
        ("csc.features", "var_ratio_b",
         [("csc.detections", c) for c in ("var_mean_b", "var_ratio_b", "var_sigma_b")]),
        ("csc.labelled_features", "main_type", [("csc.labels", "main_type")]),
        ("csc.labelled_features", "var_ratio_b", [("csc.features", "var_ratio_b")]),
    ],
)  # fmt: skip
def test_lineage_is_one_step_back(view, column, sources):
    found = next(c for c in models.views()[view].columns if c.name == column)
    assert list(found.sources) == sources


def test_trace_tells_passed_from_computed():
    schema = {"a.t": ["x", "y"]}
    traced = models.trace("SELECT x, x + y AS z FROM a.t UNION ALL SELECT y, 1 FROM a.t", schema)
    assert traced["x"] == ((("a.t", "x"), ("a.t", "y")), True)
    assert traced["z"] == ((("a.t", "x"), ("a.t", "y")), False)
    with pytest.raises(ValueError, match="q"):
        models.trace("SELECT q FROM a.t", schema)


def test_names_may_have_dots_and_quotes():
    schema = {"a.t": ["ra", "err.ra", "flag.1", 'q"u']}
    traced = models.trace('SELECT *, "err.ra" AS e FROM a.t', schema)
    assert traced == {
        "ra": ((("a.t", "ra"),), True),
        "err.ra": ((("a.t", "err.ra"),), True),
        "flag.1": ((("a.t", "flag.1"),), True),
        'q"u': ((("a.t", 'q"u'),), True),
        "e": ((("a.t", "err.ra"),), True),
    }


def test_names_keep_their_case():
    """The parser has names in lower case; what is declared as lambda_rest_A stays that."""
    schema = {"sdss.line_list": ["release", "lambda_rest_A"]}
    query = "SELECT release, lambda_rest_A, 2 * lambda_rest_A AS twice FROM sdss.line_list"
    source = (("sdss.line_list", "lambda_rest_A"),)
    traced = models.trace(query, schema)
    assert traced["lambda_rest_A"] == (source, True)
    assert traced["twice"] == (source, False)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("csc.class_summry", "did you mean csc.class_summary"),
        ("detections", "did you mean csc.detections"),
        ("nope", "`lacus tables` lists all"),
    ],
)
def test_a_name_that_is_none_is_told_with_those_like_it(name, told):
    with pytest.raises(UsageError, match=f"no table {name}, and no view; {told}"):
        models.named(name)
    assert models.named("csc.class_summary") is models.views()["csc.class_summary"]
    assert models.named("csc.detections") is contracts.table("csc.detections")
