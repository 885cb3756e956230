"""One home in which the small sample was run; tests that change it work on a copy."""

import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from click.testing import CliRunner, Result

from pipelines.cli import main

Cli = Callable[..., Result]

#: Too few detections for a model, so that a run takes a moment.
TINY = "name,obsid,ra,dec\n2CXO J000001.0+000001,1,10.5,20.5\n2CXO J000002.0+000002,2,11.5,-21.5\n"


@pytest.fixture(scope="session", autouse=True)
def migrations_of_dagster() -> Iterator[None]:
    """Read the migrations of Dagster's databases once: every run makes and opens several."""
    read = cache(ScriptDirectory.from_config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", read)
        yield


@pytest.fixture(scope="module", autouse=True)
def runs_in_one_thread(one_thread) -> None:
    """Runs are of a few rows; the demo, and what runs in another process, has all threads."""


@pytest.fixture(autouse=True)
def no_home_of_the_user(monkeypatch):
    monkeypatch.delenv("LACUS_HOME", raising=False)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


@pytest.fixture(scope="session")
def lacus() -> Cli:
    """Run a command of `lacus` in this process; an error that it does not handle fails the test."""

    def invoke(*words: object, home: Path | None = None, **options: object) -> Result:
        before = ["--home", str(home)] if home is not None else []
        return CliRunner().invoke(
            main, [*before, *map(str, words)], catch_exceptions=False, **options
        )

    return invoke


@pytest.fixture(scope="session")
def demo(tmp_path_factory, lacus) -> tuple[Path, Result]:
    """A home after `lacus demo`, which no test may change, and what the command printed."""
    home = tmp_path_factory.mktemp("demo") / "home"
    result = lacus("demo", home=home)
    assert result.exit_code == 0, result.output
    return home, result


@pytest.fixture
def home(demo, tmp_path) -> Path:
    """A copy of the home of the demo: DATA_PATH and all, a home may be moved."""
    return Path(shutil.copytree(demo[0], tmp_path / "home"))


@pytest.fixture
def tiny(tmp_path) -> Path:
    path = tmp_path / "tiny.csv"
    path.write_text(TINY, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory, lacus) -> Path:
    """A home of two detections, ingested and with features, which no test may change."""
    root = tmp_path_factory.mktemp("tiny")
    file = root / "tiny.csv"
    file.write_text(TINY, encoding="utf-8")
    assert lacus("add", "csc", "R1", "detections", file, home=root / "home").exit_code == 0
    result = lacus("run", "csc.features", home=root / "home")
    assert result.exit_code == 0, result.output
    return root / "home"


@pytest.fixture
def tiny_home(tiny_run, tmp_path) -> Path:
    """A copy of the home of two detections; its input stays where it was."""
    return Path(shutil.copytree(tiny_run, tmp_path / "tiny-home"))
