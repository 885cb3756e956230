import pyarrow as pa
import pytest

from lake.errors import InputError
from lake.formats.sexagesimal import degrees


@pytest.mark.parametrize(
    ("text", "hours", "expected"),
    [
        ("00 43 07.531", True, 10.781379166666667),
        ("-09 23 02.05", False, -9.383902777777779),
        (" -00:30:00 ", False, -0.5),
        ("23h59m59.9s", True, 359.99958333333336),
        ("+45d30'00\"", False, 45.5),
        ("20:23:60.00", True, 306.0),
        ("1 2 3", True, 15.5125),
    ],
)
def test_degrees_of_hours_and_of_degrees(text, hours, expected):
    found = degrees(pa.array([text, None]), "x", "in.csv", 1, hours=hours)
    assert found.to_pylist() == [pytest.approx(expected), None]


@pytest.mark.parametrize("text", ["12 61 00", "12.5", "12 30 60.5", "", "north"])
def test_anything_else_names_its_row(text):
    with pytest.raises(InputError, match=r"row 11, column 'ra': .* is not hh mm ss"):
        degrees(pa.array(["1 2 3", text]), "ra", "in.csv", 10, hours=True)
