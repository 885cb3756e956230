"""`lacus`: what fills a home, its exit codes, and words instead of tracebacks."""

import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import lake
from pipelines.cli import main
from tests.csc.conftest import make_detections

TINY = "name,obsid,ra,dec\n2CXO J000001.0+000001,1,10.5,20.5\n2CXO J000002.0+000002,2,11.5,-21.5\n"


def snapshots(home: Path) -> int:
    return len(lake.open(home).store.snapshots())


def test_the_demo_shows_what_came_out(demo):
    home, result = demo
    assert result.exit_code == 0
    for table in (
        "csc.detections",
        "csc.class_probabilities",
        "sdss.cnn_predictions",
        "ogip.net_counts",
    ):
        assert f"✓ {table} " in result.stderr
    assert "\n\n" not in result.stderr
    lines = result.stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("metric"))
    metric, softmin, posterior = lines[at + 1].split()
    assert metric == "accuracy"
    assert len(softmin) <= 5
    assert 0 < float(posterior) < 1
    assert f"lacus --home {home} ui" in result.stdout


def test_the_next_commands_of_the_demo_work(demo, lacus, tmp_path, monkeypatch):
    result = demo[1]
    monkeypatch.chdir(tmp_path)
    commands = [shlex.split(line) for line in result.stdout.splitlines() if "lacus --home" in line]
    assert [command[3] for command in commands] == ["sql", "export", "plot", "export", "ui"]
    for command in commands[:4]:
        assert lacus(*command[1:]).exit_code == 0
    assert (tmp_path / "unique.vot").stat().st_size > 1000
    assert {path.name for path in (tmp_path / "spectra").iterdir()} == {
        "sim00001.pi", "sim00001_bkg.pi", "ORIGIN.txt",
    }  # fmt: skip


def test_what_is_up_to_date_is_left_alone(home, lacus):
    before = snapshots(home)
    result = lacus("run", home=home)
    assert result.exit_code == 0
    assert result.stderr == "✓ everything is up to date\n"
    assert snapshots(home) == before


def test_sample_prints_the_commands_that_add_it(lacus, tmp_path):
    folder, home = tmp_path / "a 'folder'", tmp_path / "home"
    result = lacus("sample", folder)
    assert result.exit_code == 0
    for line in result.stdout.splitlines():
        assert lacus(*shlex.split(line)[1:], home=home).exit_code == 0
    assert [source.role for source in lake.open(home).sources()] == [
        "detections", "labels", "spectra", "labels", "spectra", "images", "control", "masks",
    ]  # fmt: skip


@pytest.mark.parametrize("size", ["tiny", ""])
def test_sample_knows_its_sizes(size, lacus, tmp_path):
    assert lacus("sample", tmp_path, "--size", size).exit_code == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["xyz", "R1", "detections"], "no mission 'xyz'"),
        (["csc", "R1", "spectra"], "no role 'spectra'"),
        (["csc", "R 1", "detections"], "release 'R 1'"),
        (["csc", "../R1", "detections"], "release '../R1'"),
        (["csc", "R1", "detections", "-o", "duplicates"], "expected KEY=VALUE"),
        (["csc", "R1", "detections", "-o", "nope=1"], "no option 'nope'"),
        (["csc", "R1", "detections", "-o", "duplicates=all"], "expected reject or first"),
    ],
)
def test_add_refuses_what_is_not_known(words, told, lacus, tiny, tmp_path):
    result = lacus("add", *words[:3], tiny, *words[3:], home=tmp_path / "home")
    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "home").exists()


def test_add_refuses_a_path_that_is_not_there(lacus, tmp_path):
    result = lacus("add", "csc", "R1", "detections", tmp_path / "no", home=tmp_path / "home")
    assert result.exit_code == 2
    assert "no such file or folder" in result.stderr


def test_add_refuses_a_path_that_is_empty(lacus, tmp_path):
    result = lacus("add", "csc", "R1", "detections", "", home=tmp_path / "home")
    assert result.exit_code == 2
    assert "a path is empty" in result.stderr
    assert not (tmp_path / "home").exists()


def test_a_path_registered_twice_counts_once(lacus, tiny, tmp_path):
    home = tmp_path / "home"
    for _ in range(2):
        result = lacus("add", "csc", "R1", "detections", tiny, tiny, home=home)
        assert result.exit_code == 0
        assert "csc R1 detections: 1 path in" in result.stderr
    assert [source.paths for source in lake.open(home).sources()] == [(tiny,)]


def test_run_needs_something_registered(lacus, tmp_path):
    result = lacus("run", home=tmp_path / "home")
    assert result.exit_code == 2
    assert "lacus add" in result.stderr
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--release", "csc:R2"], "'csc:R2' is not registered; there are csc:R1"),
        (["--release", "R1"], "'R1' is not registered"),
        (["nope"], "no table nope"),
        (["csc.nope"], "no table csc.nope"),
        (["meta.files"], "no run makes it"),
        (["--jobs", "0"], "0 is not in the range"),
    ],
)
def test_run_refuses_what_is_not_there(words, told, lacus, tiny_run):
    before = snapshots(tiny_run)
    result = lacus("run", *words, home=tiny_run)
    assert result.exit_code == 2
    assert told in result.stderr
    assert snapshots(tiny_run) == before


def test_run_makes_what_is_selected_and_what_that_needs(lacus, tiny, tmp_path):
    home = tmp_path / "home"
    lacus("add", "csc", "R1", "detections", tiny, home=home)
    result = lacus("run", "csc.features", home=home)
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("✓") == 3  # detections and labels come together
    assert set(lake.open(home).store.fingerprints("R1")) == {"csc.detections"}
    assert lacus("run", "csc.features", home=home).stderr == "✓ csc.features is up to date\n"


def test_run_of_one_release_leaves_the_other(lacus, tiny, tmp_path):
    home = tmp_path / "home"
    for release in ("R1", "R2"):
        lacus("add", "csc", release, "detections", tiny, home=home)
    assert lacus("run", "csc.detections", "-r", "csc:R2", home=home).exit_code == 0
    store = lake.open(home).store
    assert store.fingerprints("R2").keys() == {"csc.detections"}
    assert not store.fingerprints("R1")


def test_rejected_inputs_are_listed_and_the_others_taken(lacus, tiny, tmp_path):
    home, bad, empty = tmp_path / "home", tmp_path / "bad [1].csv", tmp_path / "empty.csv"
    bad.write_text("name,obsid\nx\n", encoding="utf-8")
    empty.write_text("", encoding="utf-8")
    lacus("add", "csc", "R1", "detections", tiny, bad, empty, home=home)
    for _ in range(2):  # the second finds nothing to do, and says the same
        result = lacus("run", "csc.detections", home=home)
        assert result.exit_code == 3
        assert f"! rejected: {bad}: line 2, row 1: 1 cells, expected 2\n" in result.stderr
        assert f"! rejected: {empty}: " in result.stderr
        assert result.stdout == ""
    assert lake.open(home).sql("SELECT count(*) FROM csc.detections").fetchone() == (2,)
    rejected = json.loads(lacus("status", "--json", home=home).stdout)["rejected"]
    assert {row["path"] for row in rejected} == {str(bad), str(empty)}


def test_rows_that_are_left_out_are_listed(lacus, tmp_path):
    home, file = tmp_path / "home", tmp_path / "twice.csv"
    file.write_text(TINY + TINY.splitlines()[1] + "\n", encoding="utf-8")
    lacus("add", "csc", "R1", "detections", file, "-o", "duplicates=first", home=home)
    result = lacus("run", "csc.detections", home=home)
    assert result.exit_code == 3
    assert f"! rejected in part: {file}: 1 row left out: row 3 repeats" in result.stderr


def test_nothing_is_made_of_bad_inputs_alone(lacus, tmp_path):
    home, bad = tmp_path / "home", tmp_path / "bad.csv"
    bad.write_text("hello\nworld\n", encoding="utf-8")
    lacus("add", "csc", "R1", "detections", bad, home=home)
    result = lacus("run", home=home)
    assert result.exit_code == 1
    assert "✗ csc R1, csc_ingest: nothing could be ingested: 1 of 1 inputs were" in result.stderr
    assert "! not made because of that: csc.detections, csc.labels, " in result.stderr
    assert f"! rejected: {bad}: column 'name' is missing" in result.stderr
    assert len(result.stderr.splitlines()) == 4
    assert not lake.open(home).store.fingerprints("R1")
    before = snapshots(home)
    again = lacus("run", home=home)
    assert again.exit_code == 1
    assert "nothing to ingest: every registered input was rejected" in again.stderr
    assert snapshots(home) == before


def test_a_release_of_bad_inputs_does_not_stop_another(lacus, tiny, tmp_path):
    home, bad = tmp_path / "home", tmp_path / "bad.csv"
    bad.write_text("hello\nworld\n", encoding="utf-8")
    lacus("add", "csc", "R0", "detections", bad, home=home)
    lacus("add", "csc", "R1", "detections", tiny, home=home)
    assert lacus("run", "csc.detections", home=home).exit_code == 3
    assert lake.open(home).store.fingerprints("R1").keys() == {"csc.detections"}


def test_a_folder_without_inputs_is_named(lacus, tiny, tmp_path):
    home, folder = tmp_path / "home", tmp_path / "em'pty ü"
    folder.mkdir()
    (folder / "notes.md").write_text("none here", encoding="utf-8")
    added = lacus("add", "csc", "R1", "detections", folder, home=home)
    assert added.exit_code == 0
    assert f"! csc R1 detections: no file below {folder} ends in .vot" in added.stderr
    result = lacus("run", home=home)
    assert result.exit_code == 1
    assert f"no file below {folder} ends in .vot" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert f"no file below {folder}" in lacus("status", home=home).stdout
    lacus("add", "csc", "R1", "detections", tiny, home=home)
    beside = lacus("run", "csc.detections", home=home)
    assert beside.exit_code == 0
    assert f"! csc R1 detections: no file below {folder}" in beside.stderr


def test_an_input_that_is_gone_is_named_and_its_rows_stay(lacus, tiny, tmp_path):
    home = tmp_path / "home"
    lacus("add", "csc", "R1", "detections", tiny, home=home)
    assert lacus("run", "csc.detections", home=home).exit_code == 0
    tiny.unlink()
    result = lacus("run", "csc.detections", home=home)
    assert result.exit_code == 3
    assert f"! rejected: {tiny}: No such file" in result.stderr
    assert lake.open(home).sql("SELECT count(*) FROM csc.detections").fetchone() == (2,)


def test_a_release_without_paths_is_taken_out(lacus, tiny_home):
    sources = tiny_home / "sources.toml"
    text = re.sub(r"paths = .*", "paths = []", sources.read_text(encoding="utf-8"))
    sources.write_text(text, encoding="utf-8")
    result = lacus("run", "csc.detections", home=tiny_home)
    assert result.exit_code == 0, result.stderr
    assert "! csc R1 detections: no path is given" in result.stderr
    assert lake.open(tiny_home).sql("SELECT count(*) FROM csc.detections").fetchone() == (0,)


def test_too_few_detections_are_said_in_words(lacus, tiny_home):
    result = lacus("run", home=tiny_home)
    assert result.exit_code == 0
    assert "! no model: " in result.stderr
    assert "! no model, so nothing is classified" in result.stderr
    assert "csc.class_probabilities                         0 rows" in result.stderr


def test_a_release_without_labels_says_what_it_lacks(lacus, tmp_path):
    home, file = tmp_path / "home", tmp_path / "detections.parquet"
    rows = make_detections(60)
    pq.write_table(rows.drop_columns(["main_type", "kind"]), file)
    assert lacus("add", "csc", "R1", "detections", file, home=home).exit_code == 0
    result = lacus("run", "csc.class_probabilities", home=home)
    assert result.exit_code == 0, result.output
    said = "! no class is given: the model was trained without labels; `lacus add csc R1 labels"
    assert said in " ".join(result.stderr.split())


def test_labels_that_simbad_does_not_have_are_named(lacus, tmp_path):
    home, file, labels = tmp_path / "home", tmp_path / "detections.parquet", tmp_path / "labels.csv"
    rows = make_detections(60)
    pq.write_table(rows.drop_columns(["main_type", "kind"]), file)
    first, second, third = sorted(set(rows["name"].to_pylist()))[:3]
    types = f"name,main_type\n{first},QSO\n{second},Seyfert 1\n{third},Candidate_HMXB\n"
    labels.write_text(types, encoding="utf-8")
    lacus("add", "csc", "R1", "detections", file, home=home)
    lacus("add", "csc", "R1", "labels", labels, home=home)
    result = lacus("run", "csc.class_probabilities", home=home)
    assert result.exit_code == 0, result.output
    [said] = [line for line in result.stderr.splitlines() if "no types of SIMBAD" in line]
    count = rows["name"].to_pylist().count(second)
    assert said.startswith(f"! {count} detections have labels")
    assert said.endswith(f"'Seyfert 1' ({count})")


def test_names_of_any_kind(lacus, tmp_path):
    home, folder = tmp_path / "a h'öme [b]", tmp_path / "uni ço'de [z]"
    folder.mkdir()
    file = folder / "dé't [bold].csv"
    file.write_text(TINY, encoding="utf-8")
    assert str(home) in lacus("add", "csc", "R1", "detections", folder, home=home).stderr
    assert lacus("run", "csc.detections", home=home).exit_code == 0
    assert str(home) in lacus("status", home=home).stdout
    found = lacus("sql", "SELECT path FROM meta.files", "-f", "json", home=home)
    assert json.loads(found.stdout) == [{"path": str(file)}]
    assert lacus("doctor", home=home).exit_code == 0


def test_status_shows_releases_rows_and_what_is_out_of_date(home, lacus, tiny):
    fresh = lacus("status", home=home)
    assert fresh.exit_code == 0
    assert "everything is up to date" in fresh.stdout
    assert any(
        line.split()[:4] == ["csc", "CSC-sample", "csc.detections", "2000"]
        for line in fresh.stdout.splitlines()
    )
    lacus("add", "csc", "R1", "detections", tiny, home=home)
    stale = lacus("status", home=home)
    assert "csc:R1 is out of date, `lacus run` makes: csc.detections, csc.labels" in stale.stdout
    told = json.loads(lacus("status", "--json", home=home).stdout)
    assert list(told["out_of_date"]) == ["csc:R1"]
    assert {row["table_name"] for row in told["releases"]} >= {"csc.clusters", "csc.validation"}
    assert told["snapshot"] == lake.open(home).store.snapshot()


def test_status_of_no_home_at_all(lacus, tmp_path):
    result = lacus("status", home=tmp_path / "home")
    assert result.exit_code == 0
    assert "no lake yet" in result.stdout
    assert "nothing is registered" in result.stdout
    told = json.loads(lacus("status", "--json", home=tmp_path / "home").stdout)
    assert told["snapshot"] is None
    assert not (tmp_path / "home").exists()


def test_doctor_misses_a_data_file(tiny_home, lacus):
    healthy = lacus("doctor", home=tiny_home)
    assert healthy.exit_code == 0, healthy.stdout
    lost = next((tiny_home / "lake" / "data" / "csc" / "detections").rglob("*.parquet"))
    lost.unlink()
    result = lacus("doctor", home=tiny_home)
    assert result.exit_code == 1
    assert any(
        line.startswith("✗") and str(lost) in line and "csc.detections" in line
        for line in result.stdout.splitlines()
    )
    findings = json.loads(lacus("doctor", "--json", home=tiny_home).stdout)
    assert [f["subject"] for f in findings if not f["well"]] == ["csc.detections"]
    query = lacus("sql", "SELECT max(ra) FROM csc.detections", home=tiny_home)
    assert query.exit_code == 1
    assert "Traceback" not in query.output


COMMANDS = [
    ["demo"], ["add", "csc", "R1", "detections", "FILE"], ["run"], ["status"], ["tables"],
    ["describe", "csc.detections"], ["sql", "SELECT 1"], ["export", "csc.labels", "-o", "x.vot"],
    ["snapshots"], ["pin", "x"], ["diff", "1", "2"], ["doctor"],
    ["classify", "FILE", "--model", "lake"],
]  # fmt: skip


def words(command: list[str], file: Path) -> list[str]:
    return [str(file) if word == "FILE" else word for word in command]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_a_home_that_is_a_file(command, lacus, tiny):
    result = lacus(*words(command, tiny), home=tiny)
    assert result.exit_code == 2
    assert "is a file" in result.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_a_home_below_a_file(command, lacus, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = lacus(*words(command, tiny), home=tiny / "home")
    if command[0] in ("status", "tables", "describe", "doctor"):  # which need no home
        assert result.exit_code == 0
    else:
        assert result.exit_code in (1, 2)
        assert result.stderr.startswith("lacus: ")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_a_catalogue_that_is_none(command, lacus, tiny, tmp_path):
    home = tmp_path / "home"
    lacus("add", "csc", "R1", "detections", tiny, home=home)
    (home / "lake").mkdir()
    for damage in ("garbage", "another database"):
        catalog = home / "lake" / "catalog.sqlite"
        catalog.unlink(missing_ok=True)
        if damage == "garbage":
            catalog.write_bytes(b"garbage" * 1000)
        else:
            with sqlite3.connect(catalog) as connection:
                connection.execute("CREATE TABLE t (x)")
            connection.close()
        result = lacus(*words(command, tiny), home=home)
        if command[0] == "add":
            assert result.exit_code == 0
        elif command[0] == "doctor":
            assert result.exit_code == 1
            assert "✗  lake" in result.stdout
        else:
            assert result.exit_code == 1
            assert "Traceback" not in result.output
            assert str(home) in result.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[source", "']]'"),
        ("[[source]]\nmission = 'csc'\n", "source 1: paths, release, role missing"),
        ("source = 3", "[[source]]"),
        ("[[source]]\nmission='nope'\nrelease='R'\nrole='x'\npaths=[]\n", "no mission 'nope'"),
    ],
)
def test_sources_that_cannot_be_read(text, told, lacus, tiny, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "sources.toml").write_text(text, encoding="utf-8")
    for command in (["run"], ["status"], ["add", "csc", "R1", "detections", str(tiny)]):
        result = lacus(*command, home=home)
        assert result.exit_code == 1
        assert str(home / "sources.toml") in result.stderr
        assert told in result.stderr
    assert (home / "sources.toml").read_text(encoding="utf-8") == text
    assert lacus("doctor", home=home).exit_code == 1


@pytest.mark.parametrize("damaged", ["dagster.yaml", "history/runs.db"])
def test_dagster_files_that_do_not_work(damaged, lacus, tiny_home, tiny):
    lacus("add", "csc", "R2", "detections", tiny, home=tiny_home)
    file = next((tiny_home / "dagster").glob(damaged))
    file.write_bytes(b"garbage: [")
    result = lacus("run", home=tiny_home)
    assert result.exit_code == 1
    assert f"{tiny_home / 'dagster'}: Dagster's own files do not work" in result.stderr
    assert "Traceback" not in result.output


def test_dagster_files_that_do_not_work_on_a_full_disk(lacus, tiny_home, monkeypatch):
    (tiny_home / "dagster" / "history" / "runs.db").write_bytes(b"garbage")
    usage = shutil.disk_usage(tiny_home)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    result = lacus("run", "csc.mixture_models", home=tiny_home)
    assert result.exit_code == 1
    assert f"lacus: {tiny_home / 'dagster'}: no space is left on the disk\n" in result.stderr
    assert "move the folder away" not in result.stderr


def test_every_command_explains_itself(lacus):
    overview = lacus("--help").stdout
    assert "..." not in overview.partition("Commands:")[2]
    for name, command in main.commands.items():
        assert f"  {name} " in overview
        help_text = lacus(name, "--help").stdout
        assert f"Examples:\n  lacus {'--home' if name == 'demo' else name}" in help_text
        assert command.short_help
        assert command.short_help.endswith(".")
        assert (command.help or "").partition("\n")[0].endswith((".", ":")), name
        for option in command.params:
            assert option.param_type_name == "argument" or option.opts


def test_version(lacus):
    from importlib.metadata import version

    assert lacus("--version").stdout.split()[-1] == version("lacus")


def test_streams_and_exit_code_of_the_process(tiny_run, tmp_path):
    """What a shell sees; the other tests run in this process."""
    command = [sys.executable, "-m", "pipelines.cli"]
    script = Path(sys.executable).with_name("lacus")
    command = [str(script)] if script.exists() else command
    good = subprocess.run(
        [*command, "sql", "SELECT name FROM csc.detections ORDER BY 1", "-f", "csv"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={"LACUS_HOME": str(tiny_run), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert good.returncode == 0
    assert good.stdout == '"name"\n"2CXO J000001.0+000001"\n"2CXO J000002.0+000002"\n'
    assert good.stderr == ""
    bad = subprocess.run(
        [*command, "--home", str(tmp_path / "no"), "run"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.startswith("lacus: nothing is registered")
    assert len(bad.stderr.splitlines()) == 1


def test_a_reader_that_stops_early_is_no_error(tiny_run):
    script = Path(sys.executable).with_name("lacus")
    done = subprocess.run(
        f"{shlex.quote(str(script))} --home {shlex.quote(str(tiny_run))} sql -f csv"
        " 'SELECT * FROM range(2000000)' | head -1",
        shell=True, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout == '"range"\n'


@pytest.mark.slow
def test_two_processes_make_the_same(lacus, tmp_path, tiny):
    home = tmp_path / "home"
    lacus("add", "csc", "R1", "detections", tiny, home=home)
    script = Path(sys.executable).with_name("lacus")
    done = subprocess.run(
        [str(script), "--home", str(home), "run", "csc.features", "--jobs", "2"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "✓ csc.features" in done.stderr
    assert lacus("run", "csc.features", home=home).stderr == "✓ csc.features is up to date\n"


def test_run_of_a_mission_leaves_the_others_out_of_account(lacus, tiny, tmp_path):
    home = tmp_path / "home"
    bad = tmp_path / "bad.fits"
    bad.write_text("x", encoding="utf-8")
    lacus("add", "csc", "R1", "detections", tiny, home=home)
    lacus("add", "sdss", "S1", "spectra", bad, home=home)
    for _ in range(2):
        result = lacus("run", "csc.detections", home=home)
        assert result.exit_code == 0
        assert "sdss" not in result.stderr
    assert lacus("run", "sdss", home=home).exit_code == 1
    assert lacus("run", "csc.detections", home=home).exit_code == 0
    none = lacus("run", "ogip", home=home)
    assert none.exit_code == 2
    assert "ogip: no release of ogip to make it of, but csc:R1, sdss:S1" in none.stderr


def test_a_file_whose_name_is_no_text_is_left_out(lacus, tiny, tmp_path):
    home, folder = tmp_path / "home", tmp_path / "in"
    folder.mkdir()
    (folder / "good.csv").write_text(TINY, encoding="utf-8")
    (folder / os.fsdecode(b"b\xffd.csv")).write_text(TINY, encoding="utf-8")
    lacus("add", "csc", "R1", "detections", folder, home=home)
    result = lacus("run", "csc.detections", home=home)
    assert result.exit_code == 3
    assert rf"rejected: {folder}/b\xffd.csv: its name is not UTF-8" in result.stderr
    assert lake.open(home).sql("SELECT count(*) FROM csc.detections").fetchone() == (2,)
    again = lacus("run", "csc.detections", home=home)
    assert again.exit_code == 3
    assert "csc.detections is up to date" in again.stderr


def test_a_terminal_without_a_character_shows_its_number(tiny_run, tmp_path):
    script = Path(sys.executable).with_name("lacus")
    query = "SELECT name, chr(9734) || chr(255) AS c FROM csc.detections LIMIT 1"
    for words, told in (
        (["doctor"], r"\u2713  lake"),
        (["sql", query, "-f", "json"], r'"c": "\u2606\u00ff"'),
        (["sql", query], r"\u2606\xff"),
    ):
        done = subprocess.run(
            [str(script), "--home", str(tiny_run), *words], capture_output=True, text=True,
            check=False, env={**os.environ, "PYTHONIOENCODING": "ascii"},
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        assert told in done.stdout


def test_a_query_that_is_no_text_is_wrong_usage(lacus, tiny_run):
    result = lacus("sql", "SELECT '" + os.fsdecode(b"\xff") + "'", home=tiny_run)
    assert result.exit_code == 2
    assert "is not UTF-8" in result.stderr


def test_a_rejected_file_is_told_in_one_line_whatever_its_name(lacus, tmp_path):
    home, file = tmp_path / "home", tmp_path / "a\n\x1b[31mb é.csv"
    file.write_text("x", encoding="utf-8")
    lacus("add", "csc", "R1", "detections", file, home=home)
    result = lacus("run", "csc.detections", home=home)
    assert rf"rejected: {tmp_path}/a\n\x1b[31mb é.csv: " in result.stderr
