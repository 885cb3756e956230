"""A TAP service on 127.0.0.1: sync and async (UWS), VOTable 1.4, uploads, MAXREC, faults on demand.

It answers from Arrow tables in an in-memory DuckDB. Standards: TAP 1.1, UWS 1.1, DALI 1.1.
"""

import base64
import email.policy
import io
import re
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.parser import BytesParser
from typing import Literal
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

import duckdb
import pyarrow as pa
from astropy.io import votable

from tests.fetch.server import Document, Seen, Server, _Handler

NULL_INT = -(2**31)

_VOTABLE = {"Content-Type": "application/x-votable+xml"}

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

    number: str
    parameters: dict[str, str]
    uploads: dict[str, pa.Table]
    phase: str = "PENDING"
    polls: int = 0
    error: str | None = None


@dataclass
class TapServer(Server):
    """A TAP service; use it as a context manager.

    Results are documents of the `Server`: its faults, by path, hold for them too.

    Attributes
    ----------
    serialization : str
        Of the answers.
    geometry : bool
        Whether the service knows ADQL's geometry; that of the Chandra catalogue does not.
    redirects : bool
        Whether a sync answer is elsewhere (303), as that service has it.
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
    queries : list of (str, str)
        ``sync`` or ``async``, and the ADQL, of all queries that were run.
    uploaded : list of pyarrow.Table
    jobs : dict
        Those that are not deleted.
    """

    serialization: Literal["binary2", "tabledata"] = "binary2"
    geometry: bool = True
    redirects: bool = False
    max_rows: int | None = None
    silent_max_rows: int | None = None
    busy_polls: int = 0
    waits: bool = True
    phase: str | None = None
    error: str | None = None
    queries: list[tuple[str, str]] = field(default_factory=list)
    uploaded: list[pa.Table] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.connection = duckdb.connect()
        self.connection.execute(_GEOMETRY)
        self._made = 0

    def __enter__(self) -> "TapServer":
        super().__enter__()
        return self

    @property
    def tap(self) -> str:
        """The service's URL."""
        return f"{self.url}/tap"

    def load(self, tables: Mapping[str, pa.Table]) -> None:
        """Serve tables under their names, ``schema.name`` or ``name``; replaces former ones."""
        with self._lock:
            for name, table in tables.items():
                self._load(name, table)

    def _load(self, name: str, table: pa.Table) -> None:
        schema, _, _ = name.rpartition(".")
        if schema:
            self.connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        self.connection.register("given", table)
        self.connection.execute(f"CREATE OR REPLACE TABLE {name} AS FROM given")
        self.connection.unregister("given")
        for f in table.schema:
            if f.metadata and b"unit" in f.metadata:
                self.units[f.name] = f.metadata[b"unit"].decode()

    def run(
        self, mode: str, parameters: Mapping[str, str], uploads: Mapping[str, pa.Table]
    ) -> bytes:
        """Answer a query as a VOTable; a query that fails raises ValueError."""
        query = parameters.get("QUERY", "")
        with self._lock:
            self.queries.append((mode, query))
            if self.error:
                raise ValueError(self.error)
            if parameters.get("LANG", "").upper() != "ADQL" or not query:
                raise ValueError("LANG=ADQL and QUERY are required")
            if not self.geometry and re.search(r"(?i)\b(CIRCLE|CONTAINS|POINT)\b", query):
                raise ValueError("function CIRCLE not found")
            for name, table in uploads.items():
                self.uploaded.append(table)
                self._load(f"tap_upload.{name}", table)
            try:
                rows = _plain(self.connection.execute(_sql(query)).to_arrow_table())
            except duckdb.Error as error:
                raise ValueError(str(error)) from error
        limits = [int(parameters["MAXREC"])] if "MAXREC" in parameters else []
        limits += [self.max_rows] if self.max_rows is not None else []
        overflow = bool(limits) and rows.num_rows > min(limits)
        rows = rows.slice(0, min(limits)) if overflow else rows
        rows = rows.slice(0, self.silent_max_rows)
        with self._lock:
            self._made += 1
            stamp = self._made
        return document(rows, self.serialization, self.units, overflow=overflow, stamp=stamp)

    def asked(self, mode: str) -> list[str]:
        """Queries that were run in a mode."""
        return [query for how, query in self.queries if how == mode]

    def answer(self, handler: _Handler, method: str, seen: Seen) -> bool:
        """Answer as TAP and UWS have it; results are left to the documents."""
        parameters = {key.upper(): values[0] for key, values in seen.query.items()}
        more, uploads = _form(seen.headers.get("Content-Type", ""), seen.body)
        parameters |= more
        match (method, *seen.path.removeprefix("/tap/").split("/")):
            case ("GET" | "POST", "sync"):
                self._sync(handler, parameters, uploads)
            case ("POST", "async"):
                number = f"j{self._next()}"
                self.jobs[number] = Job(number, parameters, uploads)
                self._see(handler, f"async/{number}")
            case ("GET", "async", number) if number in self.jobs:
                self._job(handler, self.jobs[number], parameters)
            case ("DELETE", "async", number) if number in self.jobs:
                del self.jobs[number]
                self.documents.pop(f"/tap/async/{number}/results/result", None)
                self._see(handler, "async")
            case ("POST", "async", number, "phase") if number in self.jobs:
                job = self.jobs[number]
                if parameters.get("PHASE") == "RUN" and job.phase in ("PENDING", "HELD"):
                    job.phase = "QUEUED"
                self._see(handler, f"async/{number}")
            case ("GET", "async", number, "error") if number in self.jobs:
                handler.send(200, error_document(self.jobs[number].error or ""), _VOTABLE)
            case _:
                return False
        return True

    def _next(self) -> int:
        with self._lock:
            self._made += 1
            return self._made

    def _see(self, handler: _Handler, path: str) -> None:
        handler.send(303, b"", {"Location": f"{self.tap}/{path}"})

    def _sync(
        self, handler: _Handler, parameters: dict[str, str], uploads: dict[str, pa.Table]
    ) -> None:
        try:
            body = self.run("sync", parameters, uploads)
        except ValueError as error:
            handler.send(400, error_document(str(error)), _VOTABLE)
            return
        if not self.redirects:
            handler.send(200, body, _VOTABLE)
            return
        path = f"results/s{self._next()}"
        self.documents[f"/tap/{path}"] = Document(body, content_type=_VOTABLE["Content-Type"])
        self._see(handler, path)

    def _job(self, handler: _Handler, job: Job, parameters: dict[str, str]) -> None:
        with self._lock:
            busy = job.phase in ("QUEUED", "EXECUTING")
            job.polls += busy
            waiting = busy and job.polls <= self.busy_polls
            if waiting:
                job.phase = "EXECUTING" if job.polls > 1 else "QUEUED"
        if waiting and self.waits and "WAIT" in parameters:
            self.closing.wait(min(float(parameters["WAIT"]), 0.02))
        if busy and not waiting:
            self._finish(job)
        result = (
            f'<uws:result id="result" xlink:href="{self.tap}/async/{job.number}/results/result"/>'
        )
        message = f"<uws:message>{escape((job.error or '')[:12])}</uws:message>"
        summary = f'<uws:errorSummary type="fatal" hasDetail="true">{message}</uws:errorSummary>'
        text = f"""<?xml version="1.0" encoding="UTF-8"?>
<uws:job xmlns:uws="http://www.ivoa.net/xml/UWS/v1.0" xmlns:xlink="http://www.w3.org/1999/xlink"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" version="{"1.1" if self.waits else "1.0"}">
<uws:jobId>{job.number}</uws:jobId><uws:ownerId xsi:nil="true"/><uws:phase>{job.phase}</uws:phase>
<uws:quote xsi:nil="true"/><uws:startTime xsi:nil="true"/><uws:endTime xsi:nil="true"/>
<uws:executionDuration>3600</uws:executionDuration>
<uws:destruction>2027-06-01T00:00:00Z</uws:destruction><uws:parameters/>
<uws:results>{result if job.phase == "COMPLETED" else ""}</uws:results>
{summary if job.error else ""}
</uws:job>"""
        handler.send(200, text.encode(), {"Content-Type": "application/xml"})

    def _finish(self, job: Job) -> None:
        if self.phase is not None:
            job.phase = self.phase
            return
        try:
            body = self.run("async", job.parameters, job.uploads)
        except ValueError as error:
            job.error, job.phase = str(error), "ERROR"
            return
        kind = _VOTABLE["Content-Type"]
        path = f"/tap/async/{job.number}/results/result"
        self.documents[path] = Document(body, content_type=kind)
        job.phase = "COMPLETED"


def _plain(rows: pa.Table) -> pa.Table:
    """Rows in the few types that `document` writes."""
    types = [
        pa.float64() if pa.types.is_decimal(t) or pa.types.is_floating(t) else
        pa.int32() if pa.types.is_integer(t) and t.bit_width < 64 else t
        for t in rows.schema.types
    ]  # fmt: skip
    return rows.cast(pa.schema(list(zip(rows.column_names, types, strict=True))))


def _sql(adql: str) -> str:
    """DuckDB's words for the few that ADQL has otherwise."""
    top = re.match(r"(?i)\s*SELECT\s+(DISTINCT\s+)?TOP\s+(\d+)", adql)
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
    """A VOTable 1.4 answer, with what makes every answer another one: a date and a number."""
    fields, kinds = [], []
    for name, type_ in zip(rows.column_names, rows.schema.types, strict=True):
        kind, attributes, null = _KINDS[str(type_)]
        unit = f' unit="{units[name]}"' if name in units else ""
        values = f'<VALUES null="{null}"/>' if null is not None else ""
        fields.append(f'<FIELD name="{name}" {attributes}{unit}>{values}</FIELD>')
        kinds.append((kind, null))
    columns = [column.to_pylist() for column in rows.columns]
    if serialization == "tabledata":
        cells = [
            [_cell(value, null) for value in column]
            for column, (_, null) in zip(columns, kinds, strict=True)
        ]
        lines = (f"<TR>{''.join(row)}</TR>\n" for row in zip(*cells, strict=True))
        data = f"<TABLEDATA>\n{''.join(lines)}</TABLEDATA>"
    else:
        binary = b"".join(_binary(row, kinds) for row in zip(*columns, strict=True))
        stream = base64.encodebytes(binary).decode()
        data = f'<BINARY2><STREAM encoding="base64">\n{stream}</STREAM></BINARY2>'
    end = '<INFO name="QUERY_STATUS" value="OVERFLOW"/>\n' if overflow else ""
    made = time.strftime("%Y-%m-%dT%H:%M:%S")
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">
<RESOURCE type="results">
<INFO name="QUERY_STATUS" value="OK"/>
<INFO name="made" value="{made} {stamp:06d}"/>
<TABLE>
{chr(10).join(fields)}
<DATA>{data}</DATA>
</TABLE>
{end}</RESOURCE>
</VOTABLE>
""".encode()


#: Arrow type: letter of `struct` (s: a text), attributes of the FIELD, null where it has one.
_KINDS = {
    "string": ("s", 'datatype="char" arraysize="*"', None),
    "double": ("d", 'datatype="double"', None),
    "int32": ("i", 'datatype="int"', NULL_INT),
    "int64": ("q", 'datatype="long"', NULL_INT),
}


def _cell(value: object, null: int | None) -> str:
    if value is None:
        value = "" if null is None else null
    return f"<TD>{escape(str(value))}</TD>"


def _binary(row: tuple[object, ...], kinds: list[tuple[str, int | None]]) -> bytes:
    """A row of BINARY2: flags of its nulls, then its values (VOTable 1.4, section 5.4)."""
    flags = "".join("1" if value is None else "0" for value in row)
    size = -(-len(flags) // 8)
    out = int(flags.ljust(8 * size, "0"), 2).to_bytes(size, "big")
    for value, (kind, _) in zip(row, kinds, strict=True):
        if kind == "s":
            text = str(value or "").encode()
            out += struct.pack(">i", len(text)) + text
        else:
            out += struct.pack(f">{kind}", 0 if value is None else value)
    return out


def error_document(message: str) -> bytes:
    """A VOTable that tells an error (DALI 1.1, section 4.4.2)."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<VOTABLE xmlns="http://www.ivoa.net/xml/VOTable/v1.3" version="1.4">\n'
        '<RESOURCE type="results">\n'
        f'<INFO name="QUERY_STATUS" value="ERROR">{escape(message)}</INFO>\n'
        "</RESOURCE>\n</VOTABLE>\n"
    ).encode()


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
