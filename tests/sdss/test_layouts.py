"""Layouts of files of spectra: what is taken from each."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from lake.errors import InputError
from lake.inputs import InputFile
from lake.sdss import read_spectrum
from tests.sdss import files
from tests.sdss.files import COEFF0, COEFF1, LOGLAM, PIXELS


def taken(data, name="spectrum.fits", **options):
    file = InputFile(Path(name), "sdss", "DR17", "spectra", options, 0, 0, "ab" * 32)
    return files.rows(file, data)


def only(data, name="spectrum.fits", **options):
    """Rows of the four tables of a file with one spectrum, as one dict."""
    rows = taken(data, name, **options)
    assert "rejected" not in rows
    merged = {}
    for table in ("spectra_manifest", "spectra_metadata", "loading_log", "spectra"):
        assert len(rows[f"sdss.{table}"]) == 1
        merged |= rows[f"sdss.{table}"][0]
    return merged


def assert_pixels(row, expected, names=("flux", "ivar", "and_mask", "or_mask", "wdisp", "sky")):
    for name in names:
        np.testing.assert_array_equal(row[name], expected[name], err_msg=name)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("upper", [False, True])
def test_spec_files_lite_and_full_in_either_case(full, upper):
    row = only(files.spec(full=full, upper=upper))
    assert_pixels(row, files.pixels(), (*files.pixels().keys() - {"loglam"},))
    assert (row["wavelength_grid"], row["coeff0"], row["coeff1"]) == ("log10", COEFF0, COEFF1)
    assert row["spec_id"] == "0390-51900-0282"
    assert '"layout": "spec"' in row["params_json"]


def test_a_spec_file_is_whole_behind_its_spectrum_too():
    data = files.spec()
    with pytest.raises(InputError, match=r"HDU 3: .*cut off inside the header"):
        only(data[: data.rindex(b"XTENSION") + 80])
    at_the_end_of_an_hdu = data[: data.index(b"XTENSION", data.index(b"COADD")) - 1]
    row = only(at_the_end_of_an_hdu)
    assert "no row of the catalogue in HDU 2" in row["notes"]
    assert "no multiple of 2880: HDUs at its end may be cut off" in row["notes"]
    # What the HDUs behind the second hold is nobody's business here.
    odd = bytearray(data)
    odd[-2880:] = b"\xff" * 2880
    assert only(bytes(odd))["spec_id"] == "0390-51900-0282"


def test_columns_that_are_not_there_are_null():
    columns = {name: files.pixels()[name] for name in ("flux", "loglam")}
    row = only(files.spec(columns))
    assert not {"ivar", "and_mask", "or_mask", "wdisp", "sky", "model"} & row.keys()
    assert row.get("mask_frac_bad") is None
    assert row.get("resolution_r") is None


def test_trimmed_spectra_start_a_whole_number_of_pixels_after_coeff0():
    trimmed = {name: values[21:] for name, values in files.pixels().items()}
    row = only(files.spec(trimmed))
    assert row["coeff0"] == pytest.approx(COEFF0 + 21 * COEFF1, abs=1e-12)
    assert row["coeff1"] == COEFF1
    assert "21" in row["notes"]


def test_regular_loglam_without_coefficients_gives_round_ones():
    row = only(files.spec(COEFF0=None, COEFF1=None))
    assert (row["wavelength_grid"], row["coeff0"], row["coeff1"]) == ("log10", COEFF0, COEFF1)


def test_irregular_loglam_is_listed():
    columns = files.pixels()
    columns["loglam"][30:] += np.float32(5e-4)
    row = only(files.spec(columns))
    assert row["wavelength_grid"] == "table"
    assert row.get("coeff0") is None
    np.testing.assert_allclose(row["wavelength"], 10 ** columns["loglam"].astype(float), rtol=1e-12)
    assert "not regular" in row["notes"]


def test_spec_files_of_sdss_v_go_by_field_and_catalogue_number():
    row = {"FIELD": np.int32(15002), "MJD": np.int32(59202), "CATALOGID": np.int64(4531034483),
           "RACAT": 31.5, "DECCAT": -2.5, "EBV": np.float32(0.03), "CLASS": "STAR",
           "SURVEY": "MWM", "RUN2D": "v6_1_3"}  # fmt: skip
    data = files.spec(
        row=row, upper=True, PLATEID=None, FIBERID=None, MJD=59202, MJDLIST="59202",
        FIELDID=15002, PLUG_RA=None, PLUG_DEC=None,
    )  # fmt: skip
    found = only(data, "spec-015002-59202-4531034483.fits")
    assert found["spec_id"] == "015002-59202-4531034483"
    assert (found["ra_deg"], found["dec_deg"]) == (31.5, -2.5)
    assert found["ebv_sfd"] == pytest.approx(0.03)
    assert (found["survey"], found["data_release"]) == ("MWM", "v6_1_3")
    assert found.get("plate") is None
    assert found["notes"] is None


def test_zeros_that_stand_for_no_plate_are_no_numbers():
    row = {"FIELD": np.int32(0), "MJD": np.int32(60000), "CATALOGID": np.int64(63050396807746393),
           "FIBERID": np.int32(12), "PLATE": np.int32(0), "RACAT": 31.5, "DECCAT": -2.5,
           "SURVEY": "mwm", "BESTOBJID": "0", "OBJID": np.zeros(5, "i4")}  # fmt: skip
    data = files.spec(row=row, upper=True, PLATEID=0, FIBERID=0, MJD=0, TELESCOP=0, FIELDID=0)
    found = only(data, "spec-allepoch_lco-60000-63050396807746393.fits")
    assert found["spec_id"] == "spec-allepoch_lco-60000-63050396807746393"
    assert found["obj_id"] == "63050396807746393"
    assert (found.get("plate"), found.get("instrument"), found["mjd"]) == (None, None, 60000)


@pytest.mark.parametrize("catalogid", [0, -1, -999])
def test_a_fibre_without_an_object_goes_by_its_file(catalogid):
    row = {"FIELD": np.int32(15002), "MJD": np.int32(59202), "CATALOGID": np.int64(catalogid)}
    found = only(files.spec(row=row, PLATEID=None, FIBERID=None, MJD=59202), "sky.fits")
    assert (found["spec_id"], found.get("obj_id")) == ("sky", None)


def test_a_second_spectrum_is_not_the_catalogues_row():
    blue = files.table(files.pixels(), "COADD_B")
    red = files.table(files.pixels(1) | {"z": np.full(PIXELS, 0.3)}, "COADD_R")
    made = taken(files.written(fits.PrimaryHDU(header=files.header(MJD=58625)), blue, red))
    (manifest,), (row,) = made["sdss.spectra_manifest"], made["sdss.spectra_metadata"]
    assert manifest["notes"] == "HDU 2 COADD_R is another spectrum, and is not taken"
    assert (row.get("z"), row["mjd"]) == (None, 58625)


def test_the_row_of_another_fibre_is_refused():
    with pytest.raises(InputError, match=r"HDU 2.*FIBERID is 282, but FIBERID .* is 283"):
        only(files.spec(FIBERID=283))


def test_another_night_of_the_same_coadd_is_noted():
    row = only(files.spec(MJD=51885))
    assert row["mjd"] == 51900
    assert "MJD is 51900, but MJD of the header is 51885" in row["notes"]


def test_plates_give_a_spectrum_to_a_fibre():
    data, spectra = files.sp_plate()
    rows = taken(data)
    assert [row["spec_id"] for row in rows["sdss.spectra"]] == [
        f"0390-51900-000{fiber}" for fiber in (1, 2, 3)
    ]
    for row, expected in zip(rows["sdss.spectra"], spectra, strict=True):
        assert_pixels(row, expected)
        assert row["coeff0"] == COEFF0
    positions = [(r["ra_deg"], r["dec_deg"], r["fiber"]) for r in rows["sdss.spectra_metadata"]]
    assert positions == [(10.125, 0.25, 1), (10.25, 0.5, 2), (10.375, 0.75, 3)]


def test_plates_without_a_plug_map_count_fibres_and_know_no_positions():
    rows = taken(files.sp_plate(plug_map=False)[0])
    assert [r["fiber"] for r in rows["sdss.spectra_metadata"]] == [1, 2, 3]
    # Which fibres they are is a guess, and no name to go by.
    assert [r["spec_id"] for r in rows["sdss.spectra"]] == [f"spectrum-{n}" for n in (1, 2, 3)]
    assert all(r.get("ra_deg") is None for r in rows["sdss.spectra_metadata"])


def test_bad_fibres_are_rejected_and_the_others_go_on():
    rows = taken(files.sp_plate(bad=(2,))[0])
    assert [row["file_row"] for row in rows["sdss.spectra"]] == [1, 3]
    assert rows["rejected"][0]["file_row"] == 2
    assert "ivar > 0" in rows["rejected"][0]["reason"]


def test_a_plate_of_bad_fibres_is_refused():
    with pytest.raises(InputError, match="none of 3 spectra"):
        taken(files.sp_plate(bad=(1, 2, 3))[0])


def test_spspec_files_have_errors_in_their_third_row():
    data, expected, error = files.sp_spec()
    row = only(data)
    assert_pixels(row, expected, ("flux", "and_mask"))
    assert row["ivar"][7] == 0
    good = error > 0
    np.testing.assert_allclose(row["ivar"][good], 1 / error[good] ** 2, rtol=1e-6)
    assert (row["spec_id"], row["object_class"]) == ("0390-51900-0282", "STAR")
    assert (row["ra_deg"], row["dec_deg"]) == (10.5, -1.25)
    assert row["survey_flux_calibrated"] is True


LAMOST = {"FIBERID": 9, "MJD": 55859, "TELESCOP": "LAMOST", "COEFF0": COEFF0, "COEFF1": COEFF1}
TITLES = ("Flux", "Inverse", "WaveLength", "AndMask", "OrMask")


@pytest.mark.parametrize("titles", [{}, {f"ROW{n}": t for n, t in enumerate(TITLES, 1)}])
def test_files_of_lamost_have_weights_in_their_second_row(titles):
    made = files.pixels()
    rows = [made["flux"], made["ivar"], 10**LOGLAM, made["and_mask"], made["or_mask"]]
    row = only(files.image(np.array(rows, "f4"), **LAMOST, **titles), "spec-55859-F5902_sp01-009")
    assert_pixels(row, made, ("flux", "ivar", "and_mask", "or_mask"))
    assert (row["spec_id"], row["coeff0"]) == ("spec-55859-F5902_sp01-009", COEFF0)


def test_bands_of_iraf_are_one_spectrum_with_its_errors():
    flux = files.pixels()["flux"]
    bands = np.array([flux, flux + 1, flux / 9, np.full(PIXELS, 0.5)], "f4")[:, np.newaxis]
    titles = ("spectrum - background fit, weights variance", "raw - background fit",
              "background - background fit", "sigma - background fit")  # fmt: skip
    cards = {f"BANDID{number}": title for number, title in enumerate(titles, 1)}
    row = only(files.image(bands, CRVAL1=4000.0, CD1_1=1.5, **cards))
    np.testing.assert_array_equal(row["flux"], flux)
    np.testing.assert_array_equal(row["ivar"], np.full(PIXELS, 4, "f4"))

    several = bands * np.arange(1, 4)[:, np.newaxis]  # a factor for each aperture
    rows = taken(files.image(several.astype("f4"), CRVAL1=4000.0, CD1_1=1.5, **cards))
    assert [r["file_row"] for r in rows["sdss.spectra"]] == [1, 2, 3]
    for factor, row in enumerate(rows["sdss.spectra"], 1):
        np.testing.assert_array_equal(row["flux"], several[0, factor - 1].astype("f4"))
        np.testing.assert_allclose(row["ivar"], np.full(PIXELS, 4 / factor**2), rtol=1e-6)


def test_mastar_rows_are_spectra_with_dispersions_in_pixels():
    data, spectra = files.mastar()
    rows = taken(data)
    assert [r["spec_id"] for r in rows["sdss.spectra"]] == [
        "7-0-8000-12700-58000", "7-1-8001-12701-58001", "7-2-8002-12702-58002",
    ]  # fmt: skip
    for row, expected in zip(rows["sdss.spectra"], spectra, strict=True):
        assert_pixels(row, expected, ("flux", "ivar", "and_mask"))
        np.testing.assert_allclose(row["wdisp"], 1, rtol=1e-3)
        assert (row["wavelength_grid"], row["coeff0"], row["coeff1"]) == ("log10", COEFF0, COEFF1)
    about = rows["sdss.spectra_metadata"]
    assert [r.get("teff_k") for r in about] == [5700.0, None, 4100.0]
    assert [r["z_or_rv_kms"] for r in about] == [0.0, 10.0, 20.0]
    assert (about[0]["wavelength_frame"], about[0]["at_rest"]) == ("vacuum", True)


def test_mastar_rows_without_weight_are_rejected():
    rows = taken(files.mastar(bad=(1, 3))[0])
    assert [r["file_row"] for r in rows["sdss.spectra"]] == [2]
    assert [r["file_row"] for r in rows["rejected"]] == [1, 3]


@pytest.mark.parametrize(
    ("cards", "first", "step"),
    [
        ({"CRVAL1": 4000.0, "CDELT1": 1.5}, 4000.0, 1.5),
        ({"CRVAL1": 4000.0, "CD1_1": 1.5, "CDELT1": 9.0}, 4000.0, 1.5),
        ({"CRVAL1": 4015.0, "CDELT1": 1.5, "CRPIX1": 11.0}, 4000.0, 1.5),
        ({"CRVAL1": 400.0, "CDELT1": 0.15, "CUNIT1": "nm"}, 4000.0, 1.5),
        ({"CRVAL1": 0.4, "CDELT1": 1.5e-4, "CUNIT1": "um"}, 4000.0, 1.5),
        ({"CRVAL1": 4e-7, "CDELT1": 1.5e-10, "CUNIT1": "m", "CTYPE1": "WAVE"}, 4000.0, 1.5),
        ({"CRVAL1": 4000.0, "CDELT1": 1.5, "CTYPE1": "LAMBDA", "CUNIT1": "Angstroms"}, 4000.0, 1.5),
    ],
)
def test_linear_images(cards, first, step):
    row = only(files.image(**cards))
    assert row["wavelength_grid"] == "linear"
    assert row["crval1"] == pytest.approx(first, rel=1e-12)
    assert row["cd1_1"] == pytest.approx(step, rel=1e-12)
    assert row["spec_id"] == "spectrum"
    np.testing.assert_array_equal(row["flux"], files.pixels()["flux"])


@pytest.mark.parametrize(
    ("cards", "coeff0"),
    [
        ({"CRVAL1": 3.6, "CD1_1": 1e-4, "CTYPE1": "LINEAR", "DC__FLAG": 1}, 3.6),
        ({"CRVAL1": 3.6, "CDELT1": 1e-4, "CTYPE1": "LOG-LINEAR"}, 3.6),
        ({"CRVAL1": 3.601, "CDELT1": 1e-4, "DC__FLAG": 1, "CRPIX1": 11.0}, 3.6),
        ({"CRVAL1": 2.6, "CDELT1": 1e-4, "DC__FLAG": 1, "CUNIT1": "nm"}, 3.6),
        ({"COEFF0": 3.6, "COEFF1": 1e-4, "CRPIX1": 11.0}, 3.6),
        (
            {"CRVAL1": 4000.0, "CDELT1": 4000 * 1e-4 * np.log(10), "CTYPE1": "WAVE-LOG"},
            np.log10(4000),
        ),
    ],
)
def test_logarithmic_images(cards, coeff0):
    row = only(files.image(**cards))
    assert row["wavelength_grid"] == "log10"
    assert row["coeff0"] == pytest.approx(coeff0, abs=1e-12)
    assert row["coeff1"] == pytest.approx(1e-4, rel=1e-12)


def test_the_manifest_gives_the_header_of_logarithmic_images_too():
    rows = taken(files.image(CRVAL1=3.6, CD1_1=1e-4, DC__FLAG=1))
    manifest, spectrum = rows["sdss.spectra_manifest"][0], rows["sdss.spectra"][0]
    assert (manifest["crval1"], manifest["cd1_1"]) == (3.6, 1e-4)
    assert (spectrum["crval1"], spectrum["cd1_1"]) == (None, None)


def test_air_and_vacuum_of_the_axis():
    grid = {"CRVAL1": 4000.0, "CDELT1": 1.0}
    assert only(files.image(**grid, CTYPE1="AWAV"))["wavelength_frame"] == "air"
    assert only(files.image(**grid, CTYPE1="WAVE"))["wavelength_frame"] == "vacuum"
    assert only(files.image(**grid))["wavelength_frame"] is None


def test_an_image_with_its_errors_in_another_hdu():
    error = fits.ImageHDU(np.full(PIXELS, 0.5, "f4"), name="ERROR")
    mask = fits.ImageHDU(np.arange(PIXELS, dtype="i2") % 2, name="MASK")
    row = only(files.image(extra=(error, mask), CRVAL1=4000.0, CDELT1=1.0))
    np.testing.assert_array_equal(row["ivar"], np.full(PIXELS, 4, "f4"))
    assert row["mask_frac_bad"] == 0.5


def test_an_image_with_its_variances_in_another_hdu():
    variance = fits.ImageHDU(np.where(np.arange(PIXELS) > 1, 0.25, [np.nan] + [-1] * 59))
    variance.name = "VARIANCE"
    row = only(files.image(extra=(variance,), CRVAL1=4000.0, CDELT1=1.0))
    np.testing.assert_array_equal(row["ivar"], np.where(np.arange(PIXELS) > 1, 4, 0))


@pytest.mark.parametrize("name", ["WAVELENGTH", "WAVE", ""])
def test_an_image_with_its_wavelengths_in_another_hdu(name):
    wave = fits.ImageHDU(400 + 0.1 * np.arange(PIXELS), name=name)
    wave.header["BUNIT"] = "nm" if name else "Wavelength (nm)"
    row = only(files.image(extra=(wave,)))
    assert (row["wavelength_grid"], row["crval1"], row["cd1_1"]) == ("linear", 4000.0, 1.0)


def test_an_image_of_orders_with_wavelengths_of_their_own_is_refused():
    flux = fits.ImageHDU(np.ones((3, PIXELS), "f4"), name="FLUX")
    wave = fits.ImageHDU(np.arange(4000.0, 4000 + 3 * PIXELS).reshape(3, PIXELS))
    wave.name = "WAVELENGTH"
    with pytest.raises(InputError, match="HDU 2: WAVELENGTH has other wavelengths in each of 3"):
        taken(files.written(fits.PrimaryHDU(), flux, wave))


@pytest.mark.parametrize("shape", [(PIXELS,), (3, PIXELS)])
def test_pixels_of_compressed_images_are_those_of_the_image(shape):
    counts = np.arange(np.prod(shape), dtype="i4").reshape(shape)
    hdu = fits.CompImageHDU(counts)
    hdu.header.update(CRVAL1=4000.0, CDELT1=1.0)
    rows = taken(files.written(fits.PrimaryHDU(), hdu))["sdss.spectra"]
    np.testing.assert_array_equal([row["flux"] for row in rows], counts.reshape(-1, PIXELS))
    assert {row["n_pixels"] for row in rows} == {PIXELS}


@pytest.mark.parametrize("listed", [True, False])
def test_files_of_astra_have_tables_without_spectra_before_those_with(listed):
    def table(name, rows):
        columns = {"flux": np.full((rows, PIXELS), 2.0), "ivar": np.full((rows, PIXELS), 4.0)}
        if listed:
            columns["wavelength"] = np.tile(10**LOGLAM, (rows, 1))
        hdu = files.table(columns, name)
        hdu.header.update({"CRVAL": COEFF0, "CDELT": COEFF1, "CRPIX": 1, "DC-FLAG": 1})
        hdu.header["CUNIT"] = "Angstrom (Vacuum)"
        return hdu

    tables = table("BOSS/APO", 0), table("BOSS/LCO", 2), table("APOGEE/APO", 0)
    data = files.written(fits.PrimaryHDU(), *tables, table("APOGEE/LCO", 1))
    found = taken(data, "mwmVisit-0.6.0-1.fits")
    rows, metadata = found["sdss.spectra"], found["sdss.spectra_metadata"]
    assert [row["spec_id"] for row in rows] == [f"mwmVisit-0.6.0-1-{n}" for n in (1, 2, 3)]
    assert [row["file_row"] for row in rows] == [1, 2, 3]
    assert [row["wavelength_frame"] for row in metadata] == ["vacuum"] * 3
    for row in rows:
        assert (row["wavelength_grid"], row["coeff0"], row["coeff1"]) == ("log10", COEFF0, COEFF1)


def test_spectra_of_astra_are_at_rest_where_their_velocity_is_known():
    columns = {"flux": np.full((2, PIXELS), 2.0), "xcsao_v_rad": np.array([31.5, np.nan])}
    hdu = files.table(columns, "BOSS/APO")
    hdu.header.update({"CRVAL": COEFF0, "CDELT": COEFF1, "CRPIX": 1, "DC-FLAG": 1})
    primary = fits.PrimaryHDU()
    primary.header["SDSS_ID"] = 54399428
    rows = taken(files.written(primary, hdu), "mwmVisit-0.6.0-54399428.fits")
    known, unknown = rows["sdss.spectra_metadata"]
    assert (known["z_or_rv_kms"], known["at_rest"], known["obj_id"]) == (31.5, True, "54399428")
    assert (unknown.get("z_or_rv_kms"), unknown.get("at_rest")) == (None, None)


def test_apstar_files_give_the_combined_spectrum():
    data, flux = files.ap_star()
    row = only(data, "apStar-r12-2M00000032+5737103.fits.gz")
    np.testing.assert_array_equal(row["flux"], flux)
    np.testing.assert_array_equal(row["ivar"], np.full(PIXELS, 16, "f4"))
    assert (row["coeff0"], row["coeff1"]) == (4.179, 6e-6)
    assert (row["z_or_rv_kms"], row["ra_deg"], row["obj_id"]) == (
        -20.5, 0.0014, "2M00000032+5737103",
    )  # fmt: skip
    assert row["spec_id"] == "apStar-r12-2M00000032+5737103"


@pytest.mark.parametrize("name", ["WAVE", "wavelength", "LAMBDA", "lam", "WL"])
@pytest.mark.parametrize("vector", [False, True])
def test_tables_of_wavelength_and_flux(name, vector):
    wave = 4000 + 1.25 * np.arange(PIXELS)
    hdu = files.table({name: wave, "FLUX": files.pixels()["flux"]}, one_row=vector)
    row = only(files.written(fits.PrimaryHDU(), hdu))
    assert (row["wavelength_grid"], row["crval1"], row["cd1_1"]) == ("linear", 4000.0, 1.25)
    np.testing.assert_array_equal(row["flux"], files.pixels()["flux"])


def test_tables_written_as_text():
    columns = [
        fits.Column("WAVE", "F12.4", array=4000 + 1.25 * np.arange(PIXELS)),
        fits.Column("FLUX", "E14.6", array=files.pixels()["flux"]),
    ]
    row = only(files.written(fits.PrimaryHDU(), fits.TableHDU.from_columns(columns)))
    assert (row["wavelength_grid"], row["crval1"], row["cd1_1"]) == ("linear", 4000.0, 1.25)
    np.testing.assert_allclose(row["flux"], files.pixels()["flux"], rtol=1e-6)


def test_tables_in_other_units_with_errors():
    columns = {"wave": (400 + 0.1 * np.arange(PIXELS)), "flux": files.pixels()["flux"],
               "err": np.full(PIXELS, 2, "f4")}  # fmt: skip
    hdu = files.table(columns, units={"wave": "nm", "flux": "erg/s/cm^2/A"})
    row = only(files.written(fits.PrimaryHDU(), hdu))
    assert row["crval1"] == pytest.approx(4000)
    assert row["cd1_1"] == pytest.approx(1)
    np.testing.assert_allclose(row["flux"], columns["flux"].astype(float) * 1e17, rtol=1e-6)
    np.testing.assert_allclose(row["ivar"], 0.25e-34, rtol=1e-6)
    assert row["flux_unit"] == "erg/s/cm^2/A"
    assert "converted" in row["notes"]


@pytest.mark.parametrize(
    ("column", "value", "weight"),
    [("ERR_FLUX", 0.5, 4), ("STATERROR", 0.5, 4), ("std", 0.5, 4), ("variance", 0.25, 4)],
)
def test_tables_have_their_errors_in_columns_of_many_names(column, value, weight):
    columns = {"spectral_axis": 4000.0 + np.arange(PIXELS), "flux": np.ones(PIXELS)}
    hdu = files.table(columns | {column: np.full(PIXELS, value)})
    row = only(files.written(fits.PrimaryHDU(), hdu))
    assert row["crval1"] == 4000.0
    np.testing.assert_array_equal(row["ivar"], np.full(PIXELS, weight, "f4"))


def test_tables_of_logarithmic_and_irregular_wavelengths():
    flux = files.pixels()["flux"]

    def grid(wave):
        hdu = files.table({"wave": wave, "flux": flux})
        return only(files.written(fits.PrimaryHDU(), hdu))

    row = grid(10**LOGLAM)
    assert (row["wavelength_grid"], row["coeff0"], row["coeff1"]) == ("log10", COEFF0, COEFF1)
    assert grid((10**LOGLAM).astype("f4"))["wavelength_grid"] == "log10"
    wave = 4000 + np.arange(PIXELS) ** 1.5
    row = grid(wave)
    assert row["wavelength_grid"] == "table"
    np.testing.assert_array_equal(row["wavelength"], wave)


def test_flux_alone_has_pixels_and_no_wavelengths():
    for data in (
        files.image(),
        files.written(fits.PrimaryHDU(), files.table({"flux": files.pixels()["flux"]})),
    ):
        row = only(data)
        assert row["wavelength_grid"] == "pixel-normalised"
        assert all(row.get(name) is None for name in ("coeff0", "crval1", "wavelength"))
        assert row["wavelength_min_A"] is None
        assert row["survey_wavelength_calibrated"] is False
        assert "no wavelength solution" in row["notes"]


def test_a_votable_in_a_primary_image_is_no_spectrum():
    star = fits.HDUList.fromstring(files.mastar(1)[0])[1]
    primary = fits.PrimaryHDU(np.zeros(5040, "u1"))
    primary.header["VOTMETA"] = True
    assert only(files.written(primary, star))["spec_id"] == "7-0-8000-12700-58000"


FLUXES = np.array([files.pixels(seed)["flux"] for seed in range(3)])
TURNED = "wavelengths fall in the file: its pixels are turned round"


def bands():
    flux = files.pixels()["flux"]
    values = np.array([[flux, flux + 9], np.full((2, PIXELS), 0.5)], "f4")
    return files.image(values, CRVAL1=4000.0, CD1_1=1.5, BANDID1="spectrum", BANDID2="sigma")


def an_image(*extra, **cards):
    error = np.linspace(0.5, 1, PIXELS).astype("f4")
    mask = np.arange(PIXELS, dtype="i2") // 40
    others = (fits.ImageHDU(error, name="ERROR"), fits.ImageHDU(mask, name="MASK"))
    return files.image(extra=(*others, *extra), **cards)


def listed_image(wave):
    return an_image(fits.ImageHDU(wave, name="WAVELENGTH"))


def tables(wave, several=0):
    made = {"wave": wave, **files.pixels()}
    del made["loglam"]
    if several:
        made = {name: np.tile(values, (several, 1)) for name, values in made.items()}
    return files.written(fits.PrimaryHDU(), files.table(made))


@pytest.mark.parametrize(
    "data",
    [
        files.spec(),
        files.spec(COEFF0=None, COEFF1=None),
        files.sp_plate()[0],
        files.sp_spec()[0],
        files.mastar()[0],
        files.ap_star()[0],
        bands(),
        an_image(CRVAL1=4000.0, CDELT1=1.5),
        an_image(CRVAL1=400.0, CDELT1=0.25, CUNIT1="nm", CRPIX1=5.0),
        an_image(CRVAL1=3.6, CD1_1=1e-4, DC__FLAG=1),
        an_image(COEFF0=3.6, COEFF1=1e-4),
        listed_image(4000 + 1.5 * np.arange(PIXELS)),
        listed_image(4000 + np.arange(PIXELS) ** 1.5),
        tables(10**LOGLAM),
        tables(4000 + 1.5 * np.arange(PIXELS), 3),
        tables(4000 + np.arange(PIXELS) ** 1.5, 3),
    ],
)
def test_wavelengths_that_fall_give_the_rows_of_those_that_increase(data):
    expected, rows = taken(data), taken(files.falling(data))
    for theirs, ours in zip(
        expected["sdss.spectra_manifest"], rows["sdss.spectra_manifest"], strict=True
    ):
        assert ours["notes"] == "; ".join(filter(None, [theirs["notes"], TURNED]))
    for table in ("sdss.spectra", "sdss.spectra_metadata"):
        for theirs, ours in zip(expected[table], rows[table], strict=True):
            assert ours.keys() == theirs.keys()
            for name, value in theirs.items():
                if isinstance(value, float):
                    assert ours[name] == pytest.approx(value, rel=1e-14), name
                else:
                    np.testing.assert_array_equal(ours[name], value, err_msg=name)
    hashes = [[row["result_hash"] for row in r["sdss.loading_log"]] for r in (expected, rows)]
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("reference", [1.0, 31.0, -4.5])
@pytest.mark.parametrize(
    "cards",
    [
        {"CRVAL1": 6500.0, "CDELT1": -1.25, "CTYPE1": "WAVE", "CUNIT1": "Angstrom"},
        {"CRVAL1": 650.0, "CDELT1": -0.125, "CTYPE1": "AWAV", "CUNIT1": "nm"},
        {"CRVAL1": 6500.0, "CDELT1": -1.25, "CTYPE1": "WAVE-LOG", "CUNIT1": "Angstrom"},
    ],
)
def test_rows_of_an_image_share_an_axis_that_falls_as_astropy_has_it(cards, reference):
    header = fits.Header(cards | {"CRPIX1": reference})
    wavelength = 1e10 * WCS(header, naxis=1).all_pix2world(np.arange(PIXELS), 0)[0]
    table = read_spectrum(files.image(FLUXES, **header))
    assert table["spec_id"].to_pylist() == [f"<bytes>-{n}" for n in (1, 2, 3)]
    for row, flux in zip(table.to_pylist(), FLUXES, strict=True):
        np.testing.assert_array_equal(row["flux"], flux[::-1])
        np.testing.assert_allclose(row["wavelength"], wavelength[::-1], rtol=1e-13)
        assert np.diff(row["wavelength"]).min() > 0


def test_rows_of_a_table_fall_or_increase_or_do_neither():
    rising = 4000 + 1.5 * np.arange(PIXELS)
    neither = np.append(rising[::2], rising[::-2])
    data = files.written(
        fits.PrimaryHDU(),
        files.table({"wave": np.array([rising, rising[::-1], neither]), "flux": FLUXES}),
    )
    rows = taken(data)
    for row, flux in zip(rows["sdss.spectra"], (FLUXES[0], FLUXES[1][::-1]), strict=True):
        assert (row["crval1"], row["cd1_1"]) == (4000.0, 1.5)
        np.testing.assert_array_equal(row["flux"], flux)
    assert [row["notes"] for row in rows["sdss.spectra_manifest"]] == [None, TURNED]
    (rejected,) = rows["rejected"]
    assert rejected["file_row"] == 3
    assert "HDU 1, row 3: wavelength solution: wavelength does not" in rejected["reason"]


@pytest.mark.parametrize("name", ["wave", "loglam", "other"])
def test_rows_of_a_table_without_pixels_are_rejected(name):
    wave, flux = np.empty(3, object), np.empty(3, object)
    for row, pixels in enumerate((5, 0, 3)):
        wave[row] = (np.log10 if name == "loglam" else np.array)(4000 + np.arange(float(pixels)))
        flux[row] = np.ones(pixels)
    columns = [fits.Column(n, "PD()", array=a) for n, a in ((name, wave), ("flux", flux))]
    rows = taken(files.written(fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)))
    assert [row["n_pixels"] for row in rows["sdss.spectra"]] == [5, 3]
    assert rows["rejected"] == [
        {"file_row": 2, "reason": "HDU 1, row 2: the spectrum has no pixels"}
    ]


@pytest.mark.parametrize("pixels", [1, 2])
def test_spectra_of_a_pixel_or_two_that_fall(pixels):
    wave, flux = np.array([5000.0, 4000.0][:pixels]), FLUXES[0][:pixels]
    listed = files.table({"wave": wave, "flux": flux})
    image = fits.PrimaryHDU()
    image.header.update(CRVAL1=5000.0, CDELT1=-1000.0)
    headed = files.written(image, files.table({"flux": flux}))
    for data in (files.written(fits.PrimaryHDU(), listed), headed):
        (row,) = read_spectrum(data).to_pylist()
        assert row["wavelength"] == wave[::-1].tolist()
        assert row["flux"] == flux[::-1].tolist()


def bad_pixels(**changes):
    return files.pixels() | {name: np.full(PIXELS, value, "f4") for name, value in changes.items()}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not a FITS file"),
        (b"wave,flux\n4000,1\n", "not a FITS file"),
        (files.spec()[:9000], "cut off"),
        (files.written(fits.PrimaryHDU()), "not a spectrum.*HDU 0 without data"),
        (
            files.written(fits.PrimaryHDU(), files.table({"ra": [1.0], "z": [0.1]})),
            "not a spectrum.*HDU 1 a table of ra, z",
        ),
        (
            files.written(fits.PrimaryHDU(), files.table({"ra": [1.0], "flux": [0.1]})),
            "not a spectrum",
        ),
        (files.image(np.ones((40, 30), "f4"), CTYPE1="RA---TAN"), "not an axis of wavelength"),
        (files.image(np.ones((40, 30), "f4")), "without a wavelength solution"),
        (files.spec({n: v[:0] for n, v in files.pixels().items()}), "HDU 1.*no rows"),
        (files.spec(bad_pixels(ivar=0)), "HDU 1.*ivar > 0"),
        (files.spec(bad_pixels(ivar=np.nan)), "HDU 1.*ivar > 0"),
        (files.spec(bad_pixels(flux=np.nan)), "flux is not finite in any of 60 pixels"),
        (files.spec(bad_pixels(loglam=np.nan)), "loglam of pixel 1 is not finite"),
        (files.spec(bad_pixels(loglam=3.6)), "loglam does not increase at pixel 2"),
        (
            files.spec(
                files.pixels() | {"loglam": np.append(LOGLAM[-9:], LOGLAM[-10::-1]).astype("f4")}
            ),
            "loglam does not fall at pixel 2",
        ),
        (
            files.spec(files.pixels() | {"loglam": (9 + LOGLAM).astype("f4")}),
            "expected 2 to 6",
        ),
        (files.image(CRVAL1=4000.0, CDELT1=0.0), "the step is 0.0, and wavelengths do not change"),
        (files.image(CRVAL1=4000.0, CDELT1=-1e-20), "the step is -1e-20, and wavelengths do not"),
        (files.image(CRVAL1=4000.0, CDELT1=-90.0), "go from 4000 to -1310 Angstrom, expected 100"),
        (files.image(CRVAL1=2e6, CDELT1=-1e5), "go from 2e.06 to -3.9e.06 Angstrom, expected 100"),
        (files.image(CRVAL1=5e5, CDELT1=-10.0, CUNIT1="m-1"), "unit of the wavelength is 'm-1'"),
        (files.image(CRVAL1=5e14, CDELT1=-1e9, CTYPE1="FREQ"), "CTYPE1 is 'FREQ': not an axis of"),
        (
            files.written(
                fits.PrimaryHDU(
                    np.ones((3, 9)),
                    fits.Header({"CTYPE1": "MULTISPE", "WAT0_001": "system=multispec"}),
                )
            ),
            r"the wavelengths of \(3, 9\) pixels are in WAT2",
        ),
        (files.image(CRVAL1=3.6, CDELT1=1e-4), "expected 100 to 1e"),
        (
            files.image(CRVAL1=0.0, CDELT1=1.0, CTYPE1="WAVE-LOG"),
            "CRVAL1 is 0, expected a positive",
        ),
        (files.image(CRVAL1=-9.0, CDELT1=1.0, CTYPE1="AWAV-LOG"), "CRVAL1 is -9, expected a posit"),
        (files.image(CRVAL1=4000.0, CDELT1=1.0, CUNIT1="Hz"), "unit of the wavelength is 'Hz'"),
        (files.image(COEFF0=3.6, COEFF1=0.0), "coeff1 is 0.0, and wavelengths do not change"),
        (files.image(COEFF0=3.6, COEFF1=-0.1), "goes from 3.6 to -2.3, expected 2 to 6"),
        (files.image(COEFF0="blue", COEFF1=1e-4), "COEFF0 is 'blue', expected a number"),
        (
            files.image(
                extra=(fits.ImageHDU(np.ones(9, "f4"), name="IVAR"),), CRVAL1=4000.0, CDELT1=1.0
            ),
            r"HDU 1: IVAR has the shape \(9,\), the flux \(60,\)",
        ),
        (
            files.written(
                fits.PrimaryHDU(),
                fits.ImageHDU(np.linspace(3600, 5800, 60), name="B_WAVELENGTH"),
                fits.ImageHDU(np.ones((5, 60), "f4"), name="B_FLUX"),
            ),
            "HDU 1: B_WAVELENGTH holds wavelengths, not fluxes",
        ),
    ],
)
def test_what_is_no_spectrum_is_refused_with_the_reason(data, problem):
    with pytest.raises(InputError, match=rf"^spectrum.fits: .*{problem}"):
        taken(data)
