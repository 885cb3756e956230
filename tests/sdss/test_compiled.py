"""Compiled loops over pixels."""

import subprocess
import sys

import pytest

pytest.importorskip("numba")

_WITHOUT_A_CACHE = """
import numba.core.caching
numba.core.caching.CacheImpl._locator_classes = []

import numpy as np
from lake.sdss.channels import flatten

assert (flatten(np.full((2, 9), 3.0), np.ones((2, 9), bool), 2) == 1).all()
"""


def test_kernels_work_where_nothing_can_be_kept_on_the_disk():
    run = subprocess.run(
        [sys.executable, "-c", _WITHOUT_A_CACHE], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
