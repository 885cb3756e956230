"""Silence while a library greets, and manners for what it leaves behind."""

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep back what is written to standard error, by C++ too, unless the block fails.

    TensorFlow writes a few lines at import before its own log level is in force.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as buffer:
        os.dup2(buffer.fileno(), 2)
        try:
            yield
        except BaseException:
            buffer.seek(0)
            os.write(kept, buffer.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def tame_logging() -> None:
    """Have TensorFlow log errors alone, to the process's own standard error.

    Its log handler keeps whatever `sys.stderr` was at import, and closes it as soon as anybody
    configures logging (as Dagster does) while `sys.stderr` is something else. Its warnings are
    advice on its use, such as not to trace many functions: every network has its own.
    """
    from absl import logging as absl_logging

    if sys.__stderr__ is not None:
        absl_logging.get_absl_handler().python_handler.setStream(sys.__stderr__)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
