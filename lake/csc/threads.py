"""Threads of linear algebra and k-means: one, where matrices are narrow."""

import functools
import importlib
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from threadpoolctl import threadpool_limits

_P = ParamSpec("_P")
_R = TypeVar("_R")
#: Limits that overlap would be taken back in the wrong order.
_ALONE = threading.RLock()


def one_thread(*libraries: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Make a function keep BLAS and OpenMP to one thread.

    Twelve features make matrices so narrow that threads mostly wait for each other: two of them
    take four times the processor time of one, and in k-means fifty times where other processes
    want the processors too. The results do not depend on the number of processors either. The
    limit of BLAS is that of the process, so one such function runs at a time.

    Parameters
    ----------
    *libraries : str
        Modules with a BLAS or an OpenMP of their own that the function will import: only those
        that are loaded can be kept to anything.
    """

    def decorate(work: Callable[_P, _R]) -> Callable[_P, _R]:
        @functools.wraps(work)
        def alone(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            for library in libraries:
                importlib.import_module(library)
            with _ALONE, threadpool_limits(1):
                return work(*args, **kwargs)

        return alone

    return decorate
