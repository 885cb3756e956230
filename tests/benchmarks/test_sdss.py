"""SDSS spectra: ingest beside what it cannot do without, training and prediction beside Keras."""

import hashlib
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits

from lake.home import Home, Source
from lake.ingest import ingest
from lake.sample.sdss import write_sample

pytestmark = pytest.mark.benchmark


def seconds(work: Callable[[], object], times: int = 2) -> float:
    """Best wall time of some runs."""
    best = np.inf
    for _ in range(times):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    folder = write_sample(tmp_path_factory.mktemp("sdss"), size="medium", seed=3)["spectra"]
    chosen = sorted(folder.rglob("*.fits"))
    for path in chosen[1000:]:
        path.unlink()
    return chosen[:1000]


def test_ingest_of_1000_lite_files(files, tmp_path):
    """One process: checksum, manifest, metadata, log, pixels, Parquet, commit."""
    homes = (Home(tmp_path / str(i)) for i in range(9))

    def ours():
        home = next(homes)
        home.add(Source("sdss", "R", "spectra", (files[0].parents[1],)))
        assert len(ingest(home, "sdss", "R", processes=1).committed) == len(files)

    def bytes_alone():
        for path in files:
            hashlib.sha256(path.read_bytes()).hexdigest()

    def astropy():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for path in files[:100]:
                with fits.open(path) as hdus:
                    columns = [np.array(hdus[1].data[c.name]) for c in hdus[1].columns]
                    row = {c.name: hdus[2].data[c.name][0] for c in hdus[2].columns}
                    assert len(columns) == 8
                    assert row

    theirs = seconds(astropy) / 100
    own, floor = seconds(ours) / len(files), seconds(bytes_alone) / len(files)
    print(
        f"\nfiles/s: ingest {1 / own:.0f}, reading and hashing {1 / floor:.0f}"
        f" ({own / floor:.1f} times slower), astropy with the row of HDU 2 {1 / theirs:.0f}"
        f" ({theirs / own:.0f} times slower than the ingest)"
    )


@pytest.fixture(scope="module")
def arrays() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    flux = rng.normal(1, 0.1, (1024, 2336)).astype(np.float32)
    return flux, np.full_like(flux, 100), np.ones(flux.shape, bool), rng.integers(0, 10, 1024)


def test_training_throughput(arrays):
    """Augmentation and all, beside Keras' own loop over tensors that are ready."""
    cnn = pytest.importorskip("lake.sdss.cnn")
    import tensorflow as tf

    from lake.sdss.channels import network_input
    from lake.sdss.configuration import Configuration
    from lake.sdss.networks import build

    flux, ivar, valid, classes = arrays
    configuration = Configuration(epochs=2, realisations=1, patience=9)
    split = np.array(["train"] * 960 + ["validation"] * 64)
    names = np.array([f"K{c}" for c in classes])
    marks: list[float] = []
    cnn.train(
        flux, ivar, valid, names, split, configuration,
        progress=lambda *_: marks.append(time.perf_counter()),
    )  # fmt: skip
    tf.random.set_seed(1)  # determinism, once on, is of the whole process
    network = build(configuration, flux.shape[1], 10)
    network.compile("adam", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    inputs, _ = network_input(configuration, flux[:960], ivar[:960], valid[:960])
    plain: list[float] = []
    network.fit(
        inputs, classes[:960], batch_size=configuration.batch_size, epochs=2, verbose=0,
        callbacks=[tf.keras.callbacks.LambdaCallback(
            on_epoch_end=lambda *_: plain.append(time.perf_counter()))],
    )  # fmt: skip
    ours, theirs = 960 / (marks[-1] - marks[-2]), 960 / (plain[-1] - plain[-2])
    print(f"\nspectra/s: training {ours:.0f}, Keras' loop {theirs:.0f}, ratio {ours / theirs:.2f}")


def test_prediction_throughput(arrays, tmp_path):
    """From rows of the lake to rows of the lake, beside the traced network on tensors."""
    cnn = pytest.importorskip("lake.sdss.cnn")
    import tensorflow as tf

    from lake.sdss import learning
    from lake.sdss.channels import network_input
    from lake.sdss.configuration import Configuration

    flux, ivar, valid, classes = arrays
    split = np.array(["train"] * 128 + ["other"] * 896)
    names = np.array([f"K{c}" for c in classes])
    configuration = Configuration(epochs=1, realisations=1, calibration_snr=())
    trained = cnn.train(flux, ivar, valid, names, split, configuration)
    count = 8192
    ends = pa.array(np.arange(1025, dtype=np.int32) * flux.shape[1])
    lists = {
        name: pa.ListArray.from_arrays(ends, pa.array(values.reshape(-1)))
        for name, values in (("flux", flux), ("ivar", ivar), ("valid", valid))
    }
    batch = pa.table(
        {
            "release": ["R"] * 1024,
            "spec_id": [str(i) for i in range(1024)],
            "file_sha256": ["f"] * 1024,
            **lists,
        }
    )
    traced = tf.function(lambda x: trained.network(x, training=False))
    inputs, _ = network_input(configuration, flux[:256], ivar[:256], valid[:256])
    tensors = [tf.constant(x) for x in inputs]
    traced(tensors)

    def network():
        for _ in range(count // 256):
            traced(tensors)

    def ours():
        parts = learning.predict(trained, (batch for _ in range(count // 1024)), "m", "R")
        assert sum(part.num_rows for part in parts) == count

    ours()
    own, floor = seconds(ours), seconds(network)
    print(
        f"\nspectra/s: prediction {count / own:.0f}, the traced network {count / floor:.0f},"
        f" ratio {floor / own:.2f}"
    )
