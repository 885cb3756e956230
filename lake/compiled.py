"""How loops over the pixels of spectra are compiled.

This module needs Numba, of the extra ``cnn``. The code is compiled at its first call with a kind
of array, and kept on the disk. Kernels go through one spectrum after another, so that what they
work on stays in the cache of a core, and let other threads run beside them.
"""

import contextlib
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
    compiled = njit(nogil=True, error_model="numpy", **options)(function)
    # Where neither the folder of the source nor one of the user's can be written to, it is compiled
    # anew in every process.
    with contextlib.suppress(RuntimeError):
        compiled.enable_caching()
    return compiled
