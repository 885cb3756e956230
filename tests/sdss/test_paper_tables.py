import json

import pyarrow as pa
import pytest

from lake.errors import LacusError
from lake.export import Origin
from lake.formats.columns import metadata
from lake.sdss import paper_tables as tables

ORIGIN = Origin("Spectra of each class", "SELECT 1", 3, ("sdss:DR17",), "2026-01-01", "lacus 0")


def overview(*classes, release="DR17"):
    return pa.Table.from_pylist(
        [
            {
                "release": release, "class_mk": name, "n_spectra": 10 + i, "share": 0.1,
                "sn_median": 20.123, "wavelength_min": 3600.4, "wavelength_max": None,
                "resolution_r": 1900.0, "data_releases": "26, v5_7_0",
            }
            for i, name in enumerate(classes)
        ]
    )  # fmt: skip


def test_classes_from_hot_to_cool_then_those_without_a_label():
    made = tables.dataset_overview(overview(None, "CV", "M1", "A0"))
    assert made["class_mk"].to_pylist() == ["A0", "M1", "CV", None]
    assert made["n_spectra"].to_pylist() == [13, 12, 11, 10]
    assert made["wavelength_max"].to_pylist() == [None] * 4


def test_columns_have_units_and_descriptions():
    made = tables.dataset_overview(overview("A0"))
    assert metadata(made.schema.field("wavelength_min"), b"unit") == "Angstrom"
    for each in (made, tables.split_counts(balance()), tables.preprocessing_steps(log())):
        assert all(metadata(field, b"description") for field in each.schema)


def test_releases_are_not_mixed():
    two = pa.concat_tables([overview("A0"), overview("A0", release="DR8")])
    with pytest.raises(LacusError, match="one release, not DR17, DR8"):
        tables.dataset_overview(two)


def test_written_for_latex_and_as_csv(tmp_path):
    made = tables.dataset_overview(overview("A0", None))
    tex, csv = tables.write(made, tmp_path / "new" / "table.a", ORIGIN)
    assert (tex.name, csv.name) == ("table.a.tex", "table.a.csv")
    text = tex.read_text()
    assert r"\tablecaption{Spectra of each class}" in text
    assert "A0 & 10 & 20.1 & 3600 & \\nodata & 1900 & 26, v5\\_7\\_0" in text
    assert csv.read_text().splitlines()[1].startswith('"A0",10,20.123,')


def log(recipe="default"):
    def entry(spec_id, recipe, order, name, params, warnings):
        return {
            "release": "DR17", "spec_id": spec_id, "recipe": recipe, "step_order": order,
            "step_name": name, "params_json": json.dumps(params), "warnings": warnings,
        }  # fmt: skip

    return pa.Table.from_pylist(
        [
            entry("a", "load", 1, "load_spectrum", {"layout": "spec", "row": 1}, None),
            entry("b", "load", 1, "load_spectrum", {"layout": "spPlate", "row": 1}, None),
            *(
                entry("b", "load", 1, "load_spectrum", {"layout": "spec", "row": i}, None)
                for i in range(2, 6)
            ),
            entry("a", recipe, 2, "rest_frame", {"kernel": "rest_frame"}, "no velocity: 3 pixels"),
            entry("b", recipe, 2, "rest_frame", {"kernel": "rest_frame"}, "no velocity: 14 pixels"),
            entry(
                "c", recipe, 2, "rest_frame", {"kernel": "rest_frame"}, "2.5e3 lost; no velocity"
            ),
        ]
    )


def test_steps_of_a_recipe():
    first, second = tables.preprocessing_steps(log()).to_pylist()
    assert (first["step_name"], first["n_spectra"], first["n_warned"]) == ("load_spectrum", 6, 0)
    assert sorted(first["parameters"].split(", ")) == ["layout = spPlate or spec", "row: 5 values"]
    assert first["warnings"] is None
    assert second["parameters"] == "kernel = rest_frame"
    assert second["n_warned"] == 3
    assert second["warnings"] == "no velocity: # pixels (2); # lost (1); no velocity (1)"


def test_one_recipe_at_a_time():
    with pytest.raises(LacusError, match="one recipe, not default, seed"):
        tables.preprocessing_steps(pa.concat_tables([log(), log("seed")]))


def test_steps_that_the_recipes_log():
    from lake.sdss.preprocess import RECIPES

    steps = RECIPES["default"].steps
    rows = [
        {
            "release": "DR17", "recipe": "default", "step_order": order, "step_name": step.name,
            "params_json": step.params_json, "warnings": None,
        }
        for order, step in enumerate(steps, 2)
    ]  # fmt: skip
    made = tables.preprocessing_steps(pa.Table.from_pylist(rows, _log_schema()))
    assert made["step_name"].to_pylist() == [step.name for step in steps]
    (dust,) = (row for row in made.to_pylist() if row["step_name"] == "deredden")
    assert "r_v = 3.1" in dust["parameters"]


def _log_schema():
    names = ("release", "recipe", "step_order", "step_name", "params_json", "warnings")
    return pa.schema([(n, pa.int32() if n == "step_order" else pa.string()) for n in names])


def balance():
    rows = [("M1", "train", 7, 2), ("A0", "train", 9, 3), ("A0", "test", 2, 1)]
    return pa.Table.from_pylist(
        [
            {"release": "DR17", "class_mk": c, "split": s, "n": n, "n_groups": groups}
            for c, s, n, groups in rows
        ]
    )


def test_sides_of_the_split():
    made = tables.split_counts(balance()).to_pylist()
    assert [tuple(row.values()) for row in made] == [
        ("A0", 9, 0, 2, 3, 0, 1),
        ("M1", 7, 0, 0, 2, 0, 0),
    ]


def test_lines_by_wavelength():
    from lake.sdss.line_list import line_list

    made = tables.line_list(line_list())
    assert made["lambda_rest_A"].to_pylist() == sorted(made["lambda_rest_A"].to_pylist())
    assert metadata(made.schema.field("lambda_rest_A"), b"unit") == "Angstrom"
    assert made.column_names[:2] == ["elem", "transition"]
