"""Training, prediction and storage of the classifier, on small made-up spectra."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("lake.sdss.cnn")

from lake.canonical import canonical_json, content_id
from lake.errors import LacusError
from lake.sdss import cnn
from lake.sdss.augmentation import Augmentation
from lake.sdss.calibration import Temperature, softmax
from lake.sdss.configuration import CONFIGURATIONS, Configuration
from lake.sdss.novelty import NOVELTY_THRESHOLD

CLASSES = np.array(["A0", "G2", "K5"])
QUICK = Configuration(epochs=6, realisations=2, batch_size=16, dropout=0.1, learning_rate=3e-3)


def stars(n, seed, noise=0.02, length=256):
    """Spectra with the lines of three classes, and a plate's worth of masked pixels."""
    rng = np.random.default_rng(seed)
    pixel = np.arange(length)
    lines = {"A0": (40, 120), "G2": (40, 70, 200), "K5": (70, 160, 200)}
    widths = {"A0": 6, "G2": 3, "K5": 2}
    classes = CLASSES[np.arange(n) % 3]
    flux = np.ones((n, length))
    for i, name in enumerate(classes):
        for centre in lines[name]:
            place = centre + rng.normal(0, 0.5)
            flux[i] -= 0.5 * np.exp(-0.5 * ((pixel - place) / widths[name]) ** 2)
    flux += rng.normal(0, noise, flux.shape)
    valid = rng.uniform(size=flux.shape) > 0.02
    return flux.astype(np.float32), np.full(flux.shape, noise**-2, np.float32), valid, classes


def trained(configuration=QUICK, n=90, **options):
    flux, ivar, valid, classes = stars(n, 0)
    split = np.array(["train", "train", "train", "validation", "test"])[np.arange(n) // 3 % 5]
    return cnn.train(flux, ivar, valid, classes, split, configuration, **options)


@pytest.fixture(scope="module")
def model():
    return trained()


@pytest.fixture(scope="module")
def again():
    """The same training once more."""
    return trained()


def test_it_learns_and_says_how_well(model):
    flux, ivar, valid, classes = stars(60, 1)
    found = model.predict(flux, valid, ivar)
    assert np.mean(found.predicted == classes) > 0.9
    assert model.classes == ("A0", "G2", "K5")
    assert len(model.history) <= QUICK.epochs
    assert model.history[-1]["val_loss"] < model.history[0]["val_loss"]
    assert set(model.history[0]) == {
        "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate",
    }  # fmt: skip
    assert set(model.metrics["test"]) == {"snr_5", "snr_10", "snr_20", "clean"}
    assert model.metrics["test"]["clean"]["spectra"] == 18
    assert model.metrics["calibrated_on"] == "validation"
    assert model.wall_time_s > 0


def test_predictions_are_probabilities(model):
    flux, ivar, valid, _ = stars(7, 2, noise=0.3)
    found = model.predict(flux, valid, ivar)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
    order = np.sort(found.probabilities, axis=1)
    np.testing.assert_array_equal(found.probability, order[:, -1])
    np.testing.assert_array_equal(found.runner_up_probability, order[:, -2])
    assert (found.predicted != found.runner_up).all()
    by_hand = -(found.probabilities * np.log(found.probabilities)).sum(axis=1)
    np.testing.assert_allclose(found.entropy, by_hand)
    np.testing.assert_array_equal(
        found.abstained,
        (found.probability < model.threshold) | (found.novelty < NOVELTY_THRESHOLD),
    )


def test_what_was_never_learnt_is_unlike_all_classes(model):
    flux, ivar, valid, _ = stars(60, 4)
    known = model.predict(flux, valid, ivar).novelty
    assert np.mean(known < NOVELTY_THRESHOLD) < 0.1
    strange = model.predict(flux[:, ::-1].copy(), valid, ivar)
    assert np.median(strange.novelty) < np.median(known)


def test_a_model_of_before_knows_nothing_of_novelty(model, tmp_path):
    directory = tmp_path / "old"
    replace(model, known_scores=None).save(tmp_path)
    (path,) = tmp_path.glob("*.json")
    content = json.loads(path.read_text())
    del content["model"]["known_scores"]
    identifier = content_id(canonical_json(content["model"]))
    directory.mkdir()
    (directory / f"{identifier}.json").write_text(json.dumps(content))
    path.with_suffix(".keras").replace(directory / f"{identifier}.keras")
    flux, ivar, valid, _ = stars(9, 1)
    assert np.isnan(cnn.load(directory, identifier).predict(flux, valid, ivar).novelty).all()


def test_one_spectrum_or_many_gives_the_same(model):
    flux, ivar, valid, _ = stars(300, 3)
    whole = model.predict(flux, valid, ivar).probabilities
    single = model.predict(flux[4:5], valid[4:5], ivar[4:5]).probabilities
    np.testing.assert_array_equal(single[0], whole[4])
    streamed = model.predict_batches(
        (flux[part], valid[part], ivar[part]) for part in (slice(0, 130), slice(130, 300))
    )
    parts = [part.probabilities for part in streamed]
    assert [len(part) for part in parts] == [130, 170]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("name", ["default", "seed"])
def test_prediction_without_normalisation_is_that_of_the_network(name):
    from lake.sdss.fit import BATCH, forward
    from lake.sdss.networks import build

    network = build(CONFIGURATIONS[name], 256, 4)
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if layer.name.startswith("normalisation"):
            size = layer.gamma.shape
            drawn = [rng.normal(1, 0.3, size), rng.normal(0, 0.3, size), rng.normal(0, 1, size)]
            layer.set_weights([*drawn, rng.uniform(0.2, 3, size)])
    inputs = [rng.normal(0, 1, (BATCH, *e.shape[1:])).astype(np.float32) for e in network.inputs]
    expected = network(inputs, training=False).numpy()
    before = network.get_weights()
    predict = forward(network)
    np.testing.assert_allclose(predict(inputs), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(predict([e[:5] for e in inputs]), expected[:5], rtol=1e-4, atol=1e-5)
    for one, other in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["default", "seed"])
def test_a_training_step_is_that_of_the_network(name):
    import tensorflow as tf

    from lake.sdss.networks import build, in_training

    def after(give):
        network = build(replace(CONFIGURATIONS[name], dropout=0.0), 256, 4)
        rng = np.random.default_rng(0)
        inputs = [rng.normal(1, 2, (16, *e.shape[1:])).astype(np.float32) for e in network.inputs]
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(give(network)(inputs, training=True) - 1))
        gradients = tape.gradient(loss, network.trainable_variables)
        return [*map(np.asarray, gradients), *network.get_weights()]

    for ours, theirs in zip(after(in_training), after(lambda network: network), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def test_nothing_gives_nothing(model):
    empty = np.empty((0, model.length), np.float32)
    found = model.predict(empty, empty.astype(bool))
    assert len(found) == 0
    assert found.probabilities.shape == (0, 3)


def test_spectra_of_another_length_are_refused(model):
    with pytest.raises(LacusError, match="takes 256 pixels"):
        model.predict(np.ones((2, 200)), np.ones((2, 200), bool))


def test_noise_lowers_confidence(model):
    clear, noisy = (
        model.predict(flux, valid)
        for flux, _, valid, _ in (stars(60, 4, noise=0.02), stars(60, 4, noise=0.4))
    )
    assert noisy.probability.mean() < clear.probability.mean() - 0.01
    assert noisy.entropy.mean() > clear.entropy.mean()
    assert 0.3 < np.median(noisy.noise) < 0.5


def test_two_trainings_are_one(model, again):
    flux, ivar, valid, _ = stars(30, 5)
    np.testing.assert_array_equal(
        again.predict(flux, valid, ivar).probabilities,
        model.predict(flux, valid, ivar).probabilities,
    )
    other = trained(replace(QUICK, seed=1, epochs=2))
    assert not np.array_equal(
        other.predict(flux, valid, ivar).probabilities,
        again.predict(flux, valid, ivar).probabilities,
    )


def test_training_leaves_the_random_numbers_of_the_process_alone():
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.uniform()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    trained(replace(QUICK, epochs=1))
    assert np.random.uniform() == expected  # noqa: NPY002


def test_training_ends_when_it_no_longer_helps():
    # Such steps lead nowhere.
    wild = replace(QUICK, learning_rate=1.0, decay=False, epochs=40, patience=2)
    stopped = trained(wild)
    losses = [line["val_loss"] for line in stopped.history]
    assert len(losses) < 40
    assert stopped.metrics["best_epoch"] == int(np.argmin(losses)) + 1 == len(losses) - 2
    assert trained(replace(wild, epochs=3, patience=None)).metrics["best_epoch"] == 3


class Stopped(Exception):
    """The plug is pulled."""


def test_an_interrupted_training_ends_like_an_undisturbed_one(model, tmp_path):
    def pull(epoch, epochs, line):
        if epoch == 3:
            raise Stopped

    with pytest.raises(Stopped):
        trained(checkpoint=tmp_path, progress=pull)
    assert len(list(tmp_path.glob("*.npz"))) == 1
    seen = []
    resumed = trained(checkpoint=tmp_path, progress=lambda epoch, *_: seen.append(epoch))
    assert seen == [4, 5, 6]
    assert resumed.history == model.history
    for one, other in zip(resumed.network.get_weights(), model.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_another_training_is_not_taken(model, tmp_path):
    def pull(epoch, epochs, line):
        raise Stopped

    with pytest.raises(Stopped):
        trained(replace(QUICK, seed=8), checkpoint=tmp_path, progress=pull)
    assert trained(checkpoint=tmp_path).history == model.history


def test_a_damaged_checkpoint_is_started_over(model, tmp_path):
    def pull(epoch, epochs, line):
        raise Stopped

    with pytest.raises(Stopped):
        trained(checkpoint=tmp_path, progress=pull)
    (state,) = tmp_path.glob("*.npz")
    state.write_bytes(state.read_bytes()[:2000])
    assert trained(checkpoint=tmp_path).history == model.history


def test_a_stored_model_predicts_the_same(model, again, tmp_path):
    identifier = model.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{identifier}.json",
        f"{identifier}.keras",
    ]
    flux, ivar, valid, _ = stars(20, 6)
    back = cnn.load(tmp_path, identifier)
    np.testing.assert_array_equal(
        back.predict(flux, valid, ivar).probabilities,
        model.predict(flux, valid, ivar).probabilities,
    )
    assert back.configuration == model.configuration
    assert back.metrics == model.metrics
    assert back.threshold == model.threshold
    assert again.save(tmp_path) == identifier
    assert back.save(tmp_path) == identifier


def test_a_changed_model_is_refused(model, tmp_path):
    identifier = model.save(tmp_path)
    path = tmp_path / f"{identifier}.json"
    content = json.loads(path.read_text())
    content["model"]["threshold"] = 0.25
    path.write_text(json.dumps(content))
    with pytest.raises(LacusError, match="holds the model"):
        cnn.load(tmp_path, identifier)


def test_another_network_under_its_name_is_refused(model, tmp_path):
    identifier = model.save(tmp_path)
    other = trained(replace(QUICK, epochs=1, seed=2)).save(tmp_path)
    (tmp_path / f"{other}.keras").replace(tmp_path / f"{identifier}.keras")
    with pytest.raises(LacusError, match="another network"):
        cnn.load(tmp_path, identifier)


@pytest.mark.parametrize("ending", ["json", "keras"])
def test_a_damaged_or_missing_file_is_named(model, tmp_path, ending):
    identifier = model.save(tmp_path)
    path = tmp_path / f"{identifier}.{ending}"
    path.write_bytes(b"PK\x03\x04 no more")
    with pytest.raises(LacusError, match=path.name):
        cnn.load(tmp_path, identifier)
    path.unlink()
    with pytest.raises(LacusError, match=path.name):
        cnn.load(tmp_path, identifier)


def test_the_threshold_comes_from_the_noisiest_spectra():
    strict = trained(replace(QUICK, epochs=3, accepted_accuracy=0.99, calibration_snr=(1.0, None)))
    lenient = replace(QUICK, epochs=3, accepted_accuracy=0.5, calibration_snr=(1.0, None))
    assert strict.threshold > trained(lenient).threshold


@pytest.mark.parametrize(("held", "basis"), [(0, "nothing"), (17, "validation")])
def test_spectra_are_abstained_from_where_too_few_were_held_back(held, basis):
    flux, ivar, valid, classes = stars(60, 0)
    split = np.array(["validation"] * held + ["train"] * (60 - held))
    few = cnn.train(flux, ivar, valid, classes, split, replace(QUICK, epochs=2))
    assert (few.threshold, few.metrics["calibrated_on"]) == (1, basis)
    assert (few.temperature == Temperature()) == (held == 0)
    assert few.predict(flux, valid, ivar).abstained.all()


def test_without_calibration_nothing_is_abstained_from():
    raw = trained(replace(QUICK, epochs=1, calibration_snr=()))
    assert raw.threshold == 0
    flux, ivar, valid, _ = stars(9, 1)
    logits, _ = raw.logits(flux, valid, ivar)
    np.testing.assert_allclose(raw.predict(flux, valid, ivar).probabilities, softmax(logits))


@pytest.mark.parametrize(
    "change",
    [
        {"augmentation": None, "class_weights": False},
        {"validity_channel": False},
        {"noise_weights": False, "flatten": 0},
        {"augmentation": Augmentation(snr_low=10, strength=0.1)},
    ],
)
def test_ablations_are_configurations(change):
    configuration = replace(QUICK, epochs=1, **change)
    assert Configuration.from_json(configuration.to_json()) == configuration
    assert len(trained(configuration, n=30).history) == 1


def test_a_configuration_with_an_unknown_name_is_refused():
    with pytest.raises(LacusError, match="has no colour"):
        Configuration.from_dict({"colour": 1})
    with pytest.raises(LacusError, match="is no network"):
        Configuration(network="other")


def test_the_seed_network_is_the_published_one():
    from lake.sdss.networks import build

    # 53,575 parameters at seven classes; as many spectra long as one likes.
    assert build(CONFIGURATIONS["seed"], 2048, 7).count_params() == 53575


def test_statistics_of_the_seed_network_are_estimated_anew():
    flux, ivar, valid, classes = stars(90, 0)
    split = np.array(["train"] * 90)
    configuration = replace(CONFIGURATIONS["seed"], epochs=15)
    raw = cnn.train(flux, ivar, valid, classes, split, configuration)
    better = raw.reestimated(flux, ivar, valid)
    test = stars(90, 7)
    before = raw.evaluate(*test)["accuracy"]
    after = better.evaluate(*test)["accuracy"]
    assert after > 0.8
    assert after > before
    # Weights that are learned stay.
    np.testing.assert_array_equal(
        raw.network.get_layer("logits").kernel, better.network.get_layer("logits").kernel
    )


def test_reestimated_statistics_are_those_of_the_spectra():
    flux, ivar, valid, classes = stars(90, 0)
    configuration = replace(CONFIGURATIONS["seed"], epochs=1)
    raw = cnn.train(flux, ivar, valid, classes, ["train"] * 90, configuration)
    layer = raw.reestimated(flux, ivar, valid).network.get_layer("normalisation_1")
    convolution = raw.network.get_layer("convolution_1")
    seen = np.asarray(convolution(flux[..., None]))
    np.testing.assert_allclose(layer.moving_mean, seen.mean(axis=(0, 1)), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, seen.var(axis=(0, 1)), rtol=1e-3, atol=1e-6)


def test_wrong_input_is_refused():
    flux, ivar, valid, classes = stars(9, 0)
    with pytest.raises(LacusError, match="no spectrum is in the training split"):
        cnn.train(flux, ivar, valid, classes, ["test"] * 9, QUICK)
    split = np.where(classes == "A0", "test", "train")
    with pytest.raises(LacusError, match="not in the training split: class A0"):
        cnn.train(flux, ivar, valid, classes, split, QUICK)
    with pytest.raises(LacusError, match="9 spectra do not go with 8 classes"):
        cnn.train(flux, ivar, valid, classes[:8], ["train"] * 9, QUICK)
    with pytest.raises(LacusError, match="of the same shape"):
        cnn.train(flux, ivar[:, :9], valid, classes, ["train"] * 9, QUICK)


def test_what_the_extra_brings_is_imported_late_and_in_silence():
    """Many networks leave no advice of TensorFlow either."""
    code = (
        "import sys; import lake.sdss, lake.sdss.learning, lake.sdss.networks\n"
        "assert 'numba' not in sys.modules\n"
        "import lake.sdss.fit, lake.sdss.material\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
        "import lake.sdss.cnn; assert 'tensorflow' in sys.modules\n"
        "import numpy as np\n"
        "from lake.sdss.configuration import CONFIGURATIONS\n"
        "from lake.sdss.fit import forward\n"
        "from lake.sdss.networks import build\n"
        "for _ in range(6):\n"
        "    network = build(CONFIGURATIONS['seed'], 64, 2)\n"
        "    forward(network)([np.zeros((3, 64, 1), np.float32)])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
