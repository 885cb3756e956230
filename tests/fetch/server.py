"""A server on this machine that speaks HTTP as archives do, and fails as they do."""

import email.utils
import hashlib
import posixpath
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

#: Time of modification of a file that says no other: 2021-11-30 12:00 UTC.
MODIFIED = 1_638_273_600


@dataclass(frozen=True)
class Document:
    """A file that is served."""

    body: bytes
    modified: int = MODIFIED
    etag: str | None = None
    content_type: str = "application/octet-stream"

    @property
    def tag(self) -> str:
        return self.etag if self.etag is not None else f'"{hashlib.md5(self.body).hexdigest()}"'


@dataclass(frozen=True)
class Fault:
    """What goes wrong with an answer.

    Attributes
    ----------
    status : int
        Answered instead of the file.
    headers : dict
        Sent with it, such as Retry-After.
    cut_after : int
        Bytes of the body after which the connection is closed.
    length_off : int
        Added to the true Content-Length.
    pause : float
        Seconds before each piece of the body.
    piece : int
        Bytes of a piece.
    no_ranges : bool
        Range is ignored.
    no_if_range : bool
        If-Range is ignored.
    no_validators : bool
        No ETag, no Last-Modified.
    body : bytes
        Sent instead of the file's.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int = -1
    length_off: int = 0
    pause: float = 0.0
    piece: int = 1 << 14
    no_ranges: bool = False
    no_if_range: bool = False
    no_validators: bool = False
    body: bytes | None = None


@dataclass
class Seen:
    """A request, and what was answered; it is there before the client has the answer."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    status: int = 0
    sent: int = 0


@dataclass
class Server:
    """Serves documents by path, and a listing of every folder that holds some.

    Use it as a context manager. `fault` says what goes wrong next, `seen` what was asked.
    """

    documents: dict[str, Document] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    #: Listings without time and size, as some servers give.
    bare_listings: bool = False

    def __post_init__(self):
        self._faults: dict[str, list[Fault]] = {}
        self._always: dict[str, Fault] = {}
        self._lock = threading.Lock()
        self.closing = threading.Event()

    def __enter__(self) -> "Server":
        server = self

        class Handler(_Handler):
            owner = server

        self._http = _Http(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()

    def put(self, path: str, body: bytes, **kwargs) -> None:
        """Serve a file."""
        self.documents[path] = Document(body, **kwargs)

    def fault(self, path: str, *faults: Fault) -> None:
        """Let the next answers for a path go wrong, one after the other."""
        with self._lock:
            self._faults.setdefault(path, []).extend(faults)

    def always(self, path: str, fault: Fault) -> None:
        """Let all answers for a path go wrong."""
        self._always[path] = fault

    def heal(self) -> None:
        """No more faults."""
        with self._lock:
            self._faults.clear()
            self._always.clear()

    def next_fault(self, path: str) -> Fault:
        with self._lock:
            waiting = self._faults.get(path)
            return waiting.pop(0) if waiting else self._always.get(path, Fault())

    def saw(self, seen: Seen) -> None:
        with self._lock:
            self.seen.append(seen)

    def count(self, method: str = "GET", *statuses: int) -> Counter[str]:
        """Requests by path, of some statuses or any."""
        return Counter(
            s.path
            for s in self.seen
            if s.method == method and s.status in (statuses or (s.status,))
        )

    def answer(self, handler: "_Handler", method: str, seen: Seen) -> bool:
        """Answer in another way than with documents; for servers that speak more than HTTP.

        Returns
        -------
        bool
            Whether it did.
        """
        return False

    def listing(self, folder: str) -> bytes | None:
        """An index as Apache writes it, of what lies in a folder; None if nothing does."""
        names: dict[str, Document | None] = {}
        for path, document in self.documents.items():
            if path.startswith(folder):
                name, slash, _ = path[len(folder) :].partition("/")
                names[name + slash] = None if slash else document
        if not names:
            return None
        rows = ['<a href="?C=N;O=D">Name</a>  <a href="?C=M;O=A">Last modified</a>']
        rows.append(f'<a href="{posixpath.dirname(folder[:-1])}/">Parent Directory</a>   -')
        for name, document in sorted(names.items()):
            modified = document.modified if document else MODIFIED
            when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(modified))
            size = str(len(document.body)) if document else "-"
            row = f'<a href="{name}">{name}</a>'
            rows.append(row if self.bare_listings else f"{row}   {when}  {size:>8}")
        text = "\n".join(rows)
        return f"<html><title>Index of {folder}</title><pre>{text}\n</pre></html>".encode()


class _Http(ThreadingHTTPServer):
    """Does not mind a client that goes."""

    daemon_threads = True

    def handle_error(self, request, client_address) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    owner: Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def _answer(self, method: str) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        self.asked = Seen(
            method, path, parse_qs(parts.query, keep_blank_values=True), dict(self.headers), body
        )
        fault = self.owner.next_fault(path)
        try:
            if fault.status:
                self.send(fault.status, b"not now", fault.headers, fault)
            elif not self.owner.answer(self, method, self.asked):
                self._document(path, fault)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _document(self, path: str, fault: Fault) -> None:
        document = self.owner.documents.get(path)
        if document is None:
            listing = self.owner.listing(path) if path.endswith("/") else None
            if listing is None:
                self.send(404, b"<html>Not Found</html>")
            else:
                self.send(200, listing, {"Content-Type": "text/html;charset=UTF-8"}, fault)
            return
        body = document.body if fault.body is None else fault.body
        headers = {"Content-Type": document.content_type, "Accept-Ranges": "bytes"}
        modified = email.utils.formatdate(document.modified, usegmt=True)
        if not fault.no_validators:
            headers["Last-Modified"] = modified
            if document.tag:
                headers["ETag"] = document.tag
            known = self.headers.get("If-None-Match")
            since = self.headers.get("If-Modified-Since")
            if known == document.tag if known else since == modified:
                self.send(304, b"", headers)
                return
        wanted = self.headers.get("Range")
        version = self.headers.get("If-Range")
        if (
            wanted
            and not fault.no_ranges
            and (fault.no_if_range or version in (None, document.tag, modified))
        ):
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
            if start >= len(body):
                self.send(416, b"", {"Content-Range": f"bytes */{len(body)}"})
                return
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            self.send(206, body[start:], headers, fault)
            return
        self.send(200, body, headers, fault)

    def send(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        fault: Fault | None = None,
    ) -> None:
        """Send an answer, with what goes wrong with it, and record it."""
        fault = fault or Fault()
        seen = self.asked
        seen.status = status
        self.owner.saw(seen)
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body) + fault.length_off))
        self.end_headers()
        if seen.method == "HEAD":
            return
        whole = body if fault.cut_after < 0 else body[: fault.cut_after]
        piece = fault.piece if fault.pause else max(len(whole), 1)
        for at in range(0, len(whole), piece):
            if fault.pause and self.owner.closing.wait(fault.pause):
                break
            seen.sent += len(whole[at : at + piece])
            self.wfile.write(whole[at : at + piece])
        if seen.sent < len(body) or fault.length_off:
            self.close_connection = True
