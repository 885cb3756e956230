from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from scipy.ndimage import gaussian_filter1d

from lake.errors import LacusError
from lake.formats import read_fits_file
from lake.sdss.continuum import normalise_continuum
from lake.sdss.line_list import line_list
from lake.sdss.lines import SCHEMA, Settings, find_features, find_lines
from lake.sdss.preprocess import GRID, RECIPES, preprocess_table
from lake.sdss.steps import SPEED_OF_LIGHT_KMS, Spectra

WAVELENGTH = GRID.wavelength


def flat(n: int = 1, sn: float = 50, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    flux = 1 + rng.normal(size=(n, GRID.size)) / sn
    return flux, np.full(flux.shape, float(sn**2)), np.ones(flux.shape, dtype=bool)


def profile(centre: float, sigma: float) -> np.ndarray:
    return np.exp(-0.5 * ((WAVELENGTH - centre) / sigma) ** 2)


def normalised(flux, ivar, valid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Take out the continuum that the recipe fits."""
    n = len(flux)
    wavelength = np.broadcast_to(WAVELENGTH, flux.shape)
    known, sizes = np.ones(n, dtype=bool), np.full(n, GRID.size)
    (step,) = (s for s in RECIPES["default"].steps if s.kernel is normalise_continuum)
    spectra = Spectra(wavelength, flux, ivar, valid, known, sizes)
    done, _ = step.kernel(spectra, None, **step.parameters)
    return done.flux, done.ivar, done.valid


def table(flux, ivar, valid, ids=None) -> pa.Table:
    n = len(flux)
    return pa.table(
        {
            "release": ["DR17"] * n,
            "spec_id": ids or [f"s{i}" for i in range(n)],
            "recipe": ["default"] * n,
            "flux": pa.array(list(flux.astype(np.float32)), pa.list_(pa.float32())),
            "ivar": pa.array(
                [None if np.isnan(row[0]) else row for row in ivar.astype(np.float32)],
                pa.list_(pa.float32()),
            ),
            "valid": pa.array(list(valid), pa.list_(pa.bool_())),
            "file_sha256": ["f" * 64] * n,
        }
    )


def test_a_known_line_is_measured():
    flux, ivar, valid = flat(sn=200)
    flux -= 0.4 * profile(6564.632, 8.0)
    (row,) = find_lines(table(*normalised(flux, ivar, valid))).to_pylist()
    assert row["kind"] == "absorption"
    assert row["lambda_A"] == pytest.approx(6564.632, abs=0.3)
    # The search smooths by 1.2 pixels of 3.0 Angstrom.
    seen = np.hypot(8.0, 1.2 * 6564.632 * np.log(10) * GRID.step)
    assert row["prominence"] == pytest.approx(0.4 * 8 / seen, abs=0.02)
    area = 0.4 * 8 * np.sqrt(2 * np.pi)
    assert row["equivalent_width_A"] == pytest.approx(area, abs=4 * row["equivalent_width_err_A"])
    assert row["equivalent_width_A"] == pytest.approx(area, rel=0.015)
    assert row["fwhm_A"] == pytest.approx(2.355 * seen, rel=0.05)
    assert row["transition"] == "H alpha"
    assert row["elem"] == "H"
    assert abs(row["velocity_offset_kms"]) < 15
    assert row["significance"] > 50
    assert row["line_number"] == 1


def test_emission_has_negative_width_and_forbidden_lines_emit_only():
    flux, ivar, valid = flat(2, sn=100)
    flux[0] += 0.8 * profile(5008.24, 3.0)
    flux[1] -= 0.8 * profile(5008.24, 3.0)
    found = find_lines(table(flux, ivar, valid))
    assert found.schema == SCHEMA
    emission, absorption = found.to_pylist()
    assert (emission["kind"], emission["transition"]) == ("emission", "[O III] 5006")
    assert emission["equivalent_width_A"] == pytest.approx(-0.8 * 3 * 2.5066, rel=0.08)
    assert absorption["kind"] == "absorption"
    assert absorption["transition"] is None
    assert absorption["velocity_offset_kms"] is None
    assert absorption["lambda_rest_A"] is None


@pytest.mark.parametrize(
    "lines",
    [
        {"[S II] 6716": 20.0, "[S II] 6730": 16.6},
        {"[S II] 6716": 4.0, "[S II] 6730": 5.0},
        {"H alpha": 32.0, "[N II] 6583": 11.0},
    ],
)
def test_emission_lines_side_by_side_are_measured_apart(lines):
    rest = {row["transition"]: row["lambda_rest_A"] for row in line_list().to_pylist()}
    flux, ivar, valid = flat(sn=200)
    for name, width in lines.items():
        flux += width / (3 * np.sqrt(2 * np.pi)) * profile(rest[name], 3.0)
    found = find_lines(table(*normalised(flux, ivar, valid))).to_pylist()
    found = {row["transition"]: row for row in found if row["kind"] == "emission"}
    assert set(found) == set(lines)
    for name, width in lines.items():
        assert found[name]["equivalent_width_A"] == pytest.approx(-width, rel=0.1)
        assert abs(found[name]["velocity_offset_kms"]) < 100


def test_the_error_is_the_scatter_of_the_width():
    flux, ivar, valid = flat(300, sn=20, seed=4)
    flux -= 0.5 * profile(5300.0, 6.0)
    features = find_features(flux, ivar, valid, Settings())
    near = np.abs(features.wavelength - 5300) < 10
    assert near.sum() == 300
    widths = features.equivalent_width[near]
    assert widths.std() == pytest.approx(np.median(features.equivalent_width_err[near]), rel=0.35)
    assert widths.mean() == pytest.approx(0.5 * 6 * 2.5066, rel=0.04)


@pytest.mark.parametrize("place", [3900, 5300, 9000])
@pytest.mark.parametrize(
    ("width", "sigma"), [(1, 3), (4, 3), (4, 6), (10, 6), (10, 12), (20, 20), (-4, 3), (-10, 6)]
)
def test_widths_are_not_lessened_by_the_continuum_that_dips_at_the_line(width, sigma, place):
    flux, ivar, valid = flat(40, sn=1000, seed=7)
    centres = place + np.linspace(-40, 40, 40)
    for row, centre in zip(flux, centres, strict=True):
        row -= width / (sigma * np.sqrt(2 * np.pi)) * profile(centre, sigma)
    found = find_lines(table(*normalised(flux, ivar, valid)))
    of_line = np.abs(found["lambda_A"].to_numpy() - place) < 60
    of_line &= np.sign(found["equivalent_width_A"].to_numpy()) == np.sign(width)
    found = found.filter(pa.array(of_line))
    assert found.num_rows == 40
    widths = found["equivalent_width_A"].to_numpy()
    assert widths.mean() == pytest.approx(width, rel=0.015)
    error = np.median(found["equivalent_width_err_A"].to_numpy())
    assert widths.std() < 1.4 * error + 0.004 * abs(width)


@pytest.mark.parametrize("sn", [3, 30, 300])
def test_noise_is_no_line(sn):
    features = find_features(*flat(200, sn=sn, seed=9), Settings())
    assert len(features.row) <= 2


def test_crests_between_absorption_lines_are_no_emission():
    flux, ivar, valid = flat(sn=300)
    for centre in np.arange(4020, 4800, 40.0):
        flux -= 0.5 * profile(centre, 4.0)
    forest = (WAVELENGTH > 4000) & (WAVELENGTH < 4800)
    flux[:, forest] /= flux[:, forest].mean()
    features = find_features(flux, ivar, valid, Settings())
    inside = (features.wavelength > 4050) & (features.wavelength < 4750)
    assert inside.sum() >= 15
    assert not features.emission[inside].any()


@pytest.mark.parametrize("sn", [50, 300])
def test_crests_between_blended_lines_are_no_emission(sn):
    flux, ivar, valid = flat(20, sn=sn, seed=5)
    rng = np.random.default_rng(6)
    for row in flux:
        centres = 3600 * np.exp(np.cumsum(rng.uniform(0.001, 0.006, 300)))
        for centre, depth in zip(centres, rng.uniform(0.1, 0.6, 300), strict=True):
            row -= row * depth * profile(centre, centre / 1000)
    features = find_features(*normalised(flux, ivar, valid), Settings())
    assert np.count_nonzero(~features.emission) > 50 * len(flux)
    assert np.count_nonzero(features.emission) < 3 * len(flux)


@pytest.mark.parametrize("kms", [150, 500, 700])
def test_a_series_of_emission_lines_is_no_continuum(kms):
    rest = {row["transition"]: row["lambda_rest_A"] for row in line_list().to_pylist()}
    names = [f"H {n}" for n in ("10", "9", "8", "epsilon", "delta", "gamma", "beta", "alpha")]
    flux, ivar, valid = flat(10, sn=100)
    for i, name in enumerate(names):
        flux += 0.2 * (i + 2) * profile(rest[name], rest[name] * kms / SPEED_OF_LIGHT_KMS)
    found = find_lines(table(*normalised(flux, ivar, valid))).to_pylist()
    emitted = [row["transition"] for row in found if row["kind"] == "emission"]
    assert sorted(emitted) == sorted(names * len(flux))
    assert len(found) - len(emitted) <= 3


def test_ripples_beside_a_line_are_no_lines():
    flux, ivar, valid = flat(20, sn=1000, seed=3)
    flux -= 0.6 * profile(4862.69, 4.0) + 0.2 * profile(4862.69, 25.0)
    ripple = gaussian_filter1d(np.random.default_rng(4).normal(size=flux.shape), 1.2, axis=1)
    flux *= 1 + 0.003 * ripple / ripple.std()
    prepared = normalised(flux, ivar, valid)
    assert find_lines(table(*prepared))["transition"].to_pylist() == ["H beta"] * len(flux)
    # They stand far out of the noise.
    assert len(find_features(*prepared, Settings(floor=0)).row) > 10 * len(flux)


@pytest.mark.parametrize(("sn", "weakest"), [(20, 0.27), (50, 0.11), (100, 0.06)])
def test_the_floor_leaves_lines_in_noise(sn, weakest):
    flux, ivar, valid = flat(60, sn=sn, seed=8)
    centres = np.arange(4000, 9500, 250.0)
    for centre in centres:
        flux -= weakest * profile(centre, centre / 1000)
    counts = [
        len(find_features(flux, ivar, valid, Settings(floor=floor)).row) / flux[:, 0].size
        for floor in (0.0, Settings().floor)
    ]
    assert counts[1] > 0.98 * counts[0] > 0.5 * len(centres)


def test_gaps_and_ends_make_no_lines():
    flux, ivar, valid = flat(50, sn=100)
    flux -= 0.3 * profile(WAVELENGTH[1000], 40.0)
    flux[:, 940:1000], valid[:, 940:1000] = 7.0, False
    valid[:, :300] = False
    valid[:, 2100:] = False
    features = find_features(flux, ivar, valid, Settings())
    pixel = np.interp(features.wavelength, WAVELENGTH, np.arange(GRID.size))
    assert ((pixel > 300) & (pixel < 2100)).all()
    assert not ((pixel > 935) & (pixel < 1000)).any()


def test_one_line_of_the_list_goes_to_one_feature_of_a_kind():
    rest = {row["transition"]: row["lambda_rest_A"] for row in line_list().to_pylist()}
    flux, ivar, valid = flat(sn=200)
    flux -= 0.6 * profile(rest["H beta"], 2.0) + 0.2 * profile(rest["H beta"] + 12, 2.0)
    wide = Settings(tolerance_kms=1000)
    found = find_lines(table(flux, ivar, valid), wide).to_pylist()
    assert [row["transition"] for row in found] == ["H beta", None]


def test_spectra_are_numbered_apart_and_do_not_touch():
    flux, ivar, valid = flat(150, sn=200, seed=2)
    flux[::3] -= 0.5 * (profile(6564.632, 5) + profile(4862.69, 5))
    flux[1::3] -= 0.5 * profile(5175.0, 5)
    together = find_lines(table(flux, ivar, valid))
    counts = together.group_by("spec_id").aggregate([("line_number", "max")]).to_pylist()
    assert {row["spec_id"]: row["line_number_max"] for row in counts} == {
        f"s{i}": 2 if i % 3 == 0 else 1 for i in range(150) if i % 3 != 2
    }
    alone = find_lines(table(flux[99:100], ivar[99:100], valid[99:100], ["s99"]))
    same = together.filter(pc.equal(together["spec_id"], "s99"))
    assert alone.num_rows == 2
    assert alone.to_pylist() == same.to_pylist()


def test_without_noise_nothing_is_claimed():
    flux, ivar, valid = flat(2)
    flux -= 0.5 * profile(6000.0, 5.0)
    ivar[0] = np.nan
    assert set(find_lines(table(flux, ivar, valid))["spec_id"].to_pylist()) == {"s1"}


def test_no_spectra_no_lines_and_no_foreign_grid():
    flux, ivar, valid = flat()
    assert find_lines(table(flux, ivar, valid).slice(0, 0)).num_rows == 0
    short = table(flux[:, :2048], ivar[:, :2048], valid[:, :2048])
    with pytest.raises(LacusError, match="2048 pixels"):
        find_lines(short)


def transitions(path) -> dict[str, dict]:
    """Matched absorption lines of a real file, by transition."""
    table = read_fits_file(path)
    coadd, catalogue = table[1], table[2]
    loglam = np.asarray(coadd.column("loglam"), dtype=float)
    row = {
        "release": "DR17",
        "spec_id": path.stem,
        "wavelength_grid": "log10",
        "coeff0": round(loglam[0], 4),
        "coeff1": 1e-4,
        "wavelength": None,
        "flux": np.asarray(coadd.column("flux"), dtype=np.float32),
        "ivar": np.asarray(coadd.column("ivar"), dtype=np.float32),
        "and_mask": np.asarray(coadd.column("and_mask"), dtype=np.int32),
        "file_sha256": "0" * 64,
    }
    about = {
        "release": "DR17",
        "spec_id": path.stem,
        "z_or_rv_kms": float(catalogue.column("Z")[0]) * SPEED_OF_LIGHT_KMS,
        "ebv_sfd": None,
        "wavelength_frame": "vacuum",
    }
    spectra = pa.Table.from_pylist([row])
    spectra = spectra.append_column("crval1", pa.nulls(1, pa.float64()))
    spectra = spectra.append_column("cd1_1", pa.nulls(1, pa.float64()))
    done, _ = preprocess_table(
        spectra, pa.Table.from_pylist([about]), RECIPES["default"], datetime(2026, 1, 1, tzinfo=UTC)
    )
    return {
        line["transition"]: line
        for line in find_lines(done).to_pylist()
        if line["transition"] and line["kind"] == "absorption"
    }


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("spec-7454-56751-0770", {"Ca II K", "Ca II H", "Mg I b1", "Mg I b2", "Na I D1"}),
        ("spec-2942-54521-0124", {"Ca II K", "Ca II H", "H alpha", "H beta", "Mg I b1"}),
        ("spec-4055-55359-0001", {"Ca II K", "H alpha", "H beta", "H gamma"}),
        ("spec-0618-52049-0372", {"Mg I b1", "Na I D1", "Ca I 4226"}),
    ],
    ids=["K0V", "G2", "F3", "M1"],
)
def test_real_stars_show_the_lines_of_their_class(real_data, name, expected):
    found = transitions(real_data / "sdss" / "spec" / f"{name}.fits")
    assert expected <= set(found)
    narrow = [found[key] for key in expected if key.startswith(("H ", "Ca II"))]
    assert all(abs(line["velocity_offset_kms"]) < 90 for line in narrow)


def without_noise(models: pa.Table, sn: float) -> pa.Table:
    """Preprocess models, which have no noise; that of an observation stands in for it."""
    spectra = pa.table(
        {
            "release": ["DR17"] * len(models),
            "spec_id": [f"m{i}" for i in range(len(models))],
            "wavelength_grid": ["log10"] * len(models),
            "coeff0": models["coeff0"],
            "coeff1": models["coeff1"],
            "crval1": pa.nulls(len(models), pa.float64()),
            "cd1_1": pa.nulls(len(models), pa.float64()),
            "wavelength": pa.nulls(len(models), pa.list_(pa.float64())),
            "flux": models["flux"],
            "ivar": [
                np.full(len(flux), (sn / np.median(flux)) ** 2)
                for flux in models["flux"].to_numpy()
            ],
            "and_mask": pa.nulls(len(models), pa.list_(pa.int32())),
            "file_sha256": ["0" * 64] * len(models),
        }
    )
    nothing = pa.schema(
        [
            ("release", pa.string()),
            ("spec_id", pa.string()),
            ("z_or_rv_kms", pa.float64()),
            ("ebv_sfd", pa.float64()),
            ("wavelength_frame", pa.string()),
        ]
    ).empty_table()
    done, _ = preprocess_table(
        spectra, nothing, RECIPES["no_rest_frame"], datetime(2026, 1, 1, tzinfo=UTC)
    )
    return done


@pytest.mark.real
def test_real_a_stars_show_balmer_lines(real_data):
    models = pq.read_table(
        real_data / "sdss" / "stellar_spectra.parquet", filters=[("subclass", "==", "A0")]
    )
    done = without_noise(models, sn=30)
    found = find_lines(done, Settings(tolerance_kms=600))
    for transition in ("H alpha", "H beta", "H gamma", "H delta"):
        lines = found.filter(pc.equal(found["transition"], transition))
        assert lines.num_rows > 0.85 * len(models), transition
        assert pc.min(lines["equivalent_width_A"]).as_py() > 1.5


@pytest.mark.real
def test_real_cool_stars_do_not_emit_between_their_lines(real_data):
    models = pq.read_table(real_data / "sdss" / "stellar_spectra.parquet")
    kinds = ["K7", "G4V (32923)", "K1III (18322)", "K5III (111335)"]
    rows = [models["subclass"].to_pylist().index(kind) for kind in kinds]
    found = find_lines(without_noise(models.take(rows), sn=300))
    emitted = pc.sum(pc.equal(found["kind"], "emission")).as_py()
    assert found.num_rows > 40 * len(rows)
    assert emitted < 5 * len(rows)
