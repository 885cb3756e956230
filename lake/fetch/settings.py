"""How an archive is asked: the optional table ``[archives.NAME]`` of `sources.toml`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from lake.errors import LacusError


@dataclass(frozen=True)
class Settings:
    """How an archive is asked; an archive brings its own, `sources.toml` overrides them.

    Attributes
    ----------
    url : str
        Endpoint; empty for the archive's own.
    requests_per_second : float
        At most so many requests begin in a second, over all threads of a fetch.
    parallel : int
        Files that are downloaded at a time.
    timeout_s : float
        Seconds without a byte after which a connection counts as dead.
    tries : int
        Times that a request is made before it counts as failed.
    rows : int
        Rows that one query asks for or uploads, at most, where an archive is a database.
    """

    url: str = ""
    requests_per_second: float = 10.0
    parallel: int = 4
    timeout_s: float = 60.0
    tries: int = 5
    rows: int = 10_000

    def updated(self, table: Mapping[str, Any]) -> "Settings":
        """These settings with those of a table in their place.

        Raises
        ------
        LacusError
            For a key that is none, and a value that cannot be.
        """
        known = {field.name: type(getattr(self, field.name)) for field in fields(self)}
        for key, value in table.items():
            if key not in known:
                raise LacusError(f"no setting {key!r}; there are {', '.join(known)}")
            accepted = (int, float) if known[key] is float else known[key]
            if not isinstance(value, accepted) or isinstance(value, bool):
                raise LacusError(f"{key} = {value!r}: expected {_EXPECTED[known[key]]}")
            if not isinstance(value, str) and value <= 0:
                raise LacusError(f"{key} = {value!r}: expected more than 0")
        return replace(self, **table)


_EXPECTED = {str: "a text", int: "a whole number", float: "a number"}


def settings(sources_file: Path, archive: str, default: Settings) -> Settings:
    """Settings of an archive, with those of ``[archives.NAME]`` in `sources.toml`.

    Raises
    ------
    LacusError
        If that table is not what it should be.
    """
    if not sources_file.exists():
        return default
    try:
        tables = tomllib.loads(sources_file.read_text(encoding="utf-8")).get("archives", {})
        table = tables.get(archive, {}) if isinstance(tables, dict) else None
        if not isinstance(table, dict):
            raise LacusError("expected a table")
        return default.updated(table) if table else default
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LacusError(f"{sources_file}: {error}") from None
    except LacusError as error:
        raise LacusError(f"{sources_file}: archives.{archive}: {error}") from None
