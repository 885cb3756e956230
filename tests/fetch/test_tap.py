"""TAP: jobs, small questions, uploads, errors, cut answers, and a fetch that is killed."""

import json
import os
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pytest

from lake.errors import LacusError
from lake.fetch import session as http
from lake.fetch.folder import Folder
from lake.fetch.session import FetchError, Session
from lake.fetch.settings import Settings
from lake.fetch.tap import Overflow, Query, QueryError, answer, ask
from tests.fetch.server import Fault
from tests.fetch.tap_server import TapServer

STARS = pa.table(
    {
        "name": [f"star {i}" for i in range(500)],
        "n": pa.array([None if i % 7 == 0 else i for i in range(500)], pa.int32()),
        "ra": pa.array([i / 3 for i in range(500)], pa.float64()),
        "dec": pa.array([None if i % 5 == 0 else -i / 9 for i in range(500)], pa.float64()),
    },
    schema=pa.schema(
        [
            pa.field("name", pa.string()),
            pa.field("n", pa.int32()),
            pa.field("ra", pa.float64(), metadata={b"unit": b"deg"}),
            pa.field("dec", pa.float64(), metadata={b"unit": b"deg"}),
        ]
    ),
)
ADQL = "SELECT s.name, s.n, s.ra, s.dec FROM sky.stars AS s ORDER BY s.ra"


pytestmark = pytest.mark.usefixtures("waits")


@pytest.fixture
def server():
    with TapServer() as running:
        running.load({"sky.stars": STARS})
        yield running


def session(**settings) -> Session:
    return Session(Settings(**{"timeout_s": 2.0, "tries": 3, **settings}))


def run(server, place, adql=ADQL, **query) -> pa.Table:
    with answer(session(), Query(server.tap, adql, **query), Folder(place), "q") as table:
        return table


def left(place) -> list[str]:
    """What is kept of answers."""
    return [path.name for path in place.glob(".answers/*")]


def paths(server, method) -> list[str]:
    return [s.path for s in server.seen if s.method == method]


@pytest.mark.parametrize("serialization", ["binary2", "tabledata"])
@pytest.mark.parametrize("waits_known", [True, False])
def test_a_query_runs_as_a_job_and_leaves_nothing_behind(
    server, tmp_path, serialization, waits_known
):
    server.serialization, server.waits, server.busy_polls = serialization, waits_known, 3
    table = run(server, tmp_path)
    assert table.to_pydict() == STARS.to_pydict()
    assert table.schema.field("ra").metadata[b"unit"] == b"deg"
    assert paths(server, "POST") == ["/tap/async", "/tap/async/j1/phase"]
    assert paths(server, "DELETE") == ["/tap/async/j1"]
    assert server.jobs == {}
    assert left(tmp_path) == []


def test_a_job_is_looked_at_ever_more_rarely_where_wait_is_not_known(server, tmp_path, waits):
    server.busy_polls, server.waits = 12, False
    run(server, tmp_path)
    polls = [w for w in waits if w >= 1]
    assert polls[:3] == [1.0, 1.5, 2.25]
    assert polls == sorted(polls)
    assert max(polls) <= 30


def test_a_service_is_asked_to_wait_no_longer_than_a_silence_lasts(server, tmp_path):
    run(server, tmp_path)
    polls = [s for s in server.seen if s.path == "/tap/async/j1"]
    assert [s.query.get("WAIT") for s in polls if s.method == "GET"] == [None, ["1"]]


@pytest.mark.parametrize("redirects", [False, True])
def test_a_small_question_is_answered_at_once(server, redirects):
    server.redirects = redirects
    query = Query(server.tap, "SELECT COUNT(*) AS n FROM sky.stars")
    assert ask(session(), query).to_pydict() == {"n": [500]}
    assert server.jobs == {}


def test_every_request_has_its_turn_redirected_ones_too(server, tmp_path, monkeypatch):
    turns = []
    monkeypatch.setattr(http.Limiter, "delay", lambda self, moment: turns.append(moment) or 0.0)
    server.redirects = True
    ask(session(), Query(server.tap, "SELECT COUNT(*) AS n FROM sky.stars"))
    assert len(turns) == 2
    run(server, tmp_path)
    assert len(turns) == len(server.seen)


def test_an_uploaded_table_is_part_of_the_query(server, tmp_path):
    mine = pa.table({"name": ["near", "far"], "ra": [10.0, 10.5], "dec": [-3.3, 80.0]})
    adql = (
        "SELECT u.name AS mine, s.name FROM TAP_UPLOAD.mine AS u JOIN sky.stars AS s ON 1 ="
        " CONTAINS(POINT('ICRS', s.ra, s.dec), CIRCLE('ICRS', u.ra, u.dec, 0.5)) ORDER BY s.name"
    )
    table = run(server, tmp_path, adql, uploads={"mine": mine})
    assert table.to_pydict() == {"mine": ["near", "near"], "name": ["star 29", "star 31"]}
    assert server.uploaded[0].to_pydict() == mine.to_pydict()


@pytest.mark.parametrize("status", [429, 503])
def test_a_refused_upload_is_sent_again_whole(server, tmp_path, status):
    mine = pa.table({"a": [1.5, 2.5]})
    server.fault("/tap/async", Fault(status=status, headers={"Retry-After": "7"}))
    table = run(server, tmp_path, "SELECT u.a FROM TAP_UPLOAD.u AS u", uploads={"u": mine})
    assert table.to_pydict() == mine.to_pydict()


def test_a_submission_whose_answer_is_cut_is_made_again(server, tmp_path):
    server.fault("/tap/async", Fault(cut_after=0, status=303, length_off=10))
    assert run(server, tmp_path).num_rows == 500
    assert paths(server, "POST").count("/tap/async") == 2


@pytest.mark.parametrize("status", [301, 307, 308])
def test_a_service_that_has_moved_is_followed(server, tmp_path, status):
    elsewhere = {"Location": f"{server.tap}/async"}
    server.fault("/old/async", Fault(status=status, headers=elsewhere))
    with answer(session(), Query(f"{server.url}/old", ADQL), Folder(tmp_path), "q") as table:
        assert table.num_rows == 500


def test_a_service_that_makes_no_job_is_told(server, tmp_path):
    server.fault("/tap/async", Fault(status=200))
    with pytest.raises(FetchError, match="answers 200; expected 303 and a job's URL"):
        run(server, tmp_path)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_an_error_is_told_in_the_words_of_the_service(server, tmp_path, mode):
    adql = "SELECT s.nothing FROM sky.stars AS s"
    with pytest.raises(QueryError, match='does not have a column named "nothing"') as caught:
        run(server, tmp_path, adql) if mode == "async" else ask(session(), Query(server.tap, adql))
    assert server.tap in str(caught.value)
    assert server.jobs == {}
    assert left(tmp_path) == []
    assert len(server.queries) == 1  # what is wrong is not asked for again


def test_an_error_that_comes_with_status_200_is_one(server):
    body = b"""<VOTABLE version="1.4"><RESOURCE type="results">
        <INFO name="QUERY_STATUS" value="ERROR">no  such
        table</INFO></RESOURCE></VOTABLE>"""
    server.redirects = True
    server.fault("/tap/results/s2", Fault(body=body))
    with pytest.raises(QueryError, match="answered with an error: no such table"):
        ask(session(), Query(server.tap, ADQL))


@pytest.mark.parametrize(
    ("phase", "problem"),
    [("ABORTED", "ended as ABORTED, without a reason"), ("HELD", "stays HELD, told to run 3")],
)
def test_a_job_that_comes_to_nothing_is_told(server, tmp_path, phase, problem):
    server.phase = phase
    with pytest.raises(QueryError, match=problem):
        run(server, tmp_path)
    assert server.jobs == {}


def test_a_page_in_place_of_an_answer_is_refused(server, tmp_path):
    server.fault("/tap/async/j1/results/result", Fault(body=b"<html>Sign in</html>"))
    with pytest.raises(QueryError, match="not a VOTable: the root element is <html>"):
        run(server, tmp_path)


def test_a_page_in_place_of_a_job_is_refused(server, tmp_path):
    server.put("/tap/async/j9", b"<html>Sign in<br></html>")
    server.fault("/tap/async", Fault(status=303, headers={"Location": "/tap/async/j9"}))
    with pytest.raises(FetchError, match="is not the description of a job"):
        run(server, tmp_path)


@pytest.mark.parametrize("limit", ["MAXREC", "of the service"])
def test_a_cut_answer_is_never_taken_for_a_whole_one(server, tmp_path, limit):
    query = {"max_rows": 100} if limit == "MAXREC" else {}
    server.max_rows = None if query else 100
    with pytest.raises(Overflow, match=r"gives only 100 rows of the answer \(OVERFLOW\)"):
        run(server, tmp_path, **query)
    with pytest.raises(Overflow):
        ask(session(), Query(server.tap, ADQL, **query))
    assert server.jobs == {}
    assert left(tmp_path) == []


def test_a_cut_result_goes_on_where_it_ended(server, tmp_path):
    path = "/tap/async/j1/results/result"
    server.fault(path, Fault(cut_after=9_000), Fault(cut_after=5_000))
    assert run(server, tmp_path).num_rows == 500
    results = [s for s in server.seen if s.path == path]
    assert [s.status for s in results] == [200, 206, 206]
    assert len(server.queries) == 1


def test_silence_ends_after_the_timeout_and_is_borne(server, tmp_path):
    server.fault("/tap/async/j1/results/result", Fault(pause=1.0))
    server.put("/slow", b"")
    query = Query(server.tap, ADQL)
    with answer(session(timeout_s=0.3), query, Folder(tmp_path), "q") as table:
        assert table.num_rows == 500
    assert paths(server, "GET").count("/tap/async/j1/results/result") == 2


@pytest.mark.parametrize("phase", ["QUEUED", "COMPLETED"])
def test_the_job_of_a_fetch_that_lost_the_service_is_taken_up(server, tmp_path, phase):
    path = "/tap/async/j1" + ("/results/result" if phase == "COMPLETED" else "")
    server.fault(path, *[Fault(status=503)] * 3)
    with pytest.raises(FetchError, match="503"):
        run(server, tmp_path)
    assert list(server.jobs) == ["j1"]
    assert run(server, tmp_path).num_rows == 500
    assert paths(server, "POST").count("/tap/async") == 1
    assert server.jobs == {}


@pytest.mark.parametrize("lost", ["job", "result", "archived"])
def test_a_job_that_the_service_lost_is_made_anew(server, tmp_path, lost):
    server.fault("/tap/async/j1/results/result", *[Fault(status=503)] * 3)
    with pytest.raises(FetchError, match="503"):
        run(server, tmp_path)
    if lost == "job":
        server.jobs.clear()
        server.documents.clear()
    elif lost == "result":
        server.documents.clear()
    else:
        server.jobs["j1"].phase = "ARCHIVED"
    assert run(server, tmp_path).num_rows == 500
    assert paths(server, "POST").count("/tap/async") == 2


def test_another_query_does_not_take_the_job_up(server, tmp_path):
    server.fault("/tap/async/j1/results/result", *[Fault(status=503)] * 3)
    with pytest.raises(FetchError, match="503"):
        run(server, tmp_path)
    assert run(server, tmp_path, "SELECT s.n FROM sky.stars AS s").column_names == ["n"]
    assert server.jobs == {}


def test_what_fails_in_the_block_leaves_no_job(server, tmp_path):
    query = Query(server.tap, ADQL)
    with (
        pytest.raises(LacusError, match="mine"),
        answer(session(), query, Folder(tmp_path), "q"),
    ):
        raise LacusError("mine")
    assert server.jobs == {}
    assert left(tmp_path) == []


_CHILD = """
import sys
from pathlib import Path
from lake.fetch.folder import Folder
from lake.fetch.session import Session
from lake.fetch.settings import Settings
from lake.fetch.tap import Query, answer
url, adql, place = sys.argv[1:]
folder = Folder(Path(place))
with answer(Session(Settings(timeout_s=20.0)), Query(url, adql), folder, "q") as table:
    print(table.num_rows)
"""


def test_a_process_that_is_killed_over_the_result_goes_on_with_the_same_job(server, tmp_path):
    many = pa.table({"i": range(100_000)})
    server.load({"sky.many": many})
    path, adql = "/tap/async/j1/results/result", "SELECT m.i FROM sky.many AS m ORDER BY m.i"
    server.fault(path, Fault(pause=0.05))
    command = [sys.executable, "-c", _CHILD, server.tap, adql, str(tmp_path)]
    part = tmp_path / ".answers/q/answer.part"
    with subprocess.Popen(command, env=os.environ) as process:
        while process.poll() is None and not (part.exists() and part.stat().st_size):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    came = part.stat().st_size
    assert 0 < came < len(server.documents[path].body)
    known = json.loads((tmp_path / ".answers/q/job.json").read_text())
    assert known["url"] == f"{server.tap}/async/j1"
    assert run(server, tmp_path, adql).to_pydict() == many.to_pydict()
    assert len(server.queries) == 1
    assert [s.headers.get("Range") for s in server.seen if s.path == path][-1] == f"bytes={came}-"
