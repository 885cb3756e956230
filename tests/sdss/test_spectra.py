"""Spectra of SDSS files: rows of the tables, and real files against astropy."""

import gzip
import hashlib
import io
import json
import warnings
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from lake import contracts
from lake.errors import InputError
from lake.formats.source import load
from lake.inputs import InputFile
from lake.sdss import read_spectrum
from tests.sdss import files

TABLES = ("sdss.spectra", "sdss.spectra_manifest", "sdss.spectra_metadata", "sdss.loading_log")


def taken(data, name="spec-0390-51900-0282.fits", **options):
    file = InputFile(Path(name), "sdss", "DR17", "spectra", options, 0, 0, "ab" * 32)
    return files.rows(file, data)


def test_rows_have_columns_of_their_tables_only():
    for data in (files.spec(), files.sp_plate()[0], files.mastar()[0], files.image()):
        rows = taken(data)
        assert tuple(rows) == TABLES
        for name in TABLES:
            known = {column.name for column in contracts.table(name).columns}
            required = {c.name for c in contracts.table(name).columns if not c.nullable}
            for number, row in enumerate(rows[name], 1):
                assert row.keys() <= known
                assert required - {"release", "file_sha256"} <= row.keys()
                assert row["file_row"] == number


def test_the_manifest():
    row = taken(files.spec(), notes="a note", created_at="2024-05-01T12:00:00")[
        "sdss.spectra_manifest"
    ][0]
    assert row["source_path"] == "spec-0390-51900-0282.fits"
    assert row["checksum"] == "ab" * 32
    assert row["created_at"] == datetime(2024, 5, 1, 12, tzinfo=UTC)
    assert row["notes"] == "a note"
    assert row["survey"] == "sdss"


def test_the_loading_log():
    row = taken(files.spec())["sdss.loading_log"][0]
    flux = files.pixels()["flux"].astype("<f4").tobytes()
    assert row["result_hash"] == hashlib.sha256(flux).hexdigest()
    assert (row["step_order"], row["step_name"]) == (1, "load_spectrum")
    assert json.loads(row["params_json"])["layout"] == "spec"
    assert row["warnings"] is None
    assert abs((datetime.now(UTC) - row["timestamp"]).total_seconds()) < 60


def test_a_survey_is_registered_where_the_file_names_none():
    assert taken(files.image(), survey="MARVELS")["sdss.spectra_manifest"][0]["survey"] == "MARVELS"


@pytest.mark.parametrize("name", ["spec-0390-51900-0283.fits", "spSpec-51900-0390-283.fit.gz"])
def test_a_name_that_says_otherwise_is_noted(name):
    notes = taken(files.spec(), name)["sdss.spectra_manifest"][0]["notes"]
    assert notes == "the file is named 390-51900-283, but is 390-51900-282"


@pytest.mark.parametrize(
    "name", ["spec-0390-51900-0282.fits", "spSpec-51900-0390-282.fit", "spectrum.fits", "x"]
)
def test_names_that_agree_or_say_nothing_are_not(name):
    assert taken(files.spec(), name)["sdss.spectra_manifest"][0]["notes"] is None


def test_some_pixels_without_flux_are_kept_with_a_warning():
    columns = files.pixels()
    columns["flux"][[3, 9]] = np.nan, np.inf
    columns["ivar"][[5, 6]] = -1, np.nan
    rows = taken(files.spec(columns))
    spectrum = rows["sdss.spectra"][0]
    np.testing.assert_array_equal(spectrum["flux"], columns["flux"])
    assert (spectrum["ivar"][[5, 6]] == 0).all()
    problems = rows["sdss.loading_log"][0]["warnings"]
    assert "flux is not finite in 2 of 60 pixels" in problems
    assert "ivar is negative or not finite in 2 pixels" in problems
    about = rows["sdss.spectra_metadata"][0]
    masked = columns["and_mask"] != 0
    masked[[3, 9, 5, 6]] = True
    assert about["mask_frac_bad"] == pytest.approx(masked.mean())


@pytest.mark.parametrize("ivar", [1e28, np.inf, 3e38])
def test_weights_whose_squares_are_too_large_raise_no_warning(ivar):
    columns = files.pixels()
    columns["flux"] *= np.float32(1e-14)
    columns["ivar"][:] = 1e28
    columns["ivar"][7:9] = ivar
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = taken(files.spec(columns, BUNIT="ADU"))
    expected = np.where(np.isfinite(columns["ivar"]), columns["ivar"], 0)
    np.testing.assert_array_equal(rows["sdss.spectra"][0]["ivar"], expected)


def test_the_extent_is_that_of_pixels_with_weight():
    columns = files.pixels()
    columns["ivar"][[0, 1, -1]] = 0
    about = taken(files.spec(columns))["sdss.spectra_metadata"][0]
    assert about["wavelength_min_A"] == pytest.approx(10 ** files.LOGLAM[2], rel=1e-12)
    assert about["wavelength_max_A"] == pytest.approx(10 ** files.LOGLAM[-2], rel=1e-12)


def test_an_unknown_unit_stays_as_it_is():
    columns = {"wave": 4000 + np.arange(60.0), "flux": files.pixels()["flux"]}
    hdu = files.table(columns, units={"flux": "ADU"})
    rows = taken(files.written(fits.PrimaryHDU(), hdu))
    np.testing.assert_array_equal(rows["sdss.spectra"][0]["flux"], columns["flux"])
    assert rows["sdss.spectra_metadata"][0]["flux_unit"] == "ADU"
    assert rows["sdss.spectra_metadata"][0]["survey_flux_calibrated"] is False
    assert "'ADU'" in rows["sdss.loading_log"][0]["warnings"]


def test_equal_identifiers_of_a_file_are_told_apart():
    table = fits.HDUList.fromstring(files.mastar(2)[0])[1]
    twice = fits.BinTableHDU(table.data[[0, 0]])
    rows = taken(files.written(fits.PrimaryHDU(), twice))
    for name in TABLES:
        assert [row["spec_id"] for row in rows[name]] == [
            "7-0-8000-12700-58000-1", "7-0-8000-12700-58000-2",
        ]  # fmt: skip


def test_an_identifier_with_a_row_that_is_another_one_is_told_apart():
    columns = {"MANGAID": np.array(["7", "7", "7-1"]), "FLUX": np.ones((3, 5), "f4")}
    rows = taken(files.written(fits.PrimaryHDU(), files.table(columns)))
    for name in TABLES:
        assert [row["spec_id"] for row in rows[name]] == ["7-1-1", "7-2", "7-1-3"]


@pytest.mark.parametrize(
    ("option", "value"), [("created_at", "yesterday"), ("survey_flux_calibrated", "perhaps")]
)
def test_options_that_say_nothing_are_refused(option, value):
    with pytest.raises(InputError, match=f"option {option} is '{value}'"):
        taken(files.spec(), **{option: value})


def test_read_spectrum_gives_wavelengths_and_units(tmp_path):
    path = tmp_path / "spec-0390-51900-0282.fits.gz"
    path.write_bytes(gzip.compress(files.spec()))
    table = read_spectrum(path)
    assert table["spec_id"].to_pylist() == ["0390-51900-0282"]
    np.testing.assert_allclose(table["wavelength"][0].values, 10**files.LOGLAM, rtol=1e-12)
    np.testing.assert_array_equal(table["and_mask"][0].values, files.pixels()["and_mask"])
    assert table.schema.field("wavelength").metadata[b"unit"] == b"Angstrom"
    linear = read_spectrum(files.image(CRVAL1=4000.0, CDELT1=2.0))
    np.testing.assert_array_equal(linear["wavelength"][0].values, 4000 + 2.0 * np.arange(60))
    assert read_spectrum(files.image())["wavelength"].to_pylist() == [None]
    assert read_spectrum(files.sp_plate()[0]).num_rows == 3


def test_read_spectrum_names_the_file_of_a_broken_one(tmp_path):
    path = tmp_path / "broken.fits"
    path.write_bytes(files.spec()[:9000])
    with pytest.raises(InputError, match=r"broken\.fits: HDU 2: .*cut off"):
        read_spectrum(path)


def test_a_file_cut_off_behind_its_spectrum_is_refused():
    whole = files.spec(full=True)
    assert taken(whole[:-100])["sdss.spectra"]  # padding alone
    with pytest.raises(InputError, match=r"HDU 5: the data are cut off"):
        taken(whole[:-2880])
    with pytest.raises(InputError, match=r"HDU 4: the header has no END card"):
        taken(whole[: whole.index(b"B1-00000001") + 80])


# --- real files -----------------------------------------------------------------------------


def real_spec_files(root):
    return sorted((root / "sdss" / "spec").glob("spec-*.fits"))


@pytest.mark.real
def test_real_spec_files_are_as_astropy_reads_them(real_data):
    paths = real_spec_files(real_data)
    assert len(paths) > 80
    for path in paths:
        rows = taken(load(path), path)
        spectrum = rows["sdss.spectra"][0]
        about = rows["sdss.spectra_metadata"][0]
        with fits.open(path) as theirs:
            coadd, row, header = theirs[1].data, theirs[2].data[0], theirs[0].header
            for name in ("flux", "ivar", "and_mask", "or_mask", "wdisp", "sky", "model"):
                np.testing.assert_array_equal(spectrum[name], coadd[name], err_msg=f"{path} {name}")
            loglam = spectrum["coeff0"] + spectrum["coeff1"] * np.arange(spectrum["n_pixels"])
            # Half a unit in the last place of a float32 between 2 and 4, or 4 and 8.
            assert abs(loglam - coadd["loglam"].astype(float)).max() < 2.5e-7, path
            plate, mjd, fiber = (int(part) for part in path.stem.split("-")[1:])
            assert (about["plate"], about["mjd"], about["fiber"]) == (plate, mjd, fiber)
            assert spectrum["spec_id"] == path.stem.removeprefix("spec-")
            assert about["object_class"] == row["CLASS"].strip()
            assert (about.get("object_subclass") or "") == row["SUBCLASS"].strip()
            assert about["z"] == row["Z"]
            assert about["z_warning"] == row["ZWARNING"]
            assert about["sn_median"] == row["SN_MEDIAN_ALL"]
            assert (about["ra_deg"], about["dec_deg"]) == (row["PLUG_RA"], row["PLUG_DEC"])
            assert about["exptime_s"] == header["EXPTIME"]
            assert about["n_exposures"] == header["NEXP"]
            assert about["wavelength_frame"] == "vacuum"
            masked = (coadd["and_mask"] != 0) | (coadd["ivar"] <= 0)
            assert about["mask_frac_bad"] == pytest.approx(masked.mean(), abs=1e-12)
            ratio = np.median(coadd["wdisp"][coadd["wdisp"] > 0])
            assert about["resolution_r"] == pytest.approx(1844.29 / ratio, rel=1e-5)
            # R = 1 / (ln 10 x 1e-4 x 2.35482 sigma) = 1844.29 / sigma
            if "EXTINCTION" in theirs[2].columns.names:
                g, r = row["EXTINCTION"][1:3]
                assert about["ebv_sfd"] == pytest.approx(
                    r / (2.751 if abs(g / r - 1.3788) < 1e-3 else 2.285), rel=1e-5
                )


@pytest.mark.real
def test_real_spec_files_from_the_longest_wavelength_to_the_shortest_are_the_same(real_data):
    for path in real_spec_files(real_data)[::20]:
        with fits.open(path, memmap=False) as hdus:
            hdus[1].data = hdus[1].data[::-1].copy()
            last = len(hdus[1].data) - 1
            hdus[0].header["COEFF0"] += last * hdus[0].header["COEFF1"]
            hdus[0].header["COEFF1"] *= -1
            stream = io.BytesIO()
            hdus.writeto(stream)
        expected, row = (
            taken(data, path)["sdss.spectra"][0] for data in (load(path), stream.getvalue())
        )
        assert (row["coeff0"], row["coeff1"]) == pytest.approx(
            (expected["coeff0"], expected["coeff1"]), rel=1e-15
        )
        for name in ("flux", "ivar", "and_mask", "or_mask", "wdisp", "sky", "model"):
            np.testing.assert_array_equal(row[name], expected[name], err_msg=f"{path} {name}")


@pytest.mark.real
def test_real_signal_to_noise_is_near_the_pipelines(real_data):
    for path in real_spec_files(real_data)[:12]:
        data = load(path)
        with fits.open(path) as theirs:
            given = float(theirs[2].data["SN_MEDIAN_ALL"][0])
        computed = taken(data.replace(b"'SN_MEDIAN_ALL'", b"'SN_MEDIAN_XXX'"), path)[
            "sdss.spectra_metadata"
        ][0]
        assert "sn_median" in json.loads(computed["keyword_sources"])
        assert computed["sn_median"] == pytest.approx(given, rel=0.05, abs=0.05)


@pytest.mark.real
def test_the_real_plate_holds_the_objects_of_its_spec_files(real_data):
    name = "spPlate-4055-55359-0020.fits"
    plate = taken(load(real_data / "sdss" / name), name)["sdss.spectra"]
    assert [row["spec_id"] for row in plate] == [f"{name[:-5]}-{n}" for n in range(1, 21)]
    for fiber in (1, 6, 12):
        path = real_data / "sdss" / "spec" / f"spec-4055-55359-{fiber:04}.fits"
        alone = taken(load(path), path)["sdss.spectra"][0]
        # The plate is of an earlier reduction: the same objects, not the same numbers.
        flux = np.clip(alone["flux"], -50, 100)
        likeness = [
            np.corrcoef(np.clip(row["flux"][: len(flux)], -50, 100), flux)[0, 1] for row in plate
        ]
        assert np.argmax(likeness) == fiber - 1
        assert likeness[fiber - 1] > 0.95


@pytest.mark.real
def test_real_mastar_rows_are_as_astropy_reads_them(real_data):
    path = real_data / "sdss" / "mastar_example_spectral_types.fits"
    rows = taken(load(path), path)
    with warnings.catch_warnings(), fits.open(path) as theirs:
        warnings.simplefilter("ignore")
        table = theirs[1].data
        assert len(rows["sdss.spectra"]) == len(table) == 7
        for row, about, theirs_row in zip(
            rows["sdss.spectra"], rows["sdss.spectra_metadata"], table, strict=True
        ):
            np.testing.assert_array_equal(row["flux"], theirs_row["FLUX"])
            np.testing.assert_array_equal(row["ivar"], theirs_row["IVAR"])
            np.testing.assert_array_equal(row["and_mask"], theirs_row["MASK"])
            wave = 10 ** (row["coeff0"] + row["coeff1"] * np.arange(row["n_pixels"]))
            np.testing.assert_allclose(wave, theirs_row["WAVE"], rtol=1e-12)
            width = np.gradient(theirs_row["WAVE"])
            np.testing.assert_allclose(row["wdisp"], theirs_row["DISP"] / width, rtol=1e-6)
            assert 1400 < about["resolution_r"] < 2300
            assert about["teff_k"] == theirs_row["TEFF_MED"]
            assert about["z_or_rv_kms"] == theirs_row["HELIOV"]
            assert about["at_rest"] is True


@pytest.mark.real
def test_real_templates_are_an_image_of_spectra(real_data):
    rows = taken(load(real_data / "sdss" / "spEigenStar-55734.fits"), "spEigenStar-55734.fits")
    assert len(rows["sdss.spectra"]) == 123
    assert rows["sdss.spectra"][122]["spec_id"] == "spEigenStar-55734-123"
    assert rows["sdss.spectra"][0]["coeff0"] == 3.4842


@pytest.mark.real
def test_real_catalogues_are_no_spectra(real_data):
    paths = sorted((real_data / "sdss" / "labels").glob("*.fits"))
    assert paths
    for path in paths:
        with pytest.raises(InputError, match=r"not a spectrum.*specobjid"):
            taken(load(path), path)
