"""The code location: what every asset says of itself, and checks that fail when they should."""

import os
import subprocess
import sys

import dagster as dg
import pyarrow as pa
import pytest

import lake
from lake import contracts, inputs, models
from lake.commit import now
from lake.store import Store
from pipelines import checks, metadata
from pipelines.definitions import definitions
from pipelines.defs import csc
from pipelines.partitions import RELEASES

NAMES = sorted(
    [name for name in contracts.tables() if not name.startswith("meta.")] + [*models.views()]
)


@pytest.fixture(scope="module")
def specs() -> dict[str, dg.AssetSpec]:
    return {".".join(spec.key.path): spec for spec in definitions().resolve_all_asset_specs()}


def test_every_table_and_view_is_an_asset(specs):
    assert sorted(specs) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_asset_says_what_it_is(name, specs):
    spec = specs[name]
    made = models.views().get(name) or contracts.table(name)
    assert made.description in (spec.description or "")
    assert spec.group_name == name.split(".")[0]
    assert list(spec.owners) == ["team:lacus"]
    assert "duckdb" in spec.kinds
    assert ("sql" in spec.kinds) == (name in models.views())
    assert spec.partitions_def is RELEASES[name.split(".")[0]]
    columns = spec.metadata["dagster/column_schema"].columns
    assert [c.name for c in columns] == [c.name for c in made.columns]
    for column, declared in zip(columns, made.columns, strict=True):
        assert column.type
        assert declared.description in column.description
        assert column.tags.get("unit") == declared.unit
        assert column.tags.get("ucd") == declared.ucd


def test_views_depend_on_what_they_read(specs):
    for name, view in models.views().items():
        assert {".".join(d.asset_key.path) for d in specs[name].deps} == set(view.depends)
        assert specs[name].metadata["dagster/column_lineage"].deps_by_column


def test_the_wanted_checks_are_there():
    graph = definitions().resolve_asset_graph()
    found = {(".".join(k.asset_key.path), k.name) for k in graph.asset_check_keys}
    assert {(name, "contract") for name in NAMES} <= found
    of_csc = {check for check in found if check[0].startswith("csc.")}
    assert of_csc - {(name, "contract") for name in NAMES} == {
        ("csc.detections", "conservation"),
        ("csc.labels", "conservation"),
        ("csc.detections", "ranges"),
        ("csc.class_probabilities", "sum_to_one"),
        ("csc.class_probabilities", "reasons"),
        ("csc.validation", "bounds"),
        ("csc.validation", "calibration"),
        ("csc.master_class", "partition"),
    }
    taken = {table for mission in contracts.missions() for table in inputs.tables(mission)}
    assert {(table, "conservation") for table in taken} <= found
    assert {("sdss.splits", "no_leakage"), ("sdss.cnn_evaluation", "calibration")} <= found


def test_one_partition_definition_for_each_mission():
    assert {p.name for p in RELEASES.values()} == {f"{m}_releases" for m in contracts.missions()}
    job = definitions().resolve_job_def("csc_release")
    assert job.partitions_def is RELEASES["csc"]


def test_the_definitions_load_anywhere(tmp_path):
    """Loading makes nothing, and needs neither a home nor the working directory."""
    clean = {k: v for k, v in os.environ.items() if k not in ("LACUS_HOME", "DAGSTER_HOME")}
    code = "from pipelines.definitions import definitions as d; print(len(d().assets))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=clean, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert int(done.stdout) > 5
    assert "Warning" not in done.stderr
    assert list(tmp_path.iterdir()) == []


# What each check must find. A lake is filled by `Store.replace` and `Store.commit`, which check
# nothing of this.

GOOD = {"release": "R", "name": "A", "obsid": 1, "file_sha256": "f", "file_row": 1}


def rows(table: str, *given: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist(list(given), contracts.table(table).schema())


@pytest.fixture(scope="module")
def only_store(tmp_path_factory) -> Store:
    return lake.open(tmp_path_factory.mktemp("checks")).store


@pytest.fixture
def store(only_store) -> Store:
    """A lake whose tables are empty; to make one takes longer than a test."""
    with only_store.commit("empty") as commit:
        for name in ("meta.files", "csc.detections", "csc.class_probabilities", "csc.validation"):
            commit.delete(name, "TRUE")
    return only_store


def put(store: Store, table: str, *given: dict[str, object]) -> None:
    parts = [(table, rows(table, *given))]
    store.replace("R", [table], parts, fingerprint="f", code_version="1", message="test")


def outcome(check: checks.Check, store: Store) -> tuple[bool, object]:
    found = check.run(store, "R")
    assert found.asset_key == metadata.key(check.table)
    assert found.check_name == check.name
    return found.passed, found.metadata["bad rows"].value


def test_the_key_is_unique_and_required_columns_have_values(store):
    check = checks.key_check("csc.detections")
    put(store, "csc.detections", GOOD, {**GOOD, "obsid": 2})
    assert outcome(check, store) == (True, 0)
    put(store, "csc.detections", GOOD, {**GOOD, "file_row": 2}, {**GOOD, "obsid": 2})
    assert outcome(check, store) == (False, 1)


def test_a_null_that_a_file_brings_in_is_found(store):
    """A file is registered as it is: the catalogue does not look for nulls in it."""
    put(store, "csc.detections", GOOD)
    bare = pa.table({"release": ["R"], "name": ["B"], "file_row": [1]})
    bare = bare.append_column("file_sha256", pa.nulls(1, pa.string()))
    with store.stage("csc.detections", "R", bare.schema) as stage:
        stage.write(bare.to_batches()[0])
    with store.commit("test") as commit:
        commit.add(stage.staged)
    assert outcome(checks.key_check("csc.detections"), store) == (False, 1)


@pytest.mark.parametrize("name", models.views())
def test_a_view_is_worked_out_once_to_check_its_key(name):
    assert checks.key_check(name).sql.count(name) == 1


def test_the_key_of_another_release_does_not_matter(store):
    check = checks.key_check("csc.detections")
    put(store, "csc.detections", GOOD)
    other = rows("csc.detections", {**GOOD, "release": "S"}, {**GOOD, "release": "S"})
    store.replace(
        "S",
        ["csc.detections"],
        [("csc.detections", other)],
        fingerprint="f",
        code_version="1",
        message="t",
    )
    assert outcome(check, store) == (True, 0)
    assert not check.run(store, "S").passed


def test_the_key_of_a_view_is_unique(store):
    check = checks.key_check("csc.features")
    put(store, "csc.detections", GOOD)
    assert outcome(check, store) == (True, 0)
    put(store, "csc.detections", GOOD, GOOD)
    assert not outcome(check, store)[0]


def record(store: Store, **given: object) -> None:
    row = {
        "mission": "csc", "release": "R", "role": "detections", "name": "a.csv", "path": "/a.csv",
        "size": 1, "mtime_ns": 1, "sha256": "f", "options": "{}", "reader_version": 1,
        "status": "committed", "reason": None, "rows_read": 1, "rows_committed": 1,
        "rows_rejected": 0, "ingested_at": now(), "snapshot": 1,
    }  # fmt: skip
    with store.commit("test") as commit:
        commit.insert("meta.files", [{**row, **given}])


def test_conservation_holds_for_what_an_ingest_writes(demo):
    store = lake.open(demo[0]).store
    for table in ("csc.detections", "csc.labels"):
        assert checks.conservation_check(table).run(store, "CSC-sample").passed


@pytest.mark.parametrize(
    "given",
    [
        {"rows_read": 2},  # one was lost on the way
        {"rows_read": 2, "rows_committed": 2},  # the table has one less than was committed
        {"rows_committed": 0, "rows_rejected": 1},  # the table has one more
        {"sha256": "g"},  # the rows of the table are of no file, those of the file not there
        {"status": "superseded"},
    ],
)
def test_conservation_fails(given, store):
    put(store, "csc.detections", GOOD)
    record(store, **given)
    assert not outcome(checks.conservation_check("csc.detections"), store)[0]


def test_conservation_tells_files_of_one_name_apart(store):
    put(store, "csc.detections", GOOD, {**GOOD, "obsid": 2, "file_sha256": "g"})
    record(store)
    record(store, sha256="g", path="/b/a.csv")
    record(store, sha256="h", status="rejected", rows_committed=0, rows_rejected=1)
    assert outcome(checks.conservation_check("csc.detections"), store) == (True, 0)


@pytest.mark.parametrize("other", [{"mission": "sdss"}, {"role": "labels"}, {"release": "S"}])
def test_conservation_is_of_the_files_of_a_table(other, store):
    put(store, "csc.detections", GOOD)
    record(store)
    record(store, sha256="g", path="/b.csv", **other)
    assert outcome(checks.conservation_check("csc.detections"), store) == (True, 0)


def test_a_file_may_have_no_rows_for_some_tables(store):
    record(store, mission="ogip", role="spectra")
    assert outcome(checks.conservation_check("ogip.spectra"), store) == (True, 0)
    assert not outcome(checks.conservation_check("ogip.hdus"), store)[0]
    spectrum = {
        "release": "R", "spec_id": "s", "path": "/a.pi", "hdu": 1, "spectrum_type": "I",
        "n_channels": 1, "quantity": "COUNTS", "file_sha256": "f",
    }  # fmt: skip
    put(store, "ogip.spectra", spectrum)
    assert outcome(checks.conservation_check("ogip.spectra"), store) == (True, 0)
    put(store, "ogip.spectra", {**spectrum, "file_sha256": "g"})
    assert not outcome(checks.conservation_check("ogip.spectra"), store)[0]


@pytest.mark.parametrize(
    "given",
    [{"ra": 360.5}, {"ra": -1.0}, {"dec": 90.5}, {"hard_hm": 1.5}, {"hard_hs": -1.5},
     {"hard_ms": 2.0}, {"var_prob_b": 1.5}, {"var_prob_h": -0.1}, {"var_prob_s": 2.0}],
)  # fmt: skip
def test_ranges(given, store):
    edge = {**GOOD, "ra": 360.0, "dec": -90.0, "hard_hm": -1.0, "var_prob_b": 0.0}
    put(store, "csc.detections", edge, {**GOOD, "obsid": 2})
    assert outcome(csc.RANGES, store) == (True, 0)
    put(store, "csc.detections", edge, {**GOOD, "obsid": 2, **given})
    assert outcome(csc.RANGES, store) == (False, 1)


def probabilities(**given: float) -> dict[str, object]:
    classes = dict.fromkeys(csc.features.PROBABILITIES, 0.0)
    return {
        **GOOD, "method": "softmin", "model_id": "m",
        "cluster": 0, "detection_class": "QSO", "p_qso": 1.0,
        **{name: value for name, value in classes.items() if name != "p_qso"}, **given,
    }  # fmt: skip


NONE = dict.fromkeys(csc.features.PROBABILITIES)


@pytest.mark.parametrize(
    "given",
    [{"p_qso": 0.9}, {"p_qso": 1.5, "p_agn": -0.5}, {"detection_class": None}, NONE,
     {"p_qso": 1 + 1e-8}],
)  # fmt: skip
def test_probabilities_sum_to_one(given, store):
    put(store, "csc.class_probabilities", probabilities(),
        probabilities(obsid=2, **NONE, detection_class=None))  # fmt: skip
    assert outcome(csc.SUM_TO_ONE, store) == (True, 0)
    put(store, "csc.class_probabilities", probabilities(), probabilities(obsid=2, **given))
    assert outcome(csc.SUM_TO_ONE, store) == (False, 1)


def test_a_row_without_probabilities_says_why(store):
    silent = probabilities(**NONE, detection_class=None)
    put(store, "csc.class_probabilities", {**silent, "reason": "no hard_hm"})
    assert outcome(csc.REASONS, store) == (True, 0)
    put(store, "csc.class_probabilities", silent)
    assert outcome(csc.REASONS, store) == (False, 1)


def score(metric: str, value: float, method: str = "posterior") -> dict[str, object]:
    return {
        "release": "R", "method": method, "level": "overall", "metric": metric, "value": value,
        "n": 10,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "value"),
    [("accuracy", 1.1), ("recall", -0.1), ("brier", 2.1), ("log_loss", -1.0),
     ("log_loss", float("nan")), ("expected_calibration_error", 1.5)],
)  # fmt: skip
def test_figures_of_merit_lie_where_they_can(metric, value, store):
    put(store, "csc.validation", score("accuracy", 1.0), score("brier", 2.0))
    assert outcome(csc.BOUNDS, store) == (True, 0)
    put(store, "csc.validation", score(metric, value))
    assert outcome(csc.BOUNDS, store) == (False, 1)


def test_poor_calibration_is_a_warning(store):
    error = "expected_calibration_error"
    put(store, "csc.validation", score(error, 0.9, "softmin"), score(error, 0.1))
    assert outcome(csc.CALIBRATION, store) == (True, 0)
    put(store, "csc.validation", score(error, 0.3))
    assert outcome(csc.CALIBRATION, store) == (False, 1)
    assert csc.CALIBRATION.run(store, "R").severity is dg.AssetCheckSeverity.WARN


def test_every_source_is_unique_or_ambiguous(tmp_path):
    store = lake.open(tmp_path / "home").store
    put(store, "csc.class_probabilities", probabilities())
    assert outcome(csc.PARTITION, store) == (True, 0)
    with store.commit("break the view") as commit:
        commit.connection.execute(
            "CREATE OR REPLACE VIEW lake.csc.uniquely_classified AS"
            " SELECT * FROM lake.csc.master_class WHERE FALSE"
        )
    assert outcome(csc.PARTITION, store) == (False, 1)


def test_a_failed_check_shows_the_first_bad_rows_and_counts_all(store):
    far = [{**GOOD, "obsid": i, "ra": 400.0} for i in range(9)]
    put(store, "csc.detections", *far)
    found = csc.RANGES.run(store, "R")
    assert found.metadata["bad rows"].value == 9
    assert found.metadata["first"].value.count("400") == 5
    assert "bad rows: 9, the first: name=A" in found.description
    assert found.severity is dg.AssetCheckSeverity.ERROR


def test_the_ui_sees_which_files_were_rejected(tmp_path, tiny, lacus):
    from pipelines import jobs

    bad = tmp_path / "bad.csv"
    bad.write_text("x\n1\n", encoding="utf-8")
    home = tmp_path / "home"
    added = lacus("add", "csc", "R1", "detections", tiny, bad, home=home)
    assert added.exit_code == 0, added.output
    result = lacus("run", "csc.detections", home=home)
    assert result.exit_code == 3, result.output
    with jobs.instance(lake.open(home)) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["csc", "detections"]))
        shown = event.asset_materialization.metadata
    assert shown["files rejected"].value == 1
    assert str(bad) in shown["rejected"].value
