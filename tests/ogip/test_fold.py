import gzip
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from lake.errors import InputError, LacusError
from lake.formats.fits import FitsFile
from lake.ogip.containers import EffectiveArea, Response, Spectrum
from lake.ogip.files import contents
from lake.ogip.fold import channel_positions, compose, expected_counts, fold, fold_parts
from lake.ogip.readers import read_arf, read_rmf


def response(groups, channels=6, first_channel=1, dtype=np.float32, padding=0):
    """A response from {energy bin: [(first channel, elements), ...]}, one entry per bin."""
    n_grp = np.array([len(g) for g in groups])
    rows = [[e for _, elements in g for e in elements] + [99.0] * padding for g in groups]
    edges = np.linspace(1, 2, len(groups) + 1)
    return Response(
        energ_lo=edges[:-1],
        energ_hi=edges[1:],
        n_grp=n_grp,
        f_chan=np.array([first for g in groups for first, _ in g], dtype=np.int64),
        n_chan=np.array([len(e) for g in groups for _, e in g], dtype=np.int64),
        group_offsets=np.concatenate([[0], np.cumsum(n_grp)]),
        matrix=np.array([e for row in rows for e in row], dtype=dtype),
        matrix_offsets=np.concatenate([[0], np.cumsum([len(r) for r in rows])]),
        first_channel=first_channel,
        first_channel_from="TLMIN",
        n_channels=channels,
        ebounds=None,
        includes_area=False,
        about={},
    )


def area(of, specresp):
    return EffectiveArea(
        energ_lo=of.energ_lo, energ_hi=of.energ_hi, specresp=np.float64(specresp), about={}
    )


GROUPS = [[(1, [0.5, 0.25]), (5, [0.25])], [], [(2, [0.1, 0.2, 0.3]), (6, [0.4])]]
DENSE = np.array([[0.5, 0.25, 0, 0, 0.25, 0], [0] * 6, [0, 0.1, 0.2, 0.3, 0, 0.4]])


def test_a_model_goes_to_the_channels_of_its_groups():
    folded = fold(response(GROUPS, dtype=np.float64), [2.0, 100.0, 10.0])
    np.testing.assert_allclose(folded, [1, 1.5, 2, 3, 0.5, 4], rtol=1e-15)


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("first_channel", [0, 1, 20])
def test_unit_vectors_give_the_rows(first_channel, padding):
    groups = [[(first_channel + f - 1, e) for f, e in g] for g in GROUPS]
    folded = fold(response(groups, first_channel=first_channel, padding=padding), np.eye(3))
    np.testing.assert_array_equal(folded, DENSE.astype(np.float32))


def test_many_models_are_the_dense_product():
    rng = np.random.default_rng(8)
    groups = []
    for _ in range(90):
        starts = np.sort(rng.choice(np.arange(0, 200, 10), rng.integers(0, 4), replace=False))
        groups.append([(1 + s, rng.random(rng.integers(1, 10))) for s in starts])
    sparse = response(groups, channels=210)
    models = rng.random((150, 90))
    specresp = rng.random(90) * 800
    dense = np.zeros((90, 210))
    for row, g in zip(dense, groups, strict=True):
        for first, elements in g:
            row[first - 1 : first - 1 + len(elements)] = np.float32(elements)
    expected = models @ (dense * specresp[:, None])
    composed = compose(sparse, area(sparse, specresp))
    np.testing.assert_allclose(fold(composed, models), expected, rtol=1e-12)
    np.testing.assert_allclose(fold(composed.as_sparse(), models[7]), expected[7], rtol=1e-12)


def test_elements_of_overlapping_groups_add_up():
    twice = response([[(1, [1.0, 2.0]), (2, [4.0])]], channels=3)
    np.testing.assert_array_equal(fold(twice, [1.0]), [1, 6, 0])


def test_full_matrices_are_the_dense_product_too():
    random = np.random.default_rng(9)
    dense, models = random.random((40, 6)), random.random((5, 40))
    full = response([[(1, row)] for row in dense], dtype=np.float64)
    np.testing.assert_allclose(fold(full, models), models @ dense, rtol=1e-12)
    # As many elements as a full matrix has, but two of them for one channel and none for another.
    twice = response([[(1, [1.0]), (1, [2.0])], [(1, [4.0, 8.0])]], channels=2)
    np.testing.assert_array_equal(fold(twice, [1.0, 1.0]), [7, 8])


def test_a_nan_in_the_model_stays_in_the_channels_it_reaches():
    folded = fold(response(GROUPS), [1.0, np.nan, 1.0])
    assert np.isfinite(folded).all()
    assert np.isnan(fold(response(GROUPS), [np.nan, 1, 1])).tolist() == [1, 1, 0, 0, 1, 0]


@pytest.mark.parametrize("model", [np.ones(4), np.ones((3, 2)), np.ones((1, 1, 3)), 1.0])
def test_a_model_of_another_length_is_refused(model):
    with pytest.raises(LacusError, match="each of the 3 energy bins"):
        fold(response(GROUPS), model)


def test_composing_drops_the_padding_and_keeps_the_groups():
    bare = response(GROUPS, padding=2)
    composed = compose(bare, area(bare, [2, 3, 4]))
    assert composed.includes_area
    assert composed.matrix.dtype == np.float64
    expected = DENSE.astype(np.float32) * np.array([[2.0], [3], [4]])
    np.testing.assert_array_equal(composed.as_sparse().toarray(), expected)
    np.testing.assert_array_equal(composed.f_chan, bare.f_chan)


def wide(edges, rows):
    """A full matrix over energy bins between edges, six channels from 1."""
    return replace(
        response([[(1, row)] for row in rows], dtype=float), energ_lo=np.array(edges[:-1], float),
        energ_hi=np.array(edges[1:], float),
    )  # fmt: skip


def test_parts_of_a_response_add_up():
    core = wide([1, 2, 3, 4], np.eye(3, 6))
    tails = wide([1, 3, 4], [[0.1] * 6, [0.2] * 6])
    model = np.array([1.0, 10.0, 100.0])
    expected = core.as_sparse().T @ model + 0.1 * 11 + 0.2 * 100
    np.testing.assert_allclose(fold_parts([core, tails], model), expected, rtol=1e-12)
    many = fold_parts([core, tails], np.stack([model, 2 * model]))
    np.testing.assert_allclose(many, [expected, 2 * expected], rtol=1e-12)
    # What no wide bin covers has no tail there.
    some = wide([1, 3], [[0.1] * 6])
    np.testing.assert_allclose(fold_parts([core, some], model), expected - 20, rtol=1e-12)
    with pytest.raises(LacusError, match="2-3 keV of the first part lies in two bins"):
        fold_parts([core, wide([1, 2.4, 4], [[0.1] * 6] * 2)], model)
    with pytest.raises(LacusError, match="a part has 7 channels and the first 6"):
        fold_parts([core, replace(tails, n_channels=7)], model)


def test_a_second_area_is_refused():
    once = compose(response(GROUPS), area(response(GROUPS), [1, 1, 1]))
    with pytest.raises(LacusError, match="includes the effective area"):
        compose(once, area(once, [1, 1, 1]))


def test_an_area_of_other_bins_is_refused():
    bare = response(GROUPS)
    with pytest.raises(LacusError, match="has 2 energy bins and the matrix 3"):
        compose(bare, area(bare, [1, 1]))
    shifted = area(bare, [1, 1, 1])
    lo = bare.energ_lo.copy()
    lo[1] += 0.1
    with pytest.raises(LacusError, match=r"energy bin 2 is 1\.43333-1\.66667 keV"):
        compose(bare, replace(shifted, energ_lo=lo))
    lo[1] = np.nan
    with pytest.raises(LacusError, match="energy bin 2"):
        compose(bare, replace(shifted, energ_lo=lo))


def test_energies_in_single_precision_are_the_same_bins():
    bare = response(GROUPS)
    rounded = replace(
        area(bare, [1, 1, 1]), energ_lo=bare.energ_lo.astype(np.float32).astype(np.float64)
    )
    assert compose(bare, rounded).includes_area


def test_counts_are_expected_in_the_channels_of_the_spectrum():
    composed = compose(response(GROUPS), area(response(GROUPS), [10, 10, 10]))
    some = Spectrum(
        quantity="COUNTS",
        values=np.zeros(2),
        channel=np.array([1, 5]),
        exposure=20.0,
        areascal=np.array([1.0, 0.5]),
        about={},
    )
    np.testing.assert_allclose(expected_counts(some, composed, [1.0, 0, 0]), [100, 25])
    many = expected_counts(some, composed, np.eye(3))
    np.testing.assert_allclose(many, [[100, 25], [0, 0], [0, 0]])
    with pytest.raises(LacusError, match="no effective area"):
        expected_counts(some, response(GROUPS), [1.0, 0, 0])
    with pytest.raises(LacusError, match="EXPOSURE of the spectrum is None"):
        expected_counts(replace(some, exposure=None), composed, [1.0, 0, 0])
    with pytest.raises(LacusError, match="channel 9"):
        expected_counts(replace(some, channel=np.array([1, 9])), composed, [1.0, 0, 0])
    with pytest.raises(LacusError, match="detector of 2 channels and the response of one of 6"):
        expected_counts(replace(some, about={"detchans": 2}), composed, [1.0, 0, 0])
    of_six = replace(some, about={"detchans": 6})
    np.testing.assert_allclose(expected_counts(of_six, composed, [1.0, 0, 0]), [100, 25])


def test_spectra_of_the_same_length_go_channel_by_channel():
    bare = response(GROUPS)
    assert channel_positions(bare, np.arange(6), 6).tolist() == [0, 1, 2, 3, 4, 5]
    assert channel_positions(bare, None, 6).tolist() == [0, 1, 2, 3, 4, 5]
    backwards = np.array([6, 5, 4, 3, 2, 1])
    assert channel_positions(bare, backwards, 6).tolist() == [5, 4, 3, 2, 1, 0]


def test_spectra_with_channels_left_out_go_by_number():
    assert channel_positions(response(GROUPS), np.array([2, 3, 6]), 3).tolist() == [1, 2, 5]


@pytest.mark.parametrize(
    ("channel", "channels", "problem"),
    [
        (None, 4, "4 channels and the response 6"),
        (np.arange(8), 8, "8 channels and the response 6"),
        (np.array([0, 1, 2]), 3, "channel 0 .* which has 1 to 6"),
        (np.array([1, 7]), 2, "channel 7"),
    ],
)
def test_spectra_that_do_not_fit_are_refused(channel, channels, problem):
    with pytest.raises(LacusError, match=problem):
        channel_positions(response(GROUPS), channel, channels)


def read_contents(path):
    data = path.read_bytes()
    unpacked = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    return contents(FitsFile(str(path), unpacked))


def dense_row(record, first_channel, channels):
    """A row of a matrix as astropy gives it, element by element."""
    names = {name.upper(): name for name in record.array.names}
    first, length, elements = (
        np.atleast_1d(record[names[name]]) for name in ("F_CHAN", "N_CHAN", "MATRIX")
    )
    row, taken = np.zeros(channels), 0
    for f, n in zip(first[: record["N_GRP"]], length, strict=False):
        row[int(f) - first_channel : int(f) - first_channel + int(n)] += elements[taken : taken + n]
        taken += n
    return row


@pytest.mark.real
def test_unit_vectors_of_every_real_response(real_data):
    seen = 0
    for path in sorted((real_data / "ogip").rglob("*")):
        try:
            found = read_contents(path)
        except (InputError, IsADirectoryError):
            continue
        for matrix, _ in found.responses:
            seen += 1
            rows = np.unique(np.linspace(0, matrix.n_energies - 1, 30).astype(int))
            units = np.zeros((len(rows), matrix.n_energies))
            units[np.arange(len(rows)), rows] = 1
            with fits.open(path) as hdus:
                data = hdus[matrix.about["hdu"]].data
                expected = [
                    dense_row(data[r], matrix.first_channel, matrix.n_channels) for r in rows
                ]
            folded = fold(matrix, units)
            np.testing.assert_allclose(folded, expected, rtol=1e-12, atol=0, err_msg=str(path))
            np.testing.assert_allclose(
                fold(matrix, units.sum(axis=0)), np.sum(expected, axis=0), rtol=1e-12
            )
    assert seen >= 50


@pytest.mark.real
def test_real_areas_go_with_their_matrices(real_data):
    folder = real_data / "ogip" / "sherpa-test-data"
    pairs = {
        path.with_suffix(".rmf"): path
        for path in folder.rglob("*.arf")
        if path.with_suffix(".rmf").exists()
    }
    assert pairs
    for rmf, arf in pairs.items():
        matrix, area = read_rmf(rmf), read_arf(arf)
        dense = matrix.as_sparse().toarray().astype(np.float64)
        np.testing.assert_allclose(
            fold(compose(matrix, area), np.ones(len(dense))), area.specresp @ dense, rtol=1e-12
        )
