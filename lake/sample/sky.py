"""Synthetic X-ray sources on the sky: fields, their observations, positions and names."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SOURCES_PER_STACK = 20
OBSERVATIONS_PER_STACK = 10
# Every so many stacks is one of the HRC, which has no energy resolution.
_HRC_EVERY = 40


class Sky(NamedTuple):
    """Sources, `SOURCES_PER_STACK` to a stack of observations; angles in degrees."""

    stack: IntArray
    region_id: IntArray
    ra: FloatArray
    dec: FloatArray
    offset: FloatArray  # from the pointing, arcmin
    stack_name: npt.NDArray[np.bytes_]
    is_hrc: npt.NDArray[np.bool_]
    start: FloatArray  # of each observation, shape (stacks, observations), s
    elapse: FloatArray


def draw_sky(rng: np.random.Generator, stacks: IntArray, lattice: int) -> Sky:
    """Place stacks on a Fibonacci lattice, so that no two fields overlap, and sources in them.

    Parameters
    ----------
    rng : numpy.random.Generator
    stacks : ndarray of int
        Numbers of the stacks to draw, each in 0..lattice-1.
    lattice : int
        How many stacks the whole sky has.

    Returns
    -------
    Sky
    """
    stride = round(lattice * 0.618) or 1
    while math.gcd(stride, lattice) > 1:
        stride += 1
    place = stacks * stride % lattice
    sine = 0.999 * (1 - (2 * place + 1) / lattice)
    dec0 = np.asarray(np.degrees(np.arcsin(sine)), np.float64)
    ra0: FloatArray = (place * 137.50776405 % 360).astype(np.float64)
    n = len(stacks) * SOURCES_PER_STACK
    region = np.tile(np.arange(SOURCES_PER_STACK), len(stacks))
    # One source to a sector: two cannot share a position, and so a name.
    angle = 2 * np.pi * (region + rng.uniform(0.1, 0.9, n)) / SOURCES_PER_STACK
    offset = 0.3 + 12 * np.sqrt(rng.uniform(size=n))
    dec = np.repeat(dec0, SOURCES_PER_STACK) + offset * np.cos(angle) / 60
    across = offset * np.sin(angle) / 60 / np.cos(np.radians(dec))
    is_hrc = stacks % _HRC_EVERY == _HRC_EVERY // 2
    shape = (len(stacks), OBSERVATIONS_PER_STACK)
    exposure = rng.lognormal(math.log(4e4), 0.7, shape)
    return Sky(
        stack=np.repeat(stacks, SOURCES_PER_STACK),
        region_id=region + 1,
        ra=(np.repeat(ra0, SOURCES_PER_STACK) + across) % 360,
        dec=dec,
        offset=offset,
        stack_name=_stack_names(ra0, dec0, is_hrc),
        is_hrc=is_hrc,
        start=np.round(rng.uniform(5.5e7, 5.2e8, shape), 3),
        elapse=np.asarray(np.round(exposure.clip(1e3, 1.8e5), 3), np.float64),
    )


def _digits(values: IntArray, places: int) -> npt.NDArray[np.uint8]:
    """Decimal digits of non-negative integers as ASCII, shape (n, places)."""
    powers = 10 ** np.arange(places - 1, -1, -1)
    return (values[:, None] // powers % 10 + ord("0")).astype(np.uint8)


def _joined(n: int, *parts: bytes | npt.NDArray[np.uint8]) -> npt.NDArray[np.bytes_]:
    """Fixed texts and blocks of characters side by side, as n byte strings."""
    blocks = [
        np.tile(np.frombuffer(part, np.uint8), (n, 1)) if isinstance(part, bytes) else part
        for part in parts
    ]
    text = np.ascontiguousarray(np.concatenate(blocks, axis=1))
    return text.view(f"S{text.shape[1]}")[:, 0]


def _sexagesimal(ra: FloatArray, dec: FloatArray) -> tuple[npt.NDArray[np.uint8], ...]:
    """Digits of hhmmss, of tenths of a second, and of ddmmss; cut off, as the IAU wants names."""
    tenths = np.floor(ra / 15 * 36000).astype(np.int64)
    seconds = np.floor(np.abs(dec) * 3600).astype(np.int64)
    hms = [tenths // 36000, tenths // 600 % 60, tenths // 10 % 60]
    dms = [seconds // 3600, seconds // 60 % 60, seconds % 60]
    return (
        np.hstack([_digits(part, 2) for part in hms]),
        _digits(tenths % 10, 1),
        np.hstack([_digits(part, 2) for part in dms]),
    )


def source_names(ra: FloatArray, dec: FloatArray) -> npt.NDArray[np.bytes_]:
    """Names ``2CXO Jhhmmss.s{+|-}ddmmss`` of positions in degrees."""
    hms, tenth, dms = _sexagesimal(ra, dec)
    sign = np.where(dec < 0, ord("-"), ord("+")).astype(np.uint8)[:, None]
    return _joined(len(ra), b"2CXO J", hms, b".", tenth, sign, dms)


def _stack_names(
    ra: FloatArray, dec: FloatArray, is_hrc: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bytes_]:
    hms, tenth, dms = _sexagesimal(ra, dec)
    sign = np.where(dec < 0, ord("m"), ord("p")).astype(np.uint8)[:, None]
    rest = _joined(len(ra), b"fJ", hms, tenth, sign, dms, b"_001")
    return np.char.add(np.where(is_hrc, b"hrc", b"acis"), rest)
