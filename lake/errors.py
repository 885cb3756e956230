"""What can go wrong, said so that the reader knows which file to open and what to change."""

from pathlib import Path


class LacusError(Exception):
    """Any failure that is the user's to read; its text stands alone, without a traceback."""


class UsageError(LacusError):
    """The command or call itself is wrong: an unknown table, release, role or option."""


class InputError(LacusError):
    """An input file that cannot be taken.

    Parameters
    ----------
    path : str or Path
        The file.
    problem : str
        What was found and what was expected.
    where : str, optional
        The place in the file, in the file's own terms: ``"row 17, column 'ra'"``,
        ``"HDU 1"``. Rows count from 1.
    """

    def __init__(self, path: str | Path, problem: str, where: str | None = None) -> None:
        self.path = str(path)
        self.problem = problem
        self.where = where
        super().__init__(f"{self.path}: {where}: {problem}" if where else f"{self.path}: {problem}")

    @property
    def reason(self) -> str:
        """The text without the path, as `meta.files` records it."""
        return f"{self.where}: {self.problem}" if self.where else self.problem

    def __reduce__(self) -> tuple[type, tuple[str, str, str | None]]:
        """Rebuild from the three parts, so that the error crosses process boundaries."""
        return (type(self), (self.path, self.problem, self.where))
