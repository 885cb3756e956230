"""The history of the lake on the command line; its science is tested in `tests/`."""

import json

import pyarrow.parquet as pq
import pytest

import lake
from lake.whole import write_whole
from pipelines import jobs
from pipelines.partitions import RELEASES


@pytest.fixture
def corrected(tiny_home, lacus, tmp_path):
    """Two detections; then a corrected file, of which one is another; a pin on the former state."""
    assert lacus("pin", "paper", home=tiny_home).exit_code == 0
    home = lake.open(tiny_home)
    (path,) = [p for s in home.sources() for p in s.paths]
    new = tmp_path / "corrected.csv"
    new.write_text(path.read_text().replace("11.5", "12.5"))
    home.forget("csc", "R1")
    assert lacus("add", "csc", "R1", "detections", new, home=tiny_home).exit_code == 0
    result = lacus("run", "csc.detections", home=tiny_home)
    assert result.exit_code == 0, result.output
    return tiny_home


def test_time_travel_from_a_correction_to_the_clean_up(corrected, lacus, tmp_path):
    listed = json.loads(lacus("snapshots", "--json", home=corrected).stdout)
    ingests = [s for s in listed if (s["message"] or "").startswith("ingest")]
    assert [s["message"] for s in ingests] == [
        "ingest csc R1: 1 files in, 0 out, 0 rejected",
        "ingest csc R1: 1 files in, 1 out, 0 rejected",
    ]
    assert ingests[1]["changes"] == [
        {"table": "csc.detections", "release": "R1", "rows": 2, "rows_before": 2}
    ]
    last = listed[-1]["id"]
    few = json.loads(lacus("snapshots", "csc.detections", "-n", 1, "--json", home=corrected).stdout)
    assert [s["id"] for s in few] == [ingests[1]["id"]]
    plain = lacus("snapshots", home=corrected).stdout.splitlines()
    assert plain[-1].split()[0] == str(last)
    assert "csc.detections: 2" in plain[-1]

    found = lacus("diff", "paper", last, "csc.detections", "-f", "json", home=corrected)
    assert [(r["change"], r["columns"]) for r in json.loads(found.stdout)] == [("changed", "ra")]
    assert "csc.detections: 0 added, 0 removed, 1 changed" in found.stderr
    summary = lacus(
        "diff", "paper", last, "csc.detections", "--summary", "-f", "json", home=corrected
    )
    assert json.loads(summary.stdout) == {
        "table": "csc.detections",
        "counts": {"added": 0, "removed": 0, "changed": 1},
        "classes": [],
    }
    out = tmp_path / "changes.parquet"
    assert lacus("diff", "paper", last, "csc.detections", "-o", out, home=corrected).exit_code == 0
    assert pq.read_table(out).column("change").to_pylist() == ["changed"]
    assert lacus("diff", "paper", last, "-o", out, home=corrected).exit_code == 2

    old = "SELECT sum(ra) AS ra FROM csc.detections"
    told = lacus("gc", "--older-than", "0d", "--dry-run", home=corrected)
    assert told.exit_code == 0, told.output
    assert "snapshot" in told.stdout
    done = lacus("gc", "--keep-pins", "--older-than", "0d", "--json", home=corrected)
    cleaned = json.loads(done.stdout)
    assert cleaned["pinned"] == [lake.open(corrected).store.resolve("paper")]
    assert not set(cleaned["pinned"]) & set(cleaned["snapshots"])
    at = lacus("sql", old, "--at", "paper", "-f", "json", home=corrected)
    assert json.loads(at.stdout) == [{"ra": 22.0}]
    assert json.loads(lacus("sql", old, "-f", "json", home=corrected).stdout) == [{"ra": 23.0}]
    described = lacus("describe", "csc.detections", "--at", "paper", "--json", home=corrected)
    assert len(json.loads(described.stdout)["columns"]) > 100

    assert lacus("unpin", "paper", home=corrected).exit_code == 0
    freed = lacus("gc", "--older-than", "0d", home=corrected)
    assert "freed" in freed.stderr
    assert lacus("sql", old, "--at", "paper", home=corrected).exit_code == 2
    assert json.loads(lacus("sql", old, "-f", "json", home=corrected).stdout) == [{"ra": 23.0}]
    assert lacus("doctor", home=corrected).exit_code == 0


def test_a_release_is_withdrawn_everywhere(tiny_home, lacus):
    home = lake.open(tiny_home)
    before = home.store.snapshot()
    assert "csc.detections" in lacus("remove", "csc", "R1", "--dry-run", home=tiny_home).stdout
    refused = lacus("remove", "csc", "R1", input="n\n", home=tiny_home)
    assert refused.exit_code == 1
    assert (home.store.snapshot(), len(home.releases())) == (before, 1)
    result = lacus("remove", "csc", "R1", "--yes", home=tiny_home)
    assert result.exit_code == 0, result.output
    assert f"--at {before}`" in result.stderr
    assert home.releases() == []
    assert home.sql("SELECT count(*) FROM csc.detections").fetchall() == [(0,)]
    assert home.sql("SELECT count(*) FROM csc.detections", at=before).fetchall() == [(2,)]
    with jobs.instance(home) as dagster:
        assert not dagster.has_dynamic_partition(str(RELEASES["csc"].name), "R1")
    again = lacus("remove", "csc", "R1", "--yes", home=tiny_home)
    assert (again.exit_code, again.stdout) == (2, "")
    assert "there is no release csc R1" in again.stderr


def test_a_lake_of_other_contracts_is_read_and_migrated_on_demand(tiny_home, lacus, tmp_path):
    """The present program meets a lake whose contracts had a column more, and other texts."""
    home = lake.open(tiny_home)
    with home.store.commit("as if made by former contracts") as commit:
        commit.connection.execute("ALTER TABLE lake.csc.detections ADD COLUMN former INTEGER")
        commit.connection.execute("UPDATE lake.csc.detections SET former = 7")
        commit.connection.execute(
            "INSERT INTO lake.meta.columns BY NAME SELECT 'csc.detections' AS table_name, 'former'"
            " AS column_name, 999 AS position, 'INTEGER' AS datatype, 'Was there' AS description,"
            " 'contract' AS origin"
        )
        commit.connection.execute(
            "UPDATE lake.meta.releases SET fingerprint = 'old' WHERE table_name = 'meta.columns'"
        )
    home.store.refresh()
    before = home.store.snapshot()
    reading = [
        ["sql", "SELECT former FROM csc.detections"], ["snapshots"], ["status"], ["tables"],
        ["describe", "csc.detections"], ["export", "csc.detections", "-o", tmp_path / "x.csv"],
        ["diff", before - 1, before], ["migrate", "--dry-run"],
    ]  # fmt: skip
    for words in reading:
        assert lacus(*words, home=tiny_home).exit_code == 0, words
    for words in (["pin", "x"], ["run"], ["gc", "--older-than", "0d"], ["migrate"]):
        refused = lacus(*words, home=tiny_home)
        assert refused.exit_code == 1, (words, refused.output)
        assert "column csc.detections.former goes" in refused.stderr
        assert "`lacus migrate --allow-destructive`" in refused.stderr
    assert home.store.snapshot() == before
    done = lacus("migrate", "--allow-destructive", home=tiny_home)
    assert done.exit_code == 0
    assert f"the former state is snapshot {before}" in done.stderr
    assert home.sql("SELECT former FROM csc.detections", at=before).fetchall() == [(7,), (7,)]
    assert "former" not in home.sql("FROM csc.detections").columns
    assert lacus("pin", "x", home=tiny_home).exit_code == 0
    assert "is in line" in lacus("migrate", home=tiny_home).stderr


def test_pinning_tells_which_products_are_kept(tiny_home, lacus):
    home = lake.open(tiny_home)
    file = home.products / "csc" / "R1" / "figure.svg"
    write_whole(file, "as published")
    with home.store.commit("a figure") as commit:
        commit.insert("meta.products", [home.product(file, "csc", "R1", "figure")])
    made = home.store.snapshot()
    kept = lacus("pin", "paper", home=tiny_home)
    copy = home.pinned / str(made) / "csc" / "R1" / "figure.svg"
    assert kept.stdout == f"{made}\n"
    assert f"1 product of it: {home.pinned / str(made)}" in kept.stderr.replace("\n", "")
    assert copy.read_text() == "as published"
    write_whole(file, "as it is now")
    copy.unlink()
    late = lacus("pin", "late", made, home=tiny_home)
    told = f"1 product written anew since snapshot {made}, and not kept: csc/R1/figure.svg"
    assert told in " ".join(late.stderr.split())


@pytest.mark.parametrize(
    "words",
    [
        ["pin", "x"],
        ["unpin", "nope"],  # fails, when that is done
        ["gc"],
        ["remove", "csc", "R1", "--yes"],
    ],
)
def test_what_renews_the_contracts_of_a_lake_says_so(words, tiny_home, lacus):
    home = lake.open(tiny_home)
    with home.store.commit("as if made by former contracts") as commit:
        commit.connection.execute(
            "UPDATE lake.meta.releases SET fingerprint = 'old' WHERE table_name = 'meta.columns'"
        )
    home.store.refresh()
    told = "✓ the lake is in line with the present contracts again"
    assert told not in lacus("gc", "--dry-run", home=tiny_home).stderr
    assert told in lacus(*words, home=tiny_home).stderr.splitlines()
    assert told not in lacus("pin", "y", home=tiny_home).stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["gc", "--older-than", "soon"], "'soon' is no duration"),
        (["unpin", "nope"], "no pin 'nope'"),
        (["remove", "csc", "R9", "--yes"], "there is no release csc R9; there are: csc R1"),
        (["remove", "csx", "R1", "--yes"], "no mission 'csx'"),
        (["snapshots", "csc.nope"], "no table csc.nope"),
        (["diff", "1", "2", "--summary"], "go with a table"),
    ],
)
def test_wrong_usage_is_said_in_words(words, told, tiny_run, lacus):
    result = lacus(*words, home=tiny_run)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr


@pytest.mark.parametrize("command", [["gc"], ["unpin", "x"], ["migrate"]])
def test_what_needs_a_lake_says_that_there_is_none(command, lacus, tmp_path):
    result = lacus(*command, home=tmp_path / "none")
    assert result.exit_code == 1
    assert "there is no lake here yet" in result.stderr
    assert not (tmp_path / "none").exists()


def test_that_nothing_differs_is_said(corrected, lacus):
    last = lake.open(corrected).store.snapshot()
    lacus("pin", "draft", home=corrected)
    for words, told in (
        (["csc.detections"], "nothing differs"),
        (["csc.class_summary"], "nothing differs"),
        (["csc.class_probabilities", "--summary"], "nothing differs"),
        ([], "no table differs"),
    ):
        result = lacus("diff", last, last + 1, *words, home=corrected)
        assert result.exit_code == 0
        assert result.stdout == ""
        assert result.stderr.endswith(f"✓ {told}\n")
