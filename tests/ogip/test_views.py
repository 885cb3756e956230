"""The views of the mission: rows in, rows out."""

from collections.abc import Iterable
from typing import Any

import duckdb
import numpy as np
import pytest

from tests import views

Row = dict[str, Any]
PLAIN: dict[str, Row] = {
    "ogip.spectra": {
        "path": "p", "hdu": 1, "spectrum_type": "I", "n_channels": 3, "quantity": "COUNTS",
        "exposure": 100.0, "channel": [1, 2, 3],
    },
    "ogip.ebounds": {"path": "p", "hdu": 2, "n_channels": 3, "channel": [1, 2, 3]},
    "ogip.responses": {
        "path": "p", "hdu": 1, "includes_area": False, "n_energies": 2, "n_channels": 3,
        "n_groups": 2, "n_elements": 6, "first_channel": 1, "first_channel_from": "TLMIN",
        "energy_min": 0.5, "energy_max": 10.0, "max_row_sum": 1.0, "content_hash": "h",
    },
    "ogip.redistribution": {"f_chan": [1]},
    "ogip.effective_area": {"path": "p", "hdu": 1, "n_energies": 2, "content_hash": "h"},
    "ogip.pairs": {"missing": [], "problems": [], "foldable": True},
    "ogip.net_count_limits": {},
}  # fmt: skip


def insert(tables: duckdb.DuckDBPyConnection, name: str, rows: Iterable[Row]) -> None:
    views.insert(tables, name, rows, {"release": "R", "file_sha256": "f"} | PLAIN[name])


def spectra(tables: duckdb.DuckDBPyConnection, source: Row, background: Row | None = None) -> None:
    """Spectrum s, paired with background b (if any) and response r, whose energies are e."""
    insert(tables, "ogip.spectra", [{"spec_id": "s"} | source])
    if background is not None:
        insert(tables, "ogip.spectra", [{"spec_id": "b", "content": "BKG"} | background])
    bounds = {"e_min": [0.5, 1.2, 2.0], "e_max": [1.2, 2.0, 7.0]}
    insert(tables, "ogip.ebounds", [{"ebounds_id": "e"} | bounds])
    insert(tables, "ogip.responses", [{"response_id": "r", "ebounds_id": "e"}])
    found = {"background_id": "b"} if background is not None else {}
    insert(tables, "ogip.pairs", [{"spec_id": "s", "response_id": "r", "area_id": "a"} | found])


def columns(tables: duckdb.DuckDBPyConnection, *names: str, spec_id: str = "s") -> list[list[Any]]:
    """Columns of count_spectrum in the order of the channels."""
    query = f"SELECT {', '.join(names)} FROM ogip.count_spectrum WHERE spec_id = ?"
    rows = tables.execute(f"{query} ORDER BY position", [spec_id]).fetchall()
    return [list(column) for column in zip(*rows, strict=True)]


def one(tables: duckdb.DuckDBPyConnection, view: str, spec_id: str = "s") -> Row:
    found = tables.sql(f"SELECT * FROM ogip.{view} WHERE spec_id = '{spec_id}'")
    [row] = found.to_arrow_table().to_pylist()
    return row


@pytest.mark.parametrize("name", ["count_spectrum", "good_counts", "net_counts", "band_rates"])
def test_no_row_out_of_none(tables, name):
    assert tables.sql(f"SELECT * FROM ogip.{name}").fetchall() == []


# --- count_spectrum ----------------------------------------------------------------------------


def test_counts_have_energies_rates_and_poisson_errors(tables):
    spectra(tables, {"counts": [4.0, 9.0, 0.0]})
    energies = columns(tables, "channel", "e_min", "e_max")
    assert energies == [[1, 2, 3], [0.5, 1.2, 2.0], [1.2, 2.0, 7.0]]
    names = ["counts", "counts_error", "rate", "net_counts", "net_counts_error", "background"]
    assert columns(tables, *names) == [
        [4, 9, 0], [2, 3, 0], [0.04, 0.09, 0], [4, 9, 0], [2, 3, 0], [None] * 3,
    ]  # fmt: skip
    per_kev, error = columns(tables, "net_rate_kev", "net_rate_kev_error")
    np.testing.assert_allclose(per_kev, [0.04 / 0.7, 0.09 / 0.8, 0])
    np.testing.assert_allclose(error, [0.02 / 0.7, 0.03 / 0.8, 0])


def test_a_background_is_scaled_by_exposure_and_both_scales(tables):
    spectra(
        tables,
        {"counts": [10.0, 20.0, 30.0], "backscal": 0.1, "areascal": 0.5},
        {"counts": [16.0, 0.0, 4.0], "backscal": 0.4, "exposure": 200.0},
    )
    alpha = (100 * 0.1 * 0.5) / (200 * 0.4 * 1)
    names = ["off_counts", "alpha", "background", "background_error", "net_counts", "net_rate"]
    found = columns(tables, *names)
    assert found[0] == [16, 0, 4]
    np.testing.assert_allclose(found[1], [alpha] * 3)
    np.testing.assert_allclose(found[2], alpha * np.array([16, 0, 4]))
    np.testing.assert_allclose(found[3], alpha * np.array([4, 0, 2]))
    net = np.array([10, 20, 30]) - alpha * np.array([16, 0, 4])
    np.testing.assert_allclose(found[4], net)
    np.testing.assert_allclose(found[5], net / (100 * 0.5))
    [error] = columns(tables, "net_counts_error")
    np.testing.assert_allclose(error, np.sqrt([10 + (alpha * 4) ** 2, 20, 30 + (2 * alpha) ** 2]))


def test_scales_may_differ_by_channel(tables):
    spectra(
        tables,
        {"counts": [9.0] * 3, "backscal_channel": [1.0, 2.0, 3.0]},
        {"counts": [6.0] * 3, "backscal_channel": [2.0, 2.0, 0.0], "areascal_channel": [3.0] * 3},
    )
    alpha, net = columns(tables, "alpha", "net_counts")
    np.testing.assert_allclose(alpha[:2], [1 / 6, 1 / 3])
    np.testing.assert_allclose(net[:2], [8, 7])
    assert (alpha[2], net[2]) == (None, None)


@pytest.mark.parametrize("scale", ["backscal", "areascal"])
@pytest.mark.parametrize("of", ["source", "background"])
def test_a_scale_of_nothing_leaves_the_background_unknown(tables, scale, of):
    rows = {"source": {"counts": [9.0] * 3}, "background": {"counts": [6.0] * 3}}
    rows[of][scale] = 0.0
    spectra(tables, rows["source"], rows["background"])
    assert columns(tables, "counts", "alpha", "net_counts") == [[9] * 3, [None] * 3, [None] * 3]


@pytest.mark.parametrize(
    ("source", "background", "net"),
    [
        ([1, 2, 3], [0, 1, 2], [3, 4, 5]),  # counted from 1 and from 0
        ([3, 1, 2], [3, 1, 2], [3, 4, 5]),
        ([1, 2, 3], None, [3, 4, 5]),
        ([3, 1, 2], [1, 2, 3], [None] * 3),
        ([1, 2, 3], [1, 2, 4], [None] * 3),
    ],
)
def test_a_background_of_other_channels_is_not_subtracted(tables, source, background, net):
    spectra(
        tables,
        {"counts": [9.0] * 3, "channel": source},
        {"counts": [6.0, 5.0, 4.0], "channel": background},
    )
    assert columns(tables, "net_counts") == [net]


UP, DOWN = {"background_up": [8.0, 0, 4], "backscup": 4.0}, {"background_down": [2.0, 4, 4]}


@pytest.mark.parametrize(
    ("given", "off", "alpha"),
    [
        (UP | DOWN | {"backscdn": 6.0}, [10, 4, 8], 0.05),
        (UP | DOWN, [8, 0, 4], 0.125),
        (UP, [8, 0, 4], 0.125),
        (DOWN | {"backscdn": 5.0}, [2, 4, 4], 0.1),
    ],
)
@pytest.mark.parametrize("quantity", ["COUNTS", "RATE"])
def test_the_columns_beside_a_grating_spectrum_are_its_background(
    tables, given, off, alpha, quantity
):
    seconds = 100 if quantity == "RATE" else 1
    given = {k: [c / seconds for c in v] if "background" in k else v for k, v in given.items()}
    source = {quantity.lower(): [9.0 / seconds] * 3, "quantity": quantity}
    insert(
        tables,
        "ogip.spectra",
        [source | given | {"spec_id": "s", "backscal": 0.5, "areascal_channel": [1.0, 1, 2]}],
    )
    insert(tables, "ogip.pairs", [{"spec_id": "s", "background_from": "columns"}])
    found = columns(tables, "off_counts", "alpha", "background_error", "net_counts")
    np.testing.assert_allclose(found[0], off)
    np.testing.assert_allclose(found[1], [alpha] * 3)
    np.testing.assert_allclose(found[2], alpha * np.sqrt(off))
    np.testing.assert_allclose(found[3], 9 - alpha * np.array(off))
    assert one(tables, "net_counts")["net_counts"] == pytest.approx(27 - alpha * sum(off))


def test_rates_become_counts_with_the_errors_of_the_file(tables):
    spectra(
        tables,
        {"quantity": "RATE", "rate": [0.1, 0.2, 0.3], "stat_err": [0.01] * 3, "sys_err": [0.2] * 3},
        {"quantity": "RATE", "rate": [0.1] * 3, "stat_err": [0.02] * 3, "exposure": 50.0},
    )
    counts, error, off, off_error, net = columns(
        tables, "counts", "counts_error", "off_counts", "background_error", "net_counts"
    )
    np.testing.assert_allclose(counts, [10, 20, 30])
    np.testing.assert_allclose(error, np.hypot(1.0, [2, 4, 6]))
    np.testing.assert_allclose(off, [5] * 3)
    np.testing.assert_allclose(off_error, [2.0] * 3)
    np.testing.assert_allclose(net, [0, 10, 20], atol=1e-12)


@pytest.mark.parametrize(
    ("poisserr", "stat_err", "expected"),
    [
        (True, [0.0] * 3, [2, 3, 0]),
        (None, [0.0] * 3, [2, 3, 0]),
        (False, [0.0] * 3, [0, 0, 0]),
        (True, [0.0, 3.0, 0.0], [0, 3, 0]),
    ],
)
def test_errors_of_nothing_throughout_are_none(tables, poisserr, stat_err, expected):
    row = {"counts": [4.0, 9.0, 0.0], "poisserr": poisserr, "stat_err": stat_err}
    spectra(tables, row, row)
    error, background_error = columns(tables, "counts_error", "background_error")
    assert error == background_error == expected


def test_an_unknown_background_spoils_its_own_channels_only(tables):
    spectra(
        tables,
        {"counts": [5.0, np.nan, 7.0]},
        {"counts": [np.nan, 1.0, 1.0], "quality": [0, 0, 0]},
    )
    counts, background, net = columns(tables, "counts", "background", "net_counts")
    assert counts == [5, None, 7]
    assert background == [None, 1, 1]
    assert net == [None, None, 6]


def test_a_background_marked_as_bad_is_not_known(tables):
    spectra(tables, {"counts": [5.0] * 3}, {"counts": [1.0] * 3, "quality": [0, 5, 0]})
    assert columns(tables, "net_counts") == [[4, None, 4]]


def test_a_background_of_other_channels_is_never_subtracted(tables):
    spectra(
        tables, {"counts": [5.0] * 3}, {"counts": [1.0] * 2, "n_channels": 2, "channel": [1, 2]}
    )
    assert columns(tables, "position", "counts", "net_counts") == [[1, 2, 3], [5] * 3, [None] * 3]


def test_channels_that_the_file_does_not_number_begin_at_the_first(tables):
    spectra(tables, {"counts": [1.0] * 3, "channel": None})
    assert columns(tables, "channel", "e_min") == [[1, 2, 3], [0.5, 1.2, 2.0]]
    tables.execute("UPDATE ogip.spectra SET first_channel = 2")
    assert columns(tables, "channel", "e_min") == [[2, 3, 4], [0.5, 1.2, 2.0]]

    # Without a response either, nothing is known of the channels.
    tables.execute("DELETE FROM ogip.pairs")
    tables.execute("UPDATE ogip.spectra SET first_channel = NULL")
    assert columns(tables, "channel", "e_min", "counts") == [[None] * 3, [None] * 3, [1] * 3]


@pytest.mark.parametrize(
    ("channel", "energies"),
    [
        # As fold takes them: Fermi GBM counts spectra from 0 and responses from 1.
        ([0, 1, 2], [0.5, 1.2, 2.0]),
        ([2, 3, 4], [0.5, 1.2, 2.0]),
        ([3, 2, 1], [2.0, 1.2, 0.5]),
        ([2, 3], [1.2, 2.0]),
        ([0, 1, 3, 4], [None, 0.5, 2.0, None]),
    ],
)
def test_channels_go_one_by_one_where_there_are_as_many_else_by_number(tables, channel, energies):
    size = len(channel)
    spectra(tables, {"counts": [1.0] * size, "channel": channel, "n_channels": size})
    assert columns(tables, "channel", "e_min") == [channel, energies]


@pytest.mark.parametrize(
    ("channel", "of_response", "energies"),
    [
        ([1, 2, 3], [3, 2, 1], [2.0, 1.2, 0.5]),
        ([3, 2, 1], [3, 2, 1], [0.5, 1.2, 2.0]),
        ([1, 3, 2], [1, 2, 3], [0.5, 2.0, 1.2]),
        ([1, 2, 4], [1, 2, 4], [0.5, 1.2, 2.0]),
        ([1, 2, 4], [2, 3, 4], [None, 0.5, 2.0]),
    ],
)
def test_channels_out_of_order_or_with_gaps_go_by_number(tables, channel, of_response, energies):
    spectra(tables, {"counts": [1.0] * 3, "channel": channel})
    tables.execute("UPDATE ogip.ebounds SET channel = ?", [of_response])
    assert columns(tables, "channel", "e_min") == [channel, energies]


def test_energies_may_be_those_of_the_file_itself_and_fall(tables):
    insert(tables, "ogip.spectra", [{"spec_id": "s", "counts": [1.0] * 3, "ebounds_id": "own"}])
    falling = {"e_min": [3.0, 2.0, 1.0], "e_max": [2.0, 1.0, 0.5]}
    insert(tables, "ogip.ebounds", [{"ebounds_id": "own"} | falling])
    assert columns(tables, "e_min", "e_max") == [[2.0, 1.0, 0.5], [3.0, 2.0, 1.0]]
    assert columns(tables, "net_rate_kev") == [[0.01, 0.01, 0.02]]


def test_energies_of_a_grating_spectrum_without_a_response_follow_from_its_wavelengths(tables):
    bins = {"bin_lo": [21.0, 20.0, 10.0], "bin_hi": [22.0, 21.0, 20.0]}
    insert(tables, "ogip.spectra", [{"spec_id": "s", "counts": [1.0] * 3} | bins])
    hc = 12.398419843320026
    low, high = columns(tables, "e_min", "e_max")
    np.testing.assert_allclose(low, [hc / 22, hc / 21, hc / 20], rtol=1e-15)
    np.testing.assert_allclose(high, [hc / 21, hc / 20, hc / 10], rtol=1e-15)
    spectra(tables, {"spec_id": "t", "counts": [1.0] * 3} | bins)
    tables.execute("UPDATE ogip.pairs SET spec_id = 't'")
    assert columns(tables, "e_min", spec_id="t") == [[0.5, 1.2, 2.0]]


@pytest.mark.parametrize("exposure", [None, 0.0, -5.0])
def test_without_an_exposure_there_are_counts_and_no_rates(tables, exposure):
    spectra(tables, {"counts": [4.0] * 3, "exposure": exposure})
    assert columns(tables, "net_counts", "rate", "net_rate_kev") == [
        [4] * 3,
        [None] * 3,
        [None] * 3,
    ]
    tables.execute("UPDATE ogip.spectra SET quantity = 'RATE', rate = counts, counts = NULL")
    assert columns(tables, "counts") == [[None] * 3]


def test_two_releases_do_not_mix(tables):
    spectra(tables, {"counts": [4.0] * 3}, {"counts": [1.0] * 3})
    insert(tables, "ogip.spectra", [{"release": "R2", "spec_id": "s", "counts": [2.0] * 3}])
    found = tables.sql(
        "SELECT release, sum(net_counts), count(e_min) FROM ogip.count_spectrum"
        " WHERE spec_id = 's' GROUP BY release ORDER BY release"
    )
    assert found.fetchall() == [("R", 9.0, 3), ("R2", 6.0, 0)]


# --- good_counts and net_counts ----------------------------------------------------------------


def test_sums_are_over_good_channels_with_a_known_background(tables):
    spectra(
        tables,
        {"n_channels": 5, "channel": [1, 2, 3, 4, 5], "counts": [9.0, 16.0, 25.0, 36.0, np.nan],
         "quality": [0, 2, 0, 0, 0]},
        {"n_channels": 5, "channel": [1, 2, 3, 4, 5], "counts": [4.0, 4.0, 8.0, np.nan, 1.0],
         "exposure": 200.0},
    )  # fmt: skip
    row = one(tables, "good_counts")
    assert (row["n_channels"], row["n_bad"], row["n_unknown"]) == (2, 1, 2)
    assert (row["counts"], row["off_counts"], row["background"]) == (34, 12, 6)
    assert (row["alpha"], row["net_counts"], row["net_rate"]) == (0.5, 28, 0.28)
    assert row["counts_error"] == pytest.approx(np.sqrt(34))
    assert row["background_error"] == pytest.approx(0.5 * np.sqrt(12))
    assert row["background_poisson_error"] == pytest.approx(row["background_error"])
    assert row["net_counts_error"] == pytest.approx(np.sqrt(34 + 3))


def test_the_scale_is_known_without_background_counts(tables):
    spectra(tables, {"counts": [9.0] * 3}, {"counts": [0.0] * 3, "backscal": 4.0})
    assert one(tables, "good_counts")["alpha"] == 0.25


def test_a_spectrum_without_any_good_channel_has_no_sum(tables):
    spectra(tables, {"counts": [9.0] * 3, "quality": [1, 1, 1]})
    row = one(tables, "good_counts")
    assert (row["n_channels"], row["n_bad"], row["counts"], row["net_counts"]) == (0, 3, None, None)


def test_net_counts_has_every_spectrum_with_its_limits_where_they_are_known(tables):
    spectra(tables, {"counts": [9.0] * 3, "object": "X-1"}, {"counts": [1.0] * 3})
    limits = {"spec_id": "s", "upper_limit_90": 31.5, "significance": 4.2}
    insert(tables, "ogip.net_count_limits", [limits])
    row = one(tables, "net_counts")
    assert (row["object"], row["net_counts"]) == ("X-1", 24)
    assert (row["upper_limit_90"], row["significance"]) == (31.5, 4.2)
    assert one(tables, "net_counts", "b")["upper_limit_90"] is None


# --- band_rates --------------------------------------------------------------------------------


def area(tables: duckdb.DuckDBPyConnection) -> None:
    curve = {"energ_lo": [0.1, 1.5], "energ_hi": [1.5, 4.6], "specresp": [200.0, 50.0]}
    insert(tables, "ogip.effective_area", [{"area_id": "a"} | curve])


def test_bands_have_rates_fluxes_and_hardness_ratios(tables):
    spectra(
        tables, {"counts": [30.0, 20.0, 25.0], "object": "2CXO J1", "obs_id": "00123"},
        {"counts": [10.0, 10.0, 5.0]},
    )  # fmt: skip
    area(tables)
    row = one(tables, "band_rates")
    assert (row["name"], row["obsid"]) == ("2CXO J1", 123)
    assert [row[f"src_cnts_aper_{b}"] for b in "smh"] == [20, 10, 20]
    assert [row[f"src_rate_aper_{b}"] for b in "smh"] == [0.2, 0.1, 0.2]
    errors = [row[f"src_cnts_error_{b}"] for b in "smh"]
    np.testing.assert_allclose(errors, np.sqrt([40, 30, 30]))
    # The middles are 0.85, 1.6 and 4.5 keV.
    s, m, h = 0.2 / 200, 0.1 / 50, 0.2 / 50
    np.testing.assert_allclose([row[f"photflux_aper_{b}"] for b in "smh"], [s, m, h])
    np.testing.assert_allclose(
        [row["hard_hm"], row["hard_hs"], row["hard_ms"]],
        [(h - m) / (h + m), (h - s) / (h + s), (m - s) / (m + s)],
    )


def test_a_response_that_holds_the_area_is_summed_without_its_padding(tables):
    spectra(tables, {"counts": [8.0, 4.0, 2.0]})
    tables.execute("UPDATE ogip.responses SET includes_area = TRUE")
    tables.execute("UPDATE ogip.pairs SET area_id = NULL")
    bins = [
        {"bin": 1, "energ_lo": 0.4, "energ_hi": 1.4, "n_grp": 2, "n_chan": [1, 2, 9],
         "matrix": [10.0, 20.0, 10.0, 99.0]},
        {"bin": 2, "energ_lo": 1.4, "energ_hi": 5.0, "n_grp": 1, "n_chan": [2, 0, 0],
         "matrix": [5.0, 5.0, 0.0, 0.0]},
    ]  # fmt: skip
    insert(tables, "ogip.redistribution", [{"response_id": "r", **row} for row in bins])
    row = one(tables, "band_rates")
    fluxes = [row[f"photflux_aper_{b}"] for b in "smh"]
    np.testing.assert_allclose(fluxes, [0.08 / 40, 0.04 / 10, 0.02 / 10])


def test_without_an_area_there_are_rates_and_no_hardness(tables):
    spectra(tables, {"counts": [8.0, 4.0, 2.0]})
    row = one(tables, "band_rates")
    assert row["src_rate_aper_s"] == 0.08
    assert row["photflux_aper_s"] is None
    assert row["hard_hm"] is row["hard_hs"] is row["hard_ms"] is None


def test_a_negative_flux_counts_as_none_in_a_ratio(tables):
    spectra(tables, {"counts": [0.0, 4.0, 0.0]}, {"counts": [2.0, 0.0, 1.0]})
    area(tables)
    row = one(tables, "band_rates")
    assert row["photflux_aper_s"] < 0
    assert (row["hard_ms"], row["hard_hm"], row["hard_hs"]) == (1, -1, None)


def test_bad_channels_and_those_outside_the_bands_are_left_out(tables):
    spectra(tables, {"counts": [8.0, 4.0, 2.0], "quality": [0, 5, 0]})
    tables.execute("UPDATE ogip.ebounds SET e_min = [0.1, 1.2, 6.9], e_max = [0.8, 2.0, 7.2]")
    row = one(tables, "band_rates")
    assert [row[f"src_cnts_aper_{b}"] for b in "smh"] == [None] * 3


def test_backgrounds_have_no_row(tables):
    spectra(tables, {"counts": [8.0] * 3}, {"counts": [1.0] * 3, "content": None})
    insert(tables, "ogip.spectra", [{"spec_id": "lone", "counts": [1.0] * 3, "content": "BKG"}])
    found = tables.sql("SELECT spec_id, name, obsid FROM ogip.band_rates").fetchall()
    assert found == [("s", "s", None)]


def test_the_rows_are_taken_by_the_classifier_of_detections(tables, tmp_path):
    import pyarrow.parquet as pq

    from lake.csc.own import read_own

    spectra(tables, {"counts": [30.0, 20.0, 25.0], "object": "2CXO J1", "obs_id": "7"})
    area(tables)
    found = tables.sql("SELECT * FROM ogip.band_rates").to_arrow_table()
    pq.write_table(found, tmp_path / "x.parquet")
    [row] = read_own(tmp_path / "x.parquet").to_pylist()
    assert (row["name"], row["obsid"]) == ("2CXO J1", 7)
    assert row["hard_hs"] == found["hard_hs"][0].as_py()
