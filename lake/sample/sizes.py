"""How much sample data is written."""

from collections.abc import Mapping
from typing import Literal

from lake.errors import UsageError

Size = Literal["small", "medium", "large"]


def number_of(size: Size | int, sizes: Mapping[str, int]) -> int:
    """Give the number that a size stands for; a number above 0 is one already.

    Raises
    ------
    UsageError
        For an unknown size.
    """
    number = sizes.get(size, 0) if isinstance(size, str) else size
    if number < 1:
        raise UsageError(f"no sample of size {size!r}; there are {', '.join(sizes)} and numbers")
    return number
