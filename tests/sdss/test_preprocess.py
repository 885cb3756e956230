import hashlib
import json
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from lake.errors import LacusError
from lake.formats import read_fits_file
from lake.sdss.batches import batches
from lake.sdss.preprocess import (
    GRID,
    LOG_SCHEMA,
    RECIPES,
    SCHEMA,
    apply,
    preprocess_table,
    to_arrays,
)
from lake.sdss.recipes import apply_batch

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PIXELS = 3800
SPECTRA = pa.schema(
    [
        ("release", pa.string()),
        ("spec_id", pa.string()),
        ("wavelength_grid", pa.string()),
        ("coeff0", pa.float64()),
        ("coeff1", pa.float64()),
        ("crval1", pa.float64()),
        ("cd1_1", pa.float64()),
        ("n_pixels", pa.int32()),
        ("wavelength", pa.list_(pa.float64())),
        ("flux", pa.list_(pa.float32())),
        ("ivar", pa.list_(pa.float32())),
        ("and_mask", pa.list_(pa.int32())),
        ("or_mask", pa.list_(pa.int32())),
        ("file_sha256", pa.string()),
    ]
)
METADATA = pa.schema(
    [
        ("release", pa.string()),
        ("spec_id", pa.string()),
        ("z_or_rv_kms", pa.float64()),
        ("at_rest", pa.bool_()),
        ("ebv_sfd", pa.float64()),
        ("wavelength_frame", pa.string()),
    ]
)


def star(seed: int, n: int = PIXELS, sn: float = 20, h_alpha: float = 6564.63) -> dict:
    """One row: a sloping continuum with an absorption line, 100 flux units, log10 pixels."""
    rng = np.random.default_rng(seed)
    wavelength = 10 ** (3.58 + 1e-4 * np.arange(n))
    flux = 100 * (wavelength / 6000) ** -0.7
    flux *= 1 - 0.5 * np.exp(-0.5 * ((wavelength - h_alpha) / 6) ** 2)
    return {
        "release": "DR17",
        "spec_id": f"s{seed}",
        "wavelength_grid": "log10",
        "coeff0": 3.58,
        "coeff1": 1e-4,
        "n_pixels": n,
        "flux": (flux + rng.normal(size=n) * 100 / sn).astype(np.float32),
        "ivar": np.full(n, (sn / 100) ** 2, np.float32),
        "and_mask": np.zeros(n, np.int32),
        "file_sha256": f"{seed:064x}",
    }


def tables(*rows: dict, facts: list[dict] | None = None) -> tuple[pa.Table, pa.Table]:
    about = facts or [
        {
            "release": row["release"],
            "spec_id": row["spec_id"],
            "z_or_rv_kms": 0.0,
            "ebv_sfd": 0.05,
            "wavelength_frame": "vacuum",
        }
        for row in rows
    ]
    return (
        pa.Table.from_pylist(list(rows), schema=SPECTRA),
        pa.Table.from_pylist(about, schema=METADATA),
    )


def run(name: str, *rows: dict, facts: list[dict] | None = None) -> tuple[pa.Table, pa.Table]:
    return preprocess_table(*tables(*rows, facts=facts), RECIPES[name], NOW)


def test_the_default_recipe_gives_one_form_and_logs_its_chain():
    result, log = run("default", star(1), star(2, 4600))
    assert result.schema == SCHEMA
    assert log.schema == LOG_SCHEMA
    flux, ivar, valid = to_arrays(result)
    assert flux.shape == ivar.shape == valid.shape == (2, GRID.size)
    assert result["n_valid"].to_pylist() == valid.sum(axis=1).tolist()
    # Two old pixels to a new one: S/N grows by the root of two.
    assert result["snr"].to_pylist() == pytest.approx([28, 28], rel=0.1)
    between = valid & (np.abs(GRID.wavelength - 6564.63) > 60)
    assert np.median(flux[between]) == pytest.approx(1, abs=0.01)
    core = np.abs(GRID.wavelength - 6564.63) < 2
    np.testing.assert_allclose(flux[:, core].mean(axis=1), 0.5, atol=0.1)
    steps = log.filter(pc.equal(log["spec_id"], "s1"))
    assert steps["step_name"].to_pylist() == [
        "mask_bad_pixels",
        "air_to_vacuum",
        "deredden",
        "rest_frame",
        "resample",
        "continuum_normalise",
        "pad_or_crop",
    ]
    assert steps["step_order"].to_pylist() == list(range(2, 9))
    assert set(steps["timestamp"].to_pylist()) == {NOW}
    assert json.loads(steps["params_json"][4].as_py())["size"] == GRID.size
    assert steps["warnings"].null_count == 7


def test_the_hash_is_of_the_flux_that_is_stored():
    result, log = run("default", star(1))
    stored = np.asarray(result["flux"][0].values, "<f4").tobytes()
    hashes = log["result_hash"].to_pylist()
    assert hashes[-1] == hashlib.sha256(stored).hexdigest()
    masked = hashlib.sha256(star(1)["flux"].astype("<f4").tobytes()).hexdigest()
    assert hashes[:2] == [masked, masked]  # nothing masked, wavelengths alone looked at
    assert len(set(hashes)) == 4


def test_a_spectrum_s_result_does_not_depend_on_its_neighbours():
    rows = [star(i, 3500 + 37 * i) for i in range(40)]
    for name, recipe in RECIPES.items():
        together, log = run(name, *rows)
        hashes = log.filter(pc.equal(log["step_name"], "pad_or_crop"))["result_hash"].to_pylist()
        for i in (0, 17, 39):
            alone, entries = run(name, rows[i])
            assert entries["result_hash"][-1].as_py() == hashes[i], name
            assert alone["flux"][0] == together["flux"][i]
            assert alone["ivar"][0] == together["ivar"][i]
        assert len(to_arrays(together)[0][0]) == recipe.length


def test_apply_is_apply_batch_for_one():
    _, batch, facts = next(batches(*tables(star(3)), 10))
    one, entries = apply(RECIPES["default"], batch, facts)
    many, log = apply_batch(RECIPES["default"], batch, facts)
    np.testing.assert_array_equal(one.flux, many.flux)
    assert entries == log[0]


def test_arrays_are_those_of_the_table():
    """In pieces, cut out of longer ones, with unknown inverse variances and unknown validity."""

    def column(kind, values):
        whole = pa.array([[values[0][0]] * 3, *values], pa.list_(kind))
        return pa.chunked_array([whole.slice(1, 2), whole.slice(3)])

    table = pa.table(
        {
            "flux": column(pa.float32(), [[1, 2, 3], [4, 5, 6], [7, 8, 9]]),
            "ivar": column(pa.float32(), [[1, 1, 2], None, [3, 4, 5]]),
            "valid": column(
                pa.bool_(), [[True, False, True], [False, None, True], [True, True, False]]
            ),
        }
    )
    flux, ivar, valid = to_arrays(table)
    np.testing.assert_array_equal(flux, [[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    np.testing.assert_array_equal(ivar, [[1, 1, 2], [np.nan] * 3, [3, 4, 5]])
    np.testing.assert_array_equal(valid, [[1, 0, 1], [0, 0, 1], [1, 1, 0]])
    assert (flux.dtype, ivar.dtype, valid.dtype) == (np.float32, np.float32, bool)
    for array in to_arrays(SCHEMA.empty_table()):
        assert array.shape == (0, 0)


def test_a_moving_star_ends_where_a_resting_one_does():
    shift = 1 + 250 / 299792.458
    moving = star(1, sn=1e4, h_alpha=6564.63 * shift) | {"spec_id": "moving"}
    facts = [
        {"release": "DR17", "spec_id": "s1", "z_or_rv_kms": 0.0},
        {"release": "DR17", "spec_id": "moving", "z_or_rv_kms": 250.0},
    ]
    at_rest, _ = run("default", star(1, sn=1e4), moving, facts=facts)
    flux, _, _ = to_arrays(at_rest)
    window = np.abs(GRID.wavelength - 6564.63) < 40
    np.testing.assert_allclose(flux[0, window], flux[1, window], atol=0.01)
    observed, _ = run("no_rest_frame", star(1, sn=1e4), moving, facts=facts)
    flux, _, _ = to_arrays(observed)
    assert np.abs(flux[0, window] - flux[1, window]).max() > 0.1


def test_a_spectrum_that_is_at_rest_already_stays_there():
    resting = star(1, sn=1e4) | {"spec_id": "resting"}
    facts = [
        {"release": "DR17", "spec_id": "s1", "z_or_rv_kms": 0.0},
        {"release": "DR17", "spec_id": "resting", "z_or_rv_kms": 250.0, "at_rest": True},
    ]
    made, _ = run("default", star(1, sn=1e4), resting, facts=facts)
    flux, _, _ = to_arrays(made)
    np.testing.assert_array_equal(flux[0], flux[1])


def test_what_cannot_be_used_is_left_out_and_told():
    lost = star(2) | {"wavelength_grid": "pixel-normalised", "coeff0": None, "coeff1": None}
    dead = star(3) | {"ivar": np.zeros(PIXELS, np.float32)}
    result, log = run("default", star(1), lost, dead)
    assert result["spec_id"].to_pylist() == ["s1"]
    told = {
        (row["spec_id"], row["step_name"]): row["warnings"]
        for row in log.to_pylist()
        if row["warnings"]
    }
    assert "no wavelength solution" in told["s2", "resample"]
    assert told["s2", "resample"].endswith("left out")
    assert told["s3", "mask_bad_pixels"] == "no valid pixel: left out"
    assert log.filter(pc.equal(log["spec_id"], "s3")).num_rows == 1
    # By index, the toolkit's chain takes it as it is.
    assert run("seed", lost)[0]["n_valid"].to_pylist() == [2048]


def test_weights_beyond_single_precision_are_left_out_and_told():
    flux = star(2)["flux"]
    huge = star(2) | {"flux": flux * np.float32(1e34), "ivar": np.ones(PIXELS, np.float32)}
    alone, _ = run("default", star(1))
    result, log = run("default", star(1), huge)
    assert result.equals(alone)
    (told,) = log.filter(
        pc.and_(pc.equal(log["spec_id"], "s2"), pc.is_valid(log["warnings"]))
    ).to_pylist()
    assert told["step_name"] == "continuum_normalise"
    assert told["warnings"].endswith("left out")


def test_missing_facts_are_told_and_change_nothing_else():
    facts = [{"release": "DR17", "spec_id": "other"}]
    result, log = run("default", star(1), facts=facts)
    assert len(result) == 1
    warnings = [text for text in log["warnings"].to_pylist() if text]
    assert warnings == [
        "air or vacuum is not said: taken as vacuum",
        "no E(B-V): not de-reddened",
        "no velocity: not shifted to rest",
    ]


def test_without_inverse_variance_it_stays_null():
    result, log = run("default", star(1) | {"ivar": None, "and_mask": None}, star(2))
    assert result["ivar"].is_null().to_pylist() == [True, False]
    assert result["snr"].is_null().to_pylist() == [True, False]
    flux, ivar, valid = to_arrays(result)
    assert valid[0].sum() == valid[1].sum()
    assert np.isnan(ivar[0]).all()
    assert not np.isnan(ivar[1]).any()
    assert np.isfinite(flux).all()
    assert "no inverse variance" in log["warnings"][0].as_py()


def test_the_seed_s_chain_is_the_toolkit_s():
    row = star(1, 1500)
    result, log = run("seed", row)
    flux, _, valid = to_arrays(result)
    own = row["flux"].astype(float)
    np.testing.assert_allclose(flux[0, :1500], (own - own.min()) / np.ptp(own), atol=1e-6)
    assert not flux[0, 1500:].any()
    assert valid[0].tolist() == [True] * 1500 + [False] * 548
    assert log["step_name"].to_pylist() == ["continuum_normalise", "pad_or_crop"]
    assert log["step_order"].to_pylist() == [2, 3]


def test_a_median_leaves_the_shape():
    result, _ = run("no_continuum", star(1, sn=1e4))
    flux, _, valid = to_arrays(result)
    assert np.median(flux[valid]) == pytest.approx(1)
    assert flux[0, valid[0]][:50].mean() > 1.3


@pytest.mark.parametrize("grid", ["linear", "table"])
def test_other_wavelength_solutions_give_the_same_spectrum(grid):
    reference, _ = run("default", star(1, sn=1e5))
    row = star(1, sn=1e5)
    wavelength = 10 ** (3.58 + 1e-4 * np.arange(PIXELS))
    row |= {"wavelength_grid": grid, "coeff0": None, "coeff1": None}
    if grid == "table":
        row["wavelength"] = wavelength
    else:
        linear = np.linspace(wavelength[0], wavelength[-1], PIXELS)
        row |= {"crval1": linear[0], "cd1_1": linear[1] - linear[0]}
        row["flux"] = np.interp(linear, wavelength, row["flux"]).astype(np.float32)
    result, _ = run("default", row)
    expected, found = to_arrays(reference)[0][0], to_arrays(result)[0][0]
    both = to_arrays(reference)[2][0] & to_arrays(result)[2][0]
    assert both.sum() > 1880
    np.testing.assert_allclose(found[both], expected[both], atol=0.01)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"flux": None}, "no flux"),
        ({"ivar": np.ones(5, np.float32)}, "ivar and flux differ"),
        ({"and_mask": np.ones(5, np.int32)}, "and_mask and flux differ"),
        ({"coeff1": None}, "needs coeff0 and coeff1"),
        ({"wavelength_grid": "wavelet"}, "wavelength_grid is none of"),
        ({"wavelength_grid": "table"}, "needs its wavelengths"),
        (
            {"wavelength_grid": "table", "wavelength": np.ones(PIXELS)},
            "not positive and increasing",
        ),
    ],
)
def test_malformed_spectra_are_refused_by_name(change, told):
    with pytest.raises(LacusError, match=rf"spectrum s2 of DR17: .*{told}"):
        run("default", star(1), star(2) | change)


def test_nothing_in_nothing_out():
    result, log = preprocess_table(
        SPECTRA.empty_table(), METADATA.empty_table(), RECIPES["default"], NOW
    )
    assert len(result) == len(log) == 0
    assert result.schema == SCHEMA
    assert to_arrays(result)[0].shape[0] == 0


def test_recipes_of_different_length_do_not_mix_in_arrays():
    mixed = pa.concat_tables([run("default", star(1))[0], run("seed", star(1))[0]])
    with pytest.raises(LacusError, match="choose one recipe"):
        to_arrays(mixed)


def test_a_recipe_is_known_by_its_parameters():
    digests = {recipe.digest for recipe in RECIPES.values()}
    assert len(digests) == len(RECIPES)
    assert RECIPES["default"].digest == RECIPES["default"].digest


def real_star(path) -> dict:
    table = read_fits_file(path)[1]
    loglam = np.asarray(table.column("loglam"), dtype=float)
    return {
        "release": "DR17",
        "spec_id": path.stem,
        "wavelength_grid": "log10",
        "coeff0": round(loglam[0], 4),
        "coeff1": 1e-4,
        "n_pixels": len(loglam),
        "flux": np.asarray(table.column("flux"), dtype=np.float32),
        "ivar": np.asarray(table.column("ivar"), dtype=np.float32),
        "and_mask": np.asarray(table.column("and_mask"), dtype=np.int32),
        "file_sha256": "0" * 64,
    }


@pytest.mark.real
def test_real_stars_have_their_continuum_at_one(real_data):
    names = ["spec-2942-54521-0124", "spec-3586-55181-0500", "spec-7454-56751-0770"]
    rows = [real_star(real_data / "sdss" / "spec" / f"{name}.fits") for name in names]
    result, _ = run("default", *rows)
    flux, _, valid = to_arrays(result)
    red = (GRID.wavelength > 6000) & (GRID.wavelength < 9000)
    for i in range(3):
        part = flux[i, red & valid[i]]
        assert np.median(part) == pytest.approx(1, abs=0.02)
        assert np.mean(np.abs(part - 1) < 0.1) > 0.95
