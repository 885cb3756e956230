"""Files that are there whole or not at all, whatever is killed when."""

import contextlib
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

#: How a file is called while it is being written: hidden, and of another ending, so that nothing
#: which looks for files of a kind takes it for one.
_PARTIAL = re.compile(r"\..+\.[0-9a-f]{8}")
_LIFE_S = 86_400.0


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
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def partials(folder: Path) -> Iterator[Path]:
    """Give the files of a folder, and of those below it, that are being written or never will be.

    What is killed while it writes a file leaves one.
    """
    for path in sorted(folder.rglob(".*")):
        if _PARTIAL.fullmatch(path.name) and path.is_file():
            yield path


def is_abandoned(path: Path) -> bool:
    """Whether a file or folder that is being written never will be: nothing takes a day.

    A folder is as young as the youngest of what lies in it.
    """
    with contextlib.suppress(FileNotFoundError):  # its writer has just taken it away
        inside = path.rglob("*") if path.is_dir() and not path.is_symlink() else ()
        youngest = max(each.lstat().st_mtime for each in (path, *inside))
        return time.time() - youngest > _LIFE_S
    return False
