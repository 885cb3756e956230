"""The standard picture of one X-ray source, from the lake."""

from typing import TYPE_CHECKING

from lake.csc.features import CLASSES, PROBABILITIES
from lake.errors import UsageError
from lake.home import Home

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FOUND = """
SELECT p.release, p.method, p.obsid, p.detection_class, {probabilities}
FROM csc.class_probabilities AS p
JOIN meta.releases AS r ON r.release = p.release AND r.table_name = 'csc.class_probabilities'
WHERE p.name = ? AND coalesce(p.release = ?, TRUE) AND p.detection_class IS NOT NULL
ORDER BY r.snapshot DESC, p.release, p.method, p.obsid
"""


def plot(home: Home, identifier: str, release: str | None = None) -> "Figure":
    """Draw the class probabilities of a source's detections, and their means.

    Parameters
    ----------
    home : Home
    identifier : str
        Name of the source.
    release : str, optional
        The newest in which it is classified by default.

    Raises
    ------
    UsageError
        If no detection of the source is classified.
    """
    query = _FOUND.format(probabilities=", ".join(f"p.{name}" for name in PROBABILITIES))
    rows = home.sql(query, [identifier, release]).fetchall()
    if not rows:
        where = f" in release {release}" if release else ""
        raise UsageError(f"no classified detection of {identifier!r}{where}")
    return _drawn(identifier, [row for row in rows if row[0] == rows[0][0]])


def _drawn(name: str, rows: list[tuple]) -> "Figure":
    import numpy as np
    from matplotlib.figure import Figure

    from lake.figures import INK, ONE_COLUMN, PALETTE, styled

    def draw() -> Figure:
        figure = Figure(figsize=(2 * ONE_COLUMN, ONE_COLUMN), layout="constrained")
        axes = figure.add_subplot()
        places = np.arange(len(CLASSES))
        methods = list(dict.fromkeys(row[1] for row in rows))
        height = 0.8 / len(methods)
        for i, method in enumerate(methods):
            values = np.array([row[4:] for row in rows if row[1] == method])
            at = places + (i - (len(methods) - 1) / 2) * height
            axes.barh(at, values.mean(axis=0), height, color=PALETTE[i], label=method)
            for value in values:
                axes.plot(value, at, "o", color=INK, markersize=2)
        axes.set_yticks(places, CLASSES)
        axes.invert_yaxis()
        axes.set(xlim=(0, 1), xlabel="probability: detections (points) and their mean (bars)")
        number = len({row[2] for row in rows})
        axes.set_title(f"{name}, {rows[0][0]}: {number} observations classified")
        axes.legend(loc="lower right")
        return figure

    return styled(draw)()
