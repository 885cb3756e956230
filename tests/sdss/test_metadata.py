"""Merging of the keywords of a spectrum's file."""

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from lake.inputs import InputFile
from lake.sdss.wavelengths import SPEED_OF_LIGHT_KMS
from tests.sdss import files
from tests.sdss.files import SPECOBJ


def metadata(data, **options):
    file = InputFile(Path("spectrum.fits"), "sdss", "DR17", "spectra", options, 0, 0, "ab" * 32)
    rows = files.rows(file, data)
    row = rows["sdss.spectra_metadata"][0]
    row["sources"] = json.loads(row["keyword_sources"])
    return row


def without(*names, **changes):
    return {k: v for k, v in SPECOBJ.items() if k not in names} | changes


def test_every_column_and_where_it_comes_from():
    row = metadata(files.spec())
    expected = {
        "obj_id": ("1237663782588645590", "HDU 2 BESTOBJID"),
        "plate": (390, "HDU 2 PLATE"),
        "mjd": (51900, "HDU 2 MJD"),
        "fiber": (282, "HDU 2 FIBERID"),
        "instrument": ("SDSS", "HDU 2 INSTRUMENT"),
        "exptime_s": (9900.0, "HDU 0 EXPTIME"),
        "ra_deg": (10.5, "HDU 2 PLUG_RA"),
        "dec_deg": (-1.25, "HDU 2 PLUG_DEC"),
        "heliocentric_corr_applied": (True, "HDU 0 HELIO_RV"),
        "sn_median": (21.5, "HDU 2 SN_MEDIAN_ALL"),
        "sn_per_pixel": (21.5, "HDU 2 SN_MEDIAN_ALL"),
        "wavelength_frame": ("vacuum", "HDU 0 VACUUM"),
        "data_release": ("26", "HDU 2 RUN2D"),
        "object_class": ("STAR", "HDU 2 CLASS"),
        "object_subclass": ("F3/F5V (30743)", "HDU 2 SUBCLASS"),
        "z": (float(np.float32(1e-4)), "HDU 2 Z"),
        "z_err": (float(np.float32(1e-5)), "HDU 2 Z_ERR"),
        "z_warning": (4, "HDU 2 ZWARNING"),
        "n_exposures": (22, "HDU 0 NEXP"),
        "z_or_rv_kms": (float(np.float32(1e-4)) * SPEED_OF_LIGHT_KMS, "HDU 2 Z * 299792.458"),
        "mask_frac_bad": (pytest.approx(0.1), "computed from and_mask and ivar"),
    }
    found = {column: (row[column], row["sources"][column]) for column in expected}
    assert found == expected
    assert row["flux_unit"] == "1E-17 erg/cm^2/s/Ang"
    assert json.loads(row["quality_flags"]) == {
        "ZWARNING": 4, "ANYANDMASK": 8388608, "ANYORMASK": 8388672, "QUALITY": "excellent",
    }  # fmt: skip


def test_sources_name_columns_of_the_tables_only():
    row = metadata(files.mastar(1)[0])
    assert row["sources"].keys() <= row.keys() | {"survey"}
    assert row["sources"]["obj_id"] == "HDU 1 MANGAID"


def test_positions_are_never_the_plates():
    row = metadata(files.spec(row=None))
    assert (row["ra_deg"], row["sources"]["ra_deg"]) == (10.5, "HDU 0 PLUG_RA")
    row = metadata(files.spec(row=None, PLUG_RA=None, PLUG_DEC=None))
    assert row.get("ra_deg") is None
    assert row.get("dec_deg") is None


def test_headers_without_a_plate_give_positions():
    row = metadata(files.image(RA=12.5, DEC=-3.0, CRVAL1=4000.0, CDELT1=1.0))
    assert (row["ra_deg"], row["dec_deg"]) == (12.5, -3.0)


def test_without_a_row_the_header_counts():
    row = metadata(files.spec(row=None))
    assert (row["plate"], row["sources"]["plate"]) == (390, "HDU 0 PLATEID")
    assert row["instrument"] == "SDSS 2.5-M"
    assert row["data_release"] == "DR17"
    assert row["sources"]["data_release"] == "registration"
    expected = files.pixels()
    ratio = np.median(expected["flux"] * np.sqrt(expected["ivar"]))
    assert row["sn_median"] == pytest.approx(float(ratio), rel=1e-6)
    assert row["sources"]["sn_median"] == "computed from flux and ivar"


def test_aliases_go_in_their_order():
    row = metadata(files.spec(row=without("BESTOBJID", OBJECT="a star", MANGAID="7-1")))
    assert (row["obj_id"], row["sources"]["obj_id"]) == ("7-1", "HDU 2 MANGAID")
    row = metadata(files.spec(VHELIO=-12.5))
    # The row is asked before the header, whatever they call it.
    assert row["sources"]["z_or_rv_kms"] == "HDU 2 Z * 299792.458"
    row = metadata(files.spec(row=without("Z"), VHELIO=-12.5, Z=0.1))
    assert (row["z_or_rv_kms"], row["sources"]["z_or_rv_kms"]) == (-12.5, "HDU 0 VHELIO")


def test_blank_cells_give_way_to_the_next_alias():
    row = metadata(files.spec(row=without(BESTOBJID=" ", TARGETOBJID=" 11278 ")))
    assert (row["obj_id"], row["sources"]["obj_id"]) == ("11278", "HDU 2 TARGETOBJID")
    row = metadata(files.spec(row=without(BESTOBJID=" ")))
    assert row["obj_id"] == "94-301-1-26-85"


@pytest.mark.parametrize("value", [np.nan, -999.0, -9999.0, np.inf])
def test_what_stands_for_no_value_is_null(value):
    row = metadata(files.spec(row=without(Z=np.float32(value), Z_ERR=np.float32(-1))))
    assert row.get("z") is None
    assert row.get("z_err") is None
    assert row.get("z_or_rv_kms") is None


def test_a_code_of_64_bits_is_no_plate():
    row = metadata(files.spec(row=without("PLATE", PLATEID=np.int64(439120921251538944))))
    assert (row["plate"], row["sources"]["plate"]) == (390, "HDU 0 PLATEID")


SFD98 = np.array([5.155, 3.793, 2.751, 2.086, 1.479], "f4")
SF11 = np.array([4.239, 3.303, 2.285, 1.698, 1.263], "f4")


@pytest.mark.parametrize(("law", "name"), [(SFD98, "SFD98"), (SF11, "SF11")])
def test_extinctions_are_divided_by_the_law_they_were_made_with(law, name):
    row = metadata(files.spec(row=without(EXTINCTION=law * np.float32(0.04))))
    assert row["ebv_sfd"] == pytest.approx(0.04, rel=1e-6)
    assert name in row["sources"]["ebv_sfd"]


def test_reddening_from_keywords():
    row = metadata(files.spec(A_V=0.31))
    assert row["ebv_sfd"] == pytest.approx(0.1)
    assert row["sources"]["ebv_sfd"] == "HDU 0 A_V / 3.1"
    assert metadata(files.spec(A_V=0.31, EBV=0.2))["ebv_sfd"] == 0.2
    assert metadata(files.spec()).get("ebv_sfd") is None


@pytest.mark.parametrize(
    ("cards", "frame"),
    [
        ({"VACUUM": True}, "vacuum"),
        ({"VACUUM": False}, "air"),
        ({"VACUUM": 1}, "vacuum"),
        ({"VACUUM": None, "AIRORVAC": "vac"}, "vacuum"),
        ({"VACUUM": None, "AIRORVAC": "air"}, "air"),
        ({"VACUUM": None, "WAVEFORM": "Vacuum"}, "vacuum"),
        ({"VACUUM": None}, None),
    ],
)
def test_air_or_vacuum(cards, frame):
    assert metadata(files.spec(**cards))["wavelength_frame"] == frame


@pytest.mark.parametrize(
    ("cards", "applied"),
    [
        ({"HELIO_RV": 0.0}, True),
        ({"HELIO_RV": None, "HELIO": True}, True),
        ({"HELIO_RV": None, "HELIOCOR": "F"}, False),
        ({"HELIO_RV": None}, None),
    ],
)
def test_heliocentric_correction(cards, applied):
    assert metadata(files.spec(**cards)).get("heliocentric_corr_applied") is applied


@pytest.mark.parametrize("keyword", ["SPECRES", "SPEC_RES"])
def test_resolving_power(keyword):
    row = metadata(files.spec(**{keyword: 1800.0}))
    assert (row["resolution_r"], row["resolution_source"]) == (1800.0, "keyword")
    columns = files.pixels()
    columns["wdisp"][::7] = 0
    sigma = np.median(columns["wdisp"][columns["wdisp"] > 0])
    row = metadata(files.spec(columns))
    # lambda / FWHM on a log10 grid, FWHM = 2 sqrt(2 ln 2) sigma
    expected = 1 / (np.log(10) * 1e-4 * sigma * 2.3548200450309493)
    assert row["resolution_r"] == pytest.approx(expected, rel=1e-6)
    assert "wdisp" in row["resolution_source"]


def test_what_is_registered():
    row = metadata(
        files.spec(), retrieval_date="2024-05-01", survey_wavelength_calibrated="false",
        survey_flux_calibrated="yes", post_processing_steps="none", calibration_references="B12",
    )  # fmt: skip
    names = ("retrieval_date", "survey_wavelength_calibrated", "survey_flux_calibrated",
             "post_processing_steps", "calibration_references")  # fmt: skip
    assert tuple(row[n] for n in names) == ("2024-05-01", False, True, "none", "B12")


def test_scaled_columns_and_columns_with_nulls_are_read_as_they_are_meant():
    file = fits.HDUList.fromstring(files.spec(row=without(MJD=np.int32(25950))))
    names = file[2].columns.names
    file[2].header[f"TSCAL{names.index('MJD') + 1}"] = 2.0
    file[2].header[f"TNULL{names.index('ZWARNING') + 1}"] = 4
    about = metadata(files.written(*file))
    assert about["mjd"] == 51900
    assert about.get("z_warning") is None
