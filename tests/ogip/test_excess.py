import numpy as np
import pyarrow as pa
import pytest

from lake.ogip.excess import net_count_limits
from lake.ogip.limits import (
    net_counts_upper_limit,
    net_counts_upper_limit_estimated,
    significance_gaussian_background,
    significance_li_ma,
)

COUNTED = {
    "spec_id": "a", "content": "TOTAL", "file_sha256": "f", "counts": 30.0,
    "counts_error": 30**0.5, "off_counts": 100.0, "alpha": 0.1, "background": 10.0,
    "background_error": 1.0, "background_poisson_error": 1.0,
}  # fmt: skip


def of(**changes: object) -> dict[str, object]:
    [row] = net_count_limits(pa.Table.from_pylist([COUNTED | changes], SCHEMA)).to_pylist()
    return row


SCHEMA = pa.schema(
    [(k, pa.float64() if isinstance(v, float) else pa.string()) for k, v in COUNTED.items()]
)


def test_a_counted_background_gives_both_limits_and_the_significance_of_counts():
    row = of()
    assert row["upper_limit_90"] == pytest.approx(float(net_counts_upper_limit(30, 10, 0.9)))
    assert row["upper_limit_90_estimated"] == pytest.approx(
        net_counts_upper_limit_estimated(30, 100, 0.1, 0.9)
    )
    assert row["upper_limit_90"] < row["upper_limit_90_estimated"]
    assert row["significance"] == pytest.approx(float(significance_li_ma(30, 100, 0.1)))
    assert row["significance_from"] == "li_ma"


def test_a_background_with_an_error_of_its_own_is_taken_at_its_word():
    row = of(background_error=3.0)
    assert row["significance_from"] == "gaussian_background"
    assert row["significance"] == pytest.approx(float(significance_gaussian_background(30, 10, 3)))
    assert row["upper_limit_90_estimated"] == pytest.approx(
        net_counts_upper_limit_estimated(30, (10 / 3) ** 2, 0.9, 0.9)
    )
    assert row["upper_limit_90_estimated"] > of()["upper_limit_90_estimated"]


def test_a_background_known_exactly_leaves_nothing_to_be_integrated_out():
    row = of(background_error=0.0)
    assert row["significance_from"] == "gaussian_background"
    assert row["upper_limit_90_estimated"] is None
    assert row["upper_limit_90"] == of()["upper_limit_90"]


def test_without_a_background_there_is_the_plain_limit_only():
    none = dict.fromkeys(
        ["off_counts", "alpha", "background", "background_error", "background_poisson_error"]
    )
    row = of(**none)
    # P(s < limit) = 0.9 with 30 counts and no background: Q(31, limit) = 0.1.
    assert row["upper_limit_90"] == pytest.approx(float(net_counts_upper_limit(30, 0, 0.9)))
    assert [row[k] for k in ("upper_limit_90_estimated", "significance", "significance_from")] == (
        [None] * 3
    )


@pytest.mark.parametrize(
    "changes", [{"content": "NET"}, {"counts": -3.0}, {"counts": None}, {"background": -2.0}]
)
def test_what_is_no_count_has_no_limit(changes):
    row = of(**changes)
    assert set(row.values()) - {"a", "f"} == {None}


def test_counts_that_are_not_whole_have_a_limit_for_a_known_background_only():
    row = of(counts=30.4, counts_error=30.4**0.5)
    assert of()["upper_limit_90"] < row["upper_limit_90"] < of(counts=31.0)["upper_limit_90"]
    assert row["upper_limit_90_estimated"] is None


@pytest.mark.parametrize(("counts", "counted"), [(587036.467, False), (587036.0003, True)])
def test_numbers_with_an_error_of_their_own_are_counts_if_they_are_whole(counts, counted):
    row = of(counts=counts, counts_error=21195.4)
    columns = ("upper_limit_90", "upper_limit_90_estimated", "significance", "significance_from")
    assert {row[column] is not None for column in columns} == {counted}


def test_no_counts_off_the_source_are_still_a_measurement():
    row = of(off_counts=0.0, background=0.0, background_error=0.0, background_poisson_error=0.0)
    assert row["significance_from"] == "li_ma"
    assert row["significance"] == pytest.approx(np.sqrt(2 * 30 * np.log(11)))
    assert row["upper_limit_90_estimated"] == pytest.approx(
        net_counts_upper_limit_estimated(30, 0, 0.1, 0.9)
    )


def test_no_spectra_give_no_rows():
    made = net_count_limits(SCHEMA.empty_table())
    assert made.num_rows == 0
    assert made.column_names[0] == "spec_id"
