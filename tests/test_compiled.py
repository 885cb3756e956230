import numpy as np
import pytest

pytest.importorskip("numba")

from lake.compiled import kernel


@pytest.fixture(params=["kept", "not kept", "not compiled"])
def how(request, monkeypatch) -> None:
    """Whether what is compiled can be kept; Numba is told not to compile, to find a fault."""
    if request.param == "not kept":
        monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])
    elif request.param == "not compiled":
        monkeypatch.setattr("numba.core.config.DISABLE_JIT", True)


@pytest.mark.usefixtures("how")
def test_a_loop_gives_the_same_however_it_runs():
    def total(numbers):
        found = 0
        for number in numbers:
            found += number
        return found

    assert kernel(total)(np.arange(5)) == 10
