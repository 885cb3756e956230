"""What the tests of fetching share."""

import pytest

from lake.fetch import session as http
from lake.fetch.session import Session


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """No test waits; how long it would have is here."""
    asked: list[float] = []

    def pause(self, seconds):
        asked.append(seconds)
        if self.stop.is_set():
            raise http.Stopped

    monkeypatch.setattr(Session, "pause", pause)
    return asked
