import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from lake.errors import UsageError
from lake.sample.ogip import write_sample
from lake.sample.xray import THRESHOLD, absorbed_power_law, ccd


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_sample(tmp_path_factory.mktemp("sample"))["spectra"]


def opened(path):
    with fits.open(path, memmap=False) as hdus:
        hdus.verify("exception")
        return [(hdu.header, hdu.data) for hdu in hdus[1:]]


def sources(folder):
    for path in sorted(folder.glob("sim?????.pi")):
        [(header, data)] = opened(path)
        [(_, background)] = opened(folder / header["BACKFILE"])
        yield header, data, background


def dense(data, channels):
    """Matrix of a response, group by group."""
    matrix = np.zeros((len(data), channels))
    for row, (f_chan, n_chan, values) in enumerate(
        zip(data["F_CHAN"], data["N_CHAN"], data["MATRIX"], strict=True)
    ):
        starts = np.cumsum(n_chan) - n_chan
        for first, length, start in zip(f_chan, n_chan, starts, strict=True):
            matrix[row, first - 1 : first - 1 + length] = values[start : start + length]
    return matrix


# --- the source and the detector ---------------------------------------------------------------


def test_a_power_law_without_gas_has_its_integral():
    flux = absorbed_power_law([1.0, 2.0, 4.0], 0.5, 2.0, 0.0)
    np.testing.assert_allclose(flux, [0.5 * (1 - 1 / 2), 0.5 * (1 / 2 - 1 / 4)], rtol=1e-14)


def test_gas_takes_the_soft_photons_and_its_edges_show():
    edges = np.array([0.5, 0.52, 0.545, 0.57, 1.0, 1.001, 5.0, 5.001])
    clear, behind = (absorbed_power_law(edges, 1.0, 1.5, n) for n in (0.0, 0.1))
    depth = -np.log(behind / clear)
    # Morrison & McCammon 1983: 2.42e-22 cm2 at 1 keV; the K edge of oxygen is at 0.532 keV.
    assert depth[4] == pytest.approx(0.242, rel=2e-3)
    assert depth[2] > 1.25 * depth[0]
    assert depth[6] < 0.005


def test_a_ccd_keeps_nearly_every_photon_within_its_channels():
    detector = ccd(320, 256, bottom=0.3, top=10.54, area=600)
    matrix = detector.redistribution
    energy = (detector.edges[:-1] + detector.edges[1:]) / 2
    middle = (detector.channel_edges[:-1] + detector.channel_edges[1:]) / 2
    within = (energy > 0.6) & (energy < 10)
    kept = matrix[within].sum(axis=1)
    assert (kept < 1 + 1e-6).all()
    assert (kept > 0.979).all()  # an escape peak may lie below the channels
    assert np.median(kept) > 0.9999
    assert (matrix[matrix > 0] >= THRESHOLD).all()
    # The main peak lies at the energy, and gets wider with it.
    np.testing.assert_allclose(middle[matrix[within].argmax(axis=1)], energy[within], atol=0.03)
    peak = matrix[within].max(axis=1)
    assert peak[0] > 1.5 * peak[-1]
    assert 400 < detector.area.max() < 600


def test_counts_are_flux_times_area_times_redistribution():
    detector = ccd(40, 32, bottom=0.5, top=8, area=100)
    flux = np.zeros(40)
    flux[20] = 2.0
    counts = detector.counts(flux, 50.0)
    expected = 50 * 2 * detector.area[20] * detector.redistribution[20].astype(float)
    np.testing.assert_allclose(counts, expected, rtol=1e-12)


def test_groups_are_the_runs_of_a_row():
    detector = ccd(320, 256, bottom=0.3, top=10.54, area=600)
    for row, (first, length) in zip(detector.redistribution, detector.groups(), strict=True):
        covered = np.concatenate(
            [np.arange(f, f + n) for f, n in zip(first, length, strict=True)] or [[]]
        )
        np.testing.assert_array_equal(covered, np.flatnonzero(row))


# --- the files ---------------------------------------------------------------------------------


def test_files_are_named_in_each_other(folder):
    assert len(list(folder.glob("sim?????.pi"))) == 6
    for header, data, background in sources(folder):
        assert (folder / header["RESPFILE"]).exists()
        assert (folder / header["ANCRFILE"]).exists()
        assert header["DETCHANS"] == len(data) == len(background)
        assert (header["HDUCLAS1"], header["HDUCLAS2"]) == ("SPECTRUM", "TOTAL")
    [(_, rows)] = opened(folder / "burst.pha2")
    assert {name.split("{")[0] for name in rows["RESPFILE"]} == {"burst.rsp2"}
    assert {name.split("{")[0] for name in rows["BACKFILE"]} == {"burst.bak"}


def test_counts_are_as_many_as_the_header_promises(folder):
    residuals = []
    for header, data, background in sources(folder):
        scale = header["BACKSCAL"] / fits.getheader(folder / header["BACKFILE"], 1)["BACKSCAL"]
        good = data["QUALITY"] == 0
        total, behind = data["COUNTS"][good].sum(), background["COUNTS"][good].sum()
        error = np.sqrt(total + scale**2 * behind)
        residuals.append((total - scale * behind - header["SIMNET"]) / error)
    assert np.abs(residuals).max() < 3
    assert np.ptp([header["SIMNET"] for header, _, _ in sources(folder)]) > 1000


def test_what_the_header_promises_is_the_power_law_through_the_response(folder):
    _, (_, matrix) = opened(folder / "sim.rmf")
    [(_, area)] = opened(folder / "sim.arf")
    edges = np.r_[area["ENERG_LO"], area["ENERG_HI"][-1]].astype(float)
    for header, data, _ in sources(folder):
        parameters = [header[k] for k in ("SIMNORM", "SIMGAMMA", "SIMNH")]
        flux = absorbed_power_law(edges, *parameters) * area["SPECRESP"]
        counts = header["EXPOSURE"] * (flux @ dense(matrix, len(data)))
        good = counts[data["QUALITY"] == 0].sum()
        assert good == pytest.approx(header["SIMNET"], rel=2e-3)


def test_responses_have_several_groups_of_several_lengths(folder):
    (_, ebounds), (header, matrix) = opened(folder / "sim.rmf")
    assert set(matrix["N_GRP"]) == {0, 1, 2, 3}
    assert all(map(np.array_equal, matrix["N_GRP"], map(len, matrix["F_CHAN"])))
    assert len({len(row) for row in matrix["MATRIX"]}) > 20
    assert header["TFORM6"].startswith("PE")
    assert (header["TLMIN4"], header["DETCHANS"]) == (1, len(ebounds))
    [(_, area)] = opened(folder / "sim.arf")
    np.testing.assert_array_equal(area["ENERG_LO"], matrix["ENERG_LO"])


def test_an_outburst_has_a_row_and_a_matrix_for_each_interval(folder):
    [(header, rows)] = opened(folder / "burst.pha2")
    [(_, background)] = opened(folder / "burst.bak")
    hdus = opened(folder / "burst.rsp2")
    assert header["HDUCLAS4"] == "TYPE:II"
    assert [h["EXTNAME"] for h, _ in hdus] == ["EBOUNDS"] + 5 * ["SPECRESP MATRIX"]
    assert [h["EXTVER"] for h, _ in hdus[1:]] == [1, 2, 3, 4, 5]
    sums = [dense(data, header["DETCHANS"]).sum() for _, data in hdus[1:]]
    assert (np.diff(sums) < 0).all()
    net = rows["COUNTS"].sum(axis=1) - rows["EXPOSURE"] * background["RATE"].sum(axis=1)
    assert (np.abs(net - rows["SIMNET"]) < 3 * np.sqrt(rows["COUNTS"].sum(axis=1))).all()


def test_the_seed_decides_every_byte(tmp_path):
    def content(root):
        return {path.name: path.read_bytes() for path in root.rglob("*") if path.is_file()}

    write_sample(tmp_path / "one", size=3)
    code = (
        "import sys; from pathlib import Path; from lake.sample.ogip import write_sample; "
        "write_sample(Path(sys.argv[1]), size=3)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "two"], check=True)
    write_sample(tmp_path / "other", size=3, seed=43)
    one, other = content(tmp_path / "one"), content(tmp_path / "other")
    assert len(one) == 2 * 3 + 5
    assert one == content(tmp_path / "two")
    assert {name for name in one if one[name] == other[name]} == {
        "sim.arf",
        "sim.rmf",
        "burst.rsp2",
    }


def test_an_unknown_size_is_refused(tmp_path):
    with pytest.raises(UsageError, match="'huge'"):
        write_sample(tmp_path, size="huge")
    with pytest.raises(UsageError, match="size 0"):
        write_sample(tmp_path, size=0)
