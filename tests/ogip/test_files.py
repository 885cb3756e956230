"""Files become rows of the lake's tables, and nothing of them is lost."""

import gzip

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits

import lake
from lake.errors import InputError
from lake.home import Source
from lake.ingest import ingest
from lake.ogip import ROLES, files
from lake.ogip.cells import join
from tests.ogip import hdus


def records(*made, path="/in/x.fits", data=None):
    return files.records(hdus.registered(path), data or hdus.content(*made))


def test_a_spectrum_and_its_energies():
    gti = hdus.table({"START": ("D", [0.0]), "STOP": ("D", [9.0])}, {"EXTNAME": "GTI"})
    rows = records(hdus.pha(), hdus.ebounds(size=4), gti)
    [spectrum] = rows["ogip.spectra"]
    assert spectrum["spec_id"] == "x.fits-01234567"
    assert spectrum["path"] == "/in/x.fits"
    assert (spectrum["hdu"], spectrum["ebounds_id"]) == (1, "x.fits-01234567-2")
    [energies] = rows["ogip.ebounds"]
    assert (energies["ebounds_id"], energies["hdu"]) == ("x.fits-01234567-2", 2)
    found = [(h["hdu"], h["content"], h["n_rows"], h["typed_columns"]) for h in rows["ogip.hdus"]]
    assert found == [
        (0, "other", None, None),
        (1, "spectrum", 4, ["CHANNEL", "COUNTS"]),
        (2, "ebounds", 4, ["E_MIN", "E_MAX", "CHANNEL"]),
        (3, "other", 1, None),
    ]
    assert rows["ogip.hdus"][1]["data"] is None
    assert rows["ogip.hdus"][3]["data"] == np.array([0.0, 9.0], ">f8").tobytes()
    assert "ogip.redistribution" not in rows
    assert "rejected" not in rows


def test_energies_of_another_detector_are_not_those_of_the_spectrum():
    [spectrum] = records(hdus.pha(), hdus.ebounds(size=5))["ogip.spectra"]
    assert spectrum["ebounds_id"] is None
    assert spectrum["warnings"] == ["EBOUNDS has 5 channels, the spectrum 4"]


def test_channels_count_as_in_the_energies_where_the_spectrum_does_not_say():
    spectrum = hdus.pha({"COUNTS": ("J", [1, 2, 3, 4])})
    [row] = records(spectrum, hdus.ebounds(0, 4))["ogip.spectra"]
    assert row["first_channel"] == 0
    [row] = records(spectrum)["ogip.spectra"]
    assert row["first_channel"] is None


def test_source_and_background_in_one_file():
    rows = records(hdus.pha(), hdus.pha(HDUCLAS2="BKG"))["ogip.spectra"]
    assert [(row["spec_id"], row["content"]) for row in rows] == [
        ("x.fits-01234567-1", "TOTAL"),
        ("x.fits-01234567-2", "BKG"),
    ]


def test_type_ii_rows_have_their_own_names():
    columns = {"COUNTS": ("2J", [[1, 2], [3, 4]]), "EXPOSURE": ("E", [1.0, 2.0])}
    rows = records(hdus.pha(columns))["ogip.spectra"]
    assert [row["spec_id"] for row in rows] == ["x.fits-01234567-1.1", "x.fits-01234567-1.2"]


def test_several_matrices_and_their_energies():
    made = [hdus.ebounds(), hdus.matrix(EXTVER=1), hdus.matrix(hdus_two(), EXTVER=2)]
    rows = records(*made)
    assert [r["response_id"] for r in rows["ogip.responses"]] == [
        "x.fits-01234567-2",
        "x.fits-01234567-3",
    ]
    assert {r["ebounds_id"] for r in rows["ogip.responses"]} == {"x.fits-01234567-1"}
    assert [r["file_row"] for r in rows["ogip.responses"]] == [1, 2]
    table = rows["ogip.redistribution"]
    assert isinstance(table, pa.Table)
    assert table["bin"].to_pylist() == [1, 2, 3, 1, 2, 3]
    assert table["response_id"].to_pylist()[2:4] == ["x.fits-01234567-2", "x.fits-01234567-3"]


def hdus_two() -> dict:
    return {"MATRIX": ("PE()", hdus.ragged([[0.5, 0.25], [0.125, 0.5, 0.25], []]))}


def test_each_matrix_takes_the_energies_of_its_version():
    made = [hdus.matrix(EXTVER=1), hdus.ebounds(EXTVER=1), hdus.matrix(EXTVER=2),
            hdus.ebounds(EXTVER=2)]  # fmt: skip
    found = [r["ebounds_id"] for r in records(*made)["ogip.responses"]]
    assert found == ["x.fits-01234567-2", "x.fits-01234567-4"]


def test_what_cannot_be_taken_does_not_hold_up_the_rest():
    bad = hdus.matrix({"F_CHAN": ("PI()", hdus.ragged([[1], [1, 5], []]))})
    rows = records(hdus.ebounds(), bad, hdus.matrix())
    assert [r["hdu"] for r in rows["ogip.responses"]] == [3]
    [refused] = rows["rejected"]
    assert refused["file_row"] == 3
    assert refused["reason"].startswith("HDU 2, row 2, column 'F_CHAN': a group reaches channel 6")
    # It is kept as bytes.
    kept = rows["ogip.hdus"][2]
    assert (kept["content"], kept["typed_columns"]) == ("matrix", None)
    assert kept["heap"] is None
    assert len(kept["data"]) == 3 * bad.header["NAXIS1"] + bad.header["PCOUNT"]


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ([hdus.ebounds()],
         "has no OGIP spectrum, matrix or effective area; its HDUs are 0 'PRIMARY' (other),"
         " 1 'EBOUNDS' (ebounds)"),
        ([], "has no OGIP spectrum, matrix or effective area; its HDUs are 0 'PRIMARY' (other)"),
        ([hdus.pha(EXPOSURE=-1.0), hdus.pha({"CHANNEL": ("I", [1])})],
         "HDU 1: EXPOSURE is -1 s, expected a positive time (and 1 more)"),
    ],
)  # fmt: skip
def test_a_file_with_nothing_to_take_is_refused(made, reason):
    with pytest.raises(InputError) as caught:
        records(*made)
    assert caught.value.reason == reason


def test_a_cell_that_is_no_text_is_named():
    columns = {"COUNTS": ("2J", [[1, 2], [3, 4]]), "BACKFILE": ("9A", ["x", "caf?.bak"])}
    data = hdus.content(hdus.pha(columns)).replace(b"caf?.bak", b"caf\xe9.bak")
    with pytest.raises(InputError, match=r"HDU 1, row 2, column 'BACKFILE': text .* is neither"):
        records(data=data)


def test_a_table_of_groups_is_refused():
    with pytest.raises(InputError, match="HDU 1: GCOUNT is 2, expected 1 for a table"):
        records(data=hdus.content(hdus.pha()).replace(b"%20d / n" % 1, b"%20d / n" % 2))


def test_a_file_that_is_cut_off_is_refused():
    data = hdus.content(hdus.pha(), hdus.matrix())
    with pytest.raises(InputError, match="cut off"):
        records(data=data[:-4000])


def rebuilt(rows) -> bytes:
    """File made again of rows."""
    typed = {}
    for table in ("ogip.spectra", "ogip.ebounds", "ogip.effective_area"):
        for row in rows[table]:
            typed.setdefault(row["hdu"], []).append(row)
    matrices = {r["response_id"]: r["hdu"] for r in rows["ogip.responses"]}
    bins = rows["ogip.redistribution"].to_pylist() if "ogip.redistribution" in rows else []
    for row in bins:
        typed.setdefault(matrices[row["response_id"]], []).append(row)
    parts = []
    for hdu in rows["ogip.hdus"]:
        cells = {
            name: np.concatenate([np.atleast_1d(r[column(r, name)]) for r in typed[hdu["hdu"]]])
            for name in hdu["typed_columns"] or ()
        }
        parts.append(join(hdu["header"].decode(), cells, hdu["data"], hdu["heap"]))
    return b"".join(parts)


def column(row, name: str) -> str:
    by_channel = f"{name.lower()}_channel"
    return by_channel if by_channel in row else name.lower()


def test_files_can_be_made_again_byte_for_byte():
    odd = hdus.pha(
        {"CHANNEL": ("E", [0, 1]), "PI": ("D", [0.5, 1.5]), "COUNTS": ("I", [0, 40000]),
         "BACKSCAL": ("E", [1, 2]), "LABEL": ("3A", ["a", "b"])},
        formats={"bzero": {"COUNTS": 32768}},
    )  # fmt: skip
    nulls = hdus.pha(
        {"COUNTS": ("I", np.array([1, -1], "i2")), "STAT_ERR": ("E", [np.nan, 1])},
        formats={"null": {"COUNTS": -1}},
    )
    two = hdus.pha({"COUNTS": ("PJ()", hdus.ragged([[1, 2, 3], [4, 5]])),
                    "BACKFILE": ("9A", ["x", "none"]), "EXPOSURE": ("E", [1, 2])})  # fmt: skip
    fixed = hdus.matrix({"F_CHAN": ("2I", [[1, 7], [1, 4], [9, 9]]),
                         "N_CHAN": ("2I", [[2, 7], [1, 2], [9, 9]])})  # fmt: skip
    primary = fits.PrimaryHDU(np.arange(12, dtype=">i2").reshape(3, 4))
    data = hdus.content(
        hdus.pha(), odd, nulls, two, hdus.ebounds(), hdus.matrix(), fixed,
        hdus.arf(energy="eV"), hdus.arf(), primary=primary,
    )  # fmt: skip
    rows = records(data=data)
    assert "rejected" not in rows
    assert rebuilt(rows) == data


def test_headers_beyond_ascii_are_kept():
    data = hdus.content(hdus.pha())
    data = data.replace(b"TELESCOP= 'TEST", b"TELESCOP= '\xe9t\xe9 ")
    rows = records(data=data)
    header = rows["ogip.hdus"][1]["header"].decode()
    assert "TELESCOP= 'été " in header
    assert rebuilt(rows) == data


def test_ingest(tmp_path):
    """What is OGIP is in the lake, what is not is refused with its reason, equal files are one."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    good = hdus.content(hdus.pha())
    (folder / "x.pha").write_bytes(good)
    (folder / "sub" / "copy.pha").write_bytes(good)
    (folder / "no_ending").write_bytes(hdus.content(hdus.matrix(), hdus.ebounds()))
    (folder / "A.FTZ").write_bytes(gzip.compress(hdus.content(hdus.arf())))
    (folder / "notes.txt").write_text("about these files")
    (folder / "empty.fits").write_bytes(b"")
    (folder / "cut.pha").write_bytes(good[:3000])
    (folder / "gone.pha").write_bytes(hdus.content(hdus.pha(RESPFILE="gone.rmf", EXPOSURE=-1)))
    home = lake.open(tmp_path / "home")
    home.add(Source("ogip", "R", "spectra", (folder,)))
    outcome = ingest(home, "ogip", "R")
    reasons = {r.file.path.name: r.reason for r in outcome.rejected}
    assert set(reasons) == {"notes.txt", "empty.fits", "cut.pha", "gone.pha"}
    assert "does not begin with SIMPLE" in reasons["notes.txt"]
    assert reasons["gone.pha"] == "HDU 1: EXPOSURE is -1 s, expected a positive time"
    count = {
        t: home.sql(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ROLES["spectra"].tables
    }
    assert count == {
        "ogip.hdus": 2 + 3 + 2, "ogip.spectra": 1, "ogip.ebounds": 1, "ogip.responses": 1,
        "ogip.redistribution": 3, "ogip.effective_area": 1,
    }  # fmt: skip
    row = home.sql("SELECT n_grp, f_chan, n_chan, matrix FROM ogip.redistribution WHERE bin = 2")
    assert row.fetchall() == [(2, [1, 4], [1, 2], [0.125, 0.5, 0.25])]
    assert ingest(home, "ogip", "R").snapshot is None
