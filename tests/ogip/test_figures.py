from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from lake.errors import LacusError
from lake.figures import save
from lake.ogip import figures
from lake.ogip.containers import Ebounds, EffectiveArea, Response

N = 200
ABOUT = {
    "spec_id": "x.pi-0001", "object": "X-1", "telescope": "SIMSAT", "instrument": None,
    "obs_id": "7", "net_counts": 1234.5, "net_counts_error": 40.2, "exposure": 20000.0,
}  # fmt: skip


def channels(**changes):
    """Rows of ogip.count_spectrum: 12 counts in every channel, 2 of them background."""
    edges = np.linspace(0.4, 10.4, N + 1)
    plain = {
        "position": np.arange(1, N + 1), "channel": np.arange(N), "e_min": edges[:-1],
        "e_max": edges[1:], "counts": 12.0, "counts_error": np.sqrt(12), "background": 2.0,
        "background_error": 0.5, "net_counts": 10.0, "net_counts_error": 3.5,
        "rate": 12 / 1000, "quality": 0,
    }  # fmt: skip
    columns = {name: np.broadcast_to(v, N) for name, v in (plain | changes).items()}
    return pa.table(
        {
            name: pa.array(v.astype(float), pa.float64(), from_pandas=True)
            for name, v in columns.items()
        }
    )


def response(energies=40, size=30, *, ebounds=True, **changes):
    """Every energy gives one channel, and half as much the first one."""
    position = np.linspace(1, size - 1, energies).astype(int)
    energ = np.linspace(0.5, 8, energies + 1)
    bounds = np.linspace(0.3, 9, size + 1)
    plain = {
        "energ_lo": energ[:-1], "energ_hi": energ[1:], "n_grp": np.full(energies, 2),
        "f_chan": np.column_stack([np.ones(energies, int), position + 1]).ravel(),
        "n_chan": np.ones(2 * energies, int), "group_offsets": 2 * np.arange(energies + 1),
        "matrix": np.tile([0.5, 1.0], energies), "matrix_offsets": 2 * np.arange(energies + 1),
        "first_channel": 1, "first_channel_from": "TLMIN", "n_channels": size,
        "ebounds": Ebounds(np.arange(1, size + 1), bounds[:-1], bounds[1:]) if ebounds else None,
        "includes_area": False, "about": {},
    }  # fmt: skip
    return Response(**(plain | changes))


AREA = EffectiveArea(
    energ_lo=np.array([0.0, 1.0]), energ_hi=np.array([1.0, 9.0]),
    specresp=np.array([100.0, 50.0]), about={},
)  # fmt: skip


def lines(axes, label):
    """Places, values and errors of a series."""
    [(_, _, bars)] = [c for c in axes.containers if c.get_label() == label]
    across, up = (np.array(bar.get_segments()).reshape(-1, 2, 2) for bar in bars)
    return across[:, :, 0], across[:, 0, 1], (up[:, 1, 1] - up[:, 0, 1]) / 2


def test_a_spectrum_is_drawn_as_rates_with_errors():
    axes = figures.spectrum(channels(), ABOUT).axes[0]
    assert axes.get_ylabel() == "counts s$^{-1}$ keV$^{-1}$"
    bounds, value, error = lines(axes, "source and background")
    assert len(value) == N  # 12 counts are enough by themselves
    np.testing.assert_allclose(bounds[:, 1] - bounds[:, 0], 0.05)
    np.testing.assert_allclose(value, 12 / 1000 / 0.05)
    np.testing.assert_allclose(error, np.sqrt(12) / 1000 / 0.05)
    np.testing.assert_allclose(lines(axes, "background")[1], 2 / 1000 / 0.05)
    np.testing.assert_allclose(lines(axes, "net")[1], 10 / 1000 / 0.05)
    assert axes.get_xscale() == axes.get_yscale() == "log"


def test_few_counts_are_taken_together_and_bad_channels_left_out():
    quality = np.zeros(N)
    quality[50:60] = 5
    table = channels(counts=2.0, counts_error=np.sqrt(2), rate=0.002, quality=quality)
    bounds, value, error = lines(figures.spectrum(table, ABOUT).axes[0], "source and background")
    assert len(value) == 10 + 28
    np.testing.assert_allclose(value, 2 / 1000 / 0.05)
    np.testing.assert_allclose(error[0], np.sqrt(10) / 1000 / 0.25)
    middle = bounds.mean(axis=1)
    assert not ((middle > 0.4 + 50 * 0.05) & (middle < 0.4 + 60 * 0.05)).any()


def test_an_unknown_background_spoils_its_own_group_only():
    background = np.full(N, 2.0)
    background[3] = np.nan
    axes = figures.spectrum(channels(background=background), ABOUT).axes[0]
    [(_, _, bars)] = [c for c in axes.containers if c.get_label() == "background"]
    drawn = [len(bar) for bar in bars[0].get_segments()]
    assert [i for i, points in enumerate(drawn) if not points] == [3]
    assert len(lines(axes, "source and background")[1]) == N


def test_without_background_energies_or_exposure_what_is_known_is_drawn():
    nothing = dict.fromkeys(["e_min", "e_max", "background", "rate"], np.nan)
    axes = figures.spectrum(channels(**nothing), ABOUT | {"exposure": None}).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("channel", "counts channel$^{-1}$")
    assert [c.get_label() for c in axes.containers] == ["source and background"]
    bounds, value, _ = lines(axes, "source and background")
    np.testing.assert_allclose(value, 12)
    np.testing.assert_allclose(bounds[0], [-0.5, 0.5])


def test_rates_with_errors_of_their_own_are_grouped_by_these():
    table = channels(counts=1e-3, counts_error=5e-4, rate=1e-3)
    _, value, error = lines(figures.spectrum(table, ABOUT).axes[0], "source and background")
    # Three channels have 3e-3 +- 0.87e-3.
    assert len(value) == N // 3
    np.testing.assert_allclose(error[0] / value[0], 0.5 / np.sqrt(3))


def test_a_spectrum_of_bad_channels_has_no_points(tmp_path):
    figure = figures.spectrum(channels(quality=1), ABOUT)
    assert len(lines(figure.axes[0], "net")[1]) == 0
    save(figure, tmp_path / "x.svg")


def test_many_channels_are_no_more_than_so_many_points():
    big = pa.concat_tables([channels()] * 10)
    columns = {name: big[name] for name in big.column_names}
    edges = np.linspace(0.4, 10.4, 10 * N + 1)
    columns |= {"e_min": edges[:-1], "e_max": edges[1:]}
    axes = figures.spectrum(pa.table(columns), ABOUT).axes[0]
    assert len(lines(axes, "source and background")[1]) == 200


def test_the_title_says_what_it_is():
    title = figures.spectrum(channels(), ABOUT).get_suptitle()
    assert title == (
        "x.pi-0001, X-1, SIMSAT, 7\n1234 \N{PLUS-MINUS SIGN} 40 net counts in 20,000 s"
    )
    short = figures.spectrum(channels(), {"spec_id": "x", "net_counts": None}).get_suptitle()
    assert short == "x"


def test_area_and_response_have_panels_of_their_own(tmp_path):
    figure = figures.spectrum(channels(), ABOUT, AREA, response())
    assert [a.get_ylabel() for a in figure.axes[:3]] == [
        "counts s$^{-1}$ keV$^{-1}$", "effective area (cm$^2$)", "channel energy (keV)",
    ]  # fmt: skip
    # An axis of logarithms begins above an ENERG_LO of 0.
    assert figure.axes[1].get_xlim() == (1.0, 9.0)
    for name in ("x.svg", "x.png"):
        assert save(figure, tmp_path / name).stat().st_size > 10_000
    assert len(figures.spectrum(channels(), ABOUT, AREA).axes) == 2


def test_the_area_within_a_response_is_its_row_sums():
    figure = figures.spectrum(channels(), ABOUT, None, response(includes_area=True))
    [steps] = figure.axes[1].patches
    np.testing.assert_allclose(steps.get_data().values, 1.5)
    assert figure.axes[-1].get_ylabel() == "cm$^2$ per channel"


def test_a_small_response_is_drawn_element_by_element():
    made = response()
    image, energies, edges = figures.coarse_response(made)
    np.testing.assert_array_equal(image, made.as_sparse().toarray())
    np.testing.assert_allclose(energies, np.linspace(0.5, 8, 41))
    np.testing.assert_allclose(edges, np.linspace(0.3, 9, 31))
    numbers = figures.coarse_response(response(ebounds=False))[2]
    np.testing.assert_allclose(numbers, np.arange(31) + 0.5)


def test_a_large_response_is_averaged_over_blocks():
    made = response(1000, 700)
    image, energies, edges = figures.coarse_response(made)
    assert image.shape == (250, 234)
    dense = made.as_sparse().toarray()
    np.testing.assert_allclose(image[10, 5], dense[40:44, 15:18].mean())
    np.testing.assert_allclose(image[-1, -1], dense[996:, 699:].mean())
    assert len(energies) == 251
    assert edges[-1] == 9


def test_channels_may_fall_in_energy():
    made = response()
    falling = Ebounds(made.channel, made.ebounds.e_max[::-1], made.ebounds.e_min[::-1])
    edges = figures.coarse_response(replace(made, ebounds=falling))[2]
    np.testing.assert_allclose(edges, np.linspace(9, 0.3, 31))


def test_energies_may_fall():
    made = response()
    falling = replace(made, energ_lo=made.energ_lo[::-1], energ_hi=made.energ_hi[::-1])
    energies = figures.coarse_response(falling)[1]
    np.testing.assert_allclose(energies, np.linspace(8, 0.5, 41))


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(LacusError, match="without channels"):
        figures.spectrum(channels().slice(0, 0), ABOUT)
    with pytest.raises(LacusError, match="without an element above 0"):
        figures.spectrum(channels(), ABOUT, None, response(matrix=np.zeros(80)))
