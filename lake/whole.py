"""Files that are there whole or not at all, whatever is killed when."""

import secrets
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file beside its place, then put it there; its folder is made if absent.

    Parameters
    ----------
    path : Path
        A file that is there is replaced.
    content : str or bytes
        Text is written as UTF-8.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Hidden, and of another ending: nothing that looks for files of a kind takes it for one.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
