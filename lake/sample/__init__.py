"""Sample inputs in the real formats, for a first look and for tests without an archive."""

import importlib
from pathlib import Path
from typing import NamedTuple

from lake.sample.sizes import Size


class SampleFile(NamedTuple):
    """One written input, with what `lacus add` has to be told about it."""

    mission: str
    release: str
    role: str
    path: Path


#: Each has a module here, with its RELEASE and its `write_sample`.
MISSIONS = ("csc", "sdss", "ogip", "xmm")


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
    for mission in MISSIONS:
        module = importlib.import_module(f"lake.sample.{mission}")
        paths = module.write_sample(directory / mission, size=size, seed=seed)
        files += [SampleFile(mission, module.RELEASE, role, path) for role, path in paths.items()]
    return files
