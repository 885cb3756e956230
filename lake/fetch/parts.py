"""Requests that are asked for part by part, each a file of the download folder."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from lake.fetch.archives import Request, Result
from lake.fetch.download import each
from lake.fetch.folder import digest
from lake.fetch.tap import forget_answers


class Part(Protocol):
    """A part of a request: its file, and what tells the archive's states of it apart."""

    @property
    def name(self) -> str:
        """Name of the file."""

    @property
    def stamp(self) -> str:
        """Another one where the archive has changed what the file is made of."""


P = TypeVar("P", bound=Part)


def bring_parts(
    request: Request, parts: Sequence[P], names: set[str], bring: Callable[[P], None], what: str
) -> Result:
    """Have the files of all parts in the request's folder, and no others.

    Parameters
    ----------
    request : Request
    parts : sequence of Part
    names : set of str
        Names of the files; `bring` changes it where a part turns out to have no rows, or makes
        other files.
    bring : callable
        Has the file of a part; called in several threads. It raises FetchError.
    what : str
        What parts are called, for the report.

    Returns
    -------
    Result

    Raises
    ------
    FetchError
        If no part could be had.
    """
    failures = each(
        request.session, parts, bring, lambda done: request.report(what, done, len(parts))
    )
    if parts and len(failures) == len(parts):
        raise failures[0]
    request.folder.keep(names)
    if not failures:
        forget_answers(request.folder)
    return Result(state_of(parts), failures)


def is_here(request: Request, part: Part) -> bool:
    """Whether the file of a part is here, as the archive has it now."""
    here = request.folder.complete(part.name)
    return here is not None and here.stamp == part.stamp


def state_of(parts: Sequence[Part]) -> str:
    """Digest of the stamps of all parts: the archive's state."""
    return digest([part.name, part.stamp] for part in parts)
