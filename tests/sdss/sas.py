"""A Science Archive Server of a few plates, on this machine."""

import functools
import hashlib

import numpy as np

from tests.fetch.server import Server
from tests.sdss import files

#: Reduction, plate, MJD, fibres.
PLATES = (
    ("sdss/spectro/redux/26", 266, 51602, (1, 2)),
    ("sdss/spectro/redux/26", 266, 51630, (1,)),
    ("sdss/spectro/redux/26", 1000, 52643, (3,)),
    ("sdss/spectro/redux/104", 2805, 54380, (7,)),
    ("eboss/spectro/redux/v5_13_2", 3586, 55181, (1, 190)),
)


@functools.cache
def body(plate: int, mjd: int, fiber: int, seed: int = 0) -> bytes:
    """A lite spectrum, of other bytes for another seed."""
    row = files.SPECOBJ | {
        "PLATE": np.int32(plate), "MJD": np.int32(mjd), "FIBERID": np.int32(fiber),
    }  # fmt: skip
    columns = files.pixels(seed=plate + fiber + seed)
    return files.spec(columns, row, PLATEID=plate, MJD=mjd, FIBERID=fiber)


def folder(reduction: str, plate: int, release: str = "dr17") -> str:
    return f"/sas/{release}/{reduction}/spectra/lite/{plate:04d}/"


def name(plate: int, mjd: int, fiber: int) -> str:
    return f"spec-{plate:04d}-{mjd}-{fiber:04d}.fits"


def path(plate: int, mjd: int, fiber: int) -> str:
    reduction = next(r for r, p, _, _ in PLATES if p == plate)
    return folder(reduction, plate) + name(plate, mjd, fiber)


def fill(server: Server, *, checksums: bool = False) -> None:
    """Put all plates there."""
    for reduction, plate, mjd, fibers in PLATES:
        for fiber in fibers:
            where = folder(reduction, plate)
            server.put(where + name(plate, mjd, fiber), body(plate, mjd, fiber))
            server.put(where + f"spPlate-{plate}-{mjd}.fits", b"another file")
    if checksums:
        for reduction, plate, *_ in PLATES:
            sums(server, folder(reduction, plate))


def sums(server: Server, where: str) -> None:
    """Write down the checksums of a folder, as the server has them."""
    lines = [
        f"{hashlib.sha1(document.body).hexdigest()}  ./{path.rpartition('/')[2]}\n"
        for path, document in sorted(server.documents.items())
        if path.startswith(where) and path.endswith(".fits")
    ]
    server.put(f"{where}lite_{where.split('/')[-2]}.sha1sum", "".join(lines).encode())
