"""What is measured is what users wait for."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def new_lakes():
    """Made from nothing, as anywhere but in tests."""
