import pyarrow as pa

from lake.csc.figures import confusion
from lake.figures import save


def validation():
    rows = [
        ("softmin", "QSO", "QSO", 6.0),
        ("softmin", "QSO", "YSO", 2.0),
        ("posterior", "YSO", "YSO", 4.0),
    ]
    names = ("method", "class", "predicted_class", "value")
    table = pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows])
    return table.append_column("metric", pa.repeat("confusion", 3)).append_column(
        "level", pa.repeat("class", 3)
    )


def test_a_matrix_per_method():
    figure = confusion(validation())
    assert [axes.get_title() for axes in figure.axes] == ["softmin", "posterior"]
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["0.25", "0.75"]
    assert "QSO (8)" in [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_nothing_validated_is_an_empty_figure(tmp_path):
    figure = confusion(validation().slice(0, 0))
    assert not figure.axes
    assert save(figure, tmp_path / "confusion.svg").stat().st_size > 0
