"""The state of a training on the disk, so that an interrupted one goes on where it was."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

#: Lists of arrays by what they are (``network``, ``optimizer``, ``best``).
Arrays = dict[str, list[npt.NDArray]]


def write(path: Path, arrays: Arrays, facts: dict[str, Any]) -> None:
    """Write a state; a reader finds the old state or the new one, whole.

    Parameters
    ----------
    path : Path
        Replaced if it exists; its folder is made.
    arrays : dict of list of ndarray
    facts : dict
        What JSON can hold.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    named = {f"{kind}_{i:04d}": a for kind, list_ in arrays.items() for i, a in enumerate(list_)}
    with partial.open("wb") as stream:
        np.savez(stream, allow_pickle=False, facts=np.array(json.dumps(facts)), **named)
    partial.replace(path)


def read(path: Path) -> tuple[Arrays, dict[str, Any]] | None:
    """Read a state.

    Parameters
    ----------
    path : Path

    Returns
    -------
    tuple or None
        What `write` was given; None where there is no state, or only a damaged one, since a
        training that starts anew comes to the same end.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays: Arrays = {}
            for name in sorted(set(stored.files) - {"facts"}):
                arrays.setdefault(name.rsplit("_", 1)[0], []).append(stored[name])
            return arrays, json.loads(str(stored["facts"]))
    except (FileNotFoundError, zipfile.BadZipFile, EOFError, KeyError, ValueError):
        return None
