"""All real files: each is taken or refused for a true reason, with the numbers of astropy."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

import lake
from lake.errors import InputError
from lake.home import Home, Source
from lake.ingest import ingest
from lake.ogip import pairing, read_rmf

pytestmark = [pytest.mark.real, pytest.mark.slow]

NOT_OGIP = {
    "expected_bayspec.json": "is not a FITS file",
    "12845.wfef": "has no OGIP spectrum, matrix or effective area",
    "acisf07999_000N001_r0035_reg3.fits": "has no OGIP spectrum, matrix or effective area",
    "acisf08478_000N001_r0043_reg3.fits": "has no OGIP spectrum, matrix or effective area",
    **{
        f"{mission}-ebounds-lut.fits": "has no OGIP spectrum, matrix or effective area"
        for mission in ("bepposax", "einstein", "halosat", "maxi", "nustar", "rxte", "xmm")
    },
}
#: A row of a Fermi GBM file has a negative exposure, and no counts.
BAD_ROWS = {"glg_cspec_n3_bn080916009_v01.pha": [1146]}


@pytest.fixture(scope="module")
def folder(real_data) -> Path:
    return real_data / "ogip"


@pytest.fixture(scope="module")
def ingested(folder, tmp_path_factory) -> tuple[Home, Any]:
    home = lake.open(tmp_path_factory.mktemp("real") / "home")
    home.add(Source("ogip", "R", "spectra", (folder,)))
    return home, ingest(home, "ogip", "R")


def opened(path: str) -> fits.HDUList:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fits.open(path, memmap=False)


def rows_of(home: Home, table: str, columns: str = "*") -> list[dict[str, Any]]:
    return home.store.arrow(f"SELECT {columns} FROM ogip.{table} ORDER BY path, hdu").to_pylist()


def test_every_ogip_file_is_taken_and_nothing_else(ingested, folder):
    home, outcome = ingested
    reasons = {r.file.path.name: r.reason for r in outcome.rejected}
    assert set(reasons) == set(NOT_OGIP)
    assert all(reasons[name].startswith(text) for name, text in NOT_OGIP.items())
    there = [p for p in folder.rglob("*") if p.is_file()]
    equal = 1  # bayspec/LE/le2.arf and heapy/wxt/spectrum/ep.arf
    assert len(outcome.committed) + len(reasons) + equal == len(there)
    partly = {r.file.path.name: r.reason for r in outcome.partly_rejected}
    assert partly == {
        "glg_cspec_n3_bn080916009_v01.pha": "1 row left out: row 3: HDU 2, row 1146: EXPOSURE is"
        " -0.0144027 s, expected a positive time"
    }
    # Told apart by astropy, as files that hold the columns of a kind.
    kinds = {
        "spectra": {"COUNTS", "RATE"},
        "responses": {"MATRIX"},
        "effective_area": {"SPECRESP"},
    }
    for table, columns in kinds.items():
        expected = set()
        for path in (p for p in there if p.name not in NOT_OGIP):
            with opened(str(path)) as file:
                tables = [(i, hdu) for i, hdu in enumerate(file) if not hdu.is_image]
                expected |= {
                    (str(path), i)
                    for i, hdu in tables
                    if columns & {c.upper() for c in hdu.columns.names}
                }
        found = {(r["path"], r["hdu"]) for r in rows_of(home, table, "path, hdu")}
        missing = {Path(path).name for path, _ in expected - found}
        assert missing <= {"ep.arf", "le2.arf"}
        assert found <= expected


def test_spectra_have_the_numbers_that_astropy_reads(ingested):
    home, _ = ingested
    lists = ("channel", "counts", "rate", "stat_err", "sys_err", "quality", "grouping")
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows_of(home, "spectra"):
        found.setdefault((row["path"], row["hdu"]), []).append(row)
    assert len(found) == 125
    for (path, hdu), rows in found.items():
        with opened(path) as file:
            data, header = file[hdu].data, file[hdu].header
            names = {name.upper() for name in data.columns.names}
            several = data["COUNTS" if "COUNTS" in names else "RATE"].ndim > 1
            bad = BAD_ROWS.get(Path(path).name, [])
            numbers = set(range(1, len(data) + 1)) - set(bad) if several else {None}
            assert {row["row"] for row in rows} == numbers
            assert len(rows) == len(numbers)
            for row in rows:
                for column in (c for c in lists if c.upper() in names):
                    cells = np.asarray(data[column.upper()], float)
                    if several:
                        cells = cells[row["row"] - 1]
                    if cells.ndim:
                        assert np.array_equal(np.array(row[column], float), cells, equal_nan=True)
                exposure = header.get("EXPOSURE")
                if "EXPOSURE" in names:
                    exposure = data["EXPOSURE"][row["row"] - 1]
                assert row["exposure"] == exposure
                assert row["n_channels"] == len(row["counts"] or row["rate"])


def dense(hdu: fits.BinTableHDU, first: int, channels: int) -> np.ndarray:
    """Group by group, as the standard describes it."""
    matrix = np.zeros((len(hdu.data), channels))
    for i, row in enumerate(hdu.data):
        start = 0
        firsts, lengths = np.atleast_1d(row["F_CHAN"]), np.atleast_1d(row["N_CHAN"])
        for group in range(row["N_GRP"]):
            size = int(lengths[group])
            at = int(firsts[group]) - first
            matrix[i, at : at + size] += np.atleast_1d(row["MATRIX"])[start : start + size]
            start += size
    return matrix


def test_responses_have_the_numbers_that_astropy_reads(ingested):
    home, _ = ingested
    rows = rows_of(home, "responses")
    assert len(rows) == 50
    rng = np.random.default_rng(4)
    for row in rows:
        with opened(row["path"]) as file:
            hdu = file[row["hdu"]]
            tlmin = hdu.header.get("TLMIN4")
            bounds = next(h for h in file if h.name == "EBOUNDS")
            if isinstance(tlmin, int):
                assert row["first_channel"] == tlmin
            elif Path(row["path"]).name == "epn_ff20_dY9.rmf":
                assert (row["first_channel"], row["first_channel_from"]) == (0, "EBOUNDS")
            else:  # text '0', or absent in files of the GBM, whose groups start at channel 1
                assert row["first_channel"] == (0 if tlmin == "0" else 1)
            assert row["n_channels"] == len(bounds.data)
            response = read_rmf(f"{row['path']}[{row['hdu']}]")
            expected = dense(hdu, row["first_channel"], row["n_channels"])
            sparse = response.as_sparse()
            assert np.array_equal(sparse.toarray(), expected.astype(sparse.dtype))
            assert np.array_equal(response.energ_lo, hdu.data["ENERG_LO"].astype(float))
            assert np.array_equal(response.energ_hi, hdu.data["ENERG_HI"].astype(float))
            assert np.array_equal(response.ebounds.e_min, bounds.data["E_MIN"].astype(float))
            assert np.array_equal(response.channel, bounds.data["CHANNEL"].astype(int))
            assert row["max_row_sum"] == pytest.approx(expected.sum(axis=1).max(), rel=1e-6)
            model = rng.random(len(expected))
            folded = sparse.astype(float).T @ model
            assert folded == pytest.approx(model @ expected, rel=1e-12)
        stored = home.sql(
            "SELECT sum(list_sum(matrix)) FROM ogip.redistribution WHERE response_id = ?",
            [row["response_id"]],
        ).fetchone()
        with opened(row["path"]) as file:
            cells = file[row["hdu"]].data["MATRIX"]
            assert stored[0] == pytest.approx(sum(float(np.sum(c, dtype=float)) for c in cells))


def test_areas_have_the_numbers_that_astropy_reads(ingested):
    home, _ = ingested
    rows = rows_of(home, "effective_area")
    assert len(rows) == 33
    for row in rows:
        with opened(row["path"]) as file:
            data = file[row["hdu"]].data
            for column in ("energ_lo", "energ_hi", "specresp"):
                assert np.array_equal(row[column], data[column.upper()].astype(float))


def test_pairs(ingested):
    home, _ = ingested
    read = home.store.arrow
    made = pairing.pair(
        *(read(f"SELECT * FROM ogip.{t}") for t in ("spectra", "responses", "effective_area"))
    ).to_pylist()
    names = {row["spec_id"]: Path(row["path"]).name for row in rows_of(home, "spectra")}
    found: dict[str, dict[str, Any]] = {}
    for row in made:
        found.setdefault(names[row["spec_id"]], row)

    def files(name: str) -> list[str | None]:
        row = found[name]
        ids = row["background_id"], row["response_id"], row["area_id"]
        return [i and i[: i.rindex("-", 0, -3)] if i else None for i in ids]

    assert files("3c273.pi") == ["3c273_bg.pi", "3c273.rmf", "3c273.arf"]
    assert found["3c273.pi"]["background_from"] == "keyword"
    assert files("P011160500104_HE.pi")[:2] == ["P011160500104_HE.bak", "P011160500104_HE.rsp"]
    assert found["P011160500104_HE.pi"]["response_from"] == "name"
    # Source and background are two HDUs of one file, told apart by HDUCLAS2.
    pha3 = [r for r in made if names[r["spec_id"]].endswith("pha3.fits.gz")]
    assert sorted(r["background_id"] or "" for r in pha3) == ["", max(r["spec_id"] for r in pha3)]
    assert found["12845.pi"]["problems"] == ["BACKFILE '12845_bkg.pi' is not there"]
    assert found["12845.pi"]["foldable"]
    assert found["pn_pi_src_bin10.ds"]["missing"] == ["background", "response"]
    assert all(row["foldable"] for name, row in found.items() if name.startswith("pha_"))
    # Of the matrices of three intervals, each row takes that of its time.
    rows = [r for r in made if names[r["spec_id"]] == "glg_cspec_n3_bn080916009_v01.pha"]
    assert len({r["response_id"] for r in rows}) == 3


def test_a_bad_row_says_so_when_it_is_asked_for(folder):
    from lake.ogip import read_pha

    path = folder / "threeml/datasets/gbm/bn080916009/glg_cspec_n3_bn080916009_v01.pha"
    with pytest.raises(InputError, match=r"row 1146: EXPOSURE is -0\.0144027 s"):
        read_pha(f"{path}:1145")
    assert read_pha(f"{path}:1146").values.sum() == 5009
