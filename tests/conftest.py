"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The directory of real data; the test is skipped where there is none."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("LACUS_REAL_DATA") or default)
    if not root.is_dir():
        pytest.skip(f"no real data at {root} (set LACUS_REAL_DATA)")
    return root
