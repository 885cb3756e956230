"""Chandra Source Catalog: detections, their classes, their master classes."""

from typing import TYPE_CHECKING, Any

from lake.csc.detections import ROLES

if TYPE_CHECKING:
    from lake.csc.own import classify_table, master_classes

__all__ = ["ROLES", "classify_table", "master_classes"]


def __getattr__(name: str) -> Any:
    """Import the classifier when it is first asked for: registering files needs none of it."""
    if name in ("classify_table", "master_classes"):
        from lake.csc import own

        return getattr(own, name)
    raise AttributeError(name)
