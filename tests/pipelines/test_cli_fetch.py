"""`lacus fetch`: what it says, what it registers, its exit codes."""

import pytest

import lake
from tests.fetch.server import Fault
from tests.sdss import sas


@pytest.fixture
def server(science_archive):
    return science_archive


@pytest.fixture
def fetch(lacus, server, tmp_path):
    def call(*words):
        url = ["--url", f"{server.url}/sas"] if words[0] == "sdss" else []
        return lacus("fetch", *words, *url, home=tmp_path / "home")

    return call


def test_plates_are_fetched_registered_and_fetched_again(fetch, server, tmp_path):
    done = fetch("sdss", "--release", "DR17", "--plates", "266,2805")
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    said = done.stderr.splitlines()
    assert said[0].endswith(
        "sdss DR17 spectra: 4 files new, 0 changed, 0 kept, 0 removed, 0 not to be had"
    )
    assert said[1].endswith("sources.toml; `lacus run` ingests it")

    assert "have changed nothing" in fetch("again").stderr
    del server.documents[sas.path(266, 51602, 2)]
    done = fetch("again", "--release", "sdss:DR17")
    assert done.exit_code == 0
    assert "1 removed" in done.stderr
    gone = "gone from the archive, out of the release with the next run: 0266/spec-0266-51602-0002"
    assert gone in done.stderr


def test_what_cannot_be_had_is_named(fetch, server, tmp_path, monkeypatch):
    path = tmp_path / "list.csv"
    path.write_text("plate,mjd,fiberid\n266,51602,1\n266,51602,99\n")
    monkeypatch.chdir(tmp_path)
    done = fetch("sdss", "-r", "DR17", "--list", "list.csv")
    assert done.exit_code == 3
    missing = sas.folder("sdss/spectro/redux/26", 266) + sas.name(266, 51602, 99)
    assert f"{server.url}{missing}: the server answers 404" in done.stderr
    (source,) = lake.open(tmp_path / "home").sources()
    assert source.fetch["list"] == str(path)
    path.unlink()
    assert fetch("again").exit_code == 1


def test_nothing_to_be_had_is_a_failure(fetch, tmp_path):
    done = fetch("sdss", "-r", "DR17", "--plates", "9999")
    assert done.exit_code == 1
    assert "no plate 9999" in done.stderr
    assert lake.open(tmp_path / "home").sources() == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sdss", "-r", "DR17"], "expected --plates, --list, or both"),
        (["sdss", "--plates", "1"], "Missing option '--release'"),
        (["sdss", "-r", "DR99", "--plates", "1"], "--run2d"),
        (["sdss", "-r", "DR17", "--plates", "x"], "plates 'x'"),
        (["again"], "nothing in"),
        (["elsewhere"], "No such command"),
    ],
)
def test_wrong_usage(words, said, fetch):
    done = fetch(*words)
    assert done.exit_code == 2
    assert said in done.stderr


def test_only_what_was_fetched_can_be_fetched_again(fetch):
    fetch("sdss", "-r", "DR17", "--plates", "2805")
    done = fetch("again", "-r", "sdss:DR16")
    assert done.exit_code == 2
    assert "'sdss:DR16' was not fetched; there are sdss:DR17" in done.stderr


def test_settings_are_checked(fetch, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "sources.toml").write_text("[archives.sdss]\nspeed = 1\n")
    done = fetch("sdss", "-r", "DR17", "--plates", "266")
    assert done.exit_code == 1
    assert "archives.sdss: no setting 'speed'" in done.stderr


def test_an_archive_out_of_order_does_not_stop_another(fetch, server, tmp_path):
    fetch("sdss", "-r", "DR17", "--plates", "266")
    server.put(sas.folder("sdss/spectro/redux/26", 390, "dr16") + sas.name(390, 51900, 1), b"x")
    fetch("sdss", "-r", "DR16", "--plates", "390")
    del server.documents[sas.path(266, 51602, 2)]
    server.always("/sas/dr17/eboss/spectro/redux/v5_13_2/spectra/lite/", Fault(status=500))
    done = fetch("again")
    assert done.exit_code == 1
    assert "sdss DR17: http" in done.stderr
    assert "500" in done.stderr
    server.heal()
    server.documents.clear()
    sas.fill(server)
    done = fetch("again")
    assert done.exit_code == 1
    assert "sdss DR16: http" in done.stderr
    assert (tmp_path / "home/archive/sdss/DR16/sdss/0390" / sas.name(390, 51900, 1)).exists()
