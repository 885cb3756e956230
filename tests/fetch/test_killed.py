"""A fetch that is killed at any moment and started again ends as an undisturbed one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lake
from lake.fetch.folder import Folder, partial
from tests.fetch.server import Fault, Server
from tests.sdss import sas

SIZE = 1 << 18
WHERE = sas.folder("sdss/spectro/redux/26", 266)
BODIES = {sas.name(266, 51602, fiber): os.urandom(SIZE) for fiber in range(1, 21)}


@pytest.fixture
def server():
    with Server() as running:
        for name, body in BODIES.items():
            running.put(WHERE + name, body)
            running.always(WHERE + name, Fault(pause=0.05))
        yield running


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "home" / "archive" / "sdss" / "DR17" / "sdss"


def start(home: Path, server: Server) -> subprocess.Popen[str]:
    """`lacus fetch`, in a process that heeds an interrupt, also below a shell that ignores it."""
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        " from pipelines.cli import main; main(prog_name='lacus')"
    )
    words = ["--home", str(home), "fetch", "sdss", "-r", "DR17", "--plates", "266"]
    return subprocess.Popen(
        [sys.executable, "-c", code, *words,
         "--url", f"{server.url}/sas"],
        env={**os.environ, "PYTHONPATH": str(Path(lake.__file__).parents[1])},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def when(process: subprocess.Popen[str], moment) -> None:
    """Wait for a moment while the process runs."""
    while not moment():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.002)


def visible(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.fits")}


def test_killed_while_files_and_a_slow_body_come(server, folder, tmp_path):
    slow = WHERE + next(iter(BODIES))
    part = partial(folder / "0266" / slow.rpartition("/")[2])
    server.always(slow, Fault(pause=0.3))
    had = 0
    moments = [
        lambda: server.count()[WHERE] == 1,  # the listing is asked for
        lambda: part.exists() and part.stat().st_size > 0,  # a body comes
        lambda: len(visible(folder)) >= had + 2,  # files take their places
        lambda: len(visible(folder)) >= had + 2,
    ]
    noted: set[str] = set()
    for number, moment in enumerate(moments):
        before, had = server.count(), len(visible(folder))
        process = start(tmp_path / "home", server)
        when(process, moment)
        process.send_signal(signal.SIGINT if number == 3 else signal.SIGKILL)
        said = process.communicate(timeout=60)[1]
        assert process.returncode == (1 if number == 3 else -signal.SIGKILL)
        assert "Traceback" not in said
        assert visible(folder).items() <= BODIES.items()
        assert not (tmp_path / "home" / "sources.toml").exists()
        asked_twice = [name for name in noted if server.count()[path(name)] > before[path(name)]]
        assert asked_twice == []
        noted = set(Folder(folder).entries)

    server.heal()
    before = server.count()
    process = start(tmp_path / "home", server)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 0, said
    assert f"{len(BODIES) - len(noted)} files new" in said
    assert visible(folder) == BODIES
    assert [name for name in noted if server.count()[path(name)] > before[path(name)]] == []
    assert server.count("GET", 206)[slow] >= 1  # it went on where it was
    assert [s.release for s in lake.open(tmp_path / "home").sources()] == ["DR17"]


def path(name: str) -> str:
    return WHERE + name.rpartition("/")[2]
