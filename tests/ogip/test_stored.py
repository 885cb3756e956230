"""Rows of the lake as the arrays that kernels take."""

import pytest

import lake
from lake.errors import UsageError
from lake.home import Source
from lake.ingest import ingest
from lake.ogip import stored
from tests.ogip import hdus


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    root = tmp_path_factory.mktemp("stored")
    (root / "in").mkdir()
    nulls = hdus.pha({"COUNTS": ("I", [3, -1])}, formats={"null": {"COUNTS": -1}})
    made = {"x.rmf": (hdus.matrix(), hdus.ebounds()), "x.arf": (hdus.arf(),), "y.pha": (nulls,),
            "x.pha": (hdus.pha(), hdus.ebounds(size=4))}  # fmt: skip
    for name, content in made.items():
        (root / "in" / name).write_bytes(hdus.content(*content))
    home = lake.open(root / "home")
    home.add(Source("ogip", "R", "spectra", (root / "in",)))
    assert not ingest(home, "ogip", "R").rejected
    return home.store.arrow


def name(read, table: str, key: str, file: str) -> str:
    found = read(f"SELECT {key} FROM ogip.{table} WHERE starts_with({key}, '{file}')")
    return found[0][0].as_py()


def test_spectrum(read):
    spectrum = stored.spectrum(read, "R", name(read, "spectra", "spec_id", "x.pha"))
    assert spectrum.values.tolist() == [5, 0, 7, 1]
    assert spectrum.ebounds.channel.tolist() == [1, 2, 3, 4]
    other = stored.spectrum(read, "R", name(read, "spectra", "spec_id", "y.pha"))
    assert str(other.values.tolist()) == "[3.0, nan]"
    assert other.ebounds is None


def test_response(read):
    response = stored.response(read, "R", name(read, "responses", "response_id", "x.rmf"))
    assert response.as_sparse().toarray().tolist() == hdus.DENSE
    assert response.channel.tolist() == [1, 2, 3, 4, 5]
    assert response.about["instrument"] == "CAM"


def test_effective_area(read):
    area = stored.effective_area(read, "R", name(read, "effective_area", "area_id", "x.arf"))
    assert area.specresp.tolist() == [100.0, 200.0, 50.0]


def test_what_is_not_there_is_named(read):
    with pytest.raises(UsageError, match=r"ogip\.spectra of release R has no spec_id 'other'"):
        stored.spectrum(read, "R", "other")
