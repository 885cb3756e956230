"""How loops over the pixels of spectra are compiled.

This module needs Numba, of the extra ``cnn``. The code is compiled at its first call with a kind
of array, and kept on the disk. Kernels go through one spectrum after another, so that what they
work on stays in the cache of a core, and let other threads run beside them.
"""

from collections.abc import Callable
from typing import Any

from numba import njit


def kernel(function: Callable[..., None]) -> Any:
    """Compile a loop over pixels."""
    return _compiled(function)


def summing(function: Callable[..., float]) -> Any:
    """Compile a sum, whose terms may be added in another order, several at a time."""
    return _compiled(function, fastmath={"reassoc"})


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    # A division by zero is none that has to be looked for: loops over pixels become vectors.
    options |= {"nogil": True, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:
        # Neither the folder of the source nor one of the user's can be written to: it is compiled
        # anew in every process.
        return njit(**options)(function)
