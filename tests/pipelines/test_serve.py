"""`lacus ui`: for this machine alone, on this home, and ended by an interrupt."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

import lake
from lake import contracts
from pipelines import serve

RUNS = "{runsOrError {... on Runs {results {jobName status tags {key value}}}}}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_port_that_is_taken_is_told(lacus, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = lacus("ui", "--port", taken.getsockname()[1], home=tmp_path / "home")
    assert result.exit_code == 2
    assert "already in use" in result.stderr
    assert "lacus ui --port" in result.stderr


def test_a_home_that_cannot_be_made_is_told(tiny):
    with pytest.raises(lake.LacusError, match=r"tiny.csv.*cannot be written"):
        serve.ui(lake.open(tiny / "home"), free_port())


def test_files_of_dagster_that_do_not_work_are_told_before_it_starts(tmp_path):
    home = lake.open(tmp_path / "home")
    home.dagster.mkdir(parents=True)
    (home.dagster / "dagster.yaml").write_text("telemetry: [", encoding="utf-8")
    with pytest.raises(lake.LacusError, match="Dagster's own files do not work"):
        serve.ui(home, free_port())


def listening(pid: int) -> set[str]:
    """Local addresses on which a process and those below it listen (Linux)."""
    sockets = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(process.name)) != pid:
                continue
            sockets |= {os.readlink(link) for link in (process / "fd").iterdir()}
        except OSError:  # it has ended
            continue
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
                found.add(words[1].split(":")[0])
    return found


def children(pid: int) -> list[int]:
    done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(word) for word in done.stdout.split()]


def alive(group: int) -> bool:
    """Whether a process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_the_ui_shows_the_runs_of_this_home(demo, tmp_path):
    port, log = free_port(), tmp_path / "log"
    # A file of the folder that the user is in, of a name that Dagster imports, is nobody's module.
    (tmp_path / "gql.py").write_text("raise SystemExit(1)\n", encoding="utf-8")
    script = Path(sys.executable).with_name("lacus")
    with log.open("w") as stream:
        process = subprocess.Popen(
            [str(script), "--home", str(demo[0]), "ui", "--port", str(port)],
            cwd=tmp_path, stdout=stream, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(url, timeout=10) as answer:
                    assert answer.status == 200
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.3)
        body = json.dumps({"query": RUNS}).encode()
        request = urllib.request.Request(
            f"{url}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            runs = json.load(answer)["data"]["runsOrError"]["results"]
        assert {(run["jobName"], run["status"]) for run in runs} == {
            (f"{mission}_release", "SUCCESS") for mission in contracts.missions()
        }
        tags = [tag for run in runs for tag in run["tags"]]
        assert {"key": "dagster/partition", "value": "CSC-sample"} in tags
        (group,) = children(process.pid)
        if Path("/proc/net/tcp").exists():
            assert listening(group) == {"0100007F"}  # 127.0.0.1 alone
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(60)
    assert code == 0
    assert log.read_text() == (
        f"✓ Dagster UI on http://127.0.0.1:{port} (home {demo[0]}); Ctrl-C ends it\n"
    )
    deadline = time.monotonic() + 20
    while alive(group):
        assert time.monotonic() < deadline
        time.sleep(0.2)
