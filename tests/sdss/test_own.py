"""Spectra of one's own, in no lake."""

import numpy as np

from lake.sdss import preprocess_files
from tests.sdss import files


def preprocessed(*paths):
    (part,) = preprocess_files(paths)
    return part


def test_one_spectrum_in_two_files_keeps_what_each_says(tmp_path):
    names = ["rest", "moving", "moving again"]
    for name, z in zip(names, (0.0, 0.01, 0.01), strict=True):
        row = files.SPECOBJ | {"Z": np.float32(z)}
        (tmp_path / name).write_bytes(files.spec(row=row))
    paths = [tmp_path / name for name in names]
    made, log, _ = preprocessed(*paths)
    assert made["file"].to_pylist() == [str(path) for path in paths]
    assert list(dict.fromkeys(log["file"].to_pylist())) == [str(path) for path in paths]
    assert set(made["release"].to_pylist()) == set(log["release"].to_pylist()) == {"own"}
    for row, path in zip(made.drop_columns("file").to_pylist(), paths, strict=True):
        alone, _, _ = preprocessed(path)
        assert alone.drop_columns("file").to_pylist() == [row]
    rest, moving = (np.argmax(made["valid"][i].as_py()) for i in (0, 1))
    assert moving < rest


def test_a_spectrum_that_falls_is_preprocessed_as_the_one_that_increases(tmp_path):
    (tmp_path / "a.fits").write_bytes(files.spec())
    (tmp_path / "b.fits").write_bytes(files.falling(files.spec()))
    made, log, taken = preprocessed(tmp_path)
    assert [record.status for record in taken] == ["committed", "committed"]
    for name in ("flux", "ivar", "valid"):
        increases, falls = made[name].to_pylist()
        np.testing.assert_allclose(falls, increases, rtol=1e-6, err_msg=name)
    steps = log.select(["step_name", "params_json"]).to_pylist()
    assert steps[: len(steps) // 2] == steps[len(steps) // 2 :]


def test_files_are_named_beside_rejected_ones(tmp_path):
    (tmp_path / "a.fits").write_bytes(b"no FITS")
    (tmp_path / "b.fits").write_bytes(files.sp_plate()[0])
    (tmp_path / "c.fits").write_bytes(files.spec())
    made, _, taken = preprocessed(tmp_path)
    assert [record.status for record in taken] == ["rejected", "committed", "committed"]
    assert made["file"].to_pylist() == [str(tmp_path / "b.fits")] * 3 + [str(tmp_path / "c.fits")]
