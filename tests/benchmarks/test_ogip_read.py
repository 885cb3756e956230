"""Reading a response whole, against a loop over its rows: run with `-m benchmark -s`."""

import io
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from lake.ogip import read_rmf

#: Energy bins and channels; each bin reaches this many channels.
SIZE, WIDTH = 4096, 900
REPEATS = 3


def _file(path: Path) -> Path:
    """A response of variable length whose arrays lie row by row, as most writers put them."""
    first = np.clip(np.arange(SIZE) - WIDTH // 2, 0, SIZE - WIDTH)
    rows = np.zeros(SIZE, [("lo", ">f4"), ("hi", ">f4"), ("g", ">i2"), ("f", ">i4", 2),
                           ("n", ">i4", 2), ("m", ">i4", 2)])  # fmt: skip
    edges = np.linspace(0.1, 12, SIZE + 1)
    rows["lo"], rows["hi"], rows["g"] = edges[:-1], edges[1:], 1
    start = np.arange(SIZE) * (4 + 4 * WIDTH)
    for name, size, offset in (("f", 1, 0), ("n", 1, 2), ("m", WIDTH, 4)):
        rows[name] = np.stack([np.full(SIZE, size), start + offset], axis=1)
    heap = np.zeros(SIZE, [("f", ">i2"), ("n", ">i2"), ("m", ">f4", WIDTH)])
    heap["f"], heap["n"] = first + 1, WIDTH
    heap["m"] = np.random.default_rng(1).random((SIZE, WIDTH)) / WIDTH
    columns = [
        fits.Column(name, form, unit=unit)
        for name, form, unit in (
            ("ENERG_LO", "E", "keV"), ("ENERG_HI", "E", "keV"), ("N_GRP", "I", None),
            ("F_CHAN", "PI(1)", None), ("N_CHAN", "PI(1)", None), ("MATRIX", f"PE({WIDTH})", None),
        )
    ]  # fmt: skip
    matrix = fits.BinTableHDU.from_columns(columns)
    matrix.header.update(EXTNAME="MATRIX", HDUCLAS1="RESPONSE", HDUCLAS2="RSP_MATRIX", TLMIN4=1,
                         NAXIS2=SIZE, PCOUNT=heap.nbytes)  # fmt: skip
    energies = fits.BinTableHDU.from_columns(
        [fits.Column("CHANNEL", "J", array=np.arange(1, SIZE + 1)),
         fits.Column("E_MIN", "E", "keV", array=edges[:-1]),
         fits.Column("E_MAX", "E", "keV", array=edges[1:])],
        name="EBOUNDS",
    )  # fmt: skip
    out = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), energies]).writeto(out)
    data = rows.tobytes() + heap.tobytes()
    header = matrix.header.tostring().encode()
    path.write_bytes(out.getvalue() + header + data + bytes(-len(data) % 2880))
    return path


def _by_rows(path: Path) -> np.ndarray:
    """Read a response as a program does that looks at one row after the other."""
    with fits.open(path) as file:
        data = file["MATRIX"].data
        matrix = np.zeros((len(data), len(file["EBOUNDS"].data)))
        for i in range(len(data)):
            first, size, at = data["F_CHAN"][i], data["N_CHAN"][i], 0
            for group in range(data["N_GRP"][i]):
                channel = first[group] - 1
                end = at + size[group]
                matrix[i, channel : channel + size[group]] = data["MATRIX"][i][at:end]
                at = end
    return matrix


def _seconds(work: Callable[[], object]) -> float:
    best = np.inf
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


@pytest.mark.benchmark
def test_reading_a_response(tmp_path):
    path = _file(tmp_path / "x.rmf")
    response = read_rmf(path)
    assert np.array_equal(response.as_sparse().toarray(), _by_rows(path))
    whole, rows = _seconds(lambda: read_rmf(path)), _seconds(lambda: _by_rows(path))
    tracemalloc.start()
    read_rmf(path)
    peak = tracemalloc.get_traced_memory()[1] / response.matrix.nbytes
    tracemalloc.stop()
    print(f"\n{SIZE} x {SIZE}: {1e3 * whole:.1f} ms, by rows {1e3 * rows:.0f} ms,"
          f" {rows / whole:.1f} times; memory {peak:.2f} times the matrix column")  # fmt: skip
