"""One thread for linear algebra and k-means while they last."""

import threading
import time

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from lake.csc.threads import one_thread


def blas_threads() -> list[int]:
    np.ones((2, 2)) @ np.ones((2, 2))  # a BLAS is loaded by now
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_one_thread_within_and_as_many_as_before_afterwards():
    @one_thread("scipy.linalg")
    def within(value: int, *, more: int) -> tuple[int, list[int]]:
        """What it says."""
        return value + more, blas_threads()

    _, seen = within(1, more=2)  # what it loads is loaded by now
    assert set(seen) == {1}
    with threadpool_limits(2, user_api="blas"):
        total, seen = within(1, more=2)
        assert total == 3
        assert set(seen) == {1}
        assert set(blas_threads()) == {2}
    assert within.__doc__ == "What it says."


def test_one_thread_of_openmp_too():
    def openmp_threads() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp"}

    within = one_thread("sklearn.mixture")(openmp_threads)
    within()  # it is loaded by now
    with threadpool_limits(2, user_api="openmp"):
        assert within() == {1}
        assert openmp_threads() == {2}


def test_functions_in_several_threads_leave_the_limit_as_it_was():
    started = threading.Event()

    @one_thread()
    def slow() -> None:
        started.set()
        time.sleep(0.1)

    with threadpool_limits(2, user_api="blas"):
        first = threading.Thread(target=slow)
        first.start()
        assert started.wait(10)
        slow()
        first.join()
        assert set(blas_threads()) == {2}
