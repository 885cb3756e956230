"""HTTP as an archive wants to be asked: at a rate, with time-outs, again where that may help."""

import random
import threading
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

from lake.errors import LacusError
from lake.fetch.settings import Settings

#: Seconds before the second try; each further wait is twice as long, up to the longest.
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0
#: The longest wait that a server may ask for.
_LONGEST_RETRY_AFTER = 600.0

#: Answers that another time may be better ones.
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
#: Those of them that are sure to have done nothing.
_REFUSALS = frozenset({429, 503})

#: What requests raises when a connection was lost.
LOST = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.HTTPError,
)


class FetchError(LacusError):
    """Something that an archive did not give.

    Parameters
    ----------
    url : str
    problem : str
        What came and what was expected.
    status : int, optional
        Of the HTTP answer.
    """

    def __init__(self, url: str, problem: str, status: int | None = None) -> None:
        self.url = url
        self.problem = problem
        self.status = status
        super().__init__(f"{url}: {problem}")

    @property
    def is_missing(self) -> bool:
        """Whether the archive says that there is no such thing, rather than not now."""
        return self.status in (404, 410)


class Stopped(Exception):
    """A thread of a fetch was told to end."""


class Limiter:
    """Lets at most so many requests begin in a second, over all threads.

    A pause leaves no credit beyond one second's requests.
    """

    def __init__(self, per_second: float) -> None:
        self._interval = 1.0 / per_second
        self._burst = max(0.0, 1.0 - self._interval)
        self._next = 0.0
        self._lock = threading.Lock()

    def delay(self, moment: float) -> float:
        """Take a turn at a moment (seconds); gives the seconds to wait for it."""
        with self._lock:
            self._next = max(self._next, moment - self._burst)
            turn, self._next = self._next, self._next + self._interval
        return max(0.0, turn - moment)


class Session(requests.Session):
    """A session that keeps an archive's settings: rate, silence, tries; pyvo takes it, too.

    Answers that may be better another time are asked for again, with growing waits or when the
    server says; a POST only where it is sure that it had no effect. Any other answer is given
    back as it is.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.limiter = Limiter(settings.requests_per_second)
        self.stop = threading.Event()
        self.headers["User-Agent"] = f"lacus/{version('lacus')}"
        adapter = HTTPAdapter(pool_maxsize=settings.parallel)
        self.mount("http://", adapter)
        self.mount("https://", adapter)

    def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> requests.Response:
        """Make a request in its turn, again where that may help."""
        kwargs.setdefault("timeout", self.settings.timeout_s)
        repeatable = str(method).upper() in ("GET", "HEAD")
        for tried in range(1, self.settings.tries + 1):
            last = tried == self.settings.tries
            try:
                response = super().request(method, url, *args, **kwargs)
            except LOST as error:
                sure = repeatable or isinstance(error, requests.ConnectTimeout)
                if last or not sure:
                    raise FetchError(str(url), lost(error, self.settings)) from error
                self.pause(backoff(tried))
                continue
            except requests.RequestException as error:  # a URL that is none, endless redirects
                raise FetchError(str(url), str(error)) from error
            if last or response.status_code not in (_PASSING if repeatable else _REFUSALS):
                return response
            wait = retry_after(response.headers.get("Retry-After")) or backoff(tried)
            response.close()
            self.pause(wait)
        raise AssertionError("there is a last try")

    def send(self, request: Any, **kwargs: Any) -> requests.Response:
        """Send a request, or the next one that a redirection leads to, in its turn."""
        self.pause(self.limiter.delay(time.monotonic()))
        return super().send(request, **kwargs)

    def pause(self, seconds: float) -> None:
        """Wait; ends at once when the session is stopped."""
        if self.stop.wait(seconds) if seconds > 0 else self.stop.is_set():
            raise Stopped

    def text(self, url: str) -> str:
        """A small document, such as a listing.

        Raises
        ------
        FetchError
            If the server does not give it.
        """
        with self.get(url) as response:
            expect(response, 200)
            return response.text


def backoff(tried: int) -> float:
    """Seconds to wait after so many tries: doubled each time, with jitter."""
    return min(_FIRST_WAIT * 2 ** (tried - 1), _LONGEST_WAIT) * random.uniform(0.5, 1.0)


def retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header, which is a number or a date; None if it has neither."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.1), _LONGEST_RETRY_AFTER)


def lost(error: Exception, settings: Settings) -> str:
    """Say what became of a connection."""
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"no answer within {settings.timeout_s:g} s"
    if isinstance(error, requests.exceptions.SSLError):
        return f"no secure connection: {_cause(error)}"
    if isinstance(error, requests.ConnectionError) and not isinstance(
        getattr(error, "args", [None])[0], urllib3.exceptions.ProtocolError
    ):
        return f"no connection: {_cause(error)}"
    return f"the connection was cut: {error}"


def _cause(error: Exception) -> object:
    """What is behind an error, whose own words repeat the URL and with it the whole query."""
    return getattr(error.args[0], "reason", error) if error.args else error


def expect(response: requests.Response, *statuses: int) -> None:
    """Raise FetchError for an answer of another status than these."""
    if response.status_code not in statuses:
        reason = f"{response.status_code} {response.reason or ''}".strip()
        raise FetchError(
            response.url, f"the server answers {reason}; expected {statuses[0]}",
            response.status_code,
        )  # fmt: skip
