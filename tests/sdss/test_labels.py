"""Label catalogues in the shapes in which they come, and what spectra get from them."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from lake import contracts
from lake.conform import conform
from lake.errors import InputError
from lake.formats import read_table
from lake.formats.fits_write import write_fits
from lake.formats.votable_write import write_votable
from lake.inputs import InputFile
from lake.sdss.label_catalogue import LABELS_ROLE, radius_arcsec, read_labels
from lake.sdss.labels import match, unmatched

Row = dict[str, Any]


def registered(path: Path, **options: str) -> InputFile:
    return InputFile(path, "sdss", "R", "labels", options, 0, 0, path.name)


def read(path: Path, **options: str) -> pa.Table:
    file = registered(path, **options)
    return conform(read_labels(file), file, LABELS_ROLE, {}).read_all()


def said(table: pa.Table) -> list[Row]:
    """What the rows say, without the columns that every table has."""
    table = table.drop_columns(["release", "label_source", "file_sha256", "file_row"])
    return [{k: v for k, v in row.items() if v is not None} for row in table.to_pylist()]


@pytest.fixture
def write(tmp_path):
    def write(content: str, name: str = "labels.csv") -> Path:
        (tmp_path / name).write_text(content)
        return tmp_path / name

    return write


# --- reading -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "PLATE,MJD,FIBERID,SUBCLASS\n266,51630,15,A0p\n",
            {"plate": 266, "mjd": 51630, "fiber": 15, "class_original": "A0p"},
        ),
        (
            "APOGEE_ID,TEFF,LOGG,FE_H,ASPCAPFLAG\n2M01,4000.5,2.5,-0.5,0\n",
            {
                "object_id": "2M01", "teff_k": 4000.5, "logg_cgs": 2.5, "fe_h_dex": -0.5,
                "label_quality": "0",
            },
        ),
        (
            "main_id,ra,dec,sp_type,sp_qual\nHD 1,10.5,-5.25,G2V,B\n",
            {
                "object_id": "HD 1", "ra_deg": 10.5, "dec_deg": -5.25, "class_original": "G2V",
                "label_quality": "B",
            },
        ),
        (
            "main_id,ra,dec,sp_type\nHD 1,00 42 00.0,-05 15 00,G2V\n",
            {"object_id": "HD 1", "ra_deg": 10.5, "dec_deg": -5.25, "class_original": "G2V"},
        ),
        (
            "class,url\nA0,https://x/0266/spec-0266-51630-0015.fits\n",
            {"class_original": "A0", "plate": 266, "mjd": 51630, "fiber": 15},
        ),
        (
            "spec_id,class_mk,luminosity_class\n0266-51630-0015,K3,III\n",
            {
                "object_id": "0266-51630-0015", "plate": 266, "mjd": 51630, "fiber": 15,
                "class_original": "K3", "luminosity_class": "III",
            },
        ),
    ],
)  # fmt: skip
def test_the_usual_names_are_known(write, content, expected):
    (row,) = said(read(write(content)))
    assert row == expected


def test_a_specobjid_holds_plate_mjd_and_fibre(write):
    # The second is of a plate whose number needs the highest bit; the others are none.
    path = write(
        "specObjID,subclass\n299495175003072512,F2\n11258999741427482624,A0\n12,A0\n"
        "99999999999999999999,A0\nx,A0\n"
    )
    table = read(path)
    assert table["plate"].to_pylist() == [266, 10000, None, None, None]
    assert table["mjd"].to_pylist() == [51630, 57346, None, None, None]
    assert table["fiber"].to_pylist() == [21, 2, None, None, None]
    assert table["object_id"].to_pylist()[1:3] == ["11258999741427482624", "12"]


def test_named_columns_go_before_the_usual_ones(write):
    path = write("id,name,subclass,type,T,g,z,q,L\nX1-a,n,K3,M5,3000,5,-1,good,V\n")
    options = {
        "object_field": "id", "spectral_field": "TYPE", "luminosity_field": "L", "teff_field": "T",
        "logg_field": "g", "feh_field": "z", "quality_field": "q", "source_label": "mine",
        "strip_prefix": "X", "strip_suffix": "-a",
    }  # fmt: skip
    table = read(path, **options)
    assert said(table) == [
        {
            "object_id": "1", "class_original": "M5", "luminosity_class": "V", "teff_k": 3000.0,
            "logg_cgs": 5.0, "fe_h_dex": -1.0, "label_quality": "good",
        }
    ]  # fmt: skip
    assert table["label_source"].to_pylist() == ["mine"]


def test_prefix_and_suffix_are_texts_and_go_only_where_they_are(write):
    path = write("spec_id,teff\n[a] x.fits,1\nb[a] xfits,2\n")
    table = read(path, strip_prefix="[a] ", strip_suffix=".fits")
    assert table["object_id"].to_pylist() == ["x", "b[a] xfits"]


@pytest.mark.parametrize("option", ["object_field", "spectral_field", "feh_field"])
def test_a_named_column_that_is_not_there(write, option):
    path = write("spec_id,sp_type\nA,K\n")
    with pytest.raises(InputError, match=rf"{option}=nowhere: .*the file has spec_id, sp_type"):
        read(path, **{option: "nowhere"})


def test_nothing_that_identifies(write):
    with pytest.raises(InputError, match="which spectrum a row is of"):
        read(write("subclass,plate,ra\nK3,266,10\n"))


def test_nothing_that_is_said(write):
    with pytest.raises(InputError, match="no column gives a spectral class or a parameter"):
        read(write("plate,mjd,fiberid,class\n266,51630,15,3\n"))


@pytest.mark.parametrize("given", ["0", "-1", "wide", "nan", "4000"])
def test_a_radius_that_is_none(write, given):
    with pytest.raises(InputError, match=f"radius_arcsec={given}: expected a number above 0"):
        read(write("ra,dec,sp_type\n1,2,K\n"), radius_arcsec=given)
    assert radius_arcsec(registered(Path("x"), radius_arcsec="2.5")) == 2.5
    assert radius_arcsec(registered(Path("x"))) == 1.0


def test_what_surveys_write_for_no_value_is_null(write):
    path = write(
        "plate,mjd,fiberid,name,subclass,teff,logg,feh\n"
        "266,51630,15,a, K3 ,-9999.0,-9999,-999\n"
        "-1,-1,-1,,,0,0,-0.5\n"
    )
    assert said(read(path)) == [
        {"object_id": "a", "plate": 266, "mjd": 51630, "fiber": 15, "class_original": "K3"},
        {"logg_cgs": 0.0, "fe_h_dex": -0.5},
    ]


def test_words_for_no_value_in_columns_of_numbers_are_null(write):
    path = write("spec_id,subclass,teff,feh\na,K3,NA,n/a\nb,K4,-9999,-0.5\nc,NA,4e3,-99.9\n")
    assert said(read(path)) == [
        {"object_id": "a", "class_original": "K3"},
        {"object_id": "b", "class_original": "K4", "fe_h_dex": -0.5},
        {"object_id": "c", "class_original": "NA", "teff_k": 4000.0},
    ]


def test_what_is_no_number_is_told_with_its_row(write):
    path = write("spec_id,teff\na,NA\nb,hot\n")
    with pytest.raises(InputError, match="row 2, column 'teff_k': 'hot' is not a number"):
        read(path)


def test_spectra_of_sdss_v_are_found_by_catalogue_number_or_file_name(write):
    names = (
        "spec-112360-60000-27021598150202075.fits", "/sas/15143p/spec-15143-59205-04544940698.fits",
        "spec-allepoch_apo-60000-63050396807746393.fits.gz", "spec-0266-51630-0015.fits",
    )  # fmt: skip
    table = read(write("filename,subclass\n" + "".join(f"{name},K3\n" for name in names)))
    numbers = ["27021598150202075", "4544940698", "63050396807746393", None]
    assert table["object_id"].to_pylist() == numbers
    assert table["plate"].to_pylist() == [None, None, None, 266]
    table = read(write("CATALOGID,SUBCLASS\n27021598150202075,K3\n"))
    assert table["object_id"].to_pylist() == ["27021598150202075"]


def test_a_position_that_is_none_names_its_row(write):
    path = write("ra,dec,sp_type\n00 42 00.0,-05 15 00,K\n12 61 00,-05 15 00,K\n")
    with pytest.raises(InputError, match=r"row 2, column 'ra_deg': '12 61 00' is not hh mm ss"):
        read(path)


def test_seconds_that_were_rounded_up(write):
    path = write("ra,dec,sp_type\n20:23:60.00,+00:59:60,K\n")
    (row,) = said(read(path))
    assert row["ra_deg"] == pytest.approx(306.0)
    assert row["dec_deg"] == pytest.approx(1.0)


def test_every_format(tmp_path):
    schema = pa.schema(
        [
            ("MANGAID", pa.string()),
            ("sp_type", pa.string()),
            pa.field("TEFF", pa.float32(), metadata={b"unit": b"kK"}),
        ]
    )
    rows = [("1-2", "O6.5V", 30.0), ("3-4", "B2", 20.0)]
    table = pa.Table.from_pylist(
        [dict(zip(schema.names, row, strict=True)) for row in rows], schema
    )
    write_fits(table.to_batches(), table.schema, tmp_path / "a.fits")
    write_votable(table, tmp_path / "b.vot", schema=table.schema)
    pq.write_table(table, tmp_path / "c.parquet")
    for name in ("a.fits", "b.vot", "c.parquet"):
        found = read(tmp_path / name)
        assert said(found) == [
            {"object_id": "1-2", "class_original": "O6.5V", "teff_k": 30_000.0},
            {"object_id": "3-4", "class_original": "B2", "teff_k": 20_000.0},
        ]
        assert found["label_source"].to_pylist() == [name[0], name[0]]


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "rows", "keys"),
    [
        ("sdss_dr14_star_class_lists.csv", 12497, ("plate", "mjd", "fiber")),
        ("labels/sdss_simbad_joined.csv", 9035, ("plate", "mjd", "fiber", "ra_deg", "dec_deg")),
        ("labels/ClassO_Data.fits", 1000, ("plate", "mjd", "fiber")),
        ("mastar_example_spectral_types.fits", 7, ("object_id", "ra_deg", "teff_k", "fe_h_dex")),
        ("stellar_spectra.parquet", 671, ("plate", "mjd", "fiber")),
    ],
)
def test_real_catalogues(real_data: Path, name, rows, keys):
    table = read(real_data / "sdss" / name)
    assert table.num_rows == rows
    for key in (*keys, "class_original"):
        assert table[key].null_count == 0


@pytest.mark.real
@pytest.mark.parametrize("name", ["labels/sdss_simbad_joined.csv", "labels/ClassO_Data.fits"])
def test_specobjids_of_real_catalogues(real_data: Path, tmp_path, name):
    table = read_table(real_data / "sdss" / name)
    key = [n for n in table.column_names if n.lower() in ("plate", "mjd", "fiberid")]
    pq.write_table(table.drop_columns(key), tmp_path / "without.parquet")
    found, expected = read(tmp_path / "without.parquet"), read(real_data / "sdss" / name)
    for column in ("plate", "mjd", "fiber"):
        assert found[column].equals(expected[column])


# --- matching ----------------------------------------------------------------------------------


def spectra(*rows: Row) -> pa.Table:
    schema = contracts.table("sdss.spectra_metadata").schema()
    plain = {"release": "R", "file_path": "in/spec.fits", "file_sha256": "s"}
    return pa.Table.from_pylist([plain | row for row in rows], schema)


def catalogue(*rows: Row) -> pa.Table:
    schema = contracts.table("sdss.label_catalogue").schema()
    plain = {"release": "R", "label_source": "c", "file_sha256": "f"}
    return pa.Table.from_pylist([plain | row for row in rows], schema)


def labels(
    of: pa.Table, by: pa.Table, *columns: str, radii: dict[str, float] | None = None
) -> list[tuple[Any, ...]]:
    table = match(of, by, radii_arcsec=radii)
    assert table.schema.equals(contracts.table("sdss.spectra_labels").schema())
    assert table["spec_id"].to_pylist() == of["spec_id"].to_pylist()
    return [tuple(row.values()) for row in table.select(list(columns)).to_pylist()]


def test_a_spectrum_is_found_by_each_of_its_names():
    of = spectra(
        {"spec_id": "0266-51630-0015", "plate": 266, "mjd": 51630, "fiber": 15},
        {"spec_id": "b", "obj_id": "2M01"},
        {"spec_id": "c"},
        {"spec_id": "d", "plate": 266, "mjd": 51630, "fiber": 16},
    )
    by = catalogue(
        {"object_id": "c", "class_original": "A0"},
        {"plate": 266, "mjd": 51630, "fiber": 15, "class_original": "B1"},
        {"object_id": "2M01", "class_original": "K3III (1)"},
        {"object_id": "nobody", "class_original": "M5"},
    )
    assert labels(of, by, "class_mk", "match_method") == [
        ("B1", "plate-mjd-fibre"),
        ("K3III", "spec_id"),
        ("A0", "spec_id"),
        (None, None),
    ]


def test_a_name_goes_before_plate_and_plate_before_position():
    key = {"plate": 1, "mjd": 2, "fiber": 3, "ra_deg": 10.0, "dec_deg": 20.0}
    of = spectra({"spec_id": "a", "obj_id": "o", **key})
    by_position = {"ra_deg": 10.0, "dec_deg": 20.0, "class_original": "A0"}
    by_plate = {"plate": 1, "mjd": 2, "fiber": 3, "class_original": "B0"}
    by_object = {"object_id": "o", "class_original": "F0"}
    by_name = {"object_id": "a", "class_original": "G0"}
    rows = [by_position, by_plate, by_object, by_name]
    for n, expected in ((4, "G0"), (3, "F0"), (2, "B0"), (1, "A0")):
        assert labels(of, catalogue(*rows[:n]), "class_mk") == [(expected,)]


def test_the_nearest_within_the_radius():
    arcsec = 1 / 3600
    of = spectra(
        {"spec_id": "a", "ra_deg": 0.0, "dec_deg": 60.0},
        {"spec_id": "b", "ra_deg": 359.99999, "dec_deg": 0.0},
        {"spec_id": "c", "ra_deg": 50.0, "dec_deg": 1.0},
        {"spec_id": "d", "ra_deg": None, "dec_deg": 1.0},
    )
    by = catalogue(
        # The circles of declination shrink towards the pole: here to a half.
        {"ra_deg": 1.2 * arcsec, "dec_deg": 60.0, "class_original": "K1"},
        {"ra_deg": 360 - 1.0 * arcsec, "dec_deg": 60.0, "class_original": "K2"},
        {"ra_deg": 0.00001, "dec_deg": 0.0, "class_original": "K3"},
        {"ra_deg": 50.0, "dec_deg": 1.0 + 1.01 * arcsec, "class_original": "K4"},
    )
    found = labels(of, by, "class_mk", "match_method", "separation_arcsec")
    assert [row[:2] for row in found] == [
        ("K2", "position"), ("K3", "position"), (None, None), (None, None),
    ]  # fmt: skip
    assert found[0][2] == pytest.approx(0.5, rel=1e-6)
    assert found[1][2] == pytest.approx(0.072, rel=1e-6)
    wider = labels(of, by, "class_mk", "separation_arcsec", radii={"f": 1.1})
    assert wider[2] == ("K4", pytest.approx(1.01, rel=1e-6))


def test_the_first_catalogue_with_a_class_counts():
    of = spectra(*({"spec_id": name} for name in "abcd"))
    one, two = {"file_sha256": "1"}, {"file_sha256": "2", "label_source": "second"}
    by = catalogue(
        {"object_id": "a", "class_original": "A0", "teff_k": 1.0, **one},
        {"object_id": "b", "teff_k": 2.0, **one},
        {"object_id": "c", "teff_k": 3.0, **one},
        {"object_id": "a", "class_original": "A1", **two},
        {"object_id": "b", "class_original": "A2", "label_quality": "good", **two},
        {"object_id": "c", "teff_k": 4.0, **two},
        {"object_id": "d", "class_original": "null", **two},
        {"object_id": "d", "class_original": "STAR", **two},
    )
    assert labels(of, by, "class_mk", "teff_k", "label_source", "label_quality") == [
        ("A0", 1.0, "c", None),
        ("A2", None, "second", "good"),
        (None, 3.0, "c", None),
        (None, None, None, None),
    ]


def test_of_equal_rows_the_first_with_a_class():
    of = spectra({"spec_id": "a"})
    by = catalogue(
        {"object_id": "a", "teff_k": 1.0},
        {"object_id": "a", "class_original": "A1"},
        {"object_id": "a", "class_original": "A2"},
    )
    assert labels(of, by, "class_mk", "teff_k") == [("A1", None)]


def test_the_class_is_normalised_and_the_original_kept():
    of = spectra({"spec_id": "a"}, {"spec_id": "b"}, {"spec_id": "c"})
    by = catalogue(
        {"object_id": "a", "class_original": "F3/F5V (30743)"},
        {"object_id": "b", "class_original": "K3p", "luminosity_class": "giant"},
        {"object_id": "c", "class_original": "WDmagnetic"},
    )
    columns = (
        "class_mk", "class_original", "spectral_letter", "spectral_subtype", "luminosity_class",
    )  # fmt: skip
    assert labels(of, by, *columns) == [
        ("F3V", "F3/F5V (30743)", "F", 3.0, "V"),
        ("K3III", "K3p", "K", 3.0, "III"),
        ("WDmagnetic", "WDmagnetic", None, None, None),
    ]


def test_unmatched_spectra_take_the_name_of_their_folder():
    of = spectra(
        {"spec_id": "a", "file_path": "/data/A0/spec.fits"},
        {"spec_id": "b", "file_path": "C:\\data\\M5V\\spec.fits"},
        {"spec_id": "c", "file_path": "/A0/M31/spec.fits"},
        {"spec_id": "d", "file_path": "K/spec.fits"},
        {"spec_id": "e", "file_path": "K"},
    )
    by = catalogue({"object_id": "d", "class_original": "G2"})
    assert labels(of, by, "class_mk", "label_source", "match_method") == [
        ("A0", "directory", "directory"),
        ("M5V", "directory", "directory"),
        (None, None, None),
        ("G2", "c", "spec_id"),
        (None, None, None),
    ]


def test_the_pipelines_subclass_only_where_there_is_no_catalogue():
    of = spectra(
        {"spec_id": "a", "object_class": "STAR", "object_subclass": "K3III (101673)"},
        {"spec_id": "b", "object_class": "GALAXY", "object_subclass": "STARFORMING"},
        {"spec_id": "c", "object_class": "STAR", "object_subclass": ""},
        {"spec_id": "d", "object_class": "STAR", "object_subclass": "K5", "file_path": "A0/x"},
    )
    assert labels(of, catalogue(), "class_mk", "class_original", "label_source") == [
        ("K3III", "K3III (101673)", "pipeline"),
        (None, None, None),
        (None, None, None),
        ("A0", "A0", "directory"),
    ]
    by = catalogue({"object_id": "nobody", "class_original": "A0"})
    assert labels(of, by, "class_mk")[0] == (None,)


def test_the_pipelines_subclass_of_a_sky_fibre_is_no_label():
    star = {"object_class": "STAR", "object_subclass": "K3"}
    warnings = {"good": 0, "outliers": 16, "sky": 1, "undecided": 4 | 16, "not said": None}
    of = spectra(*(star | {"spec_id": name, "z_warning": w} for name, w in warnings.items()))
    assert [found for (found,) in labels(of, catalogue(), "class_mk")] == [
        "K3", "K3", None, None, "K3",
    ]  # fmt: skip


def test_counts_for_the_record():
    of = spectra(
        {"spec_id": "a"},
        {"spec_id": "b", "ra_deg": 1.0, "dec_deg": 1.0},
        {"spec_id": "c"},
        {"spec_id": "d", "file_path": "A0/x.fits"},
    )
    by = catalogue(
        {"object_id": "a", "teff_k": 1.0},
        {"ra_deg": 1.0, "dec_deg": 1.0, "class_original": "A0"},
    )
    assert unmatched(match(of, by)) == {
        "spectra": 4, "spec_id": 1, "plate-mjd-fibre": 0, "position": 1, "directory": 1,
        "pipeline": 0, "unmatched": 1, "without class": 2,
    }  # fmt: skip
    assert unmatched(match(of.slice(0, 0), by))["spectra"] == 0


def test_against_a_plain_search():
    rng = np.random.default_rng(3)
    n, m = 300, 400
    # Around the pole, where flat geometry fails.
    ra, dec = rng.uniform(0, 360, n + m), rng.uniform(89.99, 90, n + m)
    of = spectra(*({"spec_id": str(i), "ra_deg": ra[i], "dec_deg": dec[i]} for i in range(n)))
    by = catalogue(
        *(
            {"ra_deg": ra[n + j], "dec_deg": dec[n + j], "class_original": f"A{j % 10}"}
            for j in range(m)
        )
    )
    a, d = np.radians(ra), np.radians(dec)
    haversine = (
        np.sin((d[:n, None] - d[n:]) / 2) ** 2
        + np.cos(d[:n, None]) * np.cos(d[n:]) * np.sin((a[:n, None] - a[n:]) / 2) ** 2
    )
    distance = np.degrees(2 * np.arcsin(np.sqrt(haversine))) * 3600
    found = match(of, by, radii_arcsec={"f": 1.0})
    nearest = distance.min(axis=1)
    within = nearest < 1.0
    assert 30 < within.sum() < n
    assert pc.is_valid(found["class_mk"]).to_pylist() == within.tolist()
    got = np.array(found["separation_arcsec"].to_pylist(), float)
    np.testing.assert_allclose(got[within], nearest[within], atol=1e-6)
    expected = [f"A{j % 10}" for j in distance.argmin(axis=1)[within]]
    assert [c for c in found["class_mk"].to_pylist() if c] == expected


@pytest.mark.real
def test_class_lists_and_the_stars_they_list(real_data: Path):
    lists = read(real_data / "sdss" / "sdss_dr14_star_class_lists.csv")
    stars = pq.read_table(
        real_data / "sdss" / "stellar_spectra.parquet",
        columns=["plate", "mjd", "fiberid", "subclass"],
    )
    names = pa.array([f"star {i}" for i in range(stars.num_rows)])
    of = stars.rename_columns(["plate", "mjd", "fiber", "object_subclass"])
    of = of.append_column("spec_id", names)
    for name in ("release", "file_path", "file_sha256"):
        of = of.append_column(name, pa.repeat("x", of.num_rows))
    found = match(of, lists)
    counts = unmatched(found)
    assert counts["spectra"] == 671
    assert counts["plate-mjd-fibre"] > 600
    matched = pc.equal(found["match_method"], "plate-mjd-fibre")
    same = pc.equal(found["class_original"], stars["subclass"])
    assert pc.all(same.filter(matched)).as_py()
