"""Pins: names of snapshots, which a paper cites, and the products that belong to them.

A run writes products anew in their place. What a pinned snapshot names is therefore copied to
`pinned/<snapshot>/`, under the path that it has below `products/`, beside a list of checksums that
`sha256sum --check` reads.
"""

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path

import duckdb

from lake.commit import Commit
from lake.home import Home
from lake.whole import write_whole

_SUMS = "SHA256SUMS"
_PRODUCTS = "SELECT path, sha256 FROM lake.meta.products AT (VERSION => {snapshot}) ORDER BY path"


@dataclass(frozen=True)
class Pinned:
    """A pinned snapshot, and what became of its products.

    Attributes
    ----------
    snapshot : int
    folder : Path
        Where copies lie; there is none if no product is kept.
    kept : list of str
        Paths below `folder` and below `products/`.
    lost : list of str
        Products that are no more what they were at that snapshot, or are gone.
    """

    snapshot: int
    folder: Path
    kept: list[str]
    lost: list[str]


def pin(home: Home, name: str, snapshot: int | None = None) -> Pinned:
    """Name a snapshot, the present one by default, and keep its products as they are.

    Raises
    ------
    UsageError
        See `lake.store.Store.pin`.
    """
    found: list[Pinned] = []

    def keep(commit: Commit, chosen: int) -> None:
        found.append(_keep(home, chosen, _named(home, commit, chosen)))

    home.store.pin(name, snapshot, keep)
    return found[0]


def _named(home: Home, commit: Commit, snapshot: int) -> dict[str, str]:
    """SHA-256 of each product of a snapshot, by its path below `products/`."""
    try:
        rows = commit.connection.execute(_PRODUCTS.format(snapshot=snapshot)).fetchall()
    except duckdb.CatalogException:  # a snapshot from before the table of products
        return {}
    named = {home.root / path: sha256 for path, sha256 in rows}
    return {
        path.relative_to(home.products).as_posix(): sha256
        for path, sha256 in named.items()
        if path.is_relative_to(home.products)
    }


def _keep(home: Home, snapshot: int, named: dict[str, str]) -> Pinned:
    """Copy the products that are still what they were, unless another pin has done so before."""
    found = Pinned(snapshot, home.pinned / str(snapshot), [], [])
    if not named:
        return found
    # Before the copies, so that a clean-up knows those of a process that was killed in between.
    _list(found.folder, named)
    for path, sha256 in named.items():
        copy = found.folder / path
        for file in (copy, home.products / path):
            content = file.read_bytes() if file.is_file() else b""
            if hashlib.sha256(content).hexdigest() == sha256:
                if file != copy:
                    write_whole(copy, content)
                found.kept.append(path)
                break
        else:
            found.lost.append(path)
    if found.kept:
        _list(found.folder, {path: named[path] for path in found.kept})
    else:
        (found.folder / _SUMS).unlink()
        with contextlib.suppress(OSError):  # there is something else in it
            found.folder.rmdir()
    return found


def _list(folder: Path, sums: dict[str, str]) -> None:
    write_whole(folder / _SUMS, "".join(f"{sha256}  {path}\n" for path, sha256 in sums.items()))


def unneeded(home: Home, pinned: set[int]) -> list[Path]:
    """Copies of products that belong to none of these snapshots; no file of anybody else."""
    files: list[Path] = []
    for sums in sorted(home.pinned.glob(f"*/{_SUMS}")):
        folder = sums.parent
        if folder.name.isdecimal() and int(folder.name) not in pinned:
            lines = sums.read_text(encoding="utf-8").splitlines()
            copies = [folder / line.partition("  ")[2] for line in lines]
            files += [copy for copy in copies if copy.is_file()] + [sums]
    return files
