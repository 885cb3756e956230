"""OGIP from files to pictures: the sample as the demo runs it, and the checks of its tables."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits

import lake
from lake import contracts, models
from lake.home import Home
from lake.ogip import stored
from lake.ogip.bands import area_of_channels, band_rates, hardness_ratios
from lake.ogip.grouping import single_channels
from lake.ogip.rates import count_rates, net_counts
from lake.originals import ORIGIN
from lake.sample import ogip as sample
from lake.sample.xray import absorbed_power_law
from pipelines.defs import ogip

# --- the sample --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return sample.write_sample(tmp_path_factory.mktemp("ogip") / "in")["spectra"]


@pytest.fixture(scope="module")
def root(folder, lacus):
    """A home in which the sample was run, which no test may change."""
    root = folder.parent.parent / "home"
    assert lacus("add", "ogip", sample.RELEASE, "spectra", folder, home=root).exit_code == 0
    result = lacus("run", home=root)
    assert result.exit_code == 0, result.output
    assert "not so" not in result.output
    return root


@pytest.fixture(scope="module")
def home(root) -> Home:
    return lake.open(root)


def column(home: Home, query: str) -> list[object]:
    return [row[0] for row in home.sql(query).fetchall()]


def promised(home: Home) -> dict[str, float]:
    """Net counts that the files say were expected, by spec_id."""
    cards = home.sql(
        "SELECT s.spec_id, regexp_extract(h.header, 'SIMNET  = +([0-9.]+)', 1)::DOUBLE"
        " FROM ogip.spectra AS s JOIN ogip.hdus AS h"
        " ON h.release = s.release AND h.file_sha256 = s.file_sha256 AND h.hdu = s.hdu"
        " WHERE contains(h.header, 'SIMNET  =')"
    ).fetchall()
    rows = home.sql(
        "SELECT spec_id, row_json FROM ogip.spectra WHERE contains(row_json, 'SIMNET')"
    ).fetchall()
    return dict(cards) | {name: json.loads(text)["SIMNET"] for name, text in rows}


def test_every_source_is_paired_by_its_keywords(home):
    found = home.sql(
        "SELECT s.object, p.background_from, p.response_from, p.response_kind, p.area_from,"
        " p.foldable FROM ogip.pairs AS p JOIN ogip.spectra AS s USING (release, spec_id)"
        " WHERE s.content = 'TOTAL'"
    ).fetchall()
    assert len(found) == 6 + 5
    for name, *pair in found:
        burst = name == "Simulated outburst"
        kind, area = ("rsp", None) if burst else ("rmf", "keyword")
        assert pair == ["keyword", "keyword", kind, area, True]
    intervals = home.sql(
        "SELECT s.row, r.t_start = s.t_start, b.row FROM ogip.pairs AS p"
        " JOIN ogip.spectra AS s USING (release, spec_id)"
        " JOIN ogip.spectra AS b ON b.spec_id = p.background_id"
        " JOIN ogip.responses AS r ON r.response_id = p.response_id"
        " WHERE s.row IS NOT NULL ORDER BY s.row"
    ).fetchall()
    assert intervals == [(n, True, n) for n in range(1, 6)]


def test_the_counts_that_were_put_in_come_out(home):
    expected = promised(home)
    found = home.sql(
        "SELECT spec_id, net_counts, net_counts_error, upper_limit_90, significance"
        " FROM ogip.net_counts WHERE significance IS NOT NULL"
    ).fetchall()
    assert {row[0] for row in found} == set(expected)
    assert len(found) == 11
    off = np.array([(net - expected[name]) / error for name, net, error, *_ in found])
    assert np.abs(off).max() < 3
    assert (off**2).sum() < 24.7  # 99 % of chi squared with 11 degrees of freedom
    for name, net, _, limit, significance in found:
        assert limit > net
        assert significance > 1.5
        assert expected[name] < 1.1 * limit


def test_the_views_agree_with_the_kernels(home):
    read = home.store.arrow
    pairs = home.sql(
        "SELECT spec_id, background_id, response_id, area_id FROM ogip.pairs"
        " WHERE background_id IS NOT NULL AND area_id IS NOT NULL"
    ).fetchall()
    assert len(pairs) == 6
    for spec_id, background_id, response_id, area_id in pairs:
        names = (sample.RELEASE, spec_id), (sample.RELEASE, background_id)
        source, background = (stored.spectrum(read, *name) for name in names)
        usable = source.quality == 0
        groups = single_channels(len(usable), usable)
        key = [spec_id]
        [row] = read("SELECT * FROM ogip.net_counts WHERE spec_id = ?", key).to_pylist()
        summed = net_counts(source, background, groups)
        assert (row["counts"], row["off_counts"]) == (summed.counts, summed.off_counts)
        assert row["net_counts"] == pytest.approx(summed.net)
        assert row["net_counts_error"] == pytest.approx(summed.net_error)
        assert row["n_channels"] == summed.channels
        rates = count_rates(source, background, single_channels(len(usable)))
        channels = stored.response(read, sample.RELEASE, response_id).ebounds
        area = stored.effective_area(read, sample.RELEASE, area_id)
        bands = band_rates(
            rates.net, rates.net_error, channels.e_min, channels.e_max, usable,
            area_of_channels(
                area.energ_lo, area.energ_hi, area.specresp, (channels.e_min + channels.e_max) / 2
            ),
        )  # fmt: skip
        [row] = read("SELECT * FROM ogip.band_rates WHERE spec_id = ?", key).to_pylist()
        for name, band in bands.items():
            assert row[f"photflux_aper_{name[0]}"] == pytest.approx(band.rate)
        for name, (ratio, _) in hardness_ratios(bands).items():
            assert row[name] == pytest.approx(ratio)


def test_photon_fluxes_are_those_of_the_source(home):
    rows = home.sql(
        "SELECT b.photflux_aper_s, b.photflux_aper_m, b.photflux_aper_h, b.src_cnts_aper_s,"
        " b.src_cnts_aper_m, b.src_cnts_aper_h, b.src_cnts_error_s, b.src_cnts_error_m,"
        " b.src_cnts_error_h, b.hard_hs, h.header"
        " FROM ogip.band_rates AS b JOIN ogip.hdus AS h USING (file_sha256)"
        " WHERE contains(h.header, 'SIMNORM') AND src_cnts_aper_s > 500"
    ).fetchall()
    assert len(rows) >= 3
    for row in rows:
        cards = {
            row[-1][i : i + 8].strip(): row[-1][i + 10 : i + 30] for i in range(0, len(row[-1]), 80)
        }
        norm, gamma, column_density = (float(cards[k]) for k in ("SIMNORM", "SIMGAMMA", "SIMNH"))
        edges = np.linspace(0.5, 7.0, 651)
        flux = absorbed_power_law(edges, norm, gamma, column_density)
        truth = [part.sum() for part in np.split(flux, [70, 150])]
        # The bands are seen through the redistribution: within errors and a tenth.
        for found, true, counts, error in zip(row[:3], truth, row[3:6], row[6:9], strict=True):
            assert abs(found / true - 1) < 3 * error / counts + 0.1
        assert row[9] == pytest.approx((row[2] - row[0]) / (row[2] + row[0]))


def test_a_second_run_has_nothing_to_do(root, home, lacus):
    before = home.store.snapshot()
    result = lacus("run", home=root)
    assert result.exit_code == 0
    assert "up to date" in result.stderr
    assert home.store.snapshot() == before


def test_a_response_that_is_copied_to_its_spectrum_later_is_found(root, folder, lacus, tmp_path):
    data, home = tmp_path / "in", tmp_path / "home"
    source = next(p for p in sorted(folder.iterdir()) if p.name.endswith(".pi"))
    with fits.open(source) as hdus:
        name = hdus["SPECTRUM"].header["RESPFILE"]
    (data / "there").mkdir(parents=True)
    shutil.copy(folder / name, data / "there" / name)
    shutil.copy(source, data / source.name)
    assert lacus("add", "ogip", "R", "spectra", data, home=home).exit_code == 0
    missing = "SELECT unnest(missing) FROM ogip.pairs"
    assert lacus("run", home=home).exit_code == 0
    assert "response" in column(lake.open(home), missing)
    shutil.copy(folder / name, data / name)
    assert lacus("run", home=home).exit_code == 0
    assert "response" not in column(lake.open(home), missing)
    assert "everything is up to date" in lacus("status", home=home).output


def test_files_are_exported_as_they_were(root, folder, lacus, tmp_path):
    words = ["export", "ogip.spectra", "--where", "spectrum_type = 'II'", "-o", tmp_path / "out"]
    result = lacus(*words, home=root)
    assert result.exit_code == 0, result.output
    assert "2 files of snapshot" in result.stderr
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert "OGIP/92-007" in written.pop(ORIGIN).decode()
    assert written == {n: (folder / n).read_bytes() for n in ("burst.pha2", "burst.bak")}
    result = lacus("export", "ogip.spectra", "-o", tmp_path / "all", home=root)
    assert result.exit_code == 0, result.output
    written = {path.name: path.read_bytes() for path in (tmp_path / "all").iterdir()}
    assert written.pop(ORIGIN)
    assert len(written) > 2
    assert written == {n: (folder / n).read_bytes() for n in written}


def test_a_spectrum_is_drawn_by_its_identifier(root, home, lacus, tmp_path):
    [name] = column(home, "SELECT spec_id FROM ogip.spectra WHERE row = 2 AND content = 'TOTAL'")
    result = lacus("plot", "ogip", name, "-o", tmp_path / "x.svg", home=root)
    assert result.exit_code == 0, result.output
    drawn = (tmp_path / "x.svg").read_bytes()
    assert drawn.startswith(b"<?xml")
    assert len(drawn) > 20_000
    result = lacus("plot", "ogip", "nothing", "-o", tmp_path / "y.svg", home=root)
    assert result.exit_code == 2
    assert "no spec_id 'nothing'" in result.stderr
    assert not (tmp_path / "y.svg").exists()


def test_the_most_significant_spectrum_is_a_product(root, home):
    [path] = column(home, "SELECT path FROM meta.products WHERE mission = 'ogip'")
    assert path == f"products/ogip/{sample.RELEASE}/most_significant.svg"
    assert (root / path).read_bytes().startswith(b"<?xml")


# --- the checks --------------------------------------------------------------------------------

SPECTRUM = {
    "release": "R", "spec_id": "s", "path": "p", "hdu": 1, "spectrum_type": "I", "n_channels": 2,
    "quantity": "COUNTS", "counts": [1.0, 2.0], "channel": [1, 2], "exposure": 10.0,
    "file_sha256": "f",
}  # fmt: skip
RESPONSE = {
    "release": "R", "response_id": "r", "path": "p", "hdu": 1, "includes_area": True,
    "n_energies": 2, "n_channels": 2, "n_groups": 2, "n_elements": 4, "first_channel": 1,
    "first_channel_from": "TLMIN", "energy_min": 1.0, "energy_max": 2.0, "max_row_sum": 1.0,
    "content_hash": "h", "file_sha256": "g",
}  # fmt: skip
BIN = {"release": "R", "response_id": "r", "n_grp": 1, "file_sha256": "g"}
PAIR = {
    "release": "R", "spec_id": "s", "response_id": "r", "missing": [], "problems": [],
    "foldable": True, "file_sha256": "f",
}  # fmt: skip
LIMIT = {"release": "R", "spec_id": "s", "upper_limit_90": 6.0, "file_sha256": "f"}
GOOD = {
    "ogip.spectra": [SPECTRUM],
    "ogip.responses": [RESPONSE],
    "ogip.redistribution": [{**BIN, "bin": 1}, {**BIN, "bin": 2}],
    "ogip.pairs": [PAIR],
    "ogip.net_count_limits": [LIMIT],
}


def bad_rows(check, **tables) -> int:
    with models.in_memory() as connection:
        for name, rows in (GOOD | {f"ogip.{k}": v for k, v in tables.items()}).items():
            rows_in = pa.Table.from_pylist(rows, contracts.table(name).schema())
            connection.register("rows_in", rows_in)
            connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM rows_in")
        return len(connection.execute(check.sql, ["R"] * check.sql.count("?")).fetchall())


CHECKS = [
    value for value in vars(ogip).values() if isinstance(value, ogip.Check)
]  # fmt: skip


def test_good_rows_pass_every_check():
    assert {check.name: bad_rows(check) for check in CHECKS} == {c.name: 0 for c in CHECKS}
    assert len(CHECKS) == 8


@pytest.mark.parametrize(
    ("check", "tables"),
    [
        (ogip.LISTS, {"spectra": [{**SPECTRUM, "counts": [1.0]}]}),
        (ogip.LISTS, {"spectra": [{**SPECTRUM, "counts": None}]}),
        (ogip.LISTS, {"spectra": [{**SPECTRUM, "quality": [0, 0, 0]}]}),
        (ogip.LISTS, {"spectra": [{**SPECTRUM, "quantity": "RATE"}]}),
        (ogip.EXPOSURES, {"spectra": [{**SPECTRUM, "exposure": 0.0}]}),
        (ogip.BINS, {"redistribution": [{**BIN, "bin": 1}]}),
        (ogip.BINS, {"redistribution": [{**BIN, "bin": 1}, {**BIN, "bin": 3}]}),
        (ogip.POINTERS, {"pairs": []}),
        (ogip.POINTERS, {"pairs": [PAIR, {**PAIR, "spec_id": "t"}]}),
        (ogip.POINTERS, {"pairs": [{**PAIR, "response_id": "q"}]}),
        (ogip.POINTERS, {"pairs": [{**PAIR, "background_id": "b"}]}),
        (ogip.POINTERS, {"pairs": [{**PAIR, "area_id": "a"}]}),
        (ogip.FOLDABLE, {"pairs": [{**PAIR, "response_id": None}]}),
        (ogip.FOLDABLE, {"responses": [{**RESPONSE, "n_channels": 3}]}),
        (ogip.FOLDABLE, {"responses": [{**RESPONSE, "includes_area": False}]}),
        (ogip.COMPLETE, {"pairs": [{**PAIR, "missing": ["background"]}]}),
        (ogip.COMPLETE, {"pairs": [{**PAIR, "problems": ["RESPFILE is not there"]}]}),
        (ogip.LIMITS, {"net_count_limits": []}),
        (ogip.LIMITS, {"net_count_limits": [{**LIMIT, "upper_limit_90": 2.9}]}),
        (ogip.LIMITS, {"net_count_limits": [{**LIMIT, "upper_limit_90_estimated": 0.0}]}),
    ],
)
def test_bad_rows_fail_their_check(check, tables):
    assert bad_rows(check, **tables) == 1


@pytest.mark.parametrize("column", ["hard_hm", "hard_hs", "hard_ms"])
@pytest.mark.parametrize(("value", "bad"), [(-1.0, 0), (1.0, 0), (1.01, 1), (-1.01, 1)])
def test_hardness_ratios_lie_where_they_can(column, value, bad):
    ratios = {"hard_hm": 0.0, "hard_hs": None, "hard_ms": 0.0, column: value}
    columns = ", ".join(f"{v or 'NULL'}::DOUBLE AS {name}" for name, v in ratios.items())
    with models.in_memory() as connection:
        rows = f"SELECT 'R' AS release, 's' AS spec_id, {columns}"
        connection.execute(f"CREATE OR REPLACE VIEW ogip.band_rates AS {rows}")
        assert len(connection.execute(ogip.RATIOS.sql, ["R"]).fetchall()) == bad


def test_backgrounds_need_no_response():
    lone = {**PAIR, "spec_id": "b", "missing": ["response"]}
    background = {**SPECTRUM, "spec_id": "b", "content": "BKG"}
    tables = {"pairs": [PAIR, lone], "spectra": [SPECTRUM, background]}
    assert bad_rows(ogip.COMPLETE, **tables) == 0
    tables["spectra"][1] = {**background, "content": None}
    assert bad_rows(ogip.COMPLETE, **tables) == 1
    tables["pairs"][0] = {**PAIR, "background_id": "b"}
    assert bad_rows(ogip.COMPLETE, **tables) == 0
