"""Chandra Source Catalog: detections, their classes, their master classes."""

from typing import TYPE_CHECKING

from lake.csc.detections import ROLES
from lake.later import later

if TYPE_CHECKING:
    from lake.csc.archive import ARCHIVES
    from lake.csc.own import classify_table, master_classes
    from lake.csc.picture import plot

__all__ = ["ARCHIVES", "CITATIONS", "ROLES", "classify_table", "master_classes", "plot"]

#: What to cite for products made from this mission's tables.
CITATIONS = (
    "Perez-Diaz, Martinez-Galarza, Caicedo, D'Abrusco 2024, MNRAS (arXiv 2401.12203): "
    "unsupervised classification of Chandra sources",
    "Evans et al. 2024, ApJS 274, 22 (arXiv 2407.10799): Chandra Source Catalog, release 2",
)

__getattr__ = later(
    __name__,
    {
        "ARCHIVES": "archive", "classify_table": "own", "master_classes": "own", "plot": "picture",
    },
)  # fmt: skip
