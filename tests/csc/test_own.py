"""Classifying detections of one's own, without a lake."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

import lake.csc
from lake.csc.features import PROBABILITIES
from lake.csc.model import train
from lake.csc.own import classify_table, master_classes, read_own
from lake.errors import InputError, UsageError

#: 2CXO J004307.5-092302, obsid 4884, with the raw columns of the catalogue.
EXAMPLE = {
    "name": "2CXO J004307.5-092302",
    "obsid": 4884,
    "hard_hm": 0.23110555902561,
    "hard_hs": 0.10243597751405,
    "hard_ms": -0.13616489693941,
    "powlaw_gamma": 2.07377,
    "bb_kt": 0.563729,
    "var_prob_b": 0.50165526192568,
    "var_sigma_b": 7.008065460605226e-4,
    "var_mean_b": 0.0038287120278008738,
    "var_min_b": 0.003322752613583475,
    "var_max_b": 0.007166455525771607,
    "var_prob_h": 0.50814899377374,
    "var_sigma_h": 2.164292244738912e-4,
    "var_mean_h": 0.001575845804562533,
    "var_prob_s": 0.562971133281,
    "var_sigma_s": 1.1692215714259091e-4,
    "var_mean_s": 9.007070382772946e-4,
}


def classified(*rows: dict, **options) -> list[dict]:
    return classify_table(pa.Table.from_pylist(list(rows)), **options).to_pylist()


def probabilities(rows: list[dict]) -> np.ndarray:
    return np.array([[row[name] for name in PROBABILITIES] for row in rows])


def other(i: int) -> dict:
    """Some other detection; the i-th has one thing of its own."""
    return EXAMPLE | {"name": f"other {i}", "obsid": i, "hard_hm": -0.9 + 0.1 * i, "bb_kt": 0.2 + i}


def test_the_published_example():
    (row,) = classified(EXAMPLE)
    assert (row["name"], row["obsid"], row["cluster"]) == (EXAMPLE["name"], 4884, 5)
    assert row["p_hmxb"] == pytest.approx(0.684, abs=5e-4)
    assert row["p_hmxb"] + row["p_lmxb"] + row["p_xb"] == pytest.approx(0.985, abs=5e-4)
    assert row["detection_class"] == "HMXB"


def test_rows_are_independent_of_each_other_and_keep_their_order():
    rows = [other(3), EXAMPLE, other(1), EXAMPLE | {"bb_kt": None}, other(2)]
    together = classified(*rows)
    assert [row["name"] for row in together] == [row["name"] for row in rows]
    apart = [classified(row)[0] for row in rows]
    np.testing.assert_allclose(probabilities(together), probabilities(apart), rtol=1e-12)
    np.testing.assert_allclose(
        probabilities(classified(*reversed(rows)))[::-1], probabilities(together), rtol=1e-12
    )


def test_rows_of_several_files_keep_their_order():
    rows = [EXAMPLE | {"file_row": 2, "file_sha256": "a"}, other(1) | {"file_row": 1},
            other(2) | {"file_row": 2}]  # fmt: skip
    assert [row["name"] for row in classified(*rows)] == [row["name"] for row in rows]


def test_a_row_without_name_or_obsid_is_numbered():
    nameless = {k: v for k, v in EXAMPLE.items() if k not in ("name", "obsid")}
    first, second = classified(nameless, nameless)
    assert (first["name"], second["name"], first["obsid"]) == ("row 1", "row 2", None)
    assert first["p_hmxb"] == second["p_hmxb"]
    assert first["p_hmxb"] == pytest.approx(classified(EXAMPLE)[0]["p_hmxb"], rel=1e-12)
    mixed = classified(EXAMPLE | {"name": None}, EXAMPLE)
    assert [row["name"] for row in mixed] == ["row 1", EXAMPLE["name"]]


def test_spelling_and_other_columns_do_not_matter():
    upper = {name.upper(): value for name, value in EXAMPLE.items()} | {"Mine": 3}
    assert classified(upper) == classified(EXAMPLE)


def test_ready_ratios_do_as_well_as_raw_columns():
    ready = {k: v for k, v in EXAMPLE.items() if not k.startswith(("var_s", "var_m"))}
    for band in "bhs":
        ready[f"var_ratio_{band}"] = EXAMPLE[f"var_sigma_{band}"] / EXAMPLE[f"var_mean_{band}"]
    middle = (EXAMPLE["var_max_b"] + EXAMPLE["var_min_b"]) / 2
    ready["var_newq_b"] = middle / EXAMPLE["var_mean_b"]
    np.testing.assert_allclose(
        probabilities(classified(ready)), probabilities(classified(EXAMPLE)), rtol=1e-12
    )


def test_what_is_missing_is_said():
    (row,) = classified({"name": "A", "hard_hm": 0.1})
    assert "hard_hs" in row["reason"]
    empty = classify_table(pa.table({"name": pa.array([], pa.string())}))
    assert empty.num_rows == 0


def test_a_model_of_ones_own_and_its_methods(detections):
    model = train(detections, components=3)
    by_softmin = classify_table(detections, model=model)
    by_posterior = classify_table(detections, model=model, method="posterior")
    assert by_softmin["name"].to_pylist() == detections["name"].to_pylist()
    assert set(by_posterior["method"].to_pylist()) == {"posterior"}
    with pytest.raises(UsageError, match="train a model"):
        classified(EXAMPLE, method="posterior")


def test_a_file_is_read_as_the_lake_reads_it(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("Hard_HM,ra,extra\n0.5,12 00 00,x\n,00 00 00,y\n")
    table = read_own(path)
    assert table.select(["hard_hm", "ra", "extra", "file_row"]).to_pylist() == [
        {"hard_hm": 0.5, "ra": 180.0, "extra": "x", "file_row": 1},
        {"hard_hm": None, "ra": 0.0, "extra": "y", "file_row": 2},
    ]
    assert table.schema.field("ra").metadata[b"unit"] == b"deg"
    path.write_text("hard_hm\n0.5\nsoft\n")
    with pytest.raises(InputError, match=r"mine\.csv: row 2, column 'hard_hm': 'soft' is not a"):
        read_own(path)
    with pytest.raises(InputError, match="nowhere"):
        read_own(tmp_path / "nowhere.csv")


def test_classes_of_sources():
    rows = [EXAMPLE, EXAMPLE | {"obsid": 1}, other(1)]
    out = classify_table(pa.Table.from_pylist(rows))
    found = {row["name"]: row for row in master_classes(out).to_pylist()}
    assert set(found) == {EXAMPLE["name"], "other 1"}
    source = found[EXAMPLE["name"]]
    assert source["detection_count"] == 2
    assert source["soft_master_class"] == source["hard_master_class"] == "HMXB"
    assert source["tied"] is False


def test_registering_files_needs_no_classifier():
    code = (
        "import sys, lake.csc; lake.csc.ROLES;"
        "sys.exit(any(m.split('.')[0] in ('sklearn', 'scipy', 'astropy') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert lake.csc.classify_table is classify_table
    with pytest.raises(AttributeError):
        _ = lake.csc.nothing


@pytest.mark.real
def test_the_real_example(real_data):
    table = read_own(real_data / "csc" / "cscview_one_detection.vot")
    for name, value in (("powlaw_gamma", 2.07377), ("bb_kt", 0.563729)):
        column = pa.array([value])
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, column)
        else:
            table = table.append_column(name, column)
    (row,) = classify_table(table).to_pylist()
    assert row["cluster"] == 5
    assert row["p_hmxb"] == pytest.approx(0.684, abs=5e-4)
    assert row["p_hmxb"] + row["p_lmxb"] + row["p_xb"] == pytest.approx(0.985, abs=5e-4)
    assert row["reason"] is None
