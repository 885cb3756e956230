"""Homes: where things live, and what is asked of them."""

import pickle

import pytest

import lake
from lake.errors import UsageError
from lake.home import Home


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path / "home")


def test_nothing_is_created_before_it_is_needed(home):
    assert home.sources() == home.releases() == []
    assert not home.root.exists()


def test_the_root_is_the_argument_the_environment_or_the_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LACUS_HOME", raising=False)
    assert lake.open().root == tmp_path / "lacus-home"
    monkeypatch.setenv("LACUS_HOME", str(tmp_path / "elsewhere"))
    assert lake.open().root == tmp_path / "elsewhere"
    assert lake.open("mine").root == tmp_path / "mine"


def test_a_product_is_described_as_it_is(home):
    path = home.products / "csc" / "x.svg"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"abc")
    row = home.product(path, "csc", "R", "figure")
    assert (row["path"], row["size"]) == ("products/csc/x.svg", 3)
    assert row["sha256"] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_errors_cross_processes():
    error = lake.InputError("f", "bad", "row 1")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.reason) == ("f: row 1: bad", "row 1: bad")


def test_the_newest_release_with_a_value_is_found(tmp_path):
    import pyarrow as pa

    home = Home(tmp_path / "home")
    for release, name in (("R2", "A"), ("R1", "A"), ("R3", "B")):
        rows = pa.table(
            {"release": [release], "name": [name], "file_sha256": ["f"], "file_row": pa.array([1])}
        )
        home.store.replace(
            release, ["csc.detections"], [("csc.detections", rows)],
            fingerprint=release, code_version="1", message="put",
        )  # fmt: skip
    assert home.release_of("csc.detections", "name", "A") == "R1"
    assert home.release_of("csc.detections", "name", "A", "R2") == "R2"
    with pytest.raises(UsageError, match=r"no name 'A' in csc\.detections of release R3"):
        home.release_of("csc.detections", "name", "A", "R3")
