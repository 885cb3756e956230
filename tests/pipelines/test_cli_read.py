"""`lacus`: what reads a home, in every format."""

import io
import json
import re

import duckdb
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import lake
from lake import extensions, query

UNIQUE = "SELECT name, ra, p_qso FROM csc.uniquely_classified ORDER BY name, method"


def test_tables_lists_all_with_their_rows(demo, lacus):
    rows = json.loads(lacus("tables", "--json", home=demo[0]).stdout)
    by_name = {row["name"]: row for row in rows}
    assert by_name["csc.detections"]["rows"] == 2000
    assert by_name["csc.class_summary"]["kind"] == "view"
    shown = lacus("tables", home=demo[0]).stdout.splitlines()
    assert len(shown) == len(rows) + 1  # a line for each: nothing is folded
    assert lacus("tables", home=demo[0] / "none").exit_code == 0


def test_describe_shows_types_units_and_ucds(demo, lacus):
    for home in (demo[0], demo[0] / "none"):  # the contracts know without a lake
        told = json.loads(lacus("describe", "csc.uniquely_classified", "--json", home=home).stdout)
        column = {c["column"]: c for c in told["columns"]}["ra"]
        assert (column["type"], column["unit"]) == ("DOUBLE", "deg")
        assert column["ucd"].startswith("pos.eq.ra")
        assert told["key"][0] == "release"
    shown = lacus("describe", "csc.detections", home=demo[0]).stdout
    line = next(line for line in shown.splitlines() if line.startswith("ra "))
    assert line.split()[:3] == ["ra", "DOUBLE", "deg"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["describe", "csc.nope"], "no table csc.nope"),
        (["sql"], "give a query"),
        (["sql", ""], "gives no rows"),
        (["sql", "SELECT nope FROM csc.detections"], 'column "nope" not found'),
        (["sql", "SELEC 1"], "Parser Error"),
        (["sql", "SELECT CAST(name AS INT) FROM csc.detections"], "Could not convert"),
        (["sql", "CREATE TABLE csc.x AS SELECT 1"], "read-only"),
        (["sql", "DELETE FROM csc.detections"], "read-only"),
        (["sql", "COPY (SELECT 1) TO 'x.csv'"], "writes files; `sql` only reads"),
        (["sql", "EXPORT DATABASE 'x'"], "writes files; `sql` only reads"),
        (["sql", "SELECT 1", "--at", "nope"], "no snapshot or pin 'nope'"),
        (["sql", "SELECT 1", "--at", "999"], "no snapshot or pin '999'"),
        (["sql", "SELECT * FROM csc.detections", "--at", "0"], "does not exist"),
        (["sql", "SELECT 1", "-f", "xml"], "'xml' is not one of"),
        (["export", "csc.detections", "-o", "x.doc"], "no format to export to"),
        (["export", "csc.detections", "-o", "no/x.csv"], "there is no folder"),
        (["export", "csc.nope", "-o", "x.csv"], "does not exist"),
        (["export", "SELECT 1/", "-o", "x.csv"], "Parser Error"),
        (["export", "csc.detections"], "Missing option"),
        (["export", "csc.detections", "--where", "nope = 1", "-o", "x.csv"], '"nope" not found'),
        (["export", "SELECT 1", "--where", "TRUE", "-o", "x.csv"], "a query has a WHERE itself"),
        (["export", "csc.detections", "-o", "folder"], "no format to export to"),
        (["pin", "7"], "a pin needs a name"),
        (["pin", "x", "999"], "no snapshot"),
        (["diff", "2", "2"], "are the same snapshot"),
        (["diff", "2", "999"], "no snapshot or pin"),
        (["diff", "0", "2"], "empty lake"),
        (["diff", "0", "2", "csc.clusters"], "there is no csc.clusters in snapshot 0"),
        (["diff", "1", "2", "csc.nope"], "no table csc.nope"),
    ],
)
def test_wrong_usage_is_said_in_words(words, told, demo, lacus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = lacus(*words, home=demo[0])
    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [["sql", "SELECT 1"], ["sql", "--init"], ["export", "csc.detections", "-o", "x.csv"],
     ["snapshots"], ["pin", "x"], ["diff", "1", "2"]],
)  # fmt: skip
def test_what_needs_a_lake_says_that_there_is_none(words, lacus, tmp_path):
    result = lacus(*words, home=tmp_path / "none")
    assert result.exit_code == 1
    assert "there is no lake here yet" in result.stderr
    assert not (tmp_path / "none").exists()


def test_sql_gives_the_same_rows_in_every_form(demo, lacus):
    home = demo[0]
    rows = json.loads(lacus("sql", UNIQUE, "-f", "json", home=home).stdout)
    assert len(rows) > 1000
    csv = pyarrow.csv.read_csv(
        io.BytesIO(lacus("sql", UNIQUE, "-f", "csv", home=home).stdout_bytes)
    )
    parquet = pq.read_table(
        io.BytesIO(lacus("sql", UNIQUE, "-f", "parquet", home=home).stdout_bytes)
    )
    assert csv.to_pylist() == rows
    assert parquet.to_pylist() == rows
    assert parquet.schema.field("ra").metadata[b"unit"] == b"deg"
    assert rows[0]["name"] in lacus("sql", UNIQUE, home=home).stdout


def test_a_table_for_people_is_as_wide_as_its_names(demo, lacus):
    shown = lacus("sql", "csc.uniquely_classified", home=demo[0]).stdout
    assert "…" not in shown
    columns = lake.open(demo[0]).sql("FROM csc.uniquely_classified").columns
    assert set(columns) <= set(re.findall(r"\w+", shown))


def test_sql_reads_lists_and_stdin_and_writes_files(demo, lacus, tmp_path):
    lists = lacus("sql", "SELECT means FROM csc.mixture_models", "-f", "csv", home=demo[0])
    assert lists.exit_code == 0
    given = lacus("sql", "-", "-f", "json", home=demo[0], input="SELECT 1 AS x, 'NaN'::DOUBLE AS y")
    assert json.loads(given.stdout) == [{"x": 1, "y": None}]
    written = lacus("sql", UNIQUE, "-o", tmp_path / "x.csv", home=demo[0])
    assert written.exit_code == 0
    assert written.stdout == ""
    assert (tmp_path / "x.csv").read_text(encoding="utf-8").startswith('"name","ra","p_qso"\n')


def test_the_former_state_is_read_by_snapshot_and_by_pin(home, lacus, tiny):
    name = "SELECT count(*) AS n FROM csc.detections"
    assert lacus("pin", "päper 1", home=home).exit_code == 0
    before = lake.open(home).store.resolve("päper 1")
    lacus("add", "csc", "R1", "detections", tiny, home=home)
    assert lacus("run", "csc.detections", home=home).exit_code == 0
    for at, rows in ((before, 2000), ("päper 1", 2000), (None, 2002)):
        words = ["sql", name, "-f", "json"] + (["--at", at] if at else [])
        assert json.loads(lacus(*words, home=home).stdout) == [{"n": rows}]
    for at, rows in (("päper 1", 2000), (None, 2002)):
        words = ["export", "csc.detections", "-o", home / "x.parquet"]
        result = lacus(*words, *(["--at", at] if at else []), home=home)
        assert result.exit_code == 0
        assert pq.read_metadata(home / "x.parquet").num_rows == rows
    summary = json.loads(lacus("diff", "päper 1", before + 2, "-f", "json", home=home).stdout)
    assert {(row["table_name"], row["release"], row["rows_a"]) for row in summary} == {
        ("csc.detections", "R1", None)
    }
    found = lacus("diff", "päper 1", before + 2, "csc.detections", "-f", "json", home=home)
    assert {(row["change"], row["release"]) for row in json.loads(found.stdout)} == {
        ("added", "R1")
    }
    assert "csc.detections: 2 added, 0 removed, 0 changed" in found.stderr
    assert "päper 1" in lacus("snapshots", home=home).stdout
    listed = json.loads(lacus("snapshots", "--json", home=home).stdout)
    assert [s["id"] for s in listed if s["pins"] == ["päper 1"]] == [before]
    again = lacus("pin", "päper 1", home=home)
    assert again.exit_code == 2
    assert "there is a pin 'päper 1' already" in again.stderr


def test_init_attaches_the_lake_in_any_duckdb(home, lacus):
    snapshots = lake.open(home).store.snapshots()
    ingested = next(s.id for s in snapshots if (s.message or "").startswith("ingest csc"))
    assert lacus("pin", "p", ingested, home=home).exit_code == 0
    for words in ([], ["--at", "p"]):
        printed = lacus("sql", "--init", *words, home=home).stdout
        attach = [line for line in printed.splitlines() if line.startswith(("ATTACH", "USE"))]
        assert len(attach) == 2
        with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as fresh:
            for name in ("ducklake", "sqlite_scanner"):  # INSTALL would fetch them
                fresh.execute(f"LOAD '{extensions.wheel(name)}'")
            for line in attach:
                fresh.execute(line)
            assert fresh.execute("SELECT count(*) FROM csc.detections").fetchone() == (2000,)
            models = fresh.execute("SELECT count(*) FROM csc.mixture_models").fetchone()
            assert models == ((0,) if words else (1,))
            with pytest.raises(duckdb.Error, match="read-only"):
                fresh.execute("DELETE FROM csc.detections")


FORMATS = (".parquet", ".vot", ".fits", ".fits.gz", ".csv", ".tex", ".json")
EXPORTED = [
    ("csc.detections", "table", FORMATS[:3]),
    ("csc.uniquely_classified", "view", FORMATS[:3]),
    ("SELECT name, ra FROM csc.detections WHERE dec > 0", "query", FORMATS),
]


def test_export_keeps_units_and_ucds_in_every_format(demo, lacus, tmp_path):
    from astropy import units
    from astropy.io.votable import parse_single_table
    from astropy.table import Table

    rows = {}
    for source, name, suffixes in EXPORTED:
        for suffix in suffixes:
            path = tmp_path / f"{name}{suffix}"
            result = lacus("export", source, "-o", path, home=demo[0])
            assert result.exit_code == 0, result.stderr
            assert path.stat().st_size > 100
            rows[path.name] = int(re.search(r": ([\d,]+) row", result.stderr)[1].replace(",", ""))
        tables = {
            ".vot": Table.read(tmp_path / f"{name}.vot", format="votable"),
            ".fits": Table.read(tmp_path / f"{name}.fits", hdu=1),
        }
        if name != "table":  # astropy does not put together booleans of which some are null
            path = tmp_path / f"{name}.parquet"
            tables[".parquet"] = Table.read(path, format="parquet.votable")
            assert tables[".parquet"]["ra"].meta["ucd"].startswith("pos.eq.ra")
        for suffix, table in tables.items():
            assert len(table) == rows[f"{name}{suffix}"] > 0
            assert table["ra"].unit == units.deg
        field = parse_single_table(tmp_path / f"{name}.vot").get_field_by_id_or_name("ra")
        assert field.ucd.startswith("pos.eq.ra")
    assert len(set(rows.values())) == 3


def test_a_hats_catalogue_is_a_folder(demo, lacus, tmp_path):
    path = tmp_path / "x.hats"
    for words in (["export", "csc.detections"], ["sql", "FROM csc.detections"]):
        result = lacus(*words, "-o", f"{path}/", home=demo[0])
        assert result.exit_code == 0, result.stderr
        assert re.search(r"x\.hats: [\d,]+ rows of snapshot", result.stderr)
    found = duckdb.sql(f"SELECT count(*), min(dec) FROM '{path}/dataset/**/*.parquet'").fetchone()
    wanted = lake.open(demo[0]).sql("SELECT count(*), min(dec) FROM csc.detections").fetchone()
    assert found == wanted
    (path / "notes").touch()
    result = lacus("export", "csc.detections", "-o", path, home=demo[0])
    assert (result.exit_code, "it holds notes" in result.stderr) == (2, True)
    result = lacus("export", "csc.class_summary", "-o", tmp_path / "y.hats", home=demo[0])
    assert (result.exit_code, "needs a position" in result.stderr) == (2, True)


def test_an_export_that_fails_leaves_what_was_there(demo, lacus, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("mine", encoding="utf-8")
    late = (
        "SELECT CASE WHEN i > 900000 THEN CAST('a' || i AS INT) END AS x FROM range(1000000) t(i)"
    )
    result = lacus("export", late, "-o", path, home=demo[0])
    assert result.exit_code == 2
    # DuckDB tells of the thread that failed, or of one that it interrupted because of that.
    assert re.search("Could not convert string 'a9[0-9]+'|Interrupted", result.stderr)
    assert path.read_text(encoding="utf-8") == "mine"
    assert list(tmp_path.iterdir()) == [path]


ROWS = """name,hard_hm,hard_hs,hard_ms,powlaw_gamma,bb_kt,var_newq_b,var_prob_b,var_prob_h,\
var_prob_s,var_ratio_b,var_ratio_h,var_ratio_s
one,0.1,-0.2,-0.3,1.9,0.6,1.0,0.4,0.3,0.3,0.05,0.05,0.05
one,0.2,-0.1,-0.2,1.7,0.7,1.0,0.5,0.4,0.4,0.06,0.05,0.05
two,0.6,0.7,0.4,1.0,1.5,1.1,0.9,0.9,0.8,0.3,0.3,0.3
three,0.6,,0.4,1.0,1.5,1.1,0.9,0.9,0.8,0.3,0.3,0.3
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "öwn [x].csv"
    path.write_text(ROWS, encoding="utf-8")
    return path


def test_classify_needs_no_lake(own, lacus, tmp_path):
    home = tmp_path / "none"
    told = json.loads(lacus("classify", own, "--json", home=home).stdout)
    assert [row["name"] for row in told["detections"]] == ["one", "one", "two", "three"]
    for row in told["detections"]:
        total = sum(value for key, value in row.items() if key.startswith("p_"))
        assert total == pytest.approx(1)
        assert row["detection_class"]
    assert [row["reason"] and "hard_hs" in row["reason"] for row in told["detections"]] == [
        None, None, None, True,
    ]  # fmt: skip
    counts = {row["name"]: row["detection_count"] for row in told["sources"]}
    assert counts == {"one": 2, "two": 1, "three": 1}
    result = lacus("classify", own, home=home)
    assert "no class" not in result.stderr
    shown = result.stdout
    assert "Detections\nname" in shown
    assert "Sources\nname" in shown
    assert not home.exists()


@pytest.mark.parametrize("suffix", [".csv", ".vot", ".fits", ".parquet", ".tex", ".json"])
def test_classify_writes_every_probability(suffix, own, lacus, tmp_path):
    result = lacus("classify", own, "-o", tmp_path / f"out{suffix}", home=tmp_path / "none")
    assert result.exit_code == 0, result.stderr
    assert "4 detections" in result.stderr
    assert "p_orion_v" in (tmp_path / f"out{suffix}").read_bytes().decode("latin-1") or (
        suffix == ".tex"
    )


def test_classify_reads_the_files_that_the_lake_reads(demo, lacus, tmp_path):
    sample = demo[0] / "sample" / "csc" / "csc_detections.vot"
    told = json.loads(lacus("classify", sample, "--json", home=tmp_path / "none").stdout)
    assert len(told["detections"]) == 2000


def test_classify_by_the_model_of_the_lake(demo, own, lacus):
    by = {}
    for method in ("softmin", "posterior"):
        words = ["classify", own, "--model", "lake", "--method", method, "--json"]
        by[method] = json.loads(lacus(*words, home=demo[0]).stdout)["detections"]
        assert by[method][0]["method"] == method
    model = by["softmin"][0]["model_id"]
    assert [(model,)] == lake.open(demo[0]).sql(
        "SELECT model_id FROM csc.mixture_models"
    ).fetchall()
    assert by["softmin"][0]["p_qso"] != by["posterior"][0]["p_qso"]
    named = lacus("classify", own, "--model", model, "--json", home=demo[0])
    assert json.loads(named.stdout)["detections"] == by["softmin"]


@pytest.mark.parametrize(
    ("content", "words", "code", "told"),
    [
        (None, [], 1, "No such file"),
        ("", [], 1, ""),
        ("name,hard_hm\nx\n", [], 1, "row 1: 1 cells, expected 2"),
        ("name,hard_hm\nx,much\n", [], 1, "hard_hm"),
        (ROWS, ["--method", "posterior"], 2, "posterior"),
        (ROWS, ["--model", "lake"], 1, "no lake here yet"),
        (ROWS, ["--model", "../../x"], 1, ""),
        (ROWS, ["-o", "x.doc"], 2, "no format to export to"),
        (ROWS, ["--method", "best"], 2, "'best' is not one of"),
    ],
)
def test_classify_says_what_is_wrong(content, words, code, told, lacus, tmp_path):
    file = tmp_path / "file.csv"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    result = lacus("classify", file, *words, home=tmp_path / "none")
    assert result.exit_code == code, result.output
    assert told in result.stderr
    assert result.stdout == ""


def test_a_table_without_any_feature_is_classified_as_nothing(lacus, tmp_path):
    file = tmp_path / "file.csv"
    file.write_text("x,y\n1,2\n", encoding="utf-8")
    told = lacus("classify", file, "--json", home=tmp_path / "none")
    assert told.exit_code == 0
    row = json.loads(told.stdout)["detections"][0]
    assert (row["name"], row["detection_class"]) == ("row 1", None)
    assert row["reason"]
    assert f"! no class for 1 of 1 detection; {row['reason']}" in told.stderr


def test_a_table_without_rows_is_said_to_be_one(lacus, tmp_path):
    file = tmp_path / "README"
    file.write_text("Spectra of March\n", encoding="utf-8")
    told = lacus("classify", file, home=tmp_path / "none")
    assert told.exit_code == 0
    assert "! there is no detection in the file" in told.stderr


def test_rows_that_meet_a_condition_are_exported_with_their_units(demo, lacus, tmp_path):
    words = ["export", "csc.detections", "--where", "ra < 180", "-o", tmp_path / "x.parquet"]
    assert lacus(*words, home=demo[0]).exit_code == 0
    table = pq.read_table(tmp_path / "x.parquet")
    query = "SELECT count(*) FROM csc.detections WHERE ra < 180"
    assert table.num_rows == lake.open(demo[0]).sql(query).fetchone()[0] > 0
    assert table.schema.field("ra").metadata[b"unit"] == b"deg"


def test_files_are_written_again_into_a_folder(demo, lacus, tmp_path, monkeypatch):
    from lake import csc, originals

    def write_files(read, rows, directory):
        originals.place(directory / "n.txt", str(rows.num_rows).encode())
        return [directory / "n.txt"]

    monkeypatch.setattr(csc, "EXPORTS", {"csc.detections": write_files}, raising=False)
    words = ["export", "csc.detections", "--where", "ra < 180", "-o", tmp_path / "out"]
    result = lacus(*words, home=demo[0])
    assert result.exit_code == 0
    assert "1 file of snapshot" in result.stderr
    assert 0 < int((tmp_path / "out" / "n.txt").read_text()) < 2000
    assert "ra < 180" in (tmp_path / "out" / originals.ORIGIN).read_text()
    # A name with a format is that of a table, as ever.
    words[-1] = tmp_path / "out.csv"
    assert lacus(*words, home=demo[0]).exit_code == 0
    assert (tmp_path / "out.csv").read_text().startswith('"release"')


def test_an_export_names_the_snapshot_that_it_was_read_from(
    tiny_home, lacus, tmp_path, monkeypatch
):
    store = lake.open(tiny_home).store
    before, annotated = store.snapshot(), query.annotated

    def read_slowly(*args, **named):
        reader = annotated(*args, **named)
        if store.snapshot() == before:
            store.pin("meanwhile")
        return reader

    monkeypatch.setattr(query, "annotated", read_slowly)
    file = tmp_path / "pins.json"
    lacus("export", "SELECT count(*) AS pins FROM meta.pins", "-o", file, home=tiny_home)
    made = json.loads(file.read_text(encoding="utf-8"))
    assert "meanwhile" in str(store.sql("FROM meta.pins").fetchall())
    assert (made["origin"]["snapshot"] - before) == made["rows"][0]["pins"]
