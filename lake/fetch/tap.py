"""Queries to TAP services: small ones at once, others as jobs that outlive this process.

Standards: TAP 1.1, UWS 1.1 (phases, WAIT), DALI 1.1 (MAXREC, OVERFLOW, errors as VOTables).
"""

import hashlib
import io
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin
from xml.etree import ElementTree

import pyarrow as pa
import requests

from lake.errors import InputError, LacusError
from lake.fetch.download import Wanted, download
from lake.fetch.folder import Folder
from lake.fetch.session import FetchError, Session, expect
from lake.formats import read_votable
from lake.formats.votable_write import write_votable
from lake.whole import write_whole

if TYPE_CHECKING:
    from pyvo.dal.tap import TAPQuery

#: Rows asked for where no smaller number is: a service's default may be less than it can give.
MOST_ROWS = 10_000_000

#: Seconds before a job is looked at again where the service does not know WAIT; grows to the most.
_FIRST_POLL, _LONGEST_POLL = 1.0, 30.0
#: The longest that a service is asked to hold its answer back until a job's phase changes.
_LONGEST_WAIT = 60

#: Statuses that say where a job is that was made, and where to make it instead.
_MADE, _MOVED = (201, 302, 303), (301, 307, 308)

#: Folder below a download folder for what belongs to answers that are under way.
ANSWERS = ".answers"
_ANSWER, _JOB = "answer", "job.json"


class QueryError(FetchError):
    """An answer that is an error, or of no use: the same query would have it again."""


class Overflow(QueryError):
    """An answer that the service cut (OVERFLOW)."""


class _Gone(Exception):
    """A job that the service knows no more."""


@dataclass(frozen=True)
class Query:
    """A query to a TAP service.

    Attributes
    ----------
    url : str
        Of the service, without a slash at the end.
    adql : str
    uploads : mapping
        Tables that the query knows as ``TAP_UPLOAD.NAME``.
    max_rows : int
        More are an `Overflow`.
    version : str
        State of the archive that the answer is of: a job of another is not taken up.
    """

    url: str
    adql: str
    uploads: Mapping[str, pa.Table] = field(default_factory=dict)
    max_rows: int = MOST_ROWS
    version: str = ""

    def request(self, mode: str) -> "TAPQuery":
        """Parameters of the request, and its URL."""
        from pyvo.dal.tap import TAPQuery

        query = TAPQuery(self.url, self.adql, mode=mode, maxrec=self.max_rows)
        if self.uploads:
            query["UPLOAD"] = ";".join(f"{name},param:{name}" for name in self.uploads)
        return query

    def files(self) -> dict[str, tuple[str, bytes, str]]:
        """Uploads as VOTables, in the serialisation that every service reads."""
        files = {}
        for name, table in self.uploads.items():
            content = io.BytesIO()
            write_votable(table, content, serialization="tabledata")
            files[name] = (f"{name}.vot", content.getvalue(), "application/x-votable+xml")
        return files

    def digest(self, files: Mapping[str, tuple[str, bytes, str]]) -> str:
        """SHA-256 of all that the answer depends on."""
        parts = [self.url, self.adql, str(self.max_rows), self.version]
        parts += [f"{name}:{hashlib.sha256(f[1]).hexdigest()}" for name, f in sorted(files.items())]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def ask(session: Session, query: Query) -> pa.Table:
    """Ask a small question, and wait for its answer.

    Raises
    ------
    Overflow
        If the service gives only a part.
    FetchError
        If it gives no answer, or an error.
    """
    request = query.request("sync")
    response = session.get(request.queryurl, params=dict(request))
    _refuse(response)
    return _rows(query, response.content)


@contextmanager
def answer(session: Session, query: Query, folder: Folder, name: str) -> Iterator[pa.Table]:
    """Run a query as a job; gives the rows of its answer.

    The job's URL, and what has come of its result, are kept beside the file: another process that
    asks the same goes on where one was killed or lost the service, with the same job if the
    service still has it. The job and what is kept go when the block ends, or the query fails.

    Parameters
    ----------
    session : Session
    query : Query
    folder : Folder
    name : str
        Of the file that is to be made of the answer.

    Raises
    ------
    Overflow
        If the service gives only a part.
    FetchError
        If the job fails, or its result cannot be had.
    """
    place = folder.path / ANSWERS / name
    place.mkdir(parents=True, exist_ok=True)
    job = _Job(session, query, place)
    try:
        yield _rows(query, job.result())
    except LacusError as error:
        if isinstance(error, QueryError) or not isinstance(error, FetchError):
            job.forget()
        raise
    job.forget()


class _Job:
    """A query's job at the service, and the notes of it in a folder."""

    def __init__(self, session: Session, query: Query, place: Path) -> None:
        self.session, self.query, self.place = session, query, place
        self.files = query.files()
        self.digest = query.digest(self.files)
        self.memory = place / _JOB
        self.url: str | None = self._remembered()

    def result(self) -> Path:
        """Bring the job to its end, and its result here; once more if the service lost it."""
        for last in (False, True):
            known = self.url is not None
            if self.url is None:
                self._submit()
            try:
                return self._result()
            except _Gone:
                if last or not known:
                    raise FetchError(self._url, "the service has lost the job") from None
                self.forget()
                self.place.mkdir(parents=True)
                self.url = None
        raise AssertionError("it was given or lost")

    @property
    def _url(self) -> str:
        assert self.url is not None
        return self.url

    def _remembered(self) -> str | None:
        """URL of the job that a former process made for the same query."""
        try:
            known: dict[str, str] = json.loads(self.memory.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            known = {}
        if not known or known.get("digest") == self.digest:
            return known.get("url")
        self.url = known["url"]  # of another query
        self.forget()
        self.place.mkdir(parents=True)
        return None

    def _submit(self) -> None:
        """Make a job; it does not run yet, so that one that gets lost here is no burden."""
        request = self.query.request("async")
        url, tries = request.queryurl, self.session.settings.tries
        for tried in range(1, tries + 1):
            try:
                response = self.session.post(
                    url, data=dict(request), files=self.files or None, allow_redirects=False
                )
            except FetchError:
                if tried == tries:
                    raise
                continue
            place = response.headers.get("Location", "")
            if response.status_code not in _MOVED or not place:
                break
            url = urljoin(url, place)
        _refuse(response)
        if response.status_code not in _MADE or not place:
            reason = f"the server answers {response.status_code}; expected 303 and a job's URL"
            raise FetchError(url, reason)
        self.url = urljoin(url, place)
        write_whole(self.memory, json.dumps({"url": self.url, "digest": self.digest}))

    def _result(self) -> Path:
        job = self._finished()
        hrefs = {result.id_: result.href for result in job.results or () if result.href}
        url = urljoin(f"{self._url}/", hrefs.get("result", "results/result"))
        folder = Folder(self.place)
        try:
            download(self.session, Wanted(_ANSWER, url), folder)
        except FetchError as error:
            if error.is_missing:
                raise _Gone from error
            raise
        return folder.target(_ANSWER)

    def _finished(self) -> Any:
        """Run the job and wait until it is completed."""
        wait = max(1, min(_LONGEST_WAIT, int(self.session.settings.timeout_s / 2)))
        poll, pushed = _FIRST_POLL, 0
        # At first without WAIT: a job that does not run yet would be waited for in vain.
        job = self._look({})
        while True:
            match job.phase:
                case "COMPLETED":
                    return job
                case "ERROR" | "ABORTED":
                    raise QueryError(self._url, self._failure(job))
                case "ARCHIVED":
                    raise _Gone
                case "PENDING" | "HELD" if pushed == self.session.settings.tries:
                    problem = f"the job stays {job.phase}, told to run {pushed} times"
                    raise QueryError(self._url, problem)
                case "PENDING" | "HELD":
                    self._push()
                    pushed += 1
            before, started = job.phase, time.monotonic()
            job = self._look({"WAIT": str(wait)})
            if job.phase == before and time.monotonic() - started < 0.9 * wait:
                # The service does not know WAIT.
                self.session.pause(poll)
                poll = min(1.5 * poll, _LONGEST_POLL)

    def _look(self, parameters: Mapping[str, str]) -> Any:
        from pyvo.io.uws import parse_job

        response = self.session.get(self._url, params=parameters)
        if response.status_code in (404, 410):
            raise _Gone
        _refuse(response)
        try:
            return parse_job(io.BytesIO(response.content))
        except (ValueError, KeyError, OSError) as error:
            raise FetchError(self._url, f"is not the description of a job: {error}") from error

    def _push(self) -> None:
        """Tell the job to run; a lost connection is seen by the phase."""
        try:
            response = self.session.post(
                f"{self._url}/phase", data={"PHASE": "RUN"}, allow_redirects=False
            )
        except FetchError:
            return
        _refuse(response)

    def _failure(self, job: Any) -> str:
        """What the service says of a job that failed: its error document, or the summary."""
        said = None
        if job.phase == "ERROR":
            response = self.session.get(f"{self._url}/error")
            said = error_text(response.content) if response.status_code == 200 else None
        summary = getattr(getattr(job, "errorsummary", None), "message", None)
        said = said or (summary and summary.content)
        return f"the job ended as {job.phase}" + (f": {said}" if said else ", without a reason")

    def forget(self) -> None:
        """Delete the job at the service, and what is here of it."""
        if self.url is not None:
            # Otherwise the service destroys it when its time has come.
            with suppress(FetchError):
                self.session.delete(self.url, allow_redirects=False)
        shutil.rmtree(self.place, ignore_errors=True)


def forget_answers(folder: Folder) -> None:
    """Remove what is left of answers that nobody will ask for again."""
    shutil.rmtree(folder.path / ANSWERS, ignore_errors=True)


def _rows(query: Query, source: Path | bytes) -> pa.Table:
    """Rows of an answer that is complete."""
    try:
        table = read_votable(source)
    except InputError as error:
        raise QueryError(query.url, error.reason) from error
    params = json.loads((table.schema.metadata or {}).get(b"params", b"[]"))
    statuses = [p.get("value", "").upper() for p in params if p.get("name") == "QUERY_STATUS"]
    if "OVERFLOW" in statuses:
        raise Overflow(
            query.url, f"the service gives only {table.num_rows:,} rows of the answer (OVERFLOW)"
        )
    return table


def _refuse(response: requests.Response) -> None:
    """Raise FetchError for an answer that tells an error, with the text that the service gives."""
    status = response.status_code
    if status < 400:
        return
    if (said := error_text(response.content)) is None:
        expect(response, 200)
    kind = QueryError if status < 500 else FetchError
    raise kind(response.url.partition("?")[0], f"the service says: {said}", status)


def error_text(content: bytes) -> str | None:
    """Text of an error that a service tells as a VOTable; None if it is no such thing."""
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError:
        return None
    for element in root.iter():
        about = (element.get("name"), element.get("value", "").upper())
        if element.tag.rpartition("}")[2] == "INFO" and about == ("QUERY_STATUS", "ERROR"):
            return " ".join("".join(element.itertext()).split()) or None
    return None
