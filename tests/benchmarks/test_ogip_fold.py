"""Folding many models in one product, against a loop over them: run with `-m benchmark -s`."""

import time
from collections.abc import Callable

import numpy as np
import pytest

from lake.ogip.containers import Response
from lake.ogip.fold import fold

ENERGIES = CHANNELS = MODELS = 1000
REPEATS = 5


def _response(width: int) -> Response:
    """A peak along the diagonal, and a continuum of a fifth of its width below it."""
    random = np.random.default_rng(4)
    peak = np.clip(np.arange(ENERGIES) - width // 2, 0, CHANNELS - width)
    below = width // 5
    both = peak > below
    first = [[0, p] if b else [p] for p, b in zip(peak, both, strict=True)]
    length = [[below, width] if b else [width] for b in both]
    f_chan, n_chan = np.concatenate(first), np.concatenate(length)
    n_grp = 1 + both.astype(np.int64)
    ends = np.concatenate([[0], np.cumsum(n_grp)])
    elements = np.concatenate([[0], np.cumsum(n_chan)])
    edges = np.linspace(0.1, 12, ENERGIES + 1)
    return Response(
        energ_lo=edges[:-1],
        energ_hi=edges[1:],
        n_grp=n_grp,
        f_chan=f_chan,
        n_chan=n_chan,
        group_offsets=ends,
        matrix=random.random(elements[-1], dtype=np.float32),
        matrix_offsets=elements[ends],
        first_channel=0,
        first_channel_from="TLMIN",
        n_channels=CHANNELS,
        ebounds=None,
        includes_area=True,
        about={},
    )


def _seconds(work: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    best = np.inf
    for _ in range(REPEATS):
        start = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - start)
    return best, result


@pytest.mark.benchmark
def test_many_models_against_a_loop() -> None:
    models = np.random.default_rng(5).random((MODELS, ENERGIES))
    print(f"\n{MODELS:,} models, {ENERGIES:,} energies, {CHANNELS:,} channels; seconds")
    print("elements per row   product  fold loop  ratio  sparse loop  ratio  dense loop  ratio")
    for width in (25, 100, 400, 1000):
        response = _response(width)
        sparse = response.as_sparse().astype(np.float64)
        dense = sparse.toarray()
        product, folded = _seconds(lambda r=response: fold(r, models))
        calls, _ = _seconds(lambda r=response: np.array([fold(r, m) for m in models]))
        loop, one_by_one = _seconds(lambda s=sparse: np.array([m @ s for m in models]))
        dots, expected = _seconds(lambda d=dense: np.array([m @ d for m in models]))
        np.testing.assert_allclose(folded, expected, rtol=1e-12)
        np.testing.assert_allclose(one_by_one, expected, rtol=1e-12)
        print(
            f"{sparse.nnz / ENERGIES:16.0f} {product:9.4f} {calls:10.4f} {calls / product:6.1f} "
            f"{loop:12.4f} {loop / product:6.1f} {dots:11.4f} {dots / product:6.1f}"
        )
