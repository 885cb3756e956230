"""DuckDB as the lake opens it."""

import os
import subprocess
import sys

_CODE = """
import pyarrow as pa
from lake import extensions
from pipelines import show

with extensions.connect() as connection:
    found = connection.cursor().execute(
        "SELECT t, t::VARCHAR FROM (SELECT TIMESTAMPTZ '2026-01-02 03:04:05Z' AS t)"
    )
    at, text = found.fetchone()
    print(at.isoformat(), text)
show.arrow(pa.table({"at": [at]}), "table")
"""


def test_times_are_utc_wherever_the_machine_is():
    done = subprocess.run(
        [sys.executable, "-c", _CODE],
        env=os.environ | {"TZ": "America/New_York"},
        capture_output=True,
        text=True,
        check=True,
    )
    first, *box = done.stdout.splitlines()
    assert first == "2026-01-02T03:04:05+00:00 2026-01-02 03:04:05+00"
    assert any("2026-01-02 03:04:05+00" in line for line in box)


def test_no_progress_bar_is_drawn_into_results():
    code = (
        "from lake import extensions\n"
        "with extensions.connect() as connection:\n"
        "    for each in connection, connection.cursor():\n"
        "        print(each.execute(\"SELECT current_setting('enable_progress_bar')\").fetchone())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["(False,)", "(False,)"]
