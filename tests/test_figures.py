import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from lake.errors import UsageError
from lake.figures import draw_confusion, plain_ticks, save, styled


@styled
def line() -> Figure:
    figure = Figure(figsize=(2, 2))
    axes = figure.add_subplot()
    axes.plot([1, 2, 3], [1, 4, 9], label="squares")
    axes.fill_between([1, 2, 3], 0, [1, 4, 9], hatch="/")  # a pattern: its id in SVG is salted
    axes.legend()
    return figure


@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
def test_the_same_figure_is_the_same_bytes(tmp_path, ending):
    first = save(line(), tmp_path / "new" / f"a.{ending}")
    with mpl.rc_context({"font.size": 20, "lines.linewidth": 7, "savefig.dpi": 30}):
        second = save(line(), tmp_path / f"b.{ending}")
    assert first.read_bytes() == second.read_bytes()


def test_other_endings_are_refused_before_a_folder_is_made(tmp_path):
    with pytest.raises(UsageError, match=r"\.svg, \.png, \.pdf"):
        save(line(), tmp_path / "new" / "a.gif")
    assert not (tmp_path / "new").exists()


def test_the_users_settings_stay_as_they_were():
    with mpl.rc_context({"font.size": 20}):
        figure = line()
        assert mpl.rcParams["font.size"] == 20
    assert figure.axes[0].yaxis.get_ticklabels()[0].get_fontsize() == 7


def confusion(counts, classes, **options):
    axes = Figure().add_subplot()
    draw_confusion(axes, np.asarray(counts), classes, **options)
    return axes


def test_rows_of_a_confusion_matrix_are_shares_of_the_true_class():
    axes = confusion([[8, 2], [0, 0]], ["A", "B"])
    assert axes.images[0].get_array().tolist() == [[0.8, 0.2], [0, 0]]
    assert [text.get_text() for text in axes.texts] == ["0.80", "0.20"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["A (10)", "B (0)"]


def test_many_classes_show_counts():
    assert [t.get_text() for t in confusion([[8, 2], [0, 3]], ["A", "B"], few=1).texts] == [
        "8",
        "2",
        "3",
    ]


def test_logarithmic_axes_have_plain_numbers():
    axes = Figure().add_subplot()
    axes.set(xscale="log", xlim=(0.4, 60))
    plain_ticks(axes.xaxis)
    axes.figure.draw_without_rendering()
    shown = [label.get_text() for label in axes.get_xticklabels()]
    assert {"0.5", "1", "2", "50"} <= set(shown)
