"""The kernels on the files of BaySpec, against the numbers that it gives for them."""

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest

from lake.ogip.channels import channel_energies, notice_energies
from lake.ogip.containers import Response, Spectrum
from lake.ogip.fold import channel_positions, fold
from lake.ogip.grouping import (
    Groups,
    group_min_counts,
    group_min_significance,
    single_channels,
)
from lake.ogip.limits import net_counts_upper_limit
from lake.ogip.rates import background_ratio, count_rates, net_counts, spectrum_counts
from lake.ogip.readers import read_arf, read_pha, read_rmf

pytestmark = pytest.mark.real


@pytest.fixture
def files(real_data: Path) -> Path:
    return real_data / "ogip" / "bayspec"


@pytest.fixture
def published(real_data: Path) -> dict:
    return json.loads((real_data / "ogip" / "expected_bayspec.json").read_text())


def spectrum(files: Path, address: str) -> Spectrum:
    return read_pha(str(files / address))


def test_spectra(files, published):
    for address, given in published["spectra"].items():
        found = spectrum(files, address)
        counts, error = spectrum_counts(found)
        assert len(counts) == given["n"], address
        assert np.nansum(counts) == pytest.approx(given["counts_nansum"], rel=1e-12), address
        assert np.isnan(counts).sum() == given["n_nan"], address
        assert np.nanmax(counts) == given["max"], address
        assert np.nanargmax(counts) == given["argmax"], address
        assert np.nansum(error**2) == pytest.approx(given["err2"], rel=1e-12), address
        assert found.exposure == given["exposure"], address
        assert [found.backscal] == given["backscale"], address
        bad = 0 if found.quality is None else np.count_nonzero(found.quality)
        # BaySpec does not read the quality of a background: its 385 NaN are marked as bad.
        assert bad == (385 if "bkg2" in address else given["quality_bad"]), address


def test_totals_of_the_notebooks(files, published):
    for address, given in published["published_in_notebooks"].items():
        counts, _ = spectrum_counts(spectrum(files, address))
        if given["counts"] == "nan":
            # The sum over all channels there; 85 of the 470 channels are known.
            assert np.isfinite(counts).sum() == 85
        else:
            assert counts.sum() == pytest.approx(given["counts"], rel=1e-6)


def test_responses(files, published):
    for path, given in published["responses"].items():
        found = read_rmf(files / path)
        sparse = found.as_sparse().astype(np.float64)
        assert list(sparse.shape) == given["shape"]
        assert sparse.sum() == pytest.approx(given["sum"], rel=1e-12)
        assert np.count_nonzero(sparse.data) == given["nnz"]
        assert sparse.max() == given["max"]
        assert list(np.unravel_index(sparse.toarray().argmax(), sparse.shape)) == given["argmax"]
        ends = [0, sparse.shape[0] // 2, -1]
        rows = sparse.sum(axis=1)[ends]
        np.testing.assert_allclose(rows, given["rowsum_first_mid_last"], rtol=1e-12)
        low, high, _, _ = channel_energies(found.ebounds.e_min, found.ebounds.e_max)
        assert (low.min(), high.max()) == (given["ch_lo"], given["ch_hi"])
        assert (found.energ_lo[0], found.energ_hi[-1]) == (given["ph_lo"], given["ph_hi"])
        # Sum over all elements of channel (from 1) times element: one folded model has it.
        ramp = fold(sparse, np.ones(sparse.shape[0])) @ np.arange(1, sparse.shape[1] + 1)
        assert ramp == pytest.approx(given["weighted"], rel=1e-12)


def test_unit_vectors_give_the_dense_rows(files, published):
    for path in published["responses"]:
        found = read_rmf(files / path)
        dense = found.as_sparse().toarray().astype(np.float64)
        np.testing.assert_allclose(fold(found, np.eye(len(dense))), dense, rtol=1e-12)


def test_effective_areas(files, published):
    for path, given in published["arfs"].items():
        found = read_arf(files / path)
        assert len(found.specresp) == given["n"]
        assert found.specresp.sum() == pytest.approx(given["sum"], rel=1e-12)
        assert (found.specresp.max(), found.specresp.argmax()) == (given["max"], given["argmax"])
        assert (found.energ_lo[0], found.energ_hi[-1]) == (given["ph_lo"], given["ph_hi"])


def grouped(source: Spectrum, background: Spectrum, matrix: Response, given: dict) -> Groups:
    low, high, _, _ = channel_energies(matrix.ebounds.e_min, matrix.ebounds.e_max)
    usable = np.ones(len(low), bool) if source.quality is None else source.quality == 0
    if "notc" in given:
        usable &= notice_energies(low, high, given["notc"])
    base = single_channels(len(low), usable)
    rule = given.get("grpg", {})
    counts, error = spectrum_counts(source)
    if "min_evt" in rule:
        return group_min_counts(counts, rule["min_evt"], base)
    if "min_sigma" in rule:
        return group_min_significance(
            counts,
            error,
            *spectrum_counts(background),
            background_ratio(source, background),
            rule["min_sigma"],
            "gaussian",
            base,
            rule["max_bin"],
        )
    return base


UNITS = ["me", "me_10_1000", "me_raw", "he", "he_raw", "me2gbm", "me_pha2_4", "me_evt"]


@pytest.mark.parametrize("name", UNITS)
def test_grouped_units(name, files, published):
    given = published["units"][name]
    folder = files / ("HE" if name.startswith("he") else "ME")
    source, background = (spectrum(folder, given["cfg"][key]) for key in ("src", "bkg"))
    matrix = read_rmf(folder / given["cfg"]["rsp"])
    assert len(channel_positions(matrix, source.channel, len(source.values))) == matrix.n_channels
    groups = grouped(source, background, matrix, given["cfg"])

    slices = np.column_stack([groups.start, groups.stop]).astype(np.int64)
    assert len(slices) == given["n_groups"]
    assert hashlib.sha256(slices.tobytes()).hexdigest()[:16] == given["slice_sha"]

    columns = groups.sum(fold(matrix, np.ones(matrix.n_energies)))
    assert columns.sum() == pytest.approx(given["rsp_drm_sum"], rel=1e-12)

    net = net_counts(source, background, groups)
    rates = count_rates(source, background, groups)
    if math.isnan(given["bkg"]):
        # BaySpec takes differences of a running sum, in which one NaN, outside the noticed
        # channels, spoils all that follow; summed by themselves the groups have no NaN.
        given = given | published["units"]["me_pha2_4_nan_safe"]
    assert background_ratio(source, background) == given["alpha"]
    assert net.counts == given["src"]
    assert net.background == pytest.approx(given["bkg"], rel=1e-12)
    assert net.without_background == 0
    assert rates.net.sum() == pytest.approx(given["net_rate"], rel=1e-12)
    assert net.net == pytest.approx(given["net_rate"] * source.exposure, rel=1e-12)
    for level, limit in given["upper"].items():
        got = net_counts_upper_limit(net.counts, net.background, float(level))
        assert got == pytest.approx(limit, rel=1e-12)


def test_no_other_unit_has_its_files_here(published):
    others = set(published["units"]) - set(UNITS)
    # Those of GECAM are not among the files; the rest are the tests below and above.
    assert others == {
        "gecam_hg",
        "gecam_lg",
        "me_pha2_4_nan_safe",
        "le_all_channels_no_rmf",
        "le2_all_channels_no_rmf",
    }


@pytest.mark.parametrize("name", ["le", "le2"])
def test_sums_over_all_channels(name, files, published):
    given = published["units"][f"{name}_all_channels_no_rmf"]
    source, background = (spectrum(files / "LE", f"{name}.{end}") for end in ("src", "bkg"))
    net = net_counts(source, background, single_channels(len(source.values)))
    assert (net.counts, net.off_counts) == (given["src"], given["bkg"])
    assert background_ratio(source, background) == pytest.approx(given["alpha"], rel=1e-15)
    assert net.background == pytest.approx(given["B"], rel=1e-15)
    for level, limit in given["upper"].items():
        got = net_counts_upper_limit(net.counts, net.background, float(level))
        assert got == pytest.approx(limit, rel=1e-12)


def beyond(counts: int, background: float, limit: float) -> float:
    """Posterior probability of more net counts than a limit, as a finite sum of its terms.

    Q(N + 1, x) = exp(-x) sum_k x^k / k!, k = 0 .. N.
    """

    def logs(x):
        return [k * math.log(x) - math.lgamma(k + 1) if k else 0.0 for k in range(counts + 1)]

    above = [math.exp(t) for t in logs(background + limit)]
    below = [math.exp(t) for t in (logs(background) if background else [0.0])]
    return math.exp(-limit) * math.fsum(above) / math.fsum(below)


def test_the_grid_of_upper_limits(published):
    differ = []
    for case in published["upper_grid"]:
        n, b, level, theirs = case["N"], case["B"], case["cl"], case["ul"]
        ours = float(net_counts_upper_limit(n, b, level))
        assert ours == pytest.approx(theirs, rel=5e-7)
        missed, theirs_missed = (abs(beyond(n, b, x) - (1 - level)) for x in (ours, theirs))
        assert missed < 1e-13
        if abs(ours / theirs - 1) > 1e-11:
            differ.append((n, b))
            # Their P(N + 1, B) is almost 1 and its digits are lost: their limit leaves another
            # share of the posterior than it says.
            assert theirs_missed > 10 * missed
    assert set(differ) == {(0, 20.0), (1, 20.0), (3, 20.0)}
