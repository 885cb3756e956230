"""What a derived table was made from, and whether that has changed since."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from lake import models
from lake.store import Store


def base_tables(names: Iterable[str]) -> list[str]:
    """Stored tables that tables and views rest on, sorted."""
    found = set()
    for name in names:
        view = models.views().get(name)
        found |= set(base_tables(view.depends)) if view else {name}
    return sorted(found)


def fingerprint(
    store: Store,
    release: str,
    reads: Iterable[str],
    code_version: str,
    across: Iterable[str] = (),
    beside: Any = None,
) -> str:
    """Digest of all that a release's rows of a derived table depend on.

    A table counts by the content that its computation gave for it, else by its own fingerprint:
    one that is made again with the same content leaves what is made from it fresh.

    Parameters
    ----------
    store : Store
    release : str
    reads : iterable of str
        Tables and views that the computation reads. A view counts by its text and by the tables
        it rests on.
    code_version : str
        Raised whenever the computation gives other rows for the same input.
    across : iterable of str
        Tables of which it reads the rows of all releases.
    beside : optional
        What else they depend on, as JSON can hold it; nothing if it is empty.
    """
    reads = sorted(reads)
    stored = store.made(release)
    state = {
        "code": code_version,
        "views": _texts(reads),
        "tables": {n: stored[n].state if n in stored else None for n in base_tables(reads)},
        **{name: store.states_across(name) for name in across},
        **({"beside": beside} if beside else {}),
    }
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _texts(names: Iterable[str]) -> dict[str, str]:
    """Texts of the views among some names and of those they rest on."""
    texts: dict[str, str] = {}
    for name in names:
        if view := models.views().get(name):
            texts[name] = view.sql
            texts |= _texts(view.depends)
    return texts
