"""Synthetic SDSS inputs: stars of types O to M on several plates, and their label catalogue."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from lake.sample.sizes import Size, number_of
from lake.sample.spec_file import COADD, SPECOBJ, Value, spec_file
from lake.sample.stars import LIGHT_KMS, TYPES, draw_stars, flux_density

RELEASE = "DR17-sample"
SIZES = {"small": 160, "medium": 2_000, "large": 20_000}

_FIBRES = 640
_COEFF1 = 1e-4
#: Strong lines of the night sky: vacuum wavelength (Angstrom), brightness over the continuum.
_SKY_LINES = (
    (5578.9, 30.0), (5895.6, 4.0), (6302.0, 12.0), (6365.5, 5.0), (7278.3, 5.0), (7342.9, 6.0),
    (7753.0, 6.0), (7796.4, 8.0), (7915.9, 9.0), (8346.9, 8.0), (8401.5, 9.0), (8432.5, 8.0),
    (8829.5, 10.0), (8888.3, 10.0), (8922.1, 8.0), (9002.0, 6.0),
)  # fmt: skip
# Wavelengths (Angstrom) of u, g, r, i, z, as far as the spectrograph reaches.
_BANDS = ((3800, 3980), (3980, 5490), (5560, 6990), (6910, 8200), (8200, 9200))
# Bits of SPPIXMASK.
_PARTIALREJECT, _BRIGHTSKY, _NODATA, _COMBINEREJ = (1 << bit for bit in (19, 23, 24, 25))
# The templates that the pipeline names where it finds a luminosity class.
_TEMPLATES = {"G2": "G2III (1)", "K1": "K1III (18322)", "K5": "K5III (120933)"}


def write_sample(directory: Path, *, size: Size | int = "small", seed: int = 42) -> dict[str, Path]:
    """Write spectra as the survey's archive has them, and a catalogue of their classes.

    The same size and seed give the same bytes. Every plate has stars of every type. Memory does
    not grow with the size.

    Parameters
    ----------
    directory : Path
        Made if absent.
    size : {"small", "medium", "large"} or int
        160, 2,000 or 20,000 spectra, or any number of them.
    seed : int

    Returns
    -------
    dict
        ``spectra``: a folder of ``PLATE/spec-PLATE-MJD-FIBER.fits``; ``labels``: a CSV table
        that lacks one in twenty of them and has rows of spectra that are not there.

    Raises
    ------
    UsageError
        For an unknown size.
    """
    count = number_of(size, SIZES)
    folder, catalogue = directory / "spectra", directory / "sdss_labels.csv"
    folder.mkdir(parents=True, exist_ok=True)
    plates = max(6, round(0.6 * math.sqrt(count)), math.ceil(count / _FIBRES))
    of_plate = np.bincount(np.arange(count) * plates // count, minlength=plates)
    labels = []
    for number in range(plates):
        rng = np.random.default_rng([seed, number])
        plate = _Plate(rng, number, int(of_plate[number]))
        plate.write(folder / f"{plate.plate:04d}")
        labels.append(plate.labels())
    pyarrow.csv.write_csv(pa.concat_tables(labels), catalogue)
    return {"spectra": folder, "labels": catalogue}


class _Plate:
    """Stars that were observed together: one night, one wavelength solution, one sky."""

    def __init__(self, rng: np.random.Generator, number: int, count: int) -> None:
        self.rng = rng
        self.plate, self.mjd = 266 + 29 * number, int(51_630 + 31 * number + rng.integers(20))
        self.ra = number * 137.50776 % 360
        self.dec = float(np.degrees(np.arcsin(rng.uniform(-0.1, 0.85))))
        self.fibre = np.sort(rng.permutation(_FIBRES)[:count]) + 1
        types = rng.permutation(np.arange(count) % len(TYPES))
        self.stars = draw_stars(rng, types)
        radius, angle = (
            1.45 * np.sqrt(rng.uniform(0.001, 1, count)),
            rng.uniform(0, 2 * np.pi, count),
        )
        self.star_dec = self.dec + radius * np.cos(angle)
        across = radius * np.sin(angle) / np.cos(np.radians(self.star_dec))
        self.star_ra = (self.ra + across) % 360
        self.exposures = int(rng.integers(3, 7))
        self.snr = np.exp(rng.uniform(math.log(3), math.log(60), count))
        self.heliocentric = float(rng.uniform(-25, 25))
        self.coeff0 = round(3.5780 + 1e-4 * int(rng.integers(0, 40)), 4)
        self.loglam = self.coeff0 + _COEFF1 * np.arange(int(rng.integers(3815, 3860)))

    def write(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        some = 64
        for start in range(0, len(self.fibre), some):
            rows = np.arange(start, min(start + some, len(self.fibre)))
            spectra = self._coadds(rows)
            objects = self._objects(rows, spectra)
            for i, coadd, row in zip(rows.tolist(), spectra, objects, strict=True):
                name = f"spec-{self.plate:04d}-{self.mjd}-{self.fibre[i]:04d}.fits"
                (folder / name).write_bytes(spec_file(self._header(i), coadd, row.reshape(1)))

    def labels(self) -> pa.Table:
        """Rows of the catalogue: nineteen in twenty stars, and fibres that are not there."""
        rng, stars, n = self.rng, self.stars, len(self.fibre)
        known = rng.uniform(size=n) > 0.05
        unused = np.setdiff1d(np.arange(1, _FIBRES + 1), self.fibre)[: max(1, n // 30)]
        rows = np.concatenate([np.flatnonzero(known), rng.integers(n, size=len(unused))])
        fibre = np.concatenate([self.fibre[known], unused])
        names = np.array(list(TYPES))[stars.type_[rows]]
        subclass = np.char.add(names, np.where(stars.giant[rows], "III", "V"))
        return pa.table(
            {
                "plate": np.full(len(rows), self.plate),
                "mjd": np.full(len(rows), self.mjd),
                "fiberid": fibre,
                "subclass": subclass,
                "teff": np.round(stars.teff[rows] * rng.normal(1, 0.01, len(rows))),
                "logg": np.round(stars.logg[rows] + rng.normal(0, 0.1, len(rows)), 2),
                "feh": np.round(stars.feh[rows] + rng.normal(0, 0.1, len(rows)), 2),
                "quality": np.where(self.snr[rows] > 10, "good", "fair"),
            }
        )

    def _coadds(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.void]:
        """Spectra with noise, shape (rows, pixels)."""
        rng, shape = self.rng, (len(rows), len(self.loglam))
        wavelength = np.asarray(10**self.loglam, np.float64)
        # The two arms of the spectrograph meet at 6000 Angstrom; each resolves best in its middle.
        wdisp = 0.75 + 0.25 * np.abs(np.sin(np.pi * (wavelength - 3850) / 2150))
        dispersion = np.asarray(wdisp * wavelength * _COEFF1 * math.log(10), np.float64)
        stars = self.stars.take(rows)
        level = self.snr[rows] * rng.lognormal(0.3, 0.2, len(rows))
        model = flux_density(stars, wavelength, dispersion) * level[:, None]
        lines = np.zeros_like(wavelength)
        for place, brightness in _SKY_LINES:
            lines += brightness * np.exp(-0.5 * ((wavelength - place) / dispersion) ** 2)
        sky = 8 * (1 + 0.3 * np.cos(wavelength / 900)) * (1 + lines)
        # Noise of the sky and of the star, and less light at the ends.
        throughput = np.exp(-(((wavelength - 6500) / 3300) ** 4))
        variance = (1 + lines + model / (3 * level[:, None])) / throughput
        scale = level / self.snr[rows] / np.sqrt(np.median(variance, axis=1))
        sigma = np.sqrt(variance) * scale[:, None]
        bright = np.broadcast_to(lines > 3, shape)
        lost = rng.uniform(size=shape) < 0.004
        lost[:, :8] = True
        struck = rng.uniform(size=shape) < 0.01
        flux = model + sigma * rng.standard_normal(shape, np.float32)
        spectra = np.zeros(shape, COADD)
        # Single bad pixels are interpolated, as the survey does it; before the first are zeros.
        flux = np.where(lost, model, flux)
        flux[:, :8] = 0
        spectra["flux"], spectra["loglam"] = flux, self.loglam
        spectra["ivar"] = np.where(lost, 0, sigma**-2 * np.where(struck, 0.7, 1))
        spectra["and_mask"] = _NODATA * lost + _BRIGHTSKY * bright
        spectra["or_mask"] = (
            spectra["and_mask"] + _PARTIALREJECT * (struck & ~lost) + _COMBINEREJ * struck
        )
        spectra["wdisp"], spectra["model"] = wdisp, model
        spectra["sky"] = sky * rng.normal(1, 0.02, shape[0])[:, None]
        return spectra

    def _objects(
        self, rows: npt.NDArray[np.intp], spectra: npt.NDArray[np.void]
    ) -> npt.NDArray[np.void]:
        """Rows of the survey's catalogue; plain stars, whose pipeline class is right."""
        rng, n, stars = self.rng, len(rows), self.stars.take(rows)
        objects = np.zeros(n, SPECOBJ)
        same = {
            "SURVEY": "sdss", "INSTRUMENT": "SDSS", "PROGRAMNAME": "sample", "CLASS": "STAR",
            "PLATERUN": "sample", "PLATEQUALITY": "good", "PLATESN2": 20.5, "LAMBDA_EFF": 5000,
            "SPECPRIMARY": 1, "SPECLEGACY": 1, "NSPECOBS": 1, "FIRSTRELEASE": "dr7", "RUN2D": "26",
            "SOURCETYPE": "STAR", "TARGETTYPE": "SCIENCE", "PLATE": self.plate, "MJD": self.mjd,
            "TILE": 100 + self.plate, "TFILE": "spEigenStar-55734.fits", "NPOLY": 4, "VDISP": 0,
            "PLATEID": str(self.plate << 50 | self.mjd - 50_000 << 24 | 26 << 10),
        }  # fmt: skip
        for name, value in same.items():
            objects[name] = value
        fibre = self.fibre[rows].astype(np.int64)
        identifier = self.plate << 50 | fibre << 38 | self.mjd - 50_000 << 24 | 26 << 10
        photometric = 1237 * 10**15 + self.plate * 10**10 + fibre * 1000
        objects["SPECOBJID"] = np.char.rjust(identifier.astype(str), 22)
        objects["BESTOBJID"] = photometric.astype(str)
        objects["TARGETOBJID"] = np.char.rjust(photometric.astype(str), 22)
        objects["FIBERID"], objects["SPECTROGRAPHID"] = fibre, 1 + (fibre > _FIBRES // 2)
        objects["PLUG_RA"], objects["PLUG_DEC"] = self.star_ra[rows], self.star_dec[rows]
        ra, dec = np.radians(self.star_ra[rows]), np.radians(self.star_dec[rows])
        objects["CX"], objects["CY"] = np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra)
        objects["CZ"] = np.sin(dec)
        objects["OBJID"] = np.column_stack([np.full((n, 2), 40), fibre % 6 + 1, fibre, fibre])
        objects["SUBCLASS"] = [
            _TEMPLATES.get(name, name) if giant else name
            for name, giant in zip(np.array(list(TYPES))[stars.type_], stars.giant, strict=True)
        ]
        error = 8 + 60 / self.snr[rows]
        velocity = stars.velocity + rng.normal(0, 1, n) * error
        objects["Z"], objects["Z_ERR"] = velocity / LIGHT_KMS, error / LIGHT_KMS
        objects["RCHI2"], objects["RCHI2DIFF"] = rng.normal(1, 0.05, n), rng.uniform(0.02, 0.5, n)
        objects["TCOLUMN"] = np.r_[0, np.full(9, -1)]
        wavelength = 10**self.loglam
        objects["WAVEMIN"], objects["WAVEMAX"] = wavelength[8], wavelength[-1]
        objects["WCOVERAGE"] = self.loglam[-1] - self.loglam[8]
        with np.errstate(invalid="ignore"):
            ratio = np.where(
                spectra["ivar"] > 0, spectra["flux"] * np.sqrt(spectra["ivar"]), np.nan
            )
        objects["SN_MEDIAN_ALL"] = np.nanmedian(ratio, axis=1)
        for i, (low, high) in enumerate(_BANDS):
            within = slice(*np.searchsorted(wavelength, [low, high]))
            objects["SN_MEDIAN"][:, i] = np.nanmedian(ratio[:, within], axis=1)
        objects["DOF"] = (spectra["ivar"] > 0).sum(axis=1)
        for bits in ("AND", "OR"):
            masks = spectra[f"{bits.lower()}_mask"].astype(np.int32)
            objects[f"ANY{bits}MASK"] = np.bitwise_or.reduce(masks, axis=1)
        return objects

    def _header(self, i: int) -> dict[str, tuple[Value, str]]:
        exposure = 900.0 * self.exposures
        ebv = float(self.stars.ebv[i])
        return {
            "RA": (self.ra, "Right ascension of telescope boresight (deg)"),
            "DEC": (self.dec, "Declination of telescope boresight (deg)"),
            "EQUINOX": (2000.0, ""),
            "RADECSYS": ("FK5", ""),
            "TIMESYS": ("tai", "TAI, not UTC"),
            "MJD": (self.mjd, "MJD of observation"),
            "MJDLIST": (str(self.mjd), ""),
            "TELESCOP": ("SDSS 2.5-M", "Sloan Digital Sky Survey"),
            "NEXP_B1": (self.exposures, "b1 camera number of exposures"),
            "NEXP_R1": (self.exposures, "r1 camera number of exposures"),
            "EXPTIME": (exposure, "Minimum of exposure times for all cameras"),
            "FLAVOR": ("science", "Flavor of this sequence"),
            "QUALITY": ("excellent", "night/image quality"),
            "RADEG": (self.ra, "Right Ascension. (degrees)"),
            "DECDEG": (self.dec, "Declination. (degrees)"),
            "PLATEID": (self.plate, "Plate Id"),
            "TILEID": (100 + self.plate, "Tile Id"),
            "CARTID": (1 + self.plate % 9, "Cartridge used in this plugging"),
            "NAME": (f"{self.plate:04d}-{self.mjd}-01", "Name of target; PlateId-MJD-Mapper Re"),
            "RUN2D": ("26", "Spectro-2D reduction name"),
            "VERS2D": ("v5_3_12", "Version of idlspec2d for 2D reduction"),
            "VERSCOMB": ("v5_3_12", "Version of idlspec2d for combining multiple spe"),
            "HELIO_RV": (self.heliocentric, "Heliocentric correction (added to velocities)"),
            "VACUUM": (True, "Wavelengths are in vacuum"),
            "SFLATTEN": (True, "Superflat has been applied"),
            "NWORDER": (2, "Linear-log10 coefficients"),
            "WFITTYPE": ("LOG-LINEAR", "Linear-log10 dispersion"),
            "COEFF0": (self.coeff0, "Central wavelength (log10) of first pixel"),
            "COEFF1": (_COEFF1, "Log10 dispersion per pixel"),
            "DC-FLAG": (1, "Log-linear flag"),
            "BUNIT": ("1E-17 erg/cm^2/s/Ang", ""),
            "EBV": (round(ebv, 5), "E(B-V) of Schlegel, Finkbeiner & Davis (mag)"),
            "PLUG_RA": (float(self.star_ra[i]), "RA of object [deg]"),
            "PLUG_DEC": (float(self.star_dec[i]), "dec of object [deg]"),
            "FIBERID": (int(self.fibre[i]), "Fiber number (1-640)"),
            "NEXP": (2 * self.exposures, "Number of individual exposures"),
            "ORIGIN": ("synthetic", "drawn by a program; no observation"),
        }
