"""Files over HTTP: streamed to the disk, resumed, verified, in parallel, and politely."""

import hashlib
import json
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import requests

from lake.fetch.folder import Folder, partial, validators
from lake.fetch.session import LOST, FetchError, Session, Stopped, backoff, expect, lost

Report = Callable[[str, int | None, int | None], None]
"""Called with what is under way, how much of it is done, and of how much where that is known."""

#: Bytes at a time: so much of each file is lost when a process is killed.
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Wanted:
    """A file to be downloaded.

    Attributes
    ----------
    name : str
        Below the folder, with ``/``.
    url : str
    query : str, optional
        The query that it answers, to be noted.
    checksum : tuple, optional
        Algorithm (``sha1``, ``md5``, ``sha256``) and digest, where the archive gives one.
    stamp : str, optional
        What a listing of the archive says of its version: a file of which it says the same as
        before is not asked for.
    """

    name: str
    url: str
    query: str | None = None
    checksum: tuple[str, str] | None = None
    stamp: str | None = None


def download(session: Session, wanted: Wanted, folder: Folder) -> None:
    """Bring a file into a folder, as the archive has it now.

    It is streamed beside its place. What came before a connection was cut, in this process or a
    former one, is kept if the server says that the version is the same. The file takes its place
    when it has the length and the checksum that were given, and is on the disk.

    Raises
    ------
    FetchError
        If the server does not give it, or gives something else.
    """
    here = folder.complete(wanted.name)
    if here is not None and here.url != wanted.url:
        here = None
    if here is not None:
        said = wanted.stamp is not None
        if here.stamp == wanted.stamp if said else folder.is_fresh(wanted.name):
            return
    known = {}
    if here is not None and here.etag:
        known["If-None-Match"] = here.etag
    if here is not None and here.last_modified:
        known["If-Modified-Since"] = here.last_modified
    transfer = _Transfer(session, wanted, partial(folder.target(wanted.name)))
    came = transfer.run(known)
    if came is None:
        if here is not None and here.stamp != wanted.stamp:
            folder.note(replace(here, stamp=wanted.stamp))
        return
    folder.take(
        wanted.name, url=wanted.url, query=wanted.query, etag=came.etag,
        last_modified=came.last_modified, stamp=wanted.stamp, checksum=came.sha256,
    )  # fmt: skip


class _Unfinished(FetchError):
    """What came is not the file, but it may be the next time."""


@dataclass(frozen=True)
class _Came:
    """What a server said of the version that came, and the digest of its bytes."""

    etag: str | None
    last_modified: str | None
    sha256: str


class _Transfer:
    """The way of a file to its `partial`."""

    def __init__(self, session: Session, wanted: Wanted, part: Path) -> None:
        self.session, self.wanted, self.part = session, wanted, part
        # Beside the file's own name, as the part of it is.
        self.memory = validators(part.with_suffix(""))

    def run(self, known: Mapping[str, str]) -> _Came | None:
        """Get the file, in as many tries as bring more of it; None if it is the known version."""
        tried, most = 0, -1
        while True:
            try:
                return self._try(known)
            except (_Unfinished, *LOST) as error:
                had, most = most, max(most, self._size())
                tried = 1 if most > had else tried + 1
                if tried >= self.session.settings.tries:
                    if isinstance(error, FetchError):
                        raise
                    problem = lost(error, self.session.settings)
                    raise FetchError(self.wanted.url, problem) from error
                self.session.pause(backoff(tried))

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _try(self, known: Mapping[str, str]) -> _Came | None:
        """Get the rest, verify the whole."""
        start, validator = self._begun()
        headers = {"Accept-Encoding": "identity", **known}
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": validator}
        with self.session.get(self.wanted.url, headers=headers, stream=True) as response:
            status, before = response.status_code, self._remembered()
            if status in (304, 404, 410) and before.get("url") == self.wanted.url:
                self._forget()
            if status == 304:
                return None
            if status == 416 and start:
                if _whole(response) != start:
                    self._forget()
                    raise _Unfinished(self.wanted.url, f"has no byte {start:,} any more")
                return self._verified(start, before, self._hashes())
            expect(response, 200, 206)
            resumed, came = status == 206, response.headers
            said = {
                "url": self.wanted.url,
                "etag": came.get("ETag"),
                "last_modified": came.get("Last-Modified"),
            }
            # Some servers do not look at If-Range; those that do need not say all again.
            same = all(said.get(key) in (None, value) for key, value in before.items() if value)
            if resumed and (_first(response) != start or not same):
                self._forget()
                raise _Unfinished(self.wanted.url, f"expected the same file from byte {start:,} on")
            if resumed:
                said = before
            if not resumed:
                start = 0
                self.part.unlink(missing_ok=True)
                self.memory.write_text(json.dumps(said), encoding="utf-8")
            hashes = self._hashes()
            with self.part.open("ab", buffering=0) as stream:
                self._stream(response, stream, hashes)
            length = _length(response)
            expected = None if length is None else start + length
            return self._verified(expected, said, hashes)

    def _stream(self, response: requests.Response, stream: IO[bytes], hashes: list[Any]) -> None:
        # The bytes as they lie there: a file that is served as "gzip" stays one.
        for chunk in response.raw.stream(_CHUNK, decode_content=False):
            if self.session.stop.is_set():
                raise Stopped
            stream.write(chunk)
            for each in hashes:
                each.update(chunk)

    def _begun(self) -> tuple[int, str]:
        """Bytes that are here of the file, and what tells their version."""
        said = self._remembered()
        etag, modified = said.get("etag"), said.get("last_modified")
        # A weak ETag does not promise the same bytes.
        validator = etag if etag and not etag.startswith("W/") else modified
        if said.get("url") == self.wanted.url and validator:
            return self._size(), validator
        return 0, ""

    def _remembered(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self.memory.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError):
            return {}

    def _forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.memory.unlink(missing_ok=True)

    def _hashes(self) -> list[Any]:
        """SHA-256, and the digest that the archive gives, of what is here already."""
        checksum = self.wanted.checksum
        names = ["sha256"] + ([checksum[0]] if checksum else [])
        hashes = [hashlib.new(name, usedforsecurity=False) for name in names]
        if self.part.exists():
            with self.part.open("rb") as stream:
                while chunk := stream.read(_CHUNK):
                    for each in hashes:
                        each.update(chunk)
        return hashes

    def _verified(self, expected: int | None, said: Mapping[str, Any], hashes: list[Any]) -> _Came:
        size = self._size()
        if expected is not None and size != expected:
            if size > expected:
                self._forget()
            raise _Unfinished(self.wanted.url, f"{size:,} bytes came; expected {expected:,}")
        if self.wanted.checksum is not None:
            algorithm, wanted = self.wanted.checksum
            found = hashes[1].hexdigest()
            if found != wanted.lower():
                self._forget()
                raise _Unfinished(self.wanted.url, f"its {algorithm} is {found}; expected {wanted}")
        return _Came(said.get("etag"), said.get("last_modified"), hashes[0].hexdigest())


def _length(response: requests.Response) -> int | None:
    """Content-Length of an answer."""
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None


def _first(response: requests.Response) -> int | None:
    """First byte of an answer to a Range: ``bytes 100-199/200``."""
    text = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(text) if text.isdigit() else None


def _whole(response: requests.Response) -> int | None:
    """Length of the file, as an answer to a Range that cannot be had gives it: ``bytes */200``."""
    text = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(text) if text.isdigit() else None


def each(
    session: Session, items: Sequence[Any], do: Callable[[Any], None], report: Callable[[int], None]
) -> list[FetchError]:
    """Do something with every item, in a few threads; failures are collected, in order.

    Ctrl-C, or another error, ends all threads soon.

    Parameters
    ----------
    session : Session
        Its settings say how many threads; it is told to stop when they are to end.
    items : sequence
    do : callable
        Raises FetchError for what cannot be had.
    report : callable
        Called with the number of items that are done.
    """
    todo: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
    for numbered in enumerate(items):
        todo.put(numbered)
    done: queue.SimpleQueue[tuple[int, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        while not session.stop.is_set():
            try:
                number, item = todo.get_nowait()
            except queue.Empty:
                return
            try:
                do(item)
                done.put((number, None))
            except BaseException as error:  # for the thread that waits
                done.put((number, error))

    failures: dict[int, FetchError] = {}
    with _threads(session, min(session.settings.parallel, len(items)), work):
        for count in range(1, len(items) + 1):
            number, error = done.get()
            if isinstance(error, FetchError):
                failures[number] = error
            elif error is not None:
                raise error
            report(count)
    return [failures[number] for number in sorted(failures)]


@contextmanager
def _threads(session: Session, number: int, work: Callable[[], None]) -> Iterator[None]:
    """Threads that end, finished or not, with the block; one that hears no byte is left alone."""
    # Daemons: a process that ends does not wait for a silent server.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield
    except BaseException:
        session.stop.set()
        for thread in threads:
            thread.join(timeout=1.0)
        raise
    for thread in threads:
        thread.join()
