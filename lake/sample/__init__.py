"""Sample inputs in the real formats, for a first look and for tests without an archive."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

Size = Literal["small", "medium", "large"]


class SampleFile(NamedTuple):
    """One written input, with what `lacus add` has to be told about it."""

    mission: str
    release: str
    role: str
    path: Path


class _Write(Protocol):
    def __call__(self, directory: Path, *, size: Size, seed: int) -> dict[str, Path]:
        """Write the inputs of one mission; the paths by role."""


def _csc() -> tuple[str, _Write]:
    from lake.sample import csc

    return csc.RELEASE, csc.write_sample


def _sdss() -> tuple[str, _Write]:
    from lake.sample import sdss

    return sdss.RELEASE, sdss.write_sample


def _xmm() -> tuple[str, _Write]:
    from lake.sample import xmm

    return xmm.RELEASE, xmm.write_sample


# A mission's release and writer, imported when asked for.
MISSIONS: dict[str, Callable[[], tuple[str, _Write]]] = {"csc": _csc, "sdss": _sdss, "xmm": _xmm}


def write_samples(directory: Path, size: Size = "small", seed: int = 42) -> list[SampleFile]:
    """Write the sample inputs of every mission, each in a folder of its own.

    Parameters
    ----------
    directory : Path
        Made if absent.
    size : {"small", "medium", "large"}
    seed : int
        The same seed gives the same bytes.

    Returns
    -------
    list of SampleFile
        In the order in which they are to be added.
    """
    files = []
    for mission, load in MISSIONS.items():
        release, write = load()
        paths = write(directory / mission, size=size, seed=seed)
        files += [SampleFile(mission, release, role, path) for role, path in paths.items()]
    return files
