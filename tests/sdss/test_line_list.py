import numpy as np
import pytest

from lake.sdss.line_list import SCHEMA, line_list
from lake.sdss.steps import vacuum_to_air


def test_the_list_has_its_columns_in_order_of_wavelength():
    lines = line_list()
    assert lines.schema == SCHEMA
    assert all(lines[name].null_count == 0 for name in lines.column_names)
    rest = np.asarray(lines["lambda_rest_A"])
    assert (np.diff(rest) > 0).all()
    assert len(set(lines["transition"].to_pylist())) == len(lines)
    assert {"H", "He", "Ca", "Fe", "Mg", "Na"} <= set(lines["elem"].to_pylist())


def test_air_and_vacuum_belong_together():
    lines = line_list()
    rest, air = (np.asarray(lines[name]) for name in ("lambda_rest_A", "lambda_air_A"))
    np.testing.assert_allclose(vacuum_to_air(rest), air, atol=1e-7)


@pytest.mark.parametrize(
    ("transition", "vacuum"),
    [
        # Line table of the SDSS spectroscopic pipeline, vacuum, to its two decimals.
        ("H alpha", 6564.61),
        ("H beta", 4862.68),
        ("H gamma", 4341.68),
        ("Ca II K", 3934.78),
        ("Mg I b2", 5174.12),
        ("Na I D2", 5891.58),
        ("[O III] 5006", 5008.24),
        ("[N II] 6583", 6585.27),
        ("[S II] 6716", 6718.29),
    ],
)
def test_vacuum_wavelengths_agree_with_the_survey_s(transition, vacuum):
    lines = line_list().to_pylist()
    (found,) = [row["lambda_rest_A"] for row in lines if row["transition"] == transition]
    assert found == pytest.approx(vacuum, abs=0.03)


def test_hydrogen_follows_rydberg():
    # R_H = 109,677.58 per cm; fine structure moves the mean by less than 0.1 Angstrom.
    hydrogen = [row for row in line_list().to_pylist() if row["elem"] == "H"]
    assert len(hydrogen) >= 12
    for row in hydrogen:
        lower, upper = (int(part.strip()[2:]) for part in row["lower_upper_levels"].split("-"))
        expected = 1e8 / (109677.58 * (1 / lower**2 - 1 / upper**2))
        assert row["lambda_rest_A"] == pytest.approx(expected, abs=0.1), row["transition"]


def test_edges_of_bands_are_not_matched():
    for row in line_list().to_pylist():
        if "head" in row["transition"]:
            assert row["use_flag"] is False
