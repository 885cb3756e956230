"""Silence while a library greets, and manners for what it leaves behind."""

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
    """Have the log handler that TensorFlow brings write to the process's own standard error.

    It keeps whatever `sys.stderr` was at import, and closes it as soon as anybody configures
    logging (as Dagster does) while `sys.stderr` is something else.
    """
    from absl import logging

    if sys.__stderr__ is not None:
        logging.get_absl_handler().python_handler.setStream(sys.__stderr__)
