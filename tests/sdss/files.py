"""Files of spectra in every layout, written with astropy."""

import io

import numpy as np
from astropy.io import fits

from lake.sdss.spectra import TABLE, records
from lake.sdss.spectra_columns import columns

PIXELS = 60
COEFF0, COEFF1 = 3.58, 1e-4
LOGLAM = COEFF0 + COEFF1 * np.arange(PIXELS)


def rows(file, data):
    """Rows, as dicts, that a file gives to each table of spectra, and what is rejected."""
    found = records(file, data)
    made = {
        table: [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
        for table, values in columns(found[TABLE]).items()
    }
    return {**made, **{name: left for name, left in found.items() if name != TABLE}}


def pixels(seed=0, count=PIXELS):
    """Columns of a coadded spectrum, float32 and int32."""
    rng = np.random.default_rng(seed)
    flux = rng.normal(20, 2, count).astype("f4")
    return {
        "flux": flux,
        "loglam": (COEFF0 + COEFF1 * np.arange(count)).astype("f4"),
        "ivar": rng.uniform(0.5, 2, count).astype("f4"),
        "and_mask": np.where(np.arange(count) % 10 == 3, 1 << 23, 0).astype("i4"),
        "or_mask": np.where(np.arange(count) % 5 == 3, 1 << 23, 0).astype("i4"),
        "wdisp": rng.uniform(0.9, 1.1, count).astype("f4"),
        "sky": rng.normal(5, 1, count).astype("f4"),
        "model": flux + 1,
    }


def header(**changes):
    """Primary header of a spec file; a value None takes a keyword out."""
    cards = {
        "RA": 10.0, "DEC": -1.0, "PLUG_RA": 10.5, "PLUG_DEC": -1.25, "PLATEID": 390, "MJD": 51900,
        "MJDLIST": "51885 51900", "FIBERID": 282, "TELESCOP": "SDSS 2.5-M", "EXPTIME": 9900.0,
        "NEXP": 22, "VACUUM": True, "HELIO_RV": 29.3, "QUALITY": "excellent", "COEFF0": COEFF0,
        "COEFF1": COEFF1, "BUNIT": "1E-17 erg/cm^2/s/Ang",
    } | changes  # fmt: skip
    made = fits.Header()
    for keyword, value in cards.items():
        if value is not None:
            made[keyword] = value
    return made


SPECOBJ = {
    "SURVEY": "sdss", "INSTRUMENT": "SDSS", "BESTOBJID": " 1237663782588645590",
    "PLATEID": " 439120921251538944", "PLATE": np.int32(390), "MJD": np.int32(51900),
    "FIBERID": np.int32(282), "OBJID": np.array([94, 301, 1, 26, 85], "i4"), "PLUG_RA": 10.5,
    "PLUG_DEC": -1.25, "CLASS": "STAR", "SUBCLASS": "F3/F5V (30743)", "Z": np.float32(1e-4),
    "Z_ERR": np.float32(1e-5), "ZWARNING": np.int32(4), "RUN2D": "26",
    "SN_MEDIAN_ALL": np.float32(21.5), "SN_MEDIAN": np.array([1, 2, 3, 4, 5], "f4"),
    "ANYANDMASK": np.int32(8388608), "ANYORMASK": np.int32(8388672),
}  # fmt: skip


def table(columns, name="", one_row=False, units=None):
    """Binary table of arrays, whose first axis is the row; or of one row of values."""
    made = []
    for title, values in columns.items():
        array = np.asarray(values)[np.newaxis] if one_row else np.asarray(values)
        if array.dtype.kind == "U":
            form = f"{array.dtype.itemsize // 4}A"
        else:
            code = {"f4": "E", "f8": "D", "i2": "I", "i4": "J", "i8": "K"}[array.dtype.str[1:]]
            form = f"{array.shape[1] if array.ndim == 2 else ''}{code}"
        made.append(fits.Column(title, form, array=array, unit=(units or {}).get(title)))
    return fits.BinTableHDU.from_columns(made, name=name)


def written(*hdus):
    """Bytes of a file of these HDUs."""
    stream = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(stream)
    return stream.getvalue()


def spec(columns=None, row=SPECOBJ, full=False, upper=False, **changes):
    """Write a spec file, lite or full."""
    columns = pixels() if columns is None else columns
    if upper:
        columns = {name.upper(): values for name, values in columns.items()}
    hdus = [fits.PrimaryHDU(header=header(**changes)), table(columns, "COADD")]
    if row is not None:
        hdus.append(table(row, "SPECOBJ", one_row=True))
        hdus.append(table({"LINENAME": np.array(["H_alpha", "H_beta"])}, "SPZLINE"))
    if full:
        hdus += [table(pixels(seed), f"B1-{seed:08}") for seed in (1, 2)]
    return written(*hdus)


def sp_plate(fibers=3, plug_map=True, bad=()):
    """Write a plate; fibres in `bad` (from 1) have no weight."""
    spectra = [pixels(seed) for seed in range(fibers)]
    for fiber in bad:
        spectra[fiber - 1]["ivar"][:] = 0
    stacked = {name: np.array([s[name] for s in spectra]) for name in spectra[0]}
    primary = fits.PrimaryHDU(stacked["flux"], header(FIBERID=None, PLUG_RA=None, PLUG_DEC=None))
    hdus = [primary, *(fits.ImageHDU(stacked[n]) for n in ("ivar", "and_mask", "or_mask", "wdisp"))]
    if plug_map:
        numbers = np.arange(1, fibers + 1, dtype="i4")
        hdus.append(table({"FIBERID": numbers, "RA": 10 + numbers / 8.0, "DEC": numbers / 4.0,
                           "OBJTYPE": np.array(["STAR"] * fibers)}))  # fmt: skip
        hdus.append(fits.ImageHDU(stacked["sky"]))
    return written(*hdus), spectra


def sp_spec():
    """Write a file of DR1 to DR7: flux, continuum-subtracted flux, error and mask in rows."""
    made = pixels()
    error = np.where(np.arange(PIXELS) == 7, 0, 0.5).astype("f4")
    rows = np.array([made["flux"], made["flux"] - 20, error, made["and_mask"]], "f4")
    changes = {"PLUG_RA": None, "PLUG_DEC": None, "RAOBJ": 10.5, "DECOBJ": -1.25, "SPEC_CLN": 1,
               "Z": 1e-4, "BUNIT": "1.0E-17 erg/cm/s/Ang"}  # fmt: skip
    return written(fits.PrimaryHDU(rows, header(**changes))), made, error


def mastar(stars=3, bad=()):
    """Write a table of MaStar's goodspec; DISP is sigma in Angstrom."""
    wave = 10 ** np.tile(LOGLAM, (stars, 1))
    spectra = [pixels(seed) for seed in range(stars)]
    ivar = np.array([s["ivar"] for s in spectra])
    for star in bad:
        ivar[star - 1] = 0
    numbers = np.arange(stars)
    columns = {
        "MANGAID": np.array([f"7-{n}" for n in numbers]), "PLATE": (8000 + numbers).astype("i4"),
        "IFUDESIGN": np.array([f"127{n:02}" for n in numbers]),
        "MJD": (58000 + numbers).astype("i4"), "RA": 20.0 + numbers, "DEC": 5.0 - numbers,
        "EXPTIME": np.full(stars, 28.06, "f4"), "HELIOV": (numbers * 10.0).astype("f4"),
        "WAVE": wave, "FLUX": np.array([s["flux"] for s in spectra]), "IVAR": ivar,
        "DISP": (wave * np.log(10) * COEFF1).astype("f4"),
        "MASK": np.array([s["and_mask"] for s in spectra]),
        "TEFF": np.array([5700.0, -999.0, 4100.0], "f4")[:stars],
        "LOGG": np.full(stars, 4.5, "f4"), "FEH": np.full(stars, -0.5, "f4"),
    }  # fmt: skip
    return written(fits.PrimaryHDU(), table(columns)), spectra


def image(flux=None, extra=(), **cards):
    """Write an image with these cards."""
    primary = fits.PrimaryHDU(pixels()["flux"] if flux is None else flux)
    for keyword, value in cards.items():
        primary.header[keyword.replace("__", "-")] = value
    return written(primary, *extra)


def falling(data):
    """Write the same spectra from the longest wavelength to the shortest, with CRPIX1 in between.

    Catalogues and plug maps stay as they are; COEFF0 is always that of the first pixel.
    """
    hdus = fits.open(io.BytesIO(data))
    for hdu in hdus:
        if hdu.header["NAXIS"] and hdu.is_image:
            hdu.data = hdu.data[..., ::-1].copy()
        elif hdu.header["NAXIS"]:
            for name in hdu.columns.names:
                values = hdu.data[name]
                if PIXELS in values.shape:
                    hdu.data[name] = np.flip(values, values.shape.index(PIXELS)).copy()
        if "COEFF0" in hdu.header:
            hdu.header["COEFF0"] += hdu.header["COEFF1"] * (PIXELS - 1)
            hdu.header["COEFF1"] *= -1
        for step in {"CDELT1", "CD1_1"} & set(hdu.header):
            hdu.header["CRPIX1"] = PIXELS + 1 - hdu.header.get("CRPIX1", 1.0)
            hdu.header[step] *= -1
    stream = io.BytesIO()
    hdus.writeto(stream)
    return stream.getvalue()


def ap_star():
    """Write the combined spectrum of two visits as APOGEE does: flux, error and mask images."""
    rows = np.array([pixels(seed)["flux"] for seed in range(4)])
    error = np.full(rows.shape, 0.25, "f4")
    mask = np.zeros(rows.shape, "i2")
    mask[0, 5] = 1
    hdus = [fits.PrimaryHDU()]
    for keyword, value in {"NVISITS": 2, "OBJID": "2M00000032+5737103", "RA": 0.0014,
                           "DEC": 57.6, "VHELIO": -20.5, "SNR": 150.0}.items():  # fmt: skip
        hdus[0].header[keyword] = value
    unit = "(10^-17 erg/s/cm^2/Ang)"
    for values, title in ((rows, f"Flux {unit}"), (error, f"Err {unit}"), (mask, "Mask")):
        hdu = fits.ImageHDU(values)
        for keyword, value in {"BUNIT": title, "CRVAL1": 4.179, "CDELT1": 6e-6, "CRPIX1": 1.0,
                               "CTYPE1": "LOG-LINEAR", "DC-FLAG": 1}.items():  # fmt: skip
            hdu.header[keyword] = value
        hdus.append(hdu)
    return written(*hdus), rows[0]
