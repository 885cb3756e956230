"""What is out of date, what a selection needs, and how a run reports a failure."""

import json
import os
import shutil
from dataclasses import replace

import dagster as dg
import pyarrow as pa
import pytest

import lake
from lake import contracts, models
from lake.failed_checks import failed_checks
from lake.home import Source
from pipelines import checks, jobs
from pipelines.assets import DERIVATIONS
from pipelines.definitions import definitions
from pipelines.defs import derivations

INPUTS = ["csc.detections", "csc.labels"]
RELEASE = ("csc", "CSC-sample")


def views() -> set[str]:
    return {view.name for view in models.for_namespace("csc")}


def add(home: lake.Home, release: str, role: str, path) -> None:
    home.add(Source("csc", release, role, (path,)))


def test_nothing_of_a_finished_run_is_stale(demo):
    assert jobs.stale(lake.open(demo[0]), *RELEASE) == {}


def test_a_look_at_a_release_reads_once_what_was_made(tiny_home, monkeypatch):
    home, asked = lake.open(tiny_home), []
    read = type(home.store).arrow

    def arrow(store, query, *args, **options):
        asked.append(query)
        return read(store, query, *args, **options)

    monkeypatch.setattr(type(home.store), "arrow", arrow)
    assert jobs.stale(home, "csc", "R1")
    assert len([query for query in asked if "meta.releases" in query]) == 1


def test_everything_of_a_new_release_is_stale_in_an_order_that_can_be_made(tmp_path, tiny):
    home = lake.open(tmp_path / "home")
    add(home, "R1", "detections", tiny)
    why = jobs.stale(home, "csc", "R1")
    names = list(why)
    made = {table for d in derivations("csc") for table in d.tables}
    assert names[:2] == INPUTS
    assert set(names) == {*INPUTS, *made, *views()}
    assert why["csc.detections"] == "files: 1 new"
    assert why["csc.mixture_models"] == "csc.detections changes"
    assert jobs.summary(why) == "csc.detections: files: 1 new"
    places = {name: i for i, name in enumerate(names)}
    for name in views():
        assert all(places[d] < places[name] for d in models.views()[name].depends)


def test_of_what_was_never_made_only_news_is_told():
    ingested = {"sdss.spectra": "files: 1 new", "sdss.splits": "sdss.spectra changes"}
    of_itself, killed = {"sdss.line_list": "never made"}, {"sdss.recipe_log": "never made"}
    assert jobs.summary(ingested | of_itself) == "sdss.spectra: files: 1 new"
    assert jobs.summary(of_itself) == "sdss.line_list: never made"
    assert jobs.summary(of_itself | killed) == "sdss.recipe_log: never made"
    newer = {"sdss.line_list": "made by version 0 of the code, now 1"}
    assert jobs.summary(newer) == "sdss.line_list: made by version 0 of the code, now 1"


def test_changed_labels_leave_what_reads_none(home):
    """What tells of a training may change with it; the features never do."""
    opened = lake.open(home)
    labels = next((home / "sample" / "csc").glob("*labels*"))
    lines = labels.read_text(encoding="utf-8").splitlines()
    labels.write_text("\n".join(lines[:-20]) + "\n", encoding="utf-8")
    sources = home / "sources.toml"
    text = sources.read_text(encoding="utf-8")
    old = next(s.paths[0] for s in opened.sources() if s.role == "labels")
    sources.write_text(text.replace(str(old), str(labels)), encoding="utf-8")
    names = set(jobs.stale(opened, *RELEASE))
    assert {"csc.labels", "csc.mixture_models", "csc.class_probabilities"} <= names
    assert {"csc.validation", "csc.labelled_features", "csc.uniquely_classified"} <= names
    assert "csc.features" not in names


def changed_contracts(tmp_path, monkeypatch, view: str, old: str, new: str) -> None:
    """Let `sql/` be a copy in which one view is different."""
    real = contracts.contracts_dir
    copy = shutil.copytree(real("sql"), tmp_path / "sql")
    file = copy / f"{view.replace('.', '/')}.sql"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    monkeypatch.setattr(
        contracts, "contracts_dir", lambda kind: copy if kind == "sql" else real(kind)
    )
    models.views.cache_clear()
    models.view_types.cache_clear()


@pytest.fixture
def cleared():
    yield
    models.views.cache_clear()
    models.view_types.cache_clear()


def test_a_changed_view_reaches_the_lake_though_no_data_changed(
    tiny_home, lacus, tmp_path, monkeypatch, cleared
):
    opened = lake.open(tiny_home)
    before = opened.store.snapshot()
    changed_contracts(
        tmp_path, monkeypatch, "csc.class_summary", "AS mean_probability", "* 2 AS mean_probability"
    )
    stale = jobs.stale(opened, "csc", "R1")
    assert views() <= set(stale)
    assert "csc.labels" not in stale
    result = lacus("run", "csc.features", home=tiny_home)
    assert result.exit_code == 0, result.stderr
    assert "✓ the lake is in line with the present contracts again" in result.stderr
    assert "csc R1: csc.features: the contracts have changed" in result.stderr.splitlines()
    stored = opened.sql("SELECT sql FROM duckdb_views() WHERE view_name = 'class_summary'")
    assert "* 2" in stored.fetchone()[0]
    assert opened.store.snapshot() > before
    assert lacus("run", "csc.features", home=tiny_home).stderr == "✓ csc.features is up to date\n"


def test_what_reads_a_changed_view_is_stale(home, tmp_path, monkeypatch, cleared):
    changed_contracts(tmp_path, monkeypatch, "csc.features", "FROM", "/* anew */ FROM")
    names = jobs.stale(lake.open(home), *RELEASE)
    derived = {table for d in derivations("csc") for table in d.tables}
    assert set(names) == derived | views()


def test_a_step_reads_the_views_of_the_present_contracts(tiny_home, tmp_path, monkeypatch, cleared):
    """Whoever starts it: the UI knows nothing of `lacus run`."""
    from pipelines.resources import HomeResource

    changed_contracts(
        tmp_path, monkeypatch, "csc.class_summary", "AS mean_probability", "* 3 AS mean_probability"
    )
    opened = HomeResource(root=str(tiny_home)).open()
    stored = opened.sql("SELECT sql FROM duckdb_views() WHERE view_name = 'class_summary'")
    assert "* 3" in stored.fetchone()[0]


def test_a_selection_is_itself_and_what_it_is_made_from():
    everything = [*contracts.tables(), *models.views()]
    assert set(jobs.selected("csc.detections", everything)) == set(INPUTS)
    assert set(jobs.selected("csc.features", everything)) >= {*INPUTS, "csc.features"}
    mixture = set(jobs.selected("csc.clusters", everything))
    assert mixture == {
        *INPUTS, "csc.features", "csc.labelled_features", "csc.mixture_models", "csc.clusters",
        "csc.class_probabilities",
    }  # fmt: skip
    assert "csc.validation" not in jobs.selected("csc.class_summary", everything)
    assert jobs.selected("csc", everything) == [n for n in everything if n.startswith("csc.")]
    assert jobs.selected("csc.clusters", ["csc.validation"]) == []
    for wrong in ("csc.nope", "nope", "meta", "meta.files", ""):
        with pytest.raises(lake.UsageError):
            jobs.selected(wrong, everything)


def test_derivations_cover_the_tables_that_no_input_gives():
    made = [table for d in DERIVATIONS["csc"] for table in d.tables]
    assert len(made) == len(set(made))
    tables = {name for name in contracts.tables() if name.startswith("csc.")}
    assert set(made) == tables - set(INPUTS)
    known = set(contracts.tables()) | set(models.views())
    for derivation in DERIVATIONS["csc"]:
        assert set(derivation.reads) <= known
        assert derivation.version.isdecimal()


def test_the_instance_is_of_this_home_and_the_environment_is_given_back(tmp_path):
    before = dict(os.environ)
    home = lake.open(tmp_path / "home")
    with jobs.instance(home) as instance:
        assert os.environ["LACUS_HOME"] == str(home.root)
        assert instance.root_directory == str(home.dagster)
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled
    assert dict(os.environ) == before


def test_settings_of_the_user_are_kept(tmp_path):
    home = lake.open(tmp_path / "home")
    jobs.environment(home)
    settings = home.dagster / "dagster.yaml"
    settings.write_text("telemetry:\n  enabled: false\n# mine\n", encoding="utf-8")
    jobs.environment(home)
    assert "# mine" in settings.read_text(encoding="utf-8")


def fails(error: BaseException):
    def instead(*args: object, **kwargs: object) -> pa.Table:
        raise error

    return instead


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (lake.LacusError("no\nsuch   thing"), "no such thing"),
        (lake.InputError("x.csv", "is odd", "row 3"), "x.csv: row 3: is odd"),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
    ],
)
def test_a_step_that_fails_gives_its_reason_in_one_line(error, told, tiny_home, lacus, monkeypatch):
    from lake.store import Store

    monkeypatch.setattr(Store, "replace", fails(error))
    result = lacus("run", "csc.mixture_models", home=tiny_home)
    assert result.exit_code == 1
    assert f"✗ csc R1, csc_mixture: {told}\n" in result.stderr
    assert "! not made because of that: csc.mixture_models\n" in result.stderr
    assert "Traceback" not in result.output


def test_the_cause_behind_an_error_of_ours_is_not_told_in_its_place(tiny_home, lacus, monkeypatch):
    from lake.store import Store

    def instead(*args: object, **kwargs: object) -> None:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise lake.LacusError("what the user can change") from error

    monkeypatch.setattr(Store, "replace", instead)
    result = lacus("run", "csc.mixture_models", home=tiny_home)
    assert "csc_mixture: what the user can change\n" in result.stderr


def test_an_interrupt_ends_more_than_the_release_under_way(tiny, lacus, tmp_path, monkeypatch):
    from lake.store import Store

    home = tmp_path / "home"
    for release in ("R1", "R2"):
        add(lake.open(home), release, "detections", tiny)
    monkeypatch.setattr(Store, "commit", fails(KeyboardInterrupt()))
    result = lacus("run", home=home)
    assert result.exit_code == 1
    assert "csc R1: " in result.stderr
    assert "csc R2: " not in result.stderr
    assert result.stderr.endswith("Aborted!\n")


def test_a_check_that_fails_ends_the_run_with_1(lacus, tmp_path):
    file = tmp_path / "hard.csv"
    file.write_text("name,obsid,hard_hm\nA,1,1.5\nB,2,-2\nC,3,1\n", encoding="utf-8")
    home = tmp_path / "home"
    lacus("add", "csc", "R1", "detections", file, home=home)
    result = lacus("run", "csc.detections", home=home)
    assert result.exit_code == 1
    line = next(line for line in result.stderr.splitlines() if line.startswith("✗"))
    assert line.startswith("✗ csc R1, check ranges of csc.detections: not so: positions lie on")
    assert "bad rows: 2, the first: name=A, obsid=1, " in line
    assert "hard_hm=1.5" in line


@pytest.fixture
def two_releases(lacus, tmp_path):
    """A home with two releases, the first of which has an impossible hardness ratio."""
    for release, value in (("R1", 1.5), ("R2", 0.5)):
        file = tmp_path / f"{release}.csv"
        file.write_text(f"name,obsid,hard_hm\nA,1,{value}\n", encoding="utf-8")
        lacus("add", "csc", release, "detections", file, home=tmp_path / "home")
    assert lacus("run", "csc.detections", home=tmp_path / "home").exit_code == 1
    return tmp_path / "home"


def test_a_check_that_failed_is_told_until_it_passes(two_releases, lacus, tmp_path):
    def run(*words):
        result = lacus("run", *words, home=two_releases)
        told = [line for line in result.stderr.splitlines() if "hard_hm=1.5" in line]
        return result.exit_code, len(told)

    assert run("csc.detections") == (1, 1)
    shutil.rmtree(two_releases / "dagster")
    assert run("csc.features") == (1, 1)
    assert run("csc.detections", "--release", "csc:R2") == (0, 0)
    status = lacus("status", home=two_releases).stdout
    assert "\ncsc:R1: check ranges of csc.detections failed: not so: positions lie on" in status
    assert "csc:R2: check" not in status
    [told] = json.loads(lacus("status", "--json", home=two_releases).stdout)["failed_checks"]
    assert (told["release"], told["table"], told["check"]) == ("R1", "csc.detections", "ranges")
    assert "hard_hm=1.5" in told["found"]
    assert "R1: check ranges failed: not so" in lacus("doctor", home=two_releases).stdout
    (tmp_path / "R1.csv").write_text("name,obsid,hard_hm\nA,1,0.25\n", encoding="utf-8")
    assert run("csc.detections") == (0, 0)
    assert "check ranges" not in lacus("status", home=two_releases).stdout
    assert run("csc.detections") == (0, 0)


def test_a_check_that_was_itself_wrong_is_forgotten(two_releases, lacus, monkeypatch):
    home = lake.open(two_releases)
    mended = replace(checks.CHECKS["csc.detections", "ranges"], sql="SELECT ? LIMIT 0")
    monkeypatch.setitem(checks.CHECKS, ("csc.detections", "ranges"), mended)
    assert lacus("run", "csc.detections", home=two_releases).exit_code == 0
    assert failed_checks(home.store) == []


def test_a_check_that_is_no_more_is_forgotten(two_releases, lacus, monkeypatch):
    monkeypatch.delitem(checks.CHECKS, ("csc.detections", "ranges"))
    assert lacus("run", "csc.detections", home=two_releases).exit_code == 0
    assert failed_checks(lake.open(two_releases).store) == []


def test_a_check_that_cannot_be_worked_out_has_failed(tiny_home):
    wrong = checks.Check(
        "wrong", "csc.detections", "", "SELECT name::INT FROM csc.detections", True
    )
    result = wrong.run(lake.open(tiny_home).store, "R1")
    assert not result.passed
    assert result.severity is dg.AssetCheckSeverity.ERROR
    assert result.description.startswith("cannot be worked out: Conversion Error")


def test_a_position_off_the_sphere_rejects_its_file_alone(lacus, tmp_path):
    home = tmp_path / "home"
    for name, dec in (("far", 95), ("near", 5)):
        file = tmp_path / f"{name}.csv"
        file.write_text(f"name,obsid,ra,dec\n{name},1,10,{dec}\n", encoding="utf-8")
        lacus("add", "csc", "R1", "detections", file, home=home)
    result = lacus("run", "csc.detections", home=home)
    assert result.exit_code == 3
    assert "far.csv: row 1, column 'dec': 95.0 does not lie in -90..90" in result.stderr
    assert lake.open(home).sql("SELECT name FROM csc.detections").fetchall() == [("near",)]


def test_the_ui_shows_the_runs_of_the_command_line(demo):
    home = lake.open(demo[0])
    with jobs.instance(home) as instance:
        runs = instance.get_runs()
        assert {(run.job_name, run.status) for run in runs} == {
            (f"{mission}_release", dg.DagsterRunStatus.SUCCESS) for mission in contracts.missions()
        }
        assert instance.get_dynamic_partitions("csc_releases") == ["CSC-sample"]
        key = dg.AssetKey(["csc", "detections"])
        event = instance.get_latest_materialization_event(key)
        found = event.asset_materialization
        assert found.partition == "CSC-sample"
        assert found.metadata["dagster/row_count"].value == 2000


def test_a_run_of_which_nothing_is_said_stays_in_one_process():
    """As the browser asks for one: from the graph of all assets, or from a job."""
    found = definitions()
    for job in (
        found.resolve_implicit_global_asset_job_def(),
        found.resolve_job_def("csc_release"),
    ):
        (executor,) = dg.validate_run_config(job, {})["execution"].values()
        assert list(executor) == ["in_process"]
        (executor,) = dg.validate_run_config(job, jobs.run_config(2))["execution"].values()
        assert list(executor) == ["multiprocess"]
