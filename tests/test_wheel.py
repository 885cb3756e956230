"""The wheel holds all that the library needs, and works from any directory without the checkout."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]

#: Run with `-P`, so that neither the working directory nor the script's is searched.
FEATURES = (
    "hard_hm", "hard_hs", "hard_ms", "powlaw_gamma", "bb_kt", "var_prob_b", "var_prob_h",
    "var_prob_s", "var_ratio_b", "var_ratio_h", "var_ratio_s", "var_newq_b",
)  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    command += ["--disable-pip-version-check", "--quiet", "--wheel-dir", str(target), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(target.glob("lacus-*.whl")))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A directory with the wheel's packages and nothing of the checkout."""
    target = tmp_path_factory.mktemp("installed")
    wheel.extractall(target)
    return target


def test_it_installs_two_packages_and_no_more(wheel):
    names = wheel.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"lake", "pipelines"}
    assert not [name for name in names if "test" in name.lower() or name.endswith(".pyc")]


def test_it_holds_every_contract_and_model(wheel):
    names = set(wheel.namelist())
    for kind in ("schema", "sql"):
        for path in (ROOT / kind).rglob("*.*"):
            assert f"lake/_contracts/{kind}/{path.relative_to(ROOT / kind).as_posix()}" in names
    modules = [*(ROOT / "lake").rglob("*.py"), *(ROOT / "pipelines").rglob("*.py")]
    assert {path.relative_to(ROOT).as_posix() for path in modules} <= names
    data = [path for path in (ROOT / "lake").rglob("*.json") if "_contracts" not in path.parts]
    assert data
    assert {path.relative_to(ROOT).as_posix() for path in data} <= names


def test_it_has_the_command_and_its_licence(wheel):
    names = wheel.namelist()
    points = next(name for name in names if name.endswith("entry_points.txt"))
    assert "lacus = pipelines.cli:main" in wheel.read(points).decode()
    assert any("licenses/LICENSE" in name for name in names)


def python(code: str, installed: Path, directory: Path, *words: object) -> str:
    clean = {k: v for k, v in os.environ.items() if k not in ("LACUS_HOME", "DAGSTER_HOME")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *map(str, words)],
        cwd=directory, env={**clean, "PYTHONPATH": str(installed)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


LACUS = "from pipelines.cli import main; main(prog_name='lacus')"


def test_contracts_and_views_are_those_inside(installed, tmp_path):
    told = json.loads(
        python(
            "import json, lake, pipelines; from lake import contracts, models;"
            "print(json.dumps([lake.__file__, pipelines.__file__,"
            " str(contracts.contracts_dir('sql')), list(contracts.tables()),"
            " list(models.views())]))",
            installed,
            tmp_path,
        )
    )
    assert all(path.startswith(str(installed)) for path in told[:3])
    assert "csc.detections" in told[3]
    assert "csc.uniquely_classified" in told[4]
    assert list(tmp_path.iterdir()) == []


def test_a_run_from_an_empty_directory(installed, tmp_path):
    (tmp_path / "in").mkdir()
    detections = tmp_path / "in" / "mine.csv"
    values = dict.fromkeys(FEATURES, 0.3)
    lines = [["name", "obsid", *FEATURES]]
    lines += [[f"S{i}", i, *values.values()] for i in range(3)]
    text = "\n".join(",".join(map(str, line)) for line in lines)
    detections.write_text(text + "\n", encoding="utf-8")
    python(LACUS, installed, tmp_path, "add", "csc", "R1", "detections", "in")
    python(LACUS, installed, tmp_path, "run")
    told = python(LACUS, installed, tmp_path, "sql", "-f", "csv", "SELECT name FROM csc.features")
    assert told.split() == ['"name"', '"S0"', '"S1"', '"S2"']
    classified = python(LACUS, installed, tmp_path, "classify", detections, "--json")
    assert [row["name"] for row in json.loads(classified)["detections"]] == ["S0", "S1", "S2"]
    sample = python(LACUS, installed, tmp_path, "sample", "sample")
    assert sample.startswith("lacus add csc ")
    assert {path.name for path in tmp_path.iterdir()} == {"in", "lacus-home", "sample"}
