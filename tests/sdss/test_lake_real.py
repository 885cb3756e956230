"""The whole way on real stars: spec files, `lacus add`, `lacus run`, `lacus predict`."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

pytest.importorskip("lake.sdss.cnn")

import lake
from lake.sdss import mk
from lake.sdss.splits import assign
from pipelines.cli import main
from tests.sdss.model_files import write_spec_files

pytestmark = [pytest.mark.real, pytest.mark.slow]

#: Each of them on several plates; two spectrographs.
CLASSES = ("A0", "G2", "K3", "K7", "G4", "K5")


@pytest.fixture(scope="module")
def models(real_data):
    table = pq.read_table(real_data / "sdss" / "stellar_spectra.parquet")
    classes = np.array(mk.learnt_class(table["subclass"]).to_pylist())
    return table, classes


@pytest.fixture(scope="module")
def home(models, tmp_path_factory):
    """A home whose network was trained on two thirds of the plates; also what was held back."""
    table, classes = models
    root = tmp_path_factory.mktemp("stars")
    chosen = np.flatnonzero(np.isin(classes, CLASSES))
    plates = table["plate"].to_numpy()[chosen].astype(str)
    sides = assign(plates, classes[chosen], seed=5)
    known, held = chosen[sides != "test"][::2], chosen[sides == "test"]
    write_spec_files(table, known, root / "known", snr=40, seed=1)
    labels = root / "labels.csv"
    rows = table.take(known).select(["plate", "mjd", "fiberid", "subclass"]).to_pylist()
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    labels.write_text("\n".join(lines) + "\n")
    for words in (
        ["add", "sdss", "DR12", "spectra", root / "known"],
        ["add", "sdss", "DR12", "labels", labels],
        ["run", "sdss.cnn_evaluation"],
    ):
        done = CliRunner().invoke(main, ["--home", str(root / "home"), *map(str, words)])
        assert done.exit_code == 0, done.output
    return root / "home", held


def test_every_spectrum_has_its_label(home, models):
    opened = lake.open(home[0])
    found = opened.sql(
        "SELECT match_method, count(*) FROM sdss.spectra_labels GROUP BY ALL"
    ).fetchall()
    assert [method for method, _ in found] == ["plate-mjd-fibre"]
    counts = opened.sql("SELECT class_mk, count(*) FROM sdss.splits GROUP BY ALL").fetchall()
    assert {name for name, _ in counts} == set(CLASSES) & set(models[1])


@pytest.mark.parametrize(("snr", "least", "letters"), [(20, 0.9, 0.97), (10, 0.75, 0.92)])
def test_stars_of_other_plates_are_recognised(home, models, snr, least, letters, tmp_path):
    table, classes = models
    root, held = home
    write_spec_files(table, held, tmp_path / "own", snr=snr, seed=snr)
    done = CliRunner().invoke(
        main, ["--home", str(root), "predict", str(tmp_path / "own"), "--json"]
    )
    assert done.exit_code == 0, done.output
    truth = {
        f"{plate:04d}-{mjd}-{fibre:04d}": name
        for plate, mjd, fibre, name in zip(
            *(table[c].to_pylist() for c in ("plate", "mjd", "fiberid")), classes, strict=True
        )
    }
    found = {row["spec_id"]: row["predicted_class"] for row in json.loads(done.stdout)}
    assert len(found) == len(held)
    pairs = [(truth[key], name) for key, name in found.items()]
    assert np.mean([a == b for a, b in pairs]) >= least
    assert np.mean([a[0] == b[0] for a, b in pairs]) >= letters
