"""The Dagster UI as a child process: web server, daemon and code server under `dagster dev`."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import FrameType

import lake
import pipelines
from pipelines import jobs, show

#: The UI starts runs without asking who asks: it is for this machine alone.
HOST = "127.0.0.1"

#: `dg dev`, which Dagster would rather have, is a package for developers.
_SILENCED = "ignore:Function `dev_command` is superseded"


def ui(home: lake.Home, port: int) -> int:
    """Serve until an interrupt, SIGTERM or SIGHUP; returns the exit code.

    Raises
    ------
    UsageError
        If the port is taken.
    LacusError
        If the home's Dagster folder is damaged, or cannot be written.
    """
    _check_free(port)
    with jobs.instance(home):  # what is wrong with it is told in words here, by Dagster in a trace
        pass
    warnings = ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), _SILENCED]))
    environment = {**os.environ, **jobs.environment(home), "PYTHONWARNINGS": warnings}
    # Nothing is imported from the folder that the user happens to be in, by any of its children.
    environment["PYTHONSAFEPATH"] = "1"
    command = [sys.executable, "-m", "dagster", "dev", "-m", "pipelines.definitions"]
    command += ["-d", str(Path(pipelines.__file__).parents[1])]
    command += ["-h", HOST, "-p", str(port), "--log-level", "warning"]
    # In a session of its own, so that a Ctrl-C reaches it once, from here.
    child = subprocess.Popen(command, env=environment, start_new_session=True)
    asked = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        child.send_signal(signal.SIGINT if not asked else signal.SIGTERM)
        asked = True

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    show.done(f"Dagster UI on http://{HOST}:{port} (home {home.root}); Ctrl-C ends it")
    code = child.wait()
    with contextlib.suppress(ProcessLookupError):  # else the code server waits for its heartbeat
        os.killpg(child.pid, signal.SIGTERM)
    return 0 if asked else code or 1


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise lake.UsageError(
                f"port {port}: {error.strerror}; `lacus ui --port` takes another"
            ) from None
