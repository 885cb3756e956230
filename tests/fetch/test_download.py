"""Files over HTTP: what is resumed, repeated, verified and refused."""

import hashlib
import json
import os
import threading

import pytest

from lake.fetch import session as http
from lake.fetch.download import Wanted, download, each
from lake.fetch.folder import Folder, partial, validators
from lake.fetch.session import FetchError, Limiter, Session
from lake.fetch.settings import Settings
from tests.fetch.server import Fault, Server

BODY = os.urandom(1 << 20)
PATH = "/a/b.fits"


pytestmark = pytest.mark.usefixtures("waits")


@pytest.fixture
def server():
    with Server() as running:
        running.put(PATH, BODY)
        yield running


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path / "folder")


def session(**kwargs) -> Session:
    return Session(Settings(**{"timeout_s": 2.0, "tries": 3, **kwargs}))


def get(server, folder, *, path=PATH, **kwargs) -> None:
    download(session(), Wanted("b.fits", server.url + path, **kwargs), folder)


def here(folder) -> bytes:
    return (folder.path / "b.fits").read_bytes()


def leftovers(folder) -> list[str]:
    return [p.name for p in folder.path.rglob("*") if "part" in p.name]


def test_a_file_is_streamed_noted_and_named_at_the_end(server, folder):
    get(server, folder, query="the query")
    assert here(folder) == BODY
    assert leftovers(folder) == []
    entry = Folder(folder.path).complete("b.fits")
    assert (entry.size, entry.sha256) == (len(BODY), hashlib.sha256(BODY).hexdigest())
    assert (entry.url, entry.query) == (server.url + PATH, "the query")
    assert server.seen[0].headers["User-Agent"].startswith("lacus/")


def test_a_cut_body_goes_on_where_it_ended(server, folder):
    server.fault(PATH, Fault(cut_after=400_000), Fault(cut_after=300_000))
    get(server, folder)
    assert here(folder) == BODY
    assert [s.status for s in server.seen] == [200, 206, 206]
    assert sum(s.sent for s in server.seen) == len(BODY)


def test_as_many_cuts_as_bring_more_are_borne(server, folder):
    server.fault(PATH, *[Fault(cut_after=100_000)] * 9)
    get(server, folder)
    assert here(folder) == BODY


def test_cuts_that_bring_nothing_more_are_not(server, folder):
    server.always(PATH, Fault(cut_after=100_000, no_ranges=True))
    with pytest.raises(FetchError, match=r"b\.fits: .*cut"):
        get(server, folder)
    assert not (folder.path / "b.fits").exists()
    assert folder.entries == {}
    server.heal()
    get(server, folder)
    assert here(folder) == BODY


@pytest.mark.parametrize("size", [1000, len(BODY)])
def test_what_a_killed_process_left_is_used(size, server, folder):
    part = partial(folder.target("b.fits"))
    part.write_bytes(BODY[:size])
    said = {"url": server.url + PATH, "etag": server.documents[PATH].tag, "last_modified": None}
    validators(folder.target("b.fits")).write_text(json.dumps(said))
    get(server, folder)
    assert here(folder) == BODY
    assert sum(s.sent for s in server.seen) == len(BODY) - size
    assert folder.complete("b.fits").sha256 == hashlib.sha256(BODY).hexdigest()


@pytest.mark.parametrize(
    "said",
    [
        {"etag": '"old"'},
        {"etag": 'W/"weak"'},
        {"etag": None},
        {"url": "http://127.0.0.1/another"},
        None,
    ],
)
def test_what_may_be_of_another_version_is_not_used(said, server, folder):
    part = partial(folder.target("b.fits"))
    part.write_bytes(b"x" * 1000)
    if said is not None:
        known = {"url": server.url + PATH, "etag": server.documents[PATH].tag}
        memory = validators(folder.target("b.fits"))
        memory.write_text(json.dumps({"last_modified": None, **known, **said}))
    get(server, folder)
    assert here(folder) == BODY


def test_a_server_that_resumes_another_version_is_not_believed(server, folder):
    server.fault(PATH, Fault(cut_after=1000), Fault(status=404))
    with pytest.raises(FetchError, match="cut"):
        download(session(tries=1), Wanted("b.fits", server.url + PATH), folder)
    server.heal()
    server.put(PATH, BODY[::-1])
    server.always(PATH, Fault(no_if_range=True))
    get(server, folder)
    assert here(folder) == BODY[::-1]
    assert [s.status for s in server.seen] == [200, 206, 200]


def test_a_server_without_ranges_or_validators_starts_anew(server, folder):
    server.fault(PATH, Fault(cut_after=1000), Fault(no_ranges=True))
    get(server, folder)
    assert here(folder) == BODY
    server.put(PATH, BODY[::-1])
    server.fault(PATH, Fault(cut_after=1000, no_validators=True))
    download(session(), Wanted("b.fits", server.url + PATH, stamp="later"), folder)
    assert here(folder) == BODY[::-1]


def test_more_bytes_here_than_there_start_anew(server, folder):
    partial(folder.target("b.fits")).write_bytes(BODY + b"more")
    said = {"url": server.url + PATH, "etag": server.documents[PATH].tag, "last_modified": None}
    validators(folder.target("b.fits")).write_text(json.dumps(said))
    get(server, folder)
    assert here(folder) == BODY


def test_a_body_of_another_length_than_promised_is_refused(server, folder):
    server.always(PATH, Fault(length_off=10, no_ranges=True))
    with pytest.raises(FetchError):
        get(server, folder)
    assert not (folder.path / "b.fits").exists()


@pytest.mark.parametrize("algorithm", ["sha1", "md5", "sha256"])
def test_a_wrong_checksum_is_asked_for_again_and_then_refused(algorithm, server, folder):
    right = hashlib.new(algorithm, BODY).hexdigest()
    server.fault(PATH, Fault(body=b"an error page"))
    get(server, folder, checksum=(algorithm, right.upper()))
    assert here(folder) == BODY
    with pytest.raises(FetchError, match=f"its {algorithm} is {right}; expected 00"):
        download(session(), Wanted("c.fits", server.url + PATH, checksum=(algorithm, "00")), folder)
    assert [p.name for p in folder.path.glob("[a-z]*")] == ["b.fits"]


@pytest.mark.parametrize("status", [404, 403, 400])
def test_a_refusal_is_not_repeated(status, server, folder):
    server.always(PATH, Fault(status=status))
    with pytest.raises(FetchError, match=rf"{server.url}{PATH}: .*{status}.*expected 200") as error:
        get(server, folder)
    assert error.value.is_missing == (status == 404)
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_repeated(status, server, folder, waits):
    server.fault(PATH, Fault(status=status), Fault(status=status, headers={"Retry-After": "7"}))
    get(server, folder)
    assert here(folder) == BODY
    long = [seconds for seconds in waits if seconds > 0]
    assert 0.25 <= long[0] <= 0.5
    assert long[1] == 7


def test_so_many_tries_and_no_more(server, folder):
    server.always(PATH, Fault(status=503))
    with pytest.raises(FetchError, match="503"):
        get(server, folder)
    assert len(server.seen) == 3


def test_no_server_is_said_so(folder):
    with Server() as server:
        url = server.url
    with pytest.raises(FetchError, match=f"{url}/x.*: no connection: .*refused") as found:
        download(session(), Wanted("x", f"{url}/x?QUERY=SELECT"), folder)
    assert str(found.value).count("SELECT") == 1
    with pytest.raises(FetchError, match="nothing://x"):
        download(session(), Wanted("x", "nothing://x"), folder)


def test_silence_ends(server, folder):
    server.always(PATH, Fault(pause=30.0))
    with pytest.raises(FetchError, match=r"no answer within 0\.2 s"):
        download(session(timeout_s=0.2, tries=2), Wanted("x", server.url + PATH), folder)


def test_retry_after_may_be_a_date():
    assert http.retry_after("Fri, 31 Dec 1999 23:59:59 GMT") == 0.1
    assert http.retry_after("Fri, 31 Dec 2999 23:59:59 GMT") == 600
    assert http.retry_after("soon") is None
    assert http.retry_after(None) is None


def test_a_post_is_repeated_only_where_it_had_no_effect(server):
    server.fault("/tap", Fault(status=503), Fault(status=500))
    assert session().post(f"{server.url}/tap").status_code == 500
    assert [s.status for s in server.seen] == [503, 500]


def test_a_complete_file_is_not_asked_for_again(server, folder):
    get(server, folder)
    get(server, Folder(folder.path))
    assert len(server.seen) == 1
    (folder.path / "b.fits").unlink()
    get(server, folder)
    assert here(folder) == BODY


def test_a_file_of_a_former_fetch_is_asked_for_by_its_version(server, folder):
    get(server, folder)
    folder.finish("state")
    get(server, folder)
    assert [s.status for s in server.seen] == [200, 304]
    server.put(PATH, BODY[:1000])
    get(server, folder)
    assert [s.status for s in server.seen] == [200, 304, 200]
    assert here(folder) == BODY[:1000]


def test_a_stamp_saves_the_question(server, folder):
    get(server, folder, stamp="2021 100K")
    folder.finish("state")
    get(server, Folder(folder.path), stamp="2021 100K")
    assert len(server.seen) == 1
    get(server, folder, stamp="2022 100K")
    assert [s.status for s in server.seen] == [200, 304]
    folder.finish("state")
    get(server, folder, stamp="2022 100K")
    assert len(server.seen) == 2


def test_an_old_file_stays_until_the_new_one_is_complete(server, folder):
    get(server, folder)
    folder.finish("state")
    server.put(PATH, BODY[::-1])
    server.always(PATH, Fault(cut_after=1000, no_ranges=True))
    with pytest.raises(FetchError):
        get(server, folder)
    assert here(folder) == BODY
    server.heal()
    get(server, folder)
    assert here(folder) == BODY[::-1]


def download_all(session, wanted, folder, report):
    return each(session, wanted, lambda one: download(session, one, folder), report)


def test_one_failure_does_not_stop_the_others(server, folder):
    for number in range(20):
        server.put(f"/{number}", bytes([number]) * 1000)
    del server.documents["/7"], server.documents["/3"]
    wanted = [Wanted(f"sub/{n}.fits", f"{server.url}/{n}") for n in range(20)]
    told = []
    failures = download_all(session(), wanted, folder, told.append)
    assert [f.url[-2:] for f in failures] == ["/3", "/7"]
    assert len(folder.entries) == 18
    assert told == list(range(1, 21))
    again = Folder(folder.path).entries
    assert again == folder.entries


def test_another_error_stops_all(server, folder):
    for number in range(50):
        server.put(f"/{number}", b"x")
    wanted = [Wanted(f"{n}.fits", f"{server.url}/{n}") for n in range(50)]

    def report(done):
        if done == 3:
            raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        download_all(session(parallel=2), wanted, folder, report)
    assert 3 <= len(folder.entries) < 50
    assert not [t for t in threading.enumerate() if t.name.endswith("(work)")]
    assert threading.active_count() <= before + 2  # of the server


def test_the_rate_is_kept_over_all_threads():
    limiter = Limiter(4)
    first = [limiter.delay(100.0) for _ in range(8)]
    assert first == pytest.approx([0, 0, 0, 0, 0.25, 0.5, 0.75, 1.0])
    assert limiter.delay(200.0) == 0  # a pause gives no more than that again
    assert [limiter.delay(200.0) for _ in range(4)] == pytest.approx([0, 0, 0, 0.25])
