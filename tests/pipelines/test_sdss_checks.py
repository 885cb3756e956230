"""What each check of the SDSS mission must find.

Tables are filled by `Store.replace`, which checks nothing of this.
"""

import math

import dagster as dg
import pyarrow as pa
import pytest

import lake
from lake import contracts
from lake.sdss import read_spectrum
from lake.store import Store
from pipelines.defs import sdss, sdss_network

LISTS = ("wavelength", "flux", "ivar", "and_mask", "or_mask", "wdisp", "sky", "model")
SPECTRUM = {
    "release": "R", "spec_id": "s", "wavelength_grid": "log10", "coeff0": 3.5, "coeff1": 1e-4,
    "n_pixels": 3, "file_sha256": "f", **{name: [1, 2, 3] for name in LISTS},
}  # fmt: skip
LINEAR = {"wavelength_grid": "linear", "crval1": 4000.0, "cd1_1": 1.0}
GOOD = [
    SPECTRUM,
    SPECTRUM | dict.fromkeys(LISTS) | {"spec_id": "no lists"},
    SPECTRUM | LINEAR | {"spec_id": "linear"},
    SPECTRUM | {"spec_id": "table", "wavelength_grid": "table", "coeff0": None},
    SPECTRUM | {"spec_id": "none", "wavelength_grid": "pixel-normalised", "coeff0": None},
    SPECTRUM | {"spec_id": "empty", "n_pixels": 0, **{name: [] for name in LISTS}},
]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return lake.open(tmp_path_factory.mktemp("checks")).store


def put(store: Store, rows: list[dict[str, object]], table: str = "sdss.spectra") -> None:
    put_all(store, {table: rows})


def put_all(store: Store, tables: dict[str, list[dict[str, object]]]) -> None:
    """One commit of several tables takes hardly longer than one of a single table."""
    parts = [
        (table, pa.Table.from_pylist(rows, contracts.table(table).schema()))
        for table, rows in tables.items()
    ]
    store.replace("R", list(tables), parts, fingerprint="f", code_version="1", message="test")


def test_good_spectra_pass_the_check_of_pixels(store):
    put(store, GOOD)
    found = sdss.PIXELS.run(store, "R")
    assert (found.passed, found.metadata["bad rows"].value) == (True, 0)


def test_each_bad_spectrum_fails_the_check_of_pixels(store):
    wrong = [
        *({name: [1, 2]} for name in LISTS),
        *({name: [1, 2, 3, 4]} for name in LISTS),
        {"model": []},
        {"n_pixels": 2},
        {"coeff0": None},
        {"coeff1": None},
        LINEAR | {"crval1": None},
        LINEAR | {"cd1_1": None},
        {"wavelength_grid": "table", "wavelength": None},
    ]
    bad = [SPECTRUM | {"spec_id": f"bad {i}"} | each for i, each in enumerate(wrong)]
    put(store, [*GOOD, *bad])
    found = sdss.PIXELS.run(store, "R")
    assert (found.passed, found.metadata["bad rows"].value) == (False, len(bad))
    assert f"bad rows: {len(bad)}, the first: spec_id=bad" in found.description
    put(store, [*GOOD, bad[0]])
    assert sdss.PIXELS.run(store, "R").metadata["bad rows"].value == 1


@pytest.mark.parametrize("deleted", [False, True])
def test_bad_spectra_are_counted_throughout(deleted, store):
    """Whether files hold rows that were deleted since, or not."""
    some = [SPECTRUM | {"spec_id": f"{i:02d}"} | {"sky": [1] * (i % 4)} for i in range(30)]
    put(store, some)
    if deleted:
        with store.commit("delete") as commit:
            commit.delete("sdss.spectra", "spec_id = '01'")
    found = sdss.PIXELS.run(store, "R")
    assert not found.passed
    assert found.metadata["bad rows"].value == 23 - deleted
    assert found.metadata["first"].value.count("\n") == 6
    assert found.metadata["first"].value.count("| 3 | 3 | 3 |") == 5


def test_spectra_that_cannot_be_read_fail_the_check_of_pixels(tmp_path):
    store = lake.open(tmp_path / "home").store
    put(store, GOOD)
    [path] = (store.data / "sdss" / "spectra").rglob("*.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    found = sdss.PIXELS.run(store, "R")
    assert not found.passed
    assert found.description.startswith("cannot be worked out: ")


def test_pixels_of_real_spectra_pass(real_data, store):
    files = sorted((real_data / "sdss" / "spec").glob("spec-*.fits"))[:8]
    rows = [row for file in files for row in read_spectrum(file).to_pylist()]
    made = [
        row | {"release": "R", "spec_id": str(number), "file_sha256": "f", "wavelength": None}
        for number, row in enumerate(rows)
    ]
    put(store, made)
    assert sdss.PIXELS.run(store, "R").passed
    put(store, [*made, made[0] | {"spec_id": "cut", "ivar": made[0]["ivar"][:-1]}])
    found = sdss.PIXELS.run(store, "R")
    assert (found.passed, found.metadata["bad rows"].value) == (False, 1)


KEY = {"release": "R", "spec_id": "s", "file_sha256": "f"}
ABOUT = KEY | {"file_path": "p", "keyword_sources": "{}", "ra_deg": 360.0, "dec_deg": -90.0}
SPLIT = KEY | {"seed": 1, "leakage_group": "plate 1", "class_mk": "A", "split": "train"}
STATED = KEY | {
    "model_id": "m", "model_release": "R", "predicted_class": "A", "probability": 0.75,
    "entropy": 0.5, "abstained": False, "probabilities": [0.75, 0.25],
}  # fmt: skip
SCORED = {
    "release": "R", "model_id": "m", "snr_level": "10", "n": 100, "accuracy": 0.9,
    "letter_accuracy": 0.9, "expected_calibration_error": 0.1, "log_loss": 0.5,
    "accepted_share": 0.9,
}  # fmt: skip
PLAIN = {
    "sdss.spectra_metadata": ABOUT,
    "sdss.spectra_labels": KEY,
    "sdss.splits": SPLIT,
    "sdss.cnn_predictions": STATED,
    "sdss.cnn_evaluation": SCORED,
}
CHECKS = [
    sdss.RANGES, sdss.ONE_LABEL, sdss_network.NO_LEAKAGE, sdss_network.SUM_TO_ONE,
    sdss_network.CALIBRATION,
]  # fmt: skip


@pytest.fixture
def plain(store) -> Store:
    """A lake of a row of each table, with which all is well."""
    put_all(store, {table: [row] for table, row in PLAIN.items()})
    return store


def test_good_rows_pass_every_check(plain):
    found = [check.run(plain, "R") for check in CHECKS]
    assert [each.metadata["bad rows"].value for each in found] == [0] * len(CHECKS)
    assert all(each.passed for each in found)


@pytest.mark.parametrize(
    ("check", "table", "rows"),
    [
        *(
            (sdss.RANGES, "sdss.spectra_metadata", [{}, {"spec_id": "bad"} | wrong])
            for wrong in (
                {"ra_deg": 360.5}, {"ra_deg": -0.5}, {"dec_deg": 90.5}, {"dec_deg": -90.5},
                {"mask_frac_bad": 1.1}, {"mask_frac_bad": -0.1}, {"ebv_sfd": -0.1},
                {"exptime_s": -1.0}, {"resolution_r": 0.0},
            )
        ),
        (sdss.ONE_LABEL, "sdss.spectra_labels", []),
        (sdss.ONE_LABEL, "sdss.spectra_labels", [{}, {"spec_id": "t"}]),
        (sdss.ONE_LABEL, "sdss.spectra_metadata", [{}, {"spec_id": "t"}]),
        (sdss_network.NO_LEAKAGE, "sdss.splits", [{}, {"spec_id": "t", "split": "test"}]),
        *(
            (sdss_network.SUM_TO_ONE, "sdss.cnn_predictions", [{"probabilities": wrong}])
            for wrong in ([0.75, 0.2], [1.25, -0.25], [0.75, 0.25 + 2e-6], [0.75, math.nan], [2.0])
        ),
        (sdss_network.CALIBRATION, "sdss.cnn_evaluation", [{"expected_calibration_error": 0.11}]),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)  # fmt: skip
def test_checks_find_what_they_look_for(check, table, rows, plain):
    put(plain, [PLAIN[table] | row for row in rows], table)
    found = check.run(plain, "R")
    assert (found.passed, found.metadata["bad rows"].value) == (False, 1)
    warning = check is sdss_network.CALIBRATION
    assert (found.severity is dg.AssetCheckSeverity.WARN) == warning


def test_plates_may_share_a_side(plain):
    rows = [SPLIT, SPLIT | {"spec_id": "t"}, SPLIT | {"leakage_group": "plate 2", "split": "test"}]
    put(plain, rows, "sdss.splits")
    assert sdss_network.NO_LEAKAGE.run(plain, "R").passed
