"""SDSS spectra: ingest beside what it cannot do without, training and prediction beside Keras."""

import contextlib
import hashlib
import itertools
import os
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits

from lake import contracts
from lake.errors import InputError
from lake.formats.fits import FitsFile
from lake.home import Home, Source
from lake.ingest import ingest
from lake.sample.sdss import write_sample

pytestmark = pytest.mark.benchmark


def side_by_side(times: int, **works: Callable[[], object]) -> dict[str, np.ndarray]:
    """Least wall time and processor time of each work, run in turns after a first one."""
    for work in works.values():
        work()
    least = {name: np.full(2, np.inf) for name in works}
    for _ in range(times):
        for name, work in works.items():
            start = np.array([time.perf_counter(), time.process_time()])
            work()
            taken = np.array([time.perf_counter(), time.process_time()]) - start
            least[name] = np.minimum(least[name], taken)
    return least


@pytest.fixture(scope="module")
def generated(tmp_path_factory) -> list[Path]:
    """1,000 lite files with 51 columns in HDU 2."""
    folder = write_sample(tmp_path_factory.mktemp("sdss"), size="medium", seed=3)["spectra"]
    chosen = sorted(folder.rglob("*.fits"))
    for path in chosen[1000:]:
        path.unlink()
    return chosen[:1000]


@pytest.fixture(scope="module")
def real(real_data, tmp_path_factory) -> list[Path]:
    """1,000 real lite files, 126 or 236 columns in HDU 2, each with a fibre of its own."""
    folder = tmp_path_factory.mktemp("real")
    lite = []
    for path in sorted((real_data / "sdss" / "spec").glob("spec-*.fits")):
        raw = path.read_bytes()
        with contextlib.suppress(InputError):
            if len(hdus := FitsFile(path.name, raw)) == 4 and hdus[2].rows == 1:
                lite.append((raw, hdus))
    made = []
    for fiber, (raw, hdus) in zip(range(1, 1001), itertools.cycle(lite), strict=False):
        new, about = bytearray(raw), hdus[2]
        card = raw.index(b"FIBERID =")
        new[card + 10 : card + 30] = b"%20d" % fiber
        at = about.records["FIBERID"].__array_interface__["data"][0]
        at -= np.frombuffer(raw, np.uint8).__array_interface__["data"][0]
        new[at : at + 4] = fiber.to_bytes(4, "big")
        plate, mjd = (int(about.value(name)) for name in ("PLATE", "MJD"))
        path = folder / f"{plate:04d}" / f"spec-{plate:04d}-{mjd:05d}-{fiber:04d}.fits"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(new)
        made.append(path)
    return made


@pytest.mark.parametrize("kind", ["generated", "real"])
def test_ingest_of_1000_lite_files(kind, request, tmp_path):
    """One process: checksum, manifest, metadata, log, pixels, Parquet, commit.

    Into a home that is made by it, and as a further release of one that is there.
    """
    files = request.getfixturevalue(kind)
    homes = (Home(tmp_path / str(i)) for i in range(9))
    there = Home(tmp_path / "there")
    releases = (f"R{i}" for i in range(9))

    def taken(home: Home, release: str) -> None:
        home.add(Source("sdss", release, "spectra", (files[0].parents[1],)))
        assert len(ingest(home, "sdss", release, processes=1).committed) == len(files)

    def bytes_alone():
        for path in files:
            hashlib.sha256(path.read_bytes()).hexdigest()

    def astropy():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for path in files[::20]:
                with fits.open(path) as hdus:
                    columns = [np.array(hdus[1].data[c.name]) for c in hdus[1].columns]
                    row = {c.name: hdus[2].data[c.name][0] for c in hdus[2].columns}
                    assert len(columns) == 8
                    assert row

    least = side_by_side(
        4,
        bytes_alone=bytes_alone,
        astropy=astropy,
        new=lambda: taken(next(homes), "R"),
        further=lambda: taken(there, next(releases)),
    )
    for clock, (floor, theirs, *own) in zip(
        ("wall", "processor"), np.transpose(list(least.values())), strict=True
    ):
        floor, theirs = floor / len(files), theirs / 50
        print(
            f"\n{kind} files per second of {clock} time: reading and hashing {1 / floor:.0f},"
            f" astropy with the row of HDU 2 {1 / theirs:.0f}"
        )
        for place, each in zip(("a new home", "a further release"), own, strict=True):
            each /= len(files)
            print(
                f"  into {place} {1 / each:.0f}: {each / floor:.1f} times slower than reading"
                f" and hashing, {theirs / each:.0f} times faster than astropy"
            )


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="needs to empty the system's cache")
def test_ingest_of_files_that_are_in_no_cache(real, tmp_path):
    """As files are when they are taken for the first time."""
    home = Home(tmp_path)
    least = {"reading and hashing": np.inf, "ingest": np.inf}
    for turn in range(4):
        home.add(Source("sdss", f"R{turn}", "spectra", (real[0].parents[1],)))
        works = {
            "reading and hashing": lambda: [hashlib.sha256(p.read_bytes()) for p in real],
            "ingest": lambda release=f"R{turn}": ingest(home, "sdss", release, processes=1),
        }
        for name, work in works.items():
            for path in real:
                with path.open("rb") as file:
                    os.fsync(file.fileno())
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            start = time.perf_counter()
            work()
            least[name] = min(least[name], time.perf_counter() - start)
    for name, taken in least.items():
        print(f"\n{name}: {len(real) / taken:.0f} files per second from the disk")


@pytest.fixture(scope="module")
def arrays() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    flux = rng.normal(1, 0.1, (1024, 2336)).astype(np.float32)
    return flux, np.full_like(flux, 100), np.ones(flux.shape, bool), rng.integers(0, 10, 1024)


def test_training_throughput(arrays):
    """Augmentation and all, beside Keras' own loop over tensors that are ready.

    Both train on 3,840 spectra an epoch, four realisations of 960 here and as many tensors there,
    so that what either does once an epoch has little weight. Both take the steps of one
    optimizer, and look at 512 spectra for validation after an epoch, in batches of one size.
    """
    tf = pytest.importorskip("tensorflow")
    from lake.sdss import cnn
    from lake.sdss.channels import network_input
    from lake.sdss.configuration import Configuration
    from lake.sdss.fit import BATCH
    from lake.sdss.networks import build

    flux, ivar, valid, classes = arrays
    configuration = Configuration(epochs=5, realisations=4, patience=9)
    split = np.array(["train"] * 960 + ["validation"] * 64)
    names = np.array([f"K{c}" for c in classes])
    rows = np.tile(np.arange(960), configuration.realisations)
    inputs, _ = network_input(configuration, flux[rows], ivar[rows], valid[rows])
    validation = [e[:512] for e in inputs], classes[:512]
    tf.config.experimental.enable_op_determinism()  # as in a training of ours
    tf.random.set_seed(1)
    network = build(configuration, flux.shape[1], 10)
    network.compile(
        tf.keras.optimizers.AdamW(
            configuration.learning_rate, weight_decay=configuration.weight_decay, clipnorm=1.0
        ),
        tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )

    def now() -> np.ndarray:
        return np.array([time.perf_counter(), time.process_time()])

    own, plain, mark = [], [], now()

    def epoch(*_):
        """Note what our epoch took, and let Keras do one before the next."""
        nonlocal mark
        own.append(now() - mark)
        mark = now()
        network.fit(
            inputs,
            classes[rows],
            batch_size=configuration.batch_size,
            validation_data=validation,
            validation_batch_size=BATCH,
            verbose=0,
        )
        plain.append(now() - mark)
        mark = now()

    cnn.train(flux, ivar, valid, names, split, configuration, progress=epoch)
    ours, theirs = (len(rows) / np.min(taken[1:], axis=0) for taken in (own, plain))
    for clock, one, other in zip(("of wall", "of processor"), ours, theirs, strict=True):
        print(
            f"\nspectra per second {clock} time: training {one:.0f}, Keras' loop {other:.0f},"
            f" ratio {one / other:.2f}"
        )


def test_prediction_throughput(arrays, tmp_path):
    """From rows to rows, in memory and from the lake, beside the traced network on tensors."""
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
    count = 98_304
    ends = pa.array(np.arange(1025, dtype=np.int32) * flux.shape[1])
    lists = {
        name: pa.ListArray.from_arrays(ends, pa.array(values.reshape(-1)))
        for name, values in (("flux", flux), ("ivar", ivar), ("valid", valid))
    }
    table = "sdss.preprocessed_spectra"
    schema = contracts.table(table).schema()
    schema = pa.schema([f for f in schema if f.name not in ("n_valid", "snr")])
    values = {"release": "R", "recipe": "default", "file_sha256": "f"}
    rows = {name: [value] * 1024 for name, value in values.items()} | lists
    batch = pa.table({"spec_id": [str(i) for i in range(1024)], **rows}).select(schema.names)
    batch = batch.cast(schema)
    store = Home(tmp_path).store
    with store.stage(table, "R", schema) as stage:
        part = pa.concat_tables([batch, batch]).combine_chunks()  # as preprocessing writes them
        for _ in range(count // 2048):
            stage.write(part.to_batches()[0])
    with store.commit("spectra") as commit:
        commit.add(stage.staged)
    traced = tf.function(lambda x: trained.network(x, training=False))
    inputs, _ = network_input(configuration, flux[:256], ivar[:256], valid[:256])
    tensors = [tf.constant(x) for x in inputs]
    traced(tensors)

    def network():
        for _ in range(count // 256):
            traced(tensors)

    def taken(batches: Iterable[pa.Table]) -> None:
        parts = learning.predict(trained, batches, "m", "R")
        assert sum(part.num_rows for part in parts) == count

    def memory():
        taken(batch for _ in range(count // 1024))

    def lake():
        taken(pa.Table.from_batches([part]) for part in store.scan(table, {"release": "R"}))

    least = side_by_side(4, memory=memory, lake=lake, network=network)
    for clock, *own, floor in zip(("of wall", "of processor"), *least.values(), strict=True):
        print(f"\nspectra per second {clock} time: the traced network {count / floor:.0f}")
        for place, each in zip(("memory", "the lake"), own, strict=True):
            print(f"  prediction from {place} {count / each:.0f}, ratio {floor / each:.2f}")
