"""A reader that gives other rows for the same file has another version: else old rows would stay.

Every role reads the same files, plain and awkward ones, as an ingest does; a digest of their rows
is written down here beside the role's version.
"""

import hashlib
import json
from datetime import datetime
from typing import Any

import pytest
from astropy.io import fits

from lake import contracts, inputs
from lake.home import Home, Source
from lake.ingest import ingest
from tests.reader_files import WRITERS

#: Of each role its version, and the digest of what its reader of that version makes of the files.
READERS = {
    ("csc", "detections"): (2, "4b41da73061f4090"),
    ("csc", "labels"): (2, "7fcd565126a6ea72"),
    ("ogip", "spectra"): (4, "f90cef9298b66dd3"),
    ("sdss", "spectra"): (4, "ab3b1d7b680b273f"),
    ("sdss", "labels"): (2, "b05cb8caa082abdb"),
    ("xmm", "masks"): (5, "1937d0a36637e198"),
    ("xmm", "images"): (4, "a303f099036dd40b"),
    ("xmm", "control"): (3, "5356c22e9cbac428"),
}
#: Columns that say when the rows were made.
_TIMES = {"sdss.loading_log": ["timestamp"]}
#: Digits that are compared: sums, powers and sines end in other bits on another processor, and
#: what another reader makes of a file differs by more. Single precision has nine, and is exact.
_DIGITS = 12
#: Sides of boxes are small differences of places on the sky.
_FEWER_DIGITS = {"xmm.mask_regions": 9}


def _said(value: Any, digits: int = _DIGITS) -> Any:
    """A value as JSON can hold it, the same on every machine."""
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    if isinstance(value, list):
        return [_said(each, digits) for each in value]
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, datetime) else value


def _row(row: dict[str, Any], table: str) -> str:
    """A row without what is null, so that a column that no reader fills changes nothing."""
    if table == "ogip.hdus":  # the comments are those of whatever wrote the file
        cards = fits.Header.fromstring(row["header"]).cards
        row["header"] = [[card.keyword, _said(card.value)] for card in cards]
    left_out = _TIMES.get(table, [])
    digits = _FEWER_DIGITS.get(table, _DIGITS)
    said = {k: _said(v, digits) for k, v in row.items() if v is not None and k not in left_out}
    return json.dumps(said, sort_keys=True)


def _lines(home: Home, mission: str, role: inputs.Role) -> list[str]:
    """What became of the files of a role, and all rows that are from them."""
    files = home.sql(
        "SELECT name, sha256, path, status, rows_read, rows_committed, rows_rejected"
        " FROM meta.files WHERE mission = ? AND role = ?",
        [mission, role.name],
    ).fetchall()
    assert {status for _, _, _, status, *_ in files} == {"committed", "rejected"}
    lines = [json.dumps([name, *counts]) for name, _, _, *counts in files]
    for table in role.tables:
        rows = home.store.arrow(f"SELECT * FROM {table}").to_pylist()
        lines += [f"{table} {_row(row, table)}" for row in rows]
    # Whole digests and paths, and the parts of digests that are in identifiers.
    names = {text: name for name, sha256, path, *_ in files for text in (sha256, path)}
    names |= {sha256[:8]: name for name, sha256, *_ in files}
    for text, name in names.items():
        lines = [line.replace(text, name) for line in lines]
    return sorted(lines)


@pytest.fixture(scope="module")
def ingested(tmp_path_factory) -> Home:
    """A home with the files of all missions."""
    folder = tmp_path_factory.mktemp("readers")
    home = Home(folder / "home")
    for mission, write in WRITERS.items():
        for given in write(folder / mission):
            home.add(Source(mission, "R", given.role, (given.path,), given.options))
        ingest(home, mission, "R")
    return home


@pytest.mark.parametrize(
    ("mission", "name"),
    [(mission, name) for mission in contracts.missions() for name in inputs.roles(mission)],
)
def test_a_reader_gives_the_rows_that_are_written_down_for_its_version(ingested, mission, name):
    role = inputs.role(mission, name)
    lines = _lines(ingested, mission, role)
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    version, known = READERS.get((mission, name), (0, ""))
    if (role.version, digest) == (version, known):
        return
    if role.version == version:
        pytest.fail(
            f"{mission} {name} gives other rows for the same files, and its version is {version} as"
            f" before: homes would keep the old rows. Raise the version and write down"
            f' ({version + 1}, "{digest}"); if only the files of this test are others,'
            f' ({version}, "{digest}").'
        )
    pytest.fail(
        f"{mission} {name} is of version {role.version}, and {version} is written down: write down"
        f' ({role.version}, "{digest}")'
    )
