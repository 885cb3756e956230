import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pytest
from astropy.io import fits

from lake.errors import UsageError
from lake.sample import sdss
from lake.sample.sdss import write_sample
from lake.sample.stars import TYPES, Stars, draw_stars, flux_density
from lake.sdss.mk import learnt_class, normalise

KEY = (("plate", "PLATEID"), ("mjd", "MJD"), ("fiberid", "FIBERID"))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Paths of the spectra in order, and the catalogue."""
    paths = write_sample(tmp_path_factory.mktemp("sample"))
    return sorted(paths["spectra"].rglob("*.fits")), pyarrow.csv.read_csv(paths["labels"])


@pytest.fixture(scope="module")
def opened(small):
    """Header, pixels and catalogue row of every spectrum."""
    found = []
    for path in small[0]:
        with fits.open(path, memmap=False) as hdus:
            found.append((hdus[0].header, hdus[1].data, hdus[2].data[0]))
    return found


def normalise_one(text: str) -> str:
    return learnt_class(pa.array([text]))[0].as_py()


def one_class(header, catalogue) -> str | None:
    same = [pc.equal(catalogue[a], header[b]) for a, b in KEY]
    rows = catalogue.filter(pc.and_(pc.and_(*same[:2]), same[2]))
    assert rows.num_rows <= 1
    return rows["subclass"][0].as_py() if rows.num_rows else None


def test_as_many_as_asked_for_on_several_plates_with_all_classes(small, opened):
    assert len(small[0]) == 160
    plates = {}
    for header, _, row in opened:
        plates.setdefault(header["PLATEID"], set()).add(normalise_one(row["SUBCLASS"]))
    assert len(plates) >= 6
    assert all(classes == set(TYPES) for classes in plates.values())


def test_the_layout_is_the_archives(small):
    for path in small[0][:10]:
        with fits.open(path) as hdus:
            hdus.verify("exception")
            assert [hdu.name for hdu in hdus] == ["PRIMARY", "COADD", "SPECOBJ", "SPZLINE"]
            header, coadd, row = hdus[0].header, hdus[1], hdus[2].data[0]
            assert coadd.columns.names == [
                "flux", "loglam", "ivar", "and_mask", "or_mask", "wdisp", "sky", "model",
            ]  # fmt: skip
            assert path.name == (
                f"spec-{header['PLATEID']:04d}-{header['MJD']}-{header['FIBERID']:04d}.fits"
            )
            assert path.parent.name == f"{header['PLATEID']:04d}"
            solution = header["COEFF0"] + header["COEFF1"] * np.arange(len(coadd.data))
            np.testing.assert_allclose(coadd.data["loglam"], solution, rtol=1e-7)
            assert header["VACUUM"] is True
            assert len(hdus[2].columns) > 40
            assert (row["PLATE"], row["MJD"]) == (header["PLATEID"], header["MJD"])
            assert (row["PLUG_RA"], row["PLUG_DEC"]) == pytest.approx(
                (header["PLUG_RA"], header["PLUG_DEC"]), abs=1e-9
            )
            assert row["SPECOBJID"].strip() == str(
                header["PLATEID"] * 2**50
                + header["FIBERID"] * 2**38
                + (header["MJD"] - 50_000) * 2**24
                + 26 * 2**10
            )
            assert (hdus[3].data["FIBERID"] == header["FIBERID"]).all()


def test_stars_lie_on_their_plate_and_apart(opened):
    places = np.array([(h["PLUG_RA"], h["PLUG_DEC"], h["RA"], h["DEC"]) for h, _, _ in opened])
    ra, dec, ra0, dec0 = np.radians(places).T
    cosine = np.sin(dec) * np.sin(dec0) + np.cos(dec) * np.cos(dec0) * np.cos(ra - ra0)
    assert np.degrees(np.arccos(np.minimum(cosine, 1))).max() < 1.5
    assert len(np.unique(places[:, :2], axis=0)) == len(places)


def test_noise_is_what_ivar_says(opened):
    pulls, ratios = [], []
    for _, data, row in opened:
        good = data["ivar"] > 0
        pulls.append((data["flux"] - data["model"])[good] * np.sqrt(data["ivar"][good]))
        ratios.append(row["SN_MEDIAN_ALL"])
        assert row["SN_MEDIAN_ALL"] == pytest.approx(
            np.median(data["flux"][good] * np.sqrt(data["ivar"][good])), rel=1e-4
        )
    assert np.std(np.concatenate(pulls)) == pytest.approx(1, abs=0.01)
    assert min(ratios) > 2
    assert max(ratios) < 90
    assert np.log(ratios).std() > 0.6


def test_bad_pixels_and_sky_lines_are_marked(opened):
    for _, data, row in opened:
        lost = data["ivar"] == 0
        assert 0.002 < lost.mean() < 0.02
        assert ((data["and_mask"] & 1 << 24) > 0).tolist() == lost.tolist()
        # What is set in all exposures is set in one.
        assert not (data["and_mask"] & ~data["or_mask"]).any()
        assert (data["or_mask"] & ~data["and_mask"]).any()
        oxygen = np.abs(10 ** data["loglam"] - 5578.9) < 1
        assert (data["and_mask"][oxygen] & 1 << 23).all()
        assert data["sky"][oxygen].min() > 5 * np.median(data["sky"])
        assert row["ANYANDMASK"] == np.bitwise_or.reduce(data["and_mask"])
        assert np.isfinite(data["flux"]).all()


def test_the_catalogue_lacks_some_and_has_others(small, opened):
    catalogue = small[1]
    assert catalogue.column_names == [
        "plate", "mjd", "fiberid", "subclass", "teff", "logg", "feh", "quality",
    ]  # fmt: skip
    classes = [one_class(header, catalogue) for header, _, _ in opened]
    lacking = classes.count(None)
    assert 0.01 < lacking / len(classes) < 0.12
    assert catalogue.num_rows - (len(classes) - lacking) >= 6
    for text, (_, _, row) in zip(classes, opened, strict=True):
        if text is not None:
            assert row["CLASS"] == "STAR"
            assert normalise_one(text) == normalise_one(row["SUBCLASS"])
    parsed = normalise(catalogue["subclass"])
    assert parsed["spectral_letter"].null_count == 0
    assert set(parsed["luminosity_class"].to_pylist()) == {"III", "V"}


def test_types_can_be_told_apart_on_other_plates(opened):
    grid = np.linspace(3.59, 3.96, 1500)
    spectra, types, plates = [], [], []
    for header, data, row in opened:
        if row["SN_MEDIAN_ALL"] > 8:
            good = data["ivar"] > 0
            rest = data["loglam"][good] - np.log10(1 + row["Z"])
            flux = np.interp(grid, rest, data["flux"][good])
            spectra.append(
                flux / np.convolve(np.pad(flux, 75, "edge"), np.ones(151) / 151, "valid")
            )
            types.append(normalise_one(row["SUBCLASS"]))
            plates.append(header["PLATEID"])
    x, y, plate = np.array(spectra), np.array(types), np.array(plates)
    held = np.isin(plate, np.unique(plate)[::3])
    names = np.unique(y)
    means = np.array([x[~held & (y == name)].mean(axis=0) for name in names])
    nearest = names[((x[held][:, None] - means) ** 2).sum(axis=2).argmin(axis=1)]
    assert (nearest == y[held]).mean() > 0.8


# --- stars -------------------------------------------------------------------------------------


def star(teff: float, **others: float) -> Stars:
    plain = {"logg": 4.5, "feh": 0.0, "velocity": 0.0, "ebv": 0.0} | others
    values = {name: np.array([value]) for name, value in plain.items()}
    return Stars(np.array([0]), np.array([False]), np.array([teff]), **values)


WAVELENGTH = 10 ** np.arange(3.58, 3.96, 1e-4)


def spectrum(teff: float, **others: float) -> np.ndarray:
    return flux_density(star(teff, **others), WAVELENGTH, 2.3e-4 * WAVELENGTH)[0]


def depth(flux: np.ndarray, wavelength: float) -> float:
    """How deep a line is below the flux 60 Angstrom beside it."""
    sides = np.interp([wavelength - 60, wavelength + 60], WAVELENGTH, flux).mean()
    return float(1 - np.interp(wavelength, WAVELENGTH, flux) / sides)


@pytest.mark.parametrize(
    ("wavelength", "strongest"),
    [(4862.7, "A0"), (5413.0, "O9"), (6680.0, "B3"), (3934.8, "K5"), (5893.0, "M1")],
)
def test_lines_are_strongest_in_their_class(wavelength, strongest):
    strengths = {name: depth(spectrum(teff), wavelength) for name, teff in TYPES.items()}
    order = list(TYPES)
    best = max(strengths, key=strengths.__getitem__)
    assert abs(order.index(best) - order.index(strongest)) <= 1
    assert strengths[best] > 0.08


def test_only_cool_stars_have_bands_and_later_ones_are_redder():
    colours = []
    for name, teff in TYPES.items():
        blue, red, head = np.interp([4500, 7040, 7066], WAVELENGTH, spectrum(teff))
        assert (head < 0.85 * red) == name.startswith("M")
        colours.append(red / blue)
    assert (np.diff(colours) > 0).all()


def test_velocity_moves_the_lines_and_dust_reddens():
    flux = spectrum(9700, velocity=300.0)
    window = (WAVELENGTH > 4700) & (WAVELENGTH < 5000)
    assert WAVELENGTH[window][flux[window].argmin()] == pytest.approx(
        4862.7 * (1 + 300 / 299792.458), abs=0.8
    )
    ratio = spectrum(5770, ebv=0.1) / spectrum(5770)
    assert (np.diff(ratio) > 0).all()
    assert np.median(flux) == pytest.approx(1)


def test_giants_are_late_and_of_low_gravity():
    rng = np.random.default_rng(1)
    stars = draw_stars(rng, np.arange(3000) % len(TYPES))
    assert (stars.teff[stars.giant] < 6000).all()
    assert stars.logg[stars.giant].max() < 3.6 < stars.logg[~stars.giant].min()
    assert 0.1 < stars.giant.mean() < 0.25


# --- the sample as a whole ---------------------------------------------------------------------


def test_the_seed_decides_every_byte(tmp_path):
    def content(root):
        files = sorted(path for path in root.rglob("*") if path.is_file())
        return {str(path.relative_to(root)): path.read_bytes() for path in files}

    write_sample(tmp_path / "one", size=12)
    code = (
        "import sys; from pathlib import Path; from lake.sample.sdss import write_sample; "
        "write_sample(Path(sys.argv[1]), size=12)"
    )
    # Another process has other hashes, and so other orders of sets.
    subprocess.run([sys.executable, "-c", code, tmp_path / "two"], check=True)
    write_sample(tmp_path / "other", size=12, seed=43)
    one = content(tmp_path / "one")
    assert len(one) == 13
    assert one == content(tmp_path / "two")
    assert not set(one.values()) & set(content(tmp_path / "other").values())


def test_plates_hold_no_more_than_they_have_fibres(tmp_path, monkeypatch):
    monkeypatch.setattr(sdss, "_FIBRES", 15)
    paths = write_sample(tmp_path, size=140)
    per_plate = [len(list(folder.iterdir())) for folder in paths["spectra"].iterdir()]
    assert sorted(per_plate) == [14] * 10


def test_an_unknown_size_is_refused(tmp_path):
    with pytest.raises(UsageError, match="'huge'"):
        write_sample(tmp_path, size="huge")
    with pytest.raises(UsageError, match="size 0"):
        write_sample(tmp_path, size=0)
