"""What the figures of all missions share: the style of the house, and how they are written."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lake.errors import UsageError

P = ParamSpec("P")

#: Width of a figure over two columns of an AAS journal, and over one, in inches.
TWO_COLUMNS, ONE_COLUMN = 7.1, 3.5

#: Colours of series that colour-blind readers tell apart (Okabe & Ito 2008, Color Universal
#: Design), then those of data alone and of what stands behind them.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK, QUIET = "#222222", "#999999"

_STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 6.5,
    "legend.frameon": True,
    "legend.framealpha": 0.8,
    "legend.edgecolor": "none",
    "legend.fancybox": False,
    "legend.handlelength": 1.4,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.formatter.useoffset": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "lines.linewidth": 1.0,
    "lines.markersize": 4,
    "savefig.dpi": 200,
    "svg.hashsalt": "lacus",
}

#: What formats write of the time of writing; without it the same figure is the same bytes.
_METADATA = {
    ".svg": {"Date": None},
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None},
}


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Have a function draw in the style of the house, whatever the user's own settings are."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context():
            _set_style()
            return draw(*args, **kwargs)

    return drawn


def _set_style() -> None:
    mpl.rcdefaults()
    mpl.rcParams.update(_STYLE)


def save(figure: Figure, path: Path) -> Path:
    """Write a figure, the same bytes for the same figure.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : Path
        Ends in .svg, .png or .pdf; its folder is made if need be.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    UsageError
        The name has another ending.
    """
    metadata = _METADATA.get(path.suffix.lower())
    if metadata is None:
        raise UsageError(f"{path}: a figure's name has to end in one of {', '.join(_METADATA)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context():
        # Ticks are made when they are drawn, by the settings of that time.
        _set_style()
        figure.savefig(path, metadata=metadata)
    return path


def plain_ticks(axis: Axis) -> None:
    """Write 10, 20 and 50 on a logarithmic axis of few decades, not powers of ten."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def draw_confusion(
    axes: Axes, counts: npt.NDArray, classes: Sequence[str], *, few: int = 12, size: float = 7
) -> None:
    """Draw a confusion matrix, each row as fractions of its true class.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    counts : ndarray, shape (k, k)
        Rows are true classes, columns predicted ones.
    classes : sequence of str, length k
        The number of members stands beside the name of each true class.
    few : int
        Up to so many classes the fractions are written into their cells, above it the counts,
        which are shorter.
    size : float
        Of what is written into cells, in points.
    """
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(share):
        if value >= 0.005:
            text = f"{value:.2f}" if len(classes) <= few else f"{counts[row, column]:.0f}"
            shade = "white" if value > 0.6 else "black"
            axes.text(column, row, text, ha="center", va="center", size=size, color=shade)
    axes.set_xticks(range(len(classes)), classes, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(
        range(len(classes)), [f"{c} ({n:.0f})" for c, n in zip(classes, total[:, 0], strict=True)]
    )
    axes.tick_params(length=0)
    axes.set(xlabel="predicted class", ylabel="true class (number)")
