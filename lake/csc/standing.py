"""A standing model: what changed since it was trained, and whether it still describes the release.

A classifier that was trained on a release is not trained anew for every change of it. It stands as
long as little of what it was trained on has changed (`TOLERANCE`), and only what changed is
classified by it. The changes of each update are counted and added up, so that what is known of a
training does not hang on old snapshots, which a clean-up may expire; a detection that changes
twice, or back, counts twice.
"""

import math
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from lake import freshness
from lake.csc import registry
from lake.csc.changes import Changes, between, changes
from lake.home import Home
from lake.store import Store

TOLERANCE = 0.05
"""Largest share of a model's detections, or of its labelled ones, that may change under it.

The five-fold cross-validation by which a model is judged leaves out 20 % of the labelled sources
at a time: a model that lacks a quarter of that is well within what its figures are given for.
"""

_TABLE = "csc.mixture_models"
_COUNTS = (("changed_detections", "detections"), ("changed_labelled", "labelled_rows"))
_READS = ("csc.labelled_features",)


def row(store: Store, release: str) -> dict[str, Any] | None:
    """The row of csc.mixture_models of a release; None if it has no model."""
    return next((model for model in rows(store) if model["release"] == release), None)


def rows(store: Store) -> list[dict[str, Any]]:
    """Rows of csc.mixture_models of all releases; those of an older version may lack columns."""
    return store.arrow("SELECT * FROM csc.mixture_models").to_pylist() if store.exists else []


def drift(model: Mapping[str, Any]) -> float:
    """Share of what a model was trained on that has changed since.

    Parameters
    ----------
    model : mapping
        Row of csc.mixture_models.

    Returns
    -------
    float
        The larger one of the share of the detections and that of the labelled ones: the labels
        may be few, and all of them may change. Infinite if the row, one of an older version,
        does not tell.
    """
    shares = []
    for changed, trained in _COUNTS:
        number, of = model.get(changed), model.get(trained)
        if number is None or (number and not of):
            return math.inf
        shares.append(number / of if number else 0.0)
    return max(shares)


def counted(model: Mapping[str, Any], found: Changes) -> dict[str, Any]:
    """The row of csc.mixture_models of a model, the detections having changed once more."""
    more = {"changed_detections": found.detections, "changed_labelled": found.labelled}
    return {**model, **{name: model[name] + n for name, n in more.items()}}


def tell(model: Mapping[str, Any]) -> str | None:
    """Say that a model stands though something of what it was trained on has changed since."""
    share = drift(model)
    if not 0 < share < math.inf:
        return None
    whose = model["trained_release"]
    return (
        f"the model of {model['trained_at']:%Y-%m-%d %H:%M} UTC"
        f"{f', trained on {whose},' if whose != model['release'] else ''} stands:"
        f" {100 * share:.2g} % of what it was trained on has changed since"
    )


def kept(home: Home, release: str, version: str, at: int) -> dict[str, Any] | None:
    """The row of a release's model, with what has changed since it was last looked at.

    Parameters
    ----------
    home : Home
    release : str
    version : str
        Of the training.
    at : int
        Snapshot.

    Returns
    -------
    dict or None
        Row of csc.mixture_models; `drift` tells whether the model stands. None if there is no
        model, it is lost or of another version, or it cannot be told what has changed.
    """
    made, model = home.store.made(release).get(_TABLE), row(home.store, release)
    if made is None or model is None or made.code_version != version or not _there(home, model):
        return None
    found = changes(home.store, release, made.read_snapshot, at)
    return counted(model, found) if found else None


def adopted(home: Home, release: str, version: str, at: int) -> dict[str, Any] | None:
    """The row that another release's model gets if it stands for this one, which has none.

    Parameters
    ----------
    home, release, version, at
        As for `kept`.

    Returns
    -------
    dict or None
    """
    models = rows(home.store)
    if any(model["release"] == release for model in models):
        return None
    for model in models:
        other = model["release"]
        made = home.store.made(other).get(_TABLE)
        now = freshness.fingerprint(home.store, other, _READS, version)
        if made and made.fingerprint == now and _there(home, model):
            found = between(home.store, other, release, at)
            taken = counted({**model, "release": release}, found)
            if drift(taken) <= TOLERANCE:
                return taken
    return None


def training_set(home: Home, model: Mapping[str, Any]) -> tuple[pa.Table, int]:
    """What a model was trained on (`csc.labelled_features`), and its snapshot.

    Where that snapshot was expired, what the model is for now, which differs little.
    """
    release, at = model["trained_release"], model["trained_snapshot"]
    if at not in {snapshot.id for snapshot in home.store.snapshots()}:
        release, at = model["release"], home.store.snapshot()
    return detections(home.store, release, at), at


def detections(store: Store, release: str, at: int) -> pa.Table:
    """All of `csc.labelled_features` of a release at a snapshot, in one order."""
    return store.arrow(
        "SELECT * FROM csc.labelled_features WHERE release = ? ORDER BY name, obsid, file_row",
        [release],
        at=at,
    )


def told(home: Home, model: Mapping[str, Any], table: str, version: str) -> pa.Table | None:
    """What a table tells of a training, where the model is that of another release.

    Parameters
    ----------
    home : Home
    model : mapping
        Row of csc.mixture_models.
    table : str
        Of which the rows depend on the training alone.
    version : str
        Of its computation.

    Returns
    -------
    pyarrow.Table or None
        Its rows for the release of the model; None if they have to be computed.
    """
    store, other = home.store, model["trained_release"]
    first, made = row(store, other), store.made(other).get(table)
    if other == model["release"] or made is None or first is None:
        return None
    now = freshness.fingerprint(store, other, [_TABLE], version)
    if first["model_id"] != model["model_id"] or made.fingerprint != now:
        return None
    query = f"SELECT * REPLACE (? AS release) FROM {table} WHERE release = ?"
    return store.arrow(query, [model["release"], other])


def _there(home: Home, model: Mapping[str, Any]) -> bool:
    return registry.model_path(home.models, model["model_id"]).exists()
