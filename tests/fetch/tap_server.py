"""A TAP service on 127.0.0.1: sync and async (UWS), VOTable 1.4, uploads, MAXREC, faults on demand.

It answers from Arrow tables in an in-memory DuckDB. Standards: TAP 1.1, UWS 1.1, DALI 1.1.
"""

import email.policy
import io
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import parse_qsl, urlsplit
from xml.sax.saxutils import escape

import duckdb
import numpy as np
import pyarrow as pa
from astropy.io import votable
from astropy.table import MaskedColumn, Table

NULL_INT = -(2**31)

#: The geometry of ADQL that the client uses, as macros; angles in degrees.
_GEOMETRY = """
CREATE MACRO adql_point(frame, a, d) AS {'a': radians(a), 'd': radians(d)};
CREATE MACRO adql_circle(frame, a, d, r) AS
    {'a': radians(a), 'd': radians(d), 'r': radians(r)};
CREATE MACRO adql_contains(p, c) AS CAST(2 * asin(least(1, sqrt(
    sin((p.d - c.d) / 2) ** 2 + cos(p.d) * cos(c.d) * sin((p.a - c.a) / 2) ** 2
))) <= c.r AS INTEGER);
"""


@dataclass
class Job:
    """One UWS job."""

    number: int
    parameters: dict[str, str]
    uploads: dict[str, pa.Table]
    phase: str = "PENDING"
    polls: int = 0
    error: str | None = None
    result: bytes | None = None


@dataclass
class Fault:
    """What is done instead of an answer, to some requests.

    Attributes
    ----------
    path : str
        Regular expression of the method and the path, as ``GET .*/results/result``.
    times : int
        How many requests it strikes.
    status : int
        Answered in place of the true one; 0: the answer is true, as far as it comes.
    body : bytes
    headers : dict
    cut_after : int, optional
        Bytes of the body after which the connection is cut.
    pause : float
        Seconds of silence before the answer.
    """

    path: str
    times: int = 1
    status: int = 0
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    pause: float = 0.0


@dataclass
class TapServer:
    """A running service.

    Attributes
    ----------
    url : str
    serialization : str
        Of the answers.
    geometry : bool
        Whether the service knows ADQL's geometry; that of the Chandra catalogue does not.
    max_rows : int, optional
        Rows of any answer; more are cut off and told as OVERFLOW.
    silent_max_rows : int, optional
        Likewise, but not told.
    busy_polls : int
        How often a job is said to be queued or executing before it is done.
    waits : bool
        Whether WAIT is understood (UWS 1.1).
    phase : str, optional
        Phase in which every job that is run ends, or stays.
    error : str, optional
        Text with which every query fails.
    ranges : bool
        Whether a part of a result can be had.
    requests : list of str
        Method and path of all requests, in order.
    queries : list of (str, str)
        ``sync`` or ``async``, and the ADQL, of all queries that were run.
    jobs : dict
        Those that are not deleted.
    """

    url: str = ""
    serialization: Literal["binary2", "tabledata"] = "binary2"
    geometry: bool = True
    max_rows: int | None = None
    silent_max_rows: int | None = None
    busy_polls: int = 0
    waits: bool = True
    phase: str | None = None
    error: str | None = None
    ranges: bool = True
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    queries: list[tuple[str, str]] = field(default_factory=list)
    uploaded: list[pa.Table] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)
    before_answer: Callable[[str], None] = lambda path: None
    lock: threading.RLock = field(default_factory=threading.RLock)
    _made: int = 0

    def __post_init__(self) -> None:
        self.connection = duckdb.connect()
        self.connection.execute(_GEOMETRY)

    def load(self, tables: Mapping[str, pa.Table]) -> None:
        """Serve tables under their names, ``schema.name`` or ``name``; replaces former ones."""
        with self.lock:
            for name, table in tables.items():
                schema, _, _ = name.rpartition(".")
                if schema:
                    self.connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
                self.connection.register("given", table)
                self.connection.execute(f"CREATE OR REPLACE TABLE {name} AS FROM given")
                self.connection.unregister("given")
            self.units = {
                f.name: f.metadata[b"unit"].decode()
                for table in tables.values()
                for f in table.schema
                if f.metadata and b"unit" in f.metadata
            }

    def strike(self, method: str, path: str) -> Fault | None:
        """Take the next fault for a request."""
        with self.lock:
            for fault in self.faults:
                if fault.times and re.fullmatch(fault.path, f"{method} {path}"):
                    fault.times -= 1
                    return fault
        return None

    def run(self, mode: str, parameters: Mapping[str, str], uploads: Mapping[str, pa.Table]) -> bytes:
        """Answer a query as a VOTable; a query that fails raises ValueError."""
        query = parameters.get("QUERY", "")
        with self.lock:
            self.queries.append((mode, query))
            if self.error:
                raise ValueError(self.error)
            if parameters.get("LANG", "").upper() != "ADQL" or not query:
                raise ValueError("LANG=ADQL and QUERY are required")
            if not self.geometry and re.search(r"\b(CIRCLE|CONTAINS|POINT)\b", query, re.I):
                raise ValueError("function CIRCLE not found")
            for name, table in uploads.items():
                self.uploaded.append(table)
                self.load_upload(name, table)
            try:
                rows = self.connection.execute(_sql(query)).to_arrow_table()
            except duckdb.Error as error:
                raise ValueError(str(error)) from error
        limits = [int(parameters["MAXREC"])] if "MAXREC" in parameters else []
        limits += [self.max_rows] if self.max_rows is not None else []
        overflow = bool(limits) and rows.num_rows > min(limits)
        rows = rows.slice(0, min(limits)) if overflow else rows
        rows = rows.slice(0, self.silent_max_rows)
        with self.lock:
            self._made += 1
            stamp = self._made
        return document(rows, self.serialization, self.units, overflow=overflow, stamp=stamp)

    def load_upload(self, name: str, table: pa.Table) -> None:
        """Make an uploaded table known as ``tap_upload.NAME``."""
        self.connection.execute("CREATE SCHEMA IF NOT EXISTS tap_upload")
        self.connection.register("given", table)
        self.connection.execute(f"CREATE OR REPLACE TABLE tap_upload.{name} AS FROM given")
        self.connection.unregister("given")

    def asked(self, mode: str) -> list[str]:
        """Queries that were run in a mode."""
        return [query for how, query in self.queries if how == mode]


def _sql(adql: str) -> str:
    """DuckDB's words for the few that ADQL has otherwise."""
    top = re.match(r"\s*SELECT\s+(DISTINCT\s+)?TOP\s+(\d+)", adql, re.I)
    sql = re.sub(r"(?i)^(\s*SELECT\s+(?:DISTINCT\s+)?)TOP\s+\d+", r"\1", adql)
    sql = re.sub(r"(?i)\b(POINT|CIRCLE|CONTAINS)\s*\(", r"adql_\1(", sql)
    return f"{sql} LIMIT {top[2]}" if top else sql


def document(
    rows: pa.Table,
    serialization: str,
    units: Mapping[str, str],
    *,
    overflow: bool = False,
    stamp: int = 0,
) -> bytes:
    """A VOTable 1.4 answer, written by astropy, with what makes every answer another one."""
    columns = []
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        mask = np.asarray(column.is_null())
        if pa.types.is_string(column.type):
            values = np.array(column.fill_null("").to_pylist(), dtype=str)
        elif pa.types.is_boolean(column.type):
            values = np.asarray(column.fill_null(False))
        elif pa.types.is_floating(column.type):
            values = np.asarray(column.fill_null(np.nan))
        else:
            values = np.asarray(column.cast(pa.int64()).fill_null(NULL_INT))
            if np.all(np.abs(values) <= 2**31):
                values = values.astype(np.int32)
        columns.append(MaskedColumn(values, name=name, mask=mask, unit=units.get(name)))
    tree = votable.from_table(Table(columns, masked=True))
    tree.version = "1.4"
    resource = tree.resources[0]
    resource.type = "results"
    table = tree.get_first_table()
    table.format = serialization
    for element in table.fields:
        if element.datatype in ("int", "long"):
            element.values.null = NULL_INT
    made = time.strftime("%Y-%m-%dT%H:%M:%S")
    resource.infos.append(votable.tree.Info(name="QUERY_STATUS", value="OK"))
    resource.infos.append(votable.tree.Info(name="made", value=f"{made} {stamp:06d}"))
    out = io.BytesIO()
    tree.to_xml(out)
    text = out.getvalue()
    if overflow:  # where DALI has it: after the table
        told = b'<INFO name="QUERY_STATUS" value="OVERFLOW"/>\n </RESOURCE>'
        text = text.replace(b"</RESOURCE>", told)
    return text


def error_document(message: str) -> bytes:
    """A VOTable that tells an error (DALI 1.1, section 4.4.2)."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<VOTABLE xmlns="http://www.ivoa.net/xml/VOTable/v1.3" version="1.4">\n'
        '<RESOURCE type="results">\n'
        f'<INFO name="QUERY_STATUS" value="ERROR">{escape(message)}</INFO>\n'
        "</RESOURCE>\n</VOTABLE>\n"
    ).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def _handle(self) -> None:
        tap = self.server.tap
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with tap.lock:
            tap.requests.append(f"{self.command} {parts.path}")
        self.fault = tap.strike(self.command, parts.path)
        tap.before_answer(f"{self.command} {parts.path}")
        if self.fault is not None:
            time.sleep(self.fault.pause)
            if self.fault.status:
                self._send(self.fault.status, self.fault.body, headers=self.fault.headers)
                return
        parameters = {k.upper(): v for k, v in parse_qsl(parts.query)}
        uploads: dict[str, pa.Table] = {}
        if body:
            more, uploads = _form(self.headers.get("Content-Type", ""), body)
            parameters |= more
        self._answer(parts.path.removeprefix("/tap/").split("/"), parameters, uploads)

    def _answer(
        self, path: list[str], parameters: dict[str, str], uploads: dict[str, pa.Table]
    ) -> None:
        tap = self.server.tap
        if path == ["sync"]:
            try:
                self._votable(tap.run("sync", parameters, uploads))
            except ValueError as error:
                self._send(400, error_document(str(error)))
            return
        if path == ["async"] and self.command == "POST":
            with tap.lock:
                tap._made += 1
                number = f"j{tap._made}"
                tap.jobs[number] = Job(tap._made, parameters, uploads)
            self._see(f"async/{number}")
            return
        if path[0] != "async" or len(path) < 2 or path[1] not in tap.jobs:
            self._send(404, b"no such job", kind="text/plain")
            return
        job = tap.jobs[path[1]]
        match (self.command, *path[2:]):
            case ("DELETE",):
                del tap.jobs[path[1]]
                self._see("async")
            case ("GET",):
                self._job(path[1], job, parameters)
            case ("POST", "phase"):
                if parameters.get("PHASE") == "RUN" and job.phase in ("PENDING", "HELD"):
                    job.phase = "QUEUED"
                self._see(f"async/{path[1]}")
            case ("GET", "results", "result") if job.result is not None:
                self._votable(job.result)
            case ("GET", "error") if job.error is not None:
                self._send(200, error_document(job.error))
            case _:
                self._send(404, b"no such thing", kind="text/plain")

    def _job(self, number: str, job: Job, parameters: dict[str, str]) -> None:
        tap = self.server.tap
        with tap.lock:
            if job.phase in ("QUEUED", "EXECUTING"):
                job.polls += 1
                if job.polls <= tap.busy_polls:
                    job.phase = "EXECUTING" if job.polls > 1 else "QUEUED"
                elif tap.phase is not None:
                    job.phase = tap.phase
                else:
                    try:
                        job.result = tap.run("async", job.parameters, job.uploads)
                        job.phase = "COMPLETED"
                    except ValueError as error:
                        job.error, job.phase = str(error), "ERROR"
        if tap.waits and "WAIT" in parameters and job.phase in ("QUEUED", "EXECUTING"):
            time.sleep(min(float(parameters["WAIT"]), 0.02))
        result = f'<uws:result id="result" xlink:href="{tap.url}/async/{number}/results/result"/>'
        summary = f"<uws:message>{escape((job.error or '')[:20])}</uws:message>"
        text = f"""<?xml version="1.0" encoding="UTF-8"?>
<uws:job xmlns:uws="http://www.ivoa.net/xml/UWS/v1.0" xmlns:xlink="http://www.w3.org/1999/xlink"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" version="{"1.1" if tap.waits else "1.0"}">
<uws:jobId>{number}</uws:jobId><uws:ownerId xsi:nil="true"/><uws:phase>{job.phase}</uws:phase>
<uws:quote xsi:nil="true"/><uws:startTime xsi:nil="true"/><uws:endTime xsi:nil="true"/>
<uws:executionDuration>3600</uws:executionDuration>
<uws:destruction>2030-01-01T00:00:00Z</uws:destruction><uws:parameters/>
<uws:results>{result if job.phase == "COMPLETED" else ""}</uws:results>
{f'<uws:errorSummary type="fatal" hasDetail="true">{summary}</uws:errorSummary>' if job.error else ""}
</uws:job>"""
        self._send(200, text.encode(), kind="application/xml")

    def _see(self, path: str) -> None:
        self._send(303, b"", headers={"Location": f"{self.server.tap.url}/{path}"})

    def _votable(self, body: bytes) -> None:
        tag = f'"{hash(body)}"'
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if start and self.server.tap.ranges and self.headers.get("If-Range") == tag:
            first = int(start[1])
            about = {"ETag": tag, "Content-Range": f"bytes {first}-{len(body) - 1}/{len(body)}"}
            self._send(206, body[first:], headers=about)
            return
        self._send(200, body, headers={"ETag": tag})

    def _send(
        self,
        status: int,
        body: bytes,
        *,
        kind: str = "application/x-votable+xml",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.fault is not None and self.fault.cut_after is not None:
            self.wfile.write(body[: self.fault.cut_after])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
            return
        self.wfile.write(body)


def _form(content_type: str, body: bytes) -> tuple[dict[str, str], dict[str, pa.Table]]:
    """Parameters and uploaded tables of a request, of either encoding."""
    if not content_type.startswith("multipart/"):
        return {k.upper(): v for k, v in parse_qsl(body.decode())}, {}
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    parts = {
        str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True)
        for part in message.iter_parts()
    }
    uploads = {}
    for pair in filter(None, parts.get("UPLOAD", b"").decode().split(";")):
        name, uri = pair.split(",")
        uploads[name] = _uploaded(parts.pop(uri.removeprefix("param:")))
    return {k.upper(): v.decode() for k, v in parts.items()}, uploads


def _uploaded(content: bytes) -> pa.Table:
    """An uploaded VOTable, read by astropy."""
    table = votable.parse_single_table(io.BytesIO(content)).to_table(use_names_over_ids=True)
    return pa.table({name: [str(v) if table[name].dtype.kind in "OUS" else v.item()
                            for v in table[name]] for name in table.colnames})  # fmt: skip


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    tap: TapServer

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that went away


@contextmanager
def serving(tables: Mapping[str, pa.Table], **options: object) -> Iterator[TapServer]:
    """Serve tables over TAP until the block ends."""
    tap = TapServer(**options)  # type: ignore[arg-type]
    tap.load(tables)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.tap = tap
    tap.url = f"http://127.0.0.1:{server.server_port}/tap"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield tap
    finally:
        server.shutdown()
        server.server_close()
        tap.connection.close()
