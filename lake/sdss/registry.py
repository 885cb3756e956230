"""Trained networks on the disk, under the digest of their content: a `.keras` file and a JSON.

The JSON holds the model's document, whose digest is the id, and beside it the circumstances
(time, versions) that do not make another model. The document names the digest of the network,
so that neither file can be changed or exchanged unnoticed. Nothing is unpickled.
"""

import hashlib
import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from lake.canonical import canonical_json, content_id
from lake.errors import LacusError
from lake.whole import write_whole

FORMAT = "lacus-sdss-cnn/1"

_OBJECT_ID = re.compile(rb',\s*"shared_object_id": \d+')


def network_digest(file: Path, weights: Iterable[npt.NDArray]) -> str:
    """SHA-256 over the architecture in a `.keras` file and the weights, in their order.

    The bytes of the file itself are no measure: it holds the time at which it was written, and
    addresses in memory at that time as the ids of shared objects.
    """
    with zipfile.ZipFile(file) as archive:
        architecture = _OBJECT_ID.sub(b"", archive.read("config.json"))
    digest = hashlib.sha256(architecture)
    for array in weights:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def network_path(directory: Path, identifier: str) -> Path:
    """Where the network of a model lies."""
    return directory / f"{identifier}.keras"


def write(
    directory: Path, document: Mapping[str, Any], circumstances: Mapping[str, Any], partial: Path
) -> str:
    """Put a model in its place, the JSON last: a reader finds the whole model or none.

    Parameters
    ----------
    directory : Path
    document, circumstances : mapping
        What JSON can hold.
    partial : Path
        The `.keras` file, in the same directory; it is moved.

    Returns
    -------
    str
        The model's id.
    """
    identifier = content_id(canonical_json(document))
    partial.replace(network_path(directory, identifier))
    content = {"format": FORMAT, "model": document, "circumstances": circumstances}
    text = json.dumps(content, sort_keys=True, indent=1) + "\n"
    write_whole(directory / f"{identifier}.json", text)
    return identifier


def read(directory: Path, identifier: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the JSON of a model.

    Parameters
    ----------
    directory : Path
    identifier : str

    Returns
    -------
    document, circumstances : dict

    Raises
    ------
    LacusError
        It is not there, is damaged, or its content is not that of its name.
    """
    path = directory / f"{identifier}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LacusError(f"{path}: no such model: {error.strerror}") from None
    except ValueError as error:
        raise LacusError(f"{path}: is no JSON: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise LacusError(f"{path}: is no model of the format {FORMAT}")
    try:
        document, circumstances = content["model"], content["circumstances"]
        found = content_id(canonical_json(document))
    except (KeyError, ValueError) as error:
        raise LacusError(f"{path}: is damaged: {error}") from None
    if found != identifier:
        raise LacusError(f"{path}: holds the model {found}")
    return document, circumstances
