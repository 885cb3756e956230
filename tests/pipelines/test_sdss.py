"""The SDSS mission through the command line, on the home of the demo."""

import io
import json
import shutil
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from astropy.io import fits

import lake
from lake import inputs
from pipelines import jobs
from pipelines.defs import derivations
from tests.sdss import files

RELEASE = ("sdss", "DR17-sample")


@pytest.fixture(scope="module")
def demo_home(demo):
    return lake.open(demo[0])


@pytest.fixture(scope="module")
def spectra(demo_home) -> list[Path]:
    folder = next(s.paths[0] for s in demo_home.sources() if s.role == "spectra")
    return sorted(folder.rglob("*.fits"))


def test_every_table_of_a_spectrum_has_it(demo_home, spectra):
    for table in inputs.role("sdss", "spectra").tables:
        rows = demo_home.sql(f"SELECT count(*), count(DISTINCT spec_id) FROM {table}").fetchall()
        assert rows == [(len(spectra), len(spectra))]
    name, sha256 = demo_home.sql(
        "SELECT source_path, checksum FROM sdss.spectra_manifest ORDER BY spec_id LIMIT 1"
    ).fetchone()
    assert inputs.sha256(Path(name)) == sha256


def test_every_spectrum_has_a_label_row(demo_home):
    found = demo_home.sql(
        "SELECT count(*), count(class_mk), count(*) FILTER (label_source IS NULL)"
        " FROM sdss.spectra_labels"
    ).fetchone()
    assert found[0] == 160
    assert found[1] + found[2] == 160
    assert 0 < found[2] < 20


def test_the_log_has_each_step_of_each_spectrum(demo_home):
    steps = demo_home.sql(
        "SELECT step_order, step_name, count(*) FROM sdss.preprocessing_log GROUP BY ALL ORDER BY 1"
    ).fetchall()
    assert next(name for _, name, _ in steps) == "load_spectrum"
    assert {count for *_, count in steps} == {160}
    assert [order for order, *_ in steps] == list(range(1, len(steps) + 1))


def test_no_plate_is_on_two_sides(demo_home):
    sides = demo_home.sql(
        "SELECT m.plate, count(DISTINCT s.split) FROM sdss.splits AS s"
        " JOIN sdss.spectra_metadata AS m USING (release, spec_id) GROUP BY ALL"
    ).fetchall()
    assert {count for _, count in sides} == {1}
    assert demo_home.sql("SELECT count(DISTINCT split) FROM sdss.splits").fetchone() == (3,)


def test_the_network_of_the_demo_states_classes(demo_home):
    pytest.importorskip("lake.sdss.cnn")
    (stated,) = demo_home.sql(
        "SELECT count(*) FROM sdss.cnn_predictions WHERE NOT abstained"
    ).fetchone()
    assert stated > 80


def test_figures_and_tables_are_where_the_lake_says(demo_home):
    listed = demo_home.sql("SELECT name, kind, unnest(paths) FROM sdss.figures").fetchall()
    assert {"figure_1_example_spectrum", "figure_3_class_balance", "table_a_dataset_overview"} <= {
        name for name, *_ in listed
    }
    products = dict(demo_home.sql("SELECT path, sha256 FROM meta.products").fetchall())
    for _, kind, path in listed:
        assert products[path] == inputs.sha256(demo_home.root / path)
        assert Path(path).suffix in ({".svg", ".png"} if kind == "figure" else {".tex", ".csv"})


def test_long_studies_are_made_on_request_alone(demo_home):
    table = "sdss.ablation_studies"
    assert table not in jobs.stale(demo_home, *RELEASE)
    assert table in jobs.stale(demo_home, *RELEASE, table)
    assert demo_home.sql(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_derivations_come_after_what_they_read():
    made: set[str] = set(inputs.tables("sdss"))
    from lake.freshness import base_tables

    for derivation in derivations("sdss"):
        assert set(base_tables(derivation.reads)) <= made
        made |= set(derivation.tables)


def test_predict_classifies_files_that_are_in_no_lake(demo, spectra, lacus, tmp_path):
    pytest.importorskip("lake.sdss.cnn")
    bad = tmp_path / "bad.fits"
    bad.write_bytes(spectra[0].read_bytes()[:5000])
    result = lacus("predict", *spectra[:3], bad, "--json", home=demo[0])
    assert result.exit_code == 3
    assert f"rejected: {bad}: " in result.stderr
    rows = json.loads(result.stdout)
    assert [row["file"] for row in rows] == [str(path) for path in spectra[:3]]
    for row in rows:
        assert row["predicted_class"] in row["classes"]
        assert abs(sum(row["probabilities"]) - 1) < 1e-6
    stored = dict(
        lake.open(demo[0]).sql("SELECT spec_id, probability FROM sdss.cnn_predictions").fetchall()
    )
    for row in rows:
        assert row["probability"] == pytest.approx(stored[row["spec_id"]], abs=1e-6)
    output = tmp_path / "classes.csv"
    assert lacus("predict", spectra[0].parent, "-o", output, home=demo[0]).exit_code == 0
    assert output.read_text().count("\n") > 10


def test_predict_says_why_there_is_nothing_to_classify(demo, lacus, tmp_path):
    pytest.importorskip("lake.sdss.cnn")
    bad, bare = tmp_path / "bad.fits", tmp_path / "bare.fits"
    bad.write_text("not FITS")
    bare.write_bytes(files.image())
    result = lacus("predict", bad, "--json", home=demo[0])
    assert (result.exit_code, json.loads(result.stdout)) == (3, [])
    assert f"rejected: {bad}: is not a FITS file" in result.stderr
    result = lacus("predict", bare, home=demo[0])
    assert result.exit_code == 0
    assert f"{bare}: bare, resample: no wavelength solution" in result.stderr


def test_predict_needs_a_network(tiny_home, spectra, lacus):
    result = lacus("predict", spectra[0], home=tiny_home)
    assert result.exit_code == 1
    assert "no network yet" in result.stderr


def test_predict_refuses_a_model_that_is_not_there(demo, spectra, lacus):
    pytest.importorskip("lake.sdss.cnn")
    result = lacus("predict", spectra[0], "--model", "0123456789abcdef", home=demo[0])
    assert result.exit_code == 1


def test_preprocess_runs_the_recipe_of_the_seed(spectra, lacus, tmp_path):
    import pyarrow.parquet as pq

    output = tmp_path / "spectra.parquet"
    log = tmp_path / "steps.parquet"
    result = lacus("preprocess", *spectra[:2], "--recipe", "seed", "-o", output, "--log", log)
    assert result.exit_code == 0
    steps = pq.read_table(log)
    assert steps["file"].to_pylist() == [str(path) for path in spectra[:2] for _ in range(2)]
    assert steps["step_name"].to_pylist() == ["continuum_normalise", "pad_or_crop"] * 2
    assert {len(digest) for digest in steps["result_hash"].to_pylist()} == {64}
    rows = pq.read_table(output)
    assert rows["recipe"].to_pylist() == ["seed"] * 2
    for flux in rows["flux"].to_pylist():
        assert len(flux) == 2048
        assert 0 <= min(flux) < max(flux) <= 1
    assert lacus("preprocess", spectra[0], "--recipe", "x", "-o", output).exit_code == 2
    assert lacus("preprocess", tmp_path / "none.fits", "-o", output).exit_code == 3


def test_spectra_that_are_left_out_are_named(lacus, tmp_path):
    bare, good = tmp_path / "bare.fits", tmp_path / "good.fits"
    bare.write_bytes(files.image())
    good.write_bytes(files.spec())
    result = lacus("preprocess", bare, good, "-o", tmp_path / "spectra.parquet")
    assert result.exit_code == 0
    assert f"{bare}: bare, resample: no wavelength solution: cannot be resampled; left out" in (
        result.stderr.replace("\n", " ")
    )
    assert str(good) not in result.stderr


def test_a_run_counts_the_spectra_that_it_leaves_out(lacus, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bare.fits").write_bytes(files.image())
    (tmp_path / "in" / "good.fits").write_bytes(files.spec())
    home = tmp_path / "home"
    assert lacus("add", "sdss", "R", "spectra", tmp_path / "in", home=home).exit_code == 0
    result = lacus("run", "sdss.preprocessed_spectra", home=home)
    assert result.exit_code == 0
    assert "1 of 2 spectra are left out: sdss.recipe_log says why" in result.stderr


@pytest.mark.parametrize("place", ["x.doc", "no/x.csv"])
@pytest.mark.parametrize(
    "words", [["preprocess", "-o"], ["preprocess", "-o", "spectra.csv", "--log"], ["predict", "-o"]]
)
def test_a_name_that_cannot_be_written_is_refused_before_anything_is_read(
    words, place, lacus, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    bare = tmp_path / "bare.fits"
    bare.write_bytes(files.image())
    result = lacus(*words, place, bare, home=tmp_path / "none")
    assert result.exit_code == 2
    assert "no format to export to" in result.stderr or "there is no folder" in result.stderr
    assert "left out" not in result.stderr
    assert list(tmp_path.iterdir()) == [bare]


def test_a_file_of_which_some_spectra_are_rejected_is_named(lacus, tmp_path):
    table = files.mastar(3)[0]
    part = tmp_path / "part.fits"
    with fits.open(io.BytesIO(table)) as hdus:
        hdus[1].data["FLUX"][1] = np.nan
        hdus.writeto(part)
    result = lacus("preprocess", part, "-o", tmp_path / "spectra.parquet")
    assert result.exit_code == 3
    text = result.stderr.replace("\n", " ")
    assert f"rejected in part: {part}: 1 row left out: row 2: " in text


@pytest.mark.parametrize("mission", ["csc", "sdss"])
def test_plot_draws_an_object(mission, demo, lacus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    query = {
        "csc": "SELECT name FROM csc.class_probabilities WHERE detection_class IS NOT NULL LIMIT 1",
        "sdss": "SELECT spec_id FROM sdss.spectra LIMIT 1",
    }[mission]
    (name,) = lake.open(demo[0]).sql(query).fetchone()
    assert lacus("plot", mission, name, home=demo[0]).exit_code == 0
    (path,) = tmp_path.glob("*.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert lacus("plot", mission, name, "-o", tmp_path / "x.svg", home=demo[0]).exit_code == 0
    assert lacus("plot", mission, "nobody", home=demo[0]).exit_code == 2
    assert lacus("plot", mission, name, "-o", tmp_path / "x.doc", home=demo[0]).exit_code == 2


def test_plot_knows_its_missions(demo, lacus):
    assert lacus("plot", "hst", "x", home=demo[0]).exit_code == 2


def test_bad_files_are_listed_and_the_rest_goes_on(spectra, lacus, tmp_path):
    folder = tmp_path / "in"
    (folder / "again").mkdir(parents=True)
    for path in spectra[:3]:
        shutil.copy(path, folder)
    # The same spectrum with other bytes: blocks after the last HDU are allowed.
    twin = spectra[0].read_bytes() + bytes(2880)
    (folder / "again" / spectra[0].name).write_bytes(twin)
    (folder / "cut.fits").write_bytes(spectra[1].read_bytes()[:20000])
    (folder / "text.fits").write_text("not FITS")
    home = tmp_path / "home"
    assert lacus("add", "sdss", "R", "spectra", folder, home=home).exit_code == 0
    result = lacus("run", "sdss.preprocessing_log", home=home)
    assert result.exit_code == 3, result.stderr
    reasons = dict(
        lake.open(home)
        .sql("SELECT name, reason FROM meta.files WHERE status = 'rejected'")
        .fetchall()
    )
    assert set(reasons) == {"cut.fits", "text.fits", spectra[0].name}
    first, second = folder / "again" / spectra[0].name, folder / spectra[0].name
    assert reasons[spectra[0].name] in (
        f"row 1: has the key (spec_id) of row 1 of {path}" for path in (first, second)
    )
    assert "cut off" in reasons["cut.fits"]
    assert lake.open(home).sql("SELECT count(*) FROM sdss.preprocessed_spectra").fetchone() == (3,)


def test_without_labels_the_survey_says_the_classes(spectra, lacus, tmp_path):
    home = tmp_path / "home"
    lacus("add", "sdss", "R", "spectra", *spectra[:2], home=home)
    assert lacus("run", "sdss.splits", home=home).exit_code == 0
    found = lake.open(home).sql("SELECT match_method, class_mk FROM sdss.spectra_labels").fetchall()
    assert {method for method, _ in found} == {"pipeline"}
    assert all(name for _, name in found)


def test_networks_are_tried_on_releases_before_and_after(spectra, lacus, tmp_path):
    """Each release is classified by the network of the other too, whichever was made first."""
    pytest.importorskip("lake.sdss.cnn")
    from lake.sdss import configuration

    tiny = configuration.Configuration(epochs=1, realisations=1)
    monkey = pytest.MonkeyPatch()
    monkey.setitem(configuration.CONFIGURATIONS, "default", tiny)
    home = tmp_path / "home"
    for release, part in (("R1", spectra[::2]), ("R2", spectra[1::2])):
        assert lacus("add", "sdss", release, "spectra", *part, home=home).exit_code == 0
    result = lacus("run", "sdss.release_shift", home=home)
    monkey.undo()
    assert result.exit_code == 0, result.stderr
    shift = (
        lake.open(home)
        .sql("SELECT release, model_release FROM sdss.release_shift ORDER BY ALL")
        .fetchall()
    )
    assert shift == [("R1", "R1"), ("R1", "R2"), ("R2", "R1"), ("R2", "R2")]
    # Of 80 spectra too few are held back, and that is said.
    held, refused = (
        lake.open(home)
        .sql(
            "SELECT max(n_validation), bool_and(abstained) FROM sdss.cnn_models"
            " JOIN sdss.cnn_predictions USING (model_id)"
        )
        .fetchone()
    )
    assert (held < 18, refused) == (True, True)
    assert "that an accuracy of 0.95 can be shown with are held back" in result.stderr
    with jobs.instance(lake.open(home)) as dagster:
        event = dagster.get_latest_materialization_event(dg.AssetKey(["sdss", "cnn_models"]))
    shown = event.asset_materialization.metadata["what it cannot know"].value
    assert "the network abstains from all" in shown
    assert "up to date" in lacus("run", "sdss.release_shift", home=home).stderr
