import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pytest

from lake.csc.features import CLASSES, label_codes
from lake.csc.object_types import canonical_type
from lake.csc.reference import load_reference
from lake.errors import UsageError
from lake.formats import read_votable
from lake.sample import write_samples
from lake.sample.csc import write_sample
from lake.sample.sky import source_names

KEY = ["name", "obsid", "obi", "region_id"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    paths = write_sample(tmp_path_factory.mktemp("sample"))
    return read_votable(paths["detections"]), pyarrow.csv.read_csv(paths["labels"])


@pytest.fixture(scope="module")
def columns(small):
    names = (field.name for field in small[0].schema if pa.types.is_floating(field.type))
    return {name: small[0][name].to_numpy(zero_copy_only=False) for name in names}


def ratios(table: pa.Table) -> pa.Table:
    """`table` with the features that the method derives from light-curve columns."""
    for band in "bhs":
        ratio = pc.divide(table[f"var_sigma_{band}"], table[f"var_mean_{band}"])
        table = table.append_column(f"var_ratio_{band}", ratio)
    middle = pc.divide(pc.add(table["var_max_b"], table["var_min_b"]), 2.0)
    return table.append_column("var_newq_b", pc.divide(middle, table["var_mean_b"]))


def test_the_size_is_exact_and_no_key_comes_twice(small):
    detections, _ = small
    assert detections.num_rows == 2000
    assert detections.group_by(KEY).aggregate([]).num_rows == 2000
    per_source = detections.group_by("name").aggregate([([], "count_all")])["count_all"]
    assert pc.max(per_source).as_py() <= 10
    # The published table has 9,379 detections of 6,773 sources, 83 % of them seen once.
    assert 0.78 < pc.mean(pc.equal(per_source, 1)).as_py() < 0.88


def test_names_are_those_of_the_positions(small):
    table, _ = small
    ra, dec = table["ra"].to_numpy(), table["dec"].to_numpy()
    assert table["name"].to_pylist() == source_names(ra, dec).astype(str).tolist()
    assert source_names(np.array([187.27791, 0.0]), np.array([2.05239, -0.5])).tolist() == [
        b"2CXO J122906.6+020308",
        b"2CXO J000000.0-003000",
    ]
    assert table["name"].to_pylist() == sorted(table["name"].to_pylist())


def test_values_lie_in_their_physical_ranges(columns):
    for name, values in columns.items():
        values = values[~np.isnan(values)]
        assert len(values) > 1800, name
        if "_prob_" in name:
            assert ((values >= 0) & (values <= 1)).all(), name
        elif name.startswith("hard_"):
            assert ((values >= -1) & (values <= 1)).all(), name
        elif name.startswith(("var_mean", "flux_aper_b", "bb_kt", "gti_elapse")):
            assert (values > 0).all(), name
        elif name.startswith("var_"):
            assert (values >= 0).all(), name


def test_limits_embrace_their_values(columns):
    for lowest in (name for name in columns if "_lolim" in name):
        value, highest = lowest.replace("_lolim", ""), lowest.replace("_lolim", "_hilim")
        known = ~np.isnan(columns[value])
        assert (columns[lowest][known] <= columns[value][known]).all()
        assert (columns[value][known] <= columns[highest][known]).all()


def test_light_curves_are_consistent(columns):
    for band in "bhms":
        mean, least, most = (columns[f"var_{x}_{band}"] for x in ("mean", "min", "max"))
        known = ~np.isnan(mean)
        slack = 1e-12 * mean[known]
        assert (least[known] <= mean[known] + slack).all()
        assert (mean[known] <= most[known] + slack).all()
    assert np.allclose(columns["gti_stop"] - columns["gti_start"], columns["gti_elapse"])


def test_some_are_missing_and_hrc_has_no_hardness(small):
    table, _ = small
    hrc = table.filter(pc.equal(table["instrument"], "HRC"))
    assert 20 < hrc.num_rows < 120
    assert hrc["hard_hm"].null_count == hrc["var_prob_b"].null_count == hrc.num_rows
    acis = table.filter(pc.equal(table["instrument"], "ACIS"))
    assert acis["hard_hm"].null_count == 0
    for name in ("powlaw_gamma", "bb_kt", "var_prob_s"):
        assert 0 < acis[name].null_count < 0.05 * acis.num_rows, name
    assert pc.starts_with(hrc["detect_stack_id"], "hrcfJ").to_pylist() == [True] * hrc.num_rows


def test_columns_have_units_ucds_and_descriptions(small):
    schema = small[0].schema
    assert schema.field("ra").metadata[b"ucd"] == b"pos.eq.ra;meta.main"
    assert schema.field("bb_kt").metadata[b"unit"] == b"keV"
    assert schema.field("var_mean_s").metadata[b"unit"] == b"count.s**-1"
    assert all(field.metadata.get(b"description") for field in schema)


def test_the_published_classifier_recognises_its_own(small):
    detections, labels = small
    classified = load_reference().classify(ratios(detections))
    share = pc.value_counts(classified["detection_class"])
    classes = {row["values"] for row in share.to_pylist() if row["counts"] >= 10}
    assert set(CLASSES) <= classes
    # No class swallows the rest, as one does where features contradict each other.
    assert max(row["counts"] for row in share.to_pylist()) < 0.3 * detections.num_rows
    assert set(pc.unique(classified["cluster"].drop_null()).to_pylist()) == set(range(6))

    given = labels.filter(pc.greater_equal(pa.array(label_codes(labels["main_type"])), 0))
    types = pa.array([canonical_type(text) for text in given["main_type"].to_pylist()])
    given = given.set_column(3, "main_type", types)
    given = given.set_column(1, "obsid", given["obsid"].cast(pa.int32()))
    both = classified.join(given, ["name", "obsid"], join_type="inner")
    assert both.num_rows > 400
    agreement = pc.mean(pc.equal(both["detection_class"], both["main_type"])).as_py()
    # A class drawn by its probability is the most probable one more often than not; by chance
    # a tenth would agree.
    assert agreement > 0.45


def test_labels_are_many_enough_to_train_on(small):
    detections, labels = small
    cluster = load_reference().responsibilities(ratios(detections))
    # Of a source, all labels are the same.
    by_source = labels.group_by("name").aggregate([("main_type", "max")])
    joined = detections.select(KEY).append_column("cluster", cluster["cluster"])
    joined = joined.join(by_source, "name", join_type="inner").combine_chunks()
    codes = label_codes(joined["main_type_max"])
    members = np.zeros((6, len(CLASSES)), int)
    numbers = joined["cluster"].to_numpy(zero_copy_only=False)
    known = (codes >= 0) & ~np.isnan(numbers)
    np.add.at(members, (numbers[known].astype(int), codes[known]), 1)
    assert ((members >= 12).sum(axis=1) >= 2).sum() >= 4


def test_labels_are_spelt_in_both_ways_and_some_say_nothing(small):
    detections, labels = small
    assert pc.all(pc.is_in(labels["name"], detections["name"])).as_py()
    types = labels["main_type"].to_pylist()
    assert {"HMXB", "HXB", "YSO", "Y*O", "Star", "Radio", "Galaxy", "CataclyV*"} <= set(types)
    classes = pa.array(label_codes(labels["main_type"]))
    sources = labels.filter(pc.greater_equal(classes, 0))["name"]
    assert 0.15 < len(pc.unique(sources)) / len(pc.unique(detections["name"])) < 0.25
    # A source keeps its class, and a label without obsid stands for all its detections.
    once = labels.group_by(["name", "main_type"]).aggregate([])
    assert once.num_rows == len(pc.unique(labels["name"]))
    assert 0 < labels["obsid"].null_count < 0.3 * labels.num_rows
    assert pc.max(labels["separation_arcsec"]).as_py() < 1


def test_the_seed_decides_every_byte(tmp_path):
    one = write_sample(tmp_path / "one", size=300)
    code = (
        "import sys; from pathlib import Path; from lake.sample.csc import write_sample; "
        "write_sample(Path(sys.argv[1]), size=300)"
    )
    # Another process has other hashes, and so other orders of sets.
    subprocess.run([sys.executable, "-c", code, tmp_path / "two"], check=True)
    other = write_sample(tmp_path / "other", size=300, seed=43)
    for role, path in one.items():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
        assert path.read_bytes() != other[role].read_bytes()


def test_more_than_one_chunk(tmp_path):
    paths = write_sample(tmp_path, size=30_001)
    assert b"<BINARY2>" in paths["detections"].read_bytes()[:60_000]
    table = read_votable(paths["detections"])
    assert table.num_rows == 30_001
    assert table.group_by(KEY).aggregate([]).num_rows == 30_001


def test_an_unknown_size_is_refused(tmp_path):
    with pytest.raises(UsageError, match="'huge'"):
        write_sample(tmp_path, size="huge")
    with pytest.raises(UsageError, match="size 0"):
        write_sample(tmp_path, size=0)


def test_the_samples_say_how_they_are_to_be_added(tmp_path):
    files = write_samples(tmp_path)
    assert [tuple(file[:3]) for file in files][:2] == [
        ("csc", "CSC-sample", "detections"),
        ("csc", "CSC-sample", "labels"),
    ]
    assert all(file.path.exists() for file in files)
