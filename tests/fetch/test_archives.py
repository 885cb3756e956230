"""Fetching and fetching again, with an archive of texts in place of a mission's."""

from dataclasses import replace

import pytest

import lake
from lake.errors import LacusError, UsageError
from lake.fetch import archives
from lake.fetch.archives import Archive, Result, fetch, refetch
from lake.fetch.folder import digest, partial
from lake.fetch.session import FetchError
from lake.fetch.settings import Settings
from lake.home import Source

CSV = "name,obsid,ra,dec\nA,1,10.5,20.5\n"


class Texts:
    """An archive of texts by name; a text of None cannot be had."""

    def __init__(self):
        self.texts: dict[str, str | None] = {"a.csv": CSV}
        self.requests = []
        self.states = 0
        self.failure = FetchError("http://x/b.csv", "no answer")
        self.archive = Archive(
            "texts", "csc", "detections", "http://texts", "texts", {"adql": "a query"},
            self.fetch, self.state, Settings(tries=2),
        )  # fmt: skip

    def fetch(self, request):
        self.requests.append(request)
        folder, failures = request.folder, []
        for name, text in self.texts.items():
            here = folder.complete(name)
            if text is None:
                failures.append(self.failure)
            elif here is None or here.stamp != text:
                partial(folder.target(name)).write_text(text)
                folder.take(name, url=f"{request.url}/{name}", stamp=text)
        folder.keep(self.texts)
        return Result(digest(self.texts.items()), failures)

    def state(self, request):
        self.states += 1
        return digest(self.texts.items())


@pytest.fixture
def texts(monkeypatch):
    made = Texts()
    monkeypatch.setattr(archives, "archives", lambda: {"texts": made.archive})
    return made


@pytest.fixture
def home(tmp_path) -> lake.Home:
    return lake.open(tmp_path / "home")


def test_a_mission_names_its_archives():
    known = archives.archives()
    assert known["sdss"].mission == "sdss"
    assert all(name == archive.name for name, archive in known.items())


def test_a_fetch_registers_its_folder(texts, home):
    done = fetch(home, "texts", "R1", {"adql": "SELECT\n1"})
    assert (done.new, done.changed, done.removed, done.kept) == (["a.csv"], [], [], 0)
    assert home.sources() == [done.source]
    assert done.source == Source(
        "csc", "R1", "detections", (home.root / "archive/csc/R1/texts",), {},
        {"archive": "texts", "adql": "SELECT\n1"},
    )  # fmt: skip
    (request,) = texts.requests
    assert (request.url, request.session.settings.tries) == ("http://texts", 2)
    assert archives.releases(home) == [("csc", "R1")]


def test_a_home_may_be_moved(texts, home, tmp_path):
    fetch(home, "texts", "R1", {})
    home.root.rename(tmp_path / "moved")
    moved = lake.open(tmp_path / "moved")
    assert refetch(moved, "csc", "R1") == []
    assert moved.sources()[0].paths == (tmp_path / "moved/archive/csc/R1/texts",)


def test_the_url_is_that_of_the_call_the_settings_or_the_archive(texts, home):
    home.root.mkdir()
    home.sources_file.write_text('[archives.texts]\nurl = "http://mirror/"\ntries = 9\n')
    fetch(home, "texts", "R1", {})
    assert texts.requests[-1].url == "http://mirror"
    assert texts.requests[-1].session.settings.tries == 9
    fetch(home, "texts", "R1", {}, url="http://mine")
    fetch(home, "texts", "R1", {})
    assert [r.url for r in texts.requests[-2:]] == ["http://mine", "http://mine"]
    assert "[archives.texts]" in home.sources_file.read_text()


def test_only_what_changed_is_fetched_again(texts, home):
    fetch(home, "texts", "R1", {"adql": "q"})
    assert refetch(home, "csc", "R1") == []
    assert len(texts.requests) == 1
    texts.texts = {"a.csv": CSV + "B,2,1,1\n", "b.csv": CSV}
    (done,) = refetch(home, "csc", "R1")
    assert (done.new, done.changed, done.removed) == (["b.csv"], ["a.csv"], [])
    assert texts.requests[-1].parameters == {"adql": "q"}
    del texts.texts["b.csv"]
    (done,) = refetch(home, "csc", "R1")
    assert (done.removed, done.kept) == (["b.csv"], 1)
    assert done.describe() == "0 files new, 0 changed, 1 kept, 1 removed, 0 not to be had"
    assert refetch(home, "csc", "R2") == []


def test_what_failed_for_the_moment_is_asked_for_again(texts, home):
    texts.texts["b.csv"] = None
    done = fetch(home, "texts", "R1", {})
    assert done.failures == [texts.failure]
    assert len(refetch(home, "csc", "R1")) == 1
    assert texts.states == 0
    texts.failure = FetchError("http://x/b.csv", "not found", status=404)
    refetch(home, "csc", "R1")
    assert refetch(home, "csc", "R1") == []  # it is not there, and that has not changed


def test_where_nothing_comes_nothing_is_registered(texts, home):
    texts.texts = {"b.csv": None}
    with pytest.raises(FetchError, match="no answer"):
        fetch(home, "texts", "R1", {})
    texts.texts = {}
    with pytest.raises(LacusError, match="has nothing of what was asked for"):
        fetch(home, "texts", "R1", {})
    assert home.sources() == []


def test_a_new_request_replaces_the_former_or_is_merged_with_it(texts, home):
    fetch(home, "texts", "R1", {"adql": "1"})
    fetch(home, "texts", "R1", {"adql": "2"})
    assert [s.fetch["adql"] for s in home.sources()] == ["2"]
    texts.archive = replace(
        texts.archive, merged=lambda former, new: {"adql": former["adql"] + new["adql"]}
    )
    fetch(home, "texts", "R1", {"adql": "3"})
    assert [s.fetch["adql"] for s in home.sources()] == ["23"]


def test_options_given_to_what_was_fetched_stay(texts, home):
    (source,) = [fetch(home, "texts", "R1", {"adql": "1"}).source]
    home.add(Source("csc", "R1", "detections", source.paths, {"duplicates": "first"}))
    texts.texts["b.csv"] = CSV
    assert len(refetch(home, "csc", "R1")) == 1
    fetch(home, "texts", "R1", {"adql": "2"})
    (now,) = home.sources()
    assert now.options == {"duplicates": "first"}
    assert now.fetch == {"archive": "texts", "adql": "2"}


def test_sources_are_not_written_where_nothing_changes(texts, home):
    fetch(home, "texts", "R1", {"adql": "1"})
    before = home.sources_file.stat().st_mtime_ns
    fetch(home, "texts", "R1", {"adql": "1"})
    assert home.sources_file.stat().st_mtime_ns == before


def test_wrong_usage(texts, home):
    with pytest.raises(UsageError, match="no archive 'no'; there are texts"):
        fetch(home, "no", "R1", {})
    with pytest.raises(UsageError, match="has no parameter 'plates'; it has adql"):
        fetch(home, "texts", "R1", {"plates": "1"})


@pytest.mark.parametrize("text", ['fetch = "csc"', 'fetch = {adql = "1"}'])
def test_a_fetch_in_sources_names_its_archive(text, home):
    home.root.mkdir()
    home.sources_file.write_text(
        f'[[source]]\nmission = "csc"\nrelease = "R"\nrole = "labels"\npaths = []\n{text}\n'
    )
    with pytest.raises(LacusError, match="source 1: fetch is a table that names an archive"):
        home.sources()
