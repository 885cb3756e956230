from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from lake.errors import LacusError
from lake.figures import save
from lake.sdss import figures, preprocess
from lake.sdss.steps import SPEED_OF_LIGHT_KMS

N = 4000
BAD = slice(1000, 1010)
SKY_LINE = 2500
#: Rest wavelengths, as far as the tests need them.
LINES = pa.table(
    {
        "elem": ["H", "Na", "Na", "O", "TiO", "Fe"],
        "transition": [
            "H alpha", "Na I D1", "Na I D2", "[O III] 5006", "TiO gamma 7054", "Fe I 5269",
        ],
        "lambda_rest_A": [6564.63, 5897.56, 5891.58, 5008.24, 7056.4, 5271.0],
        "use_flag": [True, True, True, True, False, True],
    }
)  # fmt: skip


def spectrum(**changes):
    """A spectrum of S/N 20 with a bad stretch and a line of the night sky, on one row."""
    random = np.random.default_rng(0)
    sky = np.full(N, 3.0)
    sky[SKY_LINE] = 90
    ivar = np.full(N, 4.0)
    ivar[BAD] = 0
    flux = 10 + random.normal(0, 0.5, N)
    flux[BAD] = 500
    row = {
        "release": "DR17", "spec_id": "0001-50000-0001", "wavelength_grid": "log10",
        "coeff0": 3.58, "coeff1": 1e-4, "crval1": None, "cd1_1": None, "wavelength": None,
        "flux": flux.tolist(), "ivar": ivar.tolist(), "and_mask": [0] * N, "sky": sky.tolist(),
        "model": [10.0] * N, "file_sha256": "ab", **changes,
    }  # fmt: skip
    lists = {name: pa.list_(pa.float32()) for name in ("flux", "ivar", "sky", "model")}
    types = {**lists, "and_mask": pa.list_(pa.int32()), "wavelength": pa.list_(pa.float64())}
    types |= dict.fromkeys(("coeff0", "coeff1", "crval1", "cd1_1"), pa.float64())
    return pa.table({k: pa.array([v], types.get(k, pa.string())) for k, v in row.items()})


def metadata(z=0.1, kind="GALAXY", **changes):
    row = {
        "release": "DR17", "spec_id": "0001-50000-0001", "wavelength_frame": "vacuum",
        "z_or_rv_kms": None if z is None else z * SPEED_OF_LIGHT_KMS, "ebv_sfd": 0.02,
        "object_class": kind, "object_subclass": None, "z": z, "z_err": 1e-5, "z_warning": 0,
        "sn_median": 20.0, **changes,
    }  # fmt: skip
    table = pa.Table.from_pylist([row])
    kinds = {"z_or_rv_kms": pa.float64(), "ebv_sfd": pa.float64(), "wavelength_frame": pa.string()}
    for name, kind in kinds.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, table[name].cast(kind))
    return table


def written(axes):
    """Names of the lines that are written, with their wavelengths."""
    return {text.get_text(): text.xy[0] for text in axes.texts}


def stretches(axes, label):
    """What is shaded under a label: pairs of wavelengths."""
    (found,) = [c for c in axes.collections if c.get_label() == label]
    return [(p.vertices[:, 0].min(), p.vertices[:, 0].max()) for p in found.get_paths()]


def test_axes_say_what_they_hold():
    (axes,) = figures.spectrum(spectrum(), metadata(), LINES).axes
    assert axes.get_xlabel() == "vacuum wavelength (Å)"
    assert "erg s$^{-1}$ cm$^{-2}$ Å$^{-1}$" in axes.get_ylabel()


def test_the_frame_of_the_wavelengths_is_the_files():
    (axes,) = figures.spectrum(spectrum(), metadata(wavelength_frame="air"), LINES).axes
    assert axes.get_xlabel() == "air wavelength (Å)"


def test_lines_stand_at_the_redshift_of_the_object():
    (axes,) = figures.spectrum(spectrum(), metadata(z=0.1), LINES).axes
    assert written(axes)["Hα"] == pytest.approx(6564.63 * 1.1)


def test_two_names_are_not_written_upon_another():
    (axes,) = figures.spectrum(spectrum(), metadata(z=0.0, kind="STAR"), LINES).axes
    assert {"Na I D1", "Na I D2"} & set(written(axes)) == {"Na I D2"}
    ticks = [line for line in axes.lines if len(line.get_xdata()) == 2]
    assert len(ticks) == 4  # H alpha, both D lines, Fe I


def test_stars_have_no_forbidden_lines_and_galaxies_no_fe_1():
    star = written(figures.spectrum(spectrum(), metadata(0.0, "STAR"), LINES).axes[0])
    galaxy = written(figures.spectrum(spectrum(), metadata(0.0, "GALAXY"), LINES).axes[0])
    assert set(star) == {"Hα", "Na I D2", "Fe I 5269"}
    assert set(galaxy) == {"Hα", "Na I D2", "[O III] 5006"}


def test_bad_pixels_are_shaded_and_do_not_set_the_limits():
    (axes,) = figures.spectrum(spectrum(), metadata(), LINES).axes
    ((low, high),) = stretches(axes, "bad pixels")
    centre = 10 ** (3.58 + 1e-4 * np.arange(N))
    assert centre[999] < low < centre[1000]
    assert centre[1009] < high < centre[1010]
    assert axes.get_ylim()[1] < 20


def test_lines_of_the_night_sky_are_marked():
    (axes,) = figures.spectrum(spectrum(), metadata(), LINES).axes
    ((low, high),) = stretches(axes, "night-sky lines")
    assert low < 10 ** (3.58 + 1e-4 * SKY_LINE) < high


def test_without_error_model_and_sky():
    bare = spectrum(ivar=None, sky=None, model=None)
    (axes,) = figures.spectrum(bare, metadata(z=None), LINES).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["flux"]
    assert written(axes)["Hα"] == pytest.approx(6564.63)


def test_without_wavelengths_there_are_pixels_and_no_lines():
    (axes,) = figures.spectrum(
        spectrum(wavelength_grid="pixel-normalised", coeff0=None, coeff1=None), metadata(), LINES
    ).axes
    assert axes.get_xlabel() == "pixel (no wavelength solution)"
    assert axes.get_xlim() == (0.5, N + 0.5)
    assert not axes.texts


def test_noisy_ends_do_not_set_the_limits_but_bright_ends_do():
    error = np.full(N, 0.5)
    error[:400] = 5
    random = np.random.default_rng(1)
    noisy = 10 + error * random.normal(size=N)
    bright = np.where(np.arange(N) < 400, 100.0, 10.0)
    tops = [
        figures.spectrum(spectrum(flux=flux.tolist(), ivar=(error**-2).tolist()), metadata(), LINES)
        .axes[0]
        .get_ylim()[1]
        for flux in (noisy, bright)
    ]
    assert tops[0] < 18
    assert tops[1] > 100


def test_title_tells_the_objects_class_redshift_and_prediction():
    found = pa.table({"predicted_class": ["K3"], "probability": [0.87], "abstained": [True]})
    about = metadata(z=0.0012, kind="STAR", object_subclass="K3III", z_warning=4)
    title = figures.spectrum(spectrum(), about, LINES, found).get_suptitle()
    assert title == (
        "0001-50000-0001   STAR K3III   z = 0.00120 ± 0.00001 (warning)   S/N 20.0"
        "   network: K3 (p = 0.87, abstained)"
    )


def test_a_figure_shows_one_spectrum():
    two = pa.concat_tables([spectrum(), spectrum()])
    with pytest.raises(LacusError, match=r"2 rows of sdss\.spectra"):
        figures.spectrum(two, metadata(), LINES)


def preprocessed(recipe="default"):
    made, _ = preprocess.preprocess_table(
        spectrum(), metadata(), preprocess.RECIPES[recipe], datetime(2026, 1, 1, tzinfo=UTC)
    )
    return made


def test_example_has_the_recipe_below_in_the_rest_frame(tmp_path):
    detected = pa.table(
        {
            "kind": ["absorption", "emission", "absorption"],
            "lambda_A": [5892.0, 6564.0, 5000.0],
            "elem": ["Na", "H", None],
        }
    )
    figure = figures.example_spectrum(spectrum(), metadata(), preprocessed(), LINES, detected)
    above, below = figure.axes
    assert written(above)["Hα"] == pytest.approx(6564.63 * 1.1)
    assert written(below)["Hα"] == pytest.approx(6564.63)
    assert below.get_xlim()[1] == pytest.approx(above.get_xlim()[1] / 1.1, rel=1e-3)
    marks = {line.get_marker(): list(line.get_xdata()) for line in below.lines}
    assert marks["^"] == [5892.0]
    assert marks["v"] == [6564.0]
    again = figures.example_spectrum(spectrum(), metadata(), preprocessed(), LINES, detected)
    first, second = save(figure, tmp_path / "a.svg"), save(again, tmp_path / "b.svg")
    assert first.read_bytes() == second.read_bytes()


def test_a_recipe_without_wavelengths_is_refused():
    with pytest.raises(LacusError, match="recipe seed gives 2048 pixels"):
        figures.example_spectrum(spectrum(), metadata(), preprocessed("seed"), LINES)


def sample(**more):
    return pa.table(
        {
            "class_mk": ["M1", "CV", "A0", "A0", "A0"],
            "sn_median": pa.array([10.0, None, 20.0, 30.0, 5.0]),
            **more,
        }
    )


def test_classes_from_hot_to_cool_with_their_numbers():
    above, below = figures.class_balance(sample()).axes
    assert [text.get_text() for text in above.texts] == ["3", "1", "1"]
    assert [label.get_text() for label in below.get_xticklabels()] == ["A0", "M1", "CV"]


def test_bars_are_divided_by_split():
    split = ["train", "train", "test", "train", "train"]
    above, _ = figures.class_balance(sample(split=split)).axes
    heights = {bars.get_label(): [bar.get_height() for bar in bars] for bars in above.containers}
    assert heights == {"train": [2, 1, 1], "validation": [0, 0, 0], "test": [1, 0, 0]}


def test_the_legend_covers_no_number():
    figure = figures.class_balance(sample(split=["test"] * 5))
    figure.draw_without_rendering()
    above, _ = figure.axes
    assert above.get_legend().get_window_extent().y0 >= above.get_window_extent().y1


def test_no_spectra_at_all(tmp_path):
    figure = figures.class_balance(sample().slice(0, 0))
    assert save(figure, tmp_path / "empty.png").stat().st_size > 0


@pytest.mark.real
def test_real_spectra(real_data, tmp_path):
    from lake.sdss import read_spectrum

    read = read_spectrum(real_data / "sdss" / "spec" / "spec-4055-55359-0001.fits")
    named = read.append_column("release", pa.array(["DR17"])).append_column(
        "file_sha256", pa.array(["ab"])
    )
    about = metadata(z=0.00037, kind="STAR", spec_id="4055-55359-0001")
    (axes,) = figures.spectrum(named, about, LINES).axes
    assert any(low < 5578.9 < high for low, high in stretches(axes, "night-sky lines"))
    assert 15 < axes.get_ylim()[1] < 40
