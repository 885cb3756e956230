"""Input files for every role, plain and awkward ones, the same wherever and whenever written."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits

from tests.ogip import hdus
from tests.sdss import files as spectra
from tests.xmm import files as epic


class Given(NamedTuple):
    """A registered file."""

    role: str
    path: Path
    options: dict[str, str]


class Folder:
    """Where the files of a mission are written, each with what is registered of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()

    def write(self, role: str, name: str, content: str | bytes, /, **options: str) -> Given:
        data = content.encode() if isinstance(content, str) else content
        (self.path / name).write_bytes(data)
        return Given(role, self.path / name, options)


# --- csc ---------------------------------------------------------------------------------------

_TSV = """\
#Column\tsepn\t(E9.6)\t\t(.sepn)\t[""]\t[]
#Column\tname\t(A22)\tSource name\t(master_source.name)\t[""]\t[]
#Column\tobsid\t(I5)\tObservation\t(observation_source.obsid)\t[""]\t[]
#Column\tmstr_hue\t(F9.4)\tA colour\t(master_source.hue)\t["mag"]\t[phot.color]
sepn\tname\tobsid\tmstr_hue
5.786051e+02\t 2CXO J174803.1-325739\t 7273\t      NaN
1.006973e+03\t 2CXO J174835.9-325458\t 7273\t   1.2500
"""
_QUERIED = """\
m.name,o.obsid,o.obi,.separation,m.ra,m.dec,o.sat_src_flag,o.hard_hm,o.flux_aper_b,x.y,other
J004307.5-092302,1,2,2.5,00 43 07.531,-09 23 02.05,T,0.5,1e-13,007,a
2CXO J004307.5-092302X,1,,,,,false,,,8,"b,c"
"""
_VOTABLE = """\
<?xml version="1.0"?>
<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>
<FIELD name="master_source.name" datatype="char" arraysize="*"/>
<FIELD name="obsid" datatype="long"><VALUES null="-1"/></FIELD>
<FIELD name="region_id" datatype="short"><VALUES null="-1"/></FIELD>
<FIELD name="theta" datatype="float" unit="arcsec"/>
<FIELD name="phi" datatype="double" unit="rad"/>
<FIELD name="pileup_flag" datatype="boolean"/>
<FIELD name="counts" datatype="int" arraysize="2"/>
<DATA><TABLEDATA>
<TR><TD>V1</TD><TD>5</TD><TD>7</TD><TD>90</TD><TD>0.5</TD><TD>T</TD><TD>3 4</TD></TR>
<TR><TD>V&amp;2</TD><TD>6</TD><TD>-1</TD><TD>NaN</TD><TD/><TD>?</TD><TD/></TR>
</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>
"""


def csc(path: Path) -> Iterator[Given]:
    """Write detections and labels as the archive, VizieR, and their users' programs do."""
    folder = Folder(path)
    yield folder.write("detections", "archive.tsv", _TSV)
    yield folder.write("detections", "queried.csv.gz", gzip.compress(_QUERIED.encode(), mtime=0))
    yield folder.write("detections", "table.vot", _VOTABLE)
    columns = [
        fits.Column("NAME", "6A", array=np.array(["F1", "F2  "])),
        fits.Column("OBSID", "I", array=np.array([8, 9]), bzero=32768),
        fits.Column("likelihood_b", "J", null=-9, array=np.array([3, -9])),
        fits.Column("streak_src_flag", "L", array=np.array([True, False])),
        fits.Column("extra", "2E", array=np.array([[1, 2], [np.nan, 4]])),
    ]
    made = fits.BinTableHDU.from_columns(columns)
    made.header["TSCAL3"] = 0.5
    yield folder.write("detections", "table.fits", hdus.content(made))
    rows = {
        "name": pa.array(["P1", "P2"]).dictionary_encode(),
        "obsid": pa.array([11.0, 12.0]),
        "lists": [[1.5], None],
        "nested": [{"a": 1}, None],
        "when": pa.array([0, 1_500_000], pa.timestamp("us")),
    }
    pq.write_table(pa.table(rows), folder.path / "table.parquet")
    yield Given("detections", folder.path / "table.parquet", {})
    twice = "name,obsid,hard_hm\nA,1,0.5\nA,1,0.75\nB,2,\n"
    yield folder.write("detections", "first.csv", twice, duplicates="first")
    for name, text in {
        "twice.csv": twice.replace("A", "C"),
        "masters.csv": "2CXO,RAICRS,DEICRS\nJ004307.5-092302,10.5,-9.5\n",
        "nowhere.csv": "name,obsid,dec\nD,1,100\n",
        "unnamed.csv": "name,obsid\nE,1\n,2\n",
        "unit.ecsv": "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: name, datatype: string}\n"
        "# - {name: obsid, datatype: int64}\n# - {name: theta, unit: kg, datatype: float64}\n"
        "name obsid theta\nG 1 2.0\n",
    }.items():
        yield folder.write("detections", name, text)
    yield folder.write(
        "labels", "labels.csv",
        "name,obsid,MAIN_ID,main_type,other_types,angDist,more\n"
        "J004307.5-092302,1, M 31 ,QSO,X|QSO,0.25,x\nV1,,HD 1,TTau*,,,y\nnone,,z,Star,,,\n",
    )  # fmt: skip
    yield folder.write(
        "labels", "ned.csv", "m.name,main_type\nP1,HMXB\n", catalogue="NED"
    )  # fmt: skip
    yield folder.write("labels", "others.csv", "name,main_type\nnowhere,QSO\n")
    yield folder.write("labels", "typeless.csv", "name,obsid\nF1,8\n")


# --- sdss --------------------------------------------------------------------------------------

_BANDS = ("spectrum - background fit, weights variance", "raw - background fit",
          "background - background fit", "sigma - background fit")  # fmt: skip


def sdss(path: Path) -> Iterator[Given]:
    """Write spectra in all layouts, and catalogues of labels."""
    folder = Folder(path)
    said = {"created_at": "2024-05-01T12:00:00"}
    for name, data in _spectra():
        yield folder.write("spectra", f"{name}.fits", data, **said)
    yield folder.write(
        "spectra", "noted.fits", spectra.image(CRVAL1=5000.0, CD1_1=2.0), **said, survey="MARVELS",
        notes="a note", survey_flux_calibrated="no",
    )  # fmt: skip
    for number, (text, options) in enumerate(_LABELS):
        yield folder.write("labels", f"labels{number}.csv", text, **options)


def _spectra() -> Iterator[tuple[str, bytes]]:
    pixels, written, table = spectra.pixels(), spectra.written, spectra.table
    loglam, flux = spectra.LOGLAM, pixels["flux"]
    yield "spec-0390-51900-0282", spectra.spec()
    cut = spectra.spec(row=spectra.SPECOBJ | {"FIBERID": np.int32(5)}, FIBERID=5)
    yield "cut", cut[: cut.index(b"XTENSION", cut.index(b"COADD")) - 1]
    yield "trimmed", spectra.spec({k: v[21:] for k, v in pixels.items()}, row=None, FIBERID=1)
    irregular = pixels | {"loglam": pixels["loglam"] + np.float32(5e-4) * (loglam > loglam[30])}
    yield "irregular", spectra.spec(irregular, row=None, upper=True, FIBERID=2)
    yield "bare", spectra.spec({k: pixels[k] for k in ("flux", "loglam")}, row=None, FIBERID=3)
    # Zeros that stand for no plate, and a fibre of another row than the catalogue's.
    row = {"FIELD": np.int32(0), "MJD": np.int32(60000), "CATALOGID": np.int64(63050396807746393),
           "FIBERID": np.int32(12), "PLATE": np.int32(0), "RACAT": 31.5, "DECCAT": -2.5,
           "SURVEY": "mwm", "BESTOBJID": "0", "OBJID": np.zeros(5, "i4")}  # fmt: skip
    none = {"PLATEID": 0, "FIBERID": 0, "MJD": 0, "TELESCOP": 0, "FIELDID": 0}
    yield "spec-allepoch_lco-60000-63050396807746393", spectra.spec(row=row, upper=True, **none)
    yield "other", spectra.spec(FIBERID=283)
    yield "lost", spectra.spec(pixels | {"flux": np.where(loglam > loglam[9], flux, np.nan)},
                               row=None, FIBERID=4)  # fmt: skip
    yield "weightless", spectra.spec(pixels | {"ivar": np.zeros(spectra.PIXELS, "f4")}, row=None)
    blue, red = table(pixels, "COADD_B"), table(spectra.pixels(1), "COADD_R")
    yield "two", written(fits.PrimaryHDU(header=spectra.header(MJD=58625)), blue, red)
    yield (
        "spPlate-0391-51901",
        spectra.sp_plate(bad=(2,))[0].replace(
            b"PLATEID =                  390", b"PLATEID =                  391"
        ),
    )
    yield (
        "spSpec-51900-0392-282",
        spectra.sp_spec()[0].replace(
            b"PLATEID =                  390", b"PLATEID =                  392"
        ),
    )
    yield "mastar", spectra.mastar(bad=(1,))[0]
    yield "apStar-r12-2M00000032+5737103", spectra.ap_star()[0]
    rows = np.array([flux, pixels["ivar"], 10**loglam, pixels["and_mask"], pixels["or_mask"]], "f4")
    yield (
        "spec-55859-F5902_sp01-009",
        spectra.image(
            rows,
            FIBERID=9,
            MJD=55859,
            TELESCOP="LAMOST",
            COEFF0=spectra.COEFF0,
            COEFF1=spectra.COEFF1,
        ),
    )
    bands = np.array([flux, flux + 1, flux / 9, np.full(spectra.PIXELS, 0.5)], "f4")
    titles = {f"BANDID{number}": title for number, title in enumerate(_BANDS, 1)}
    yield "bands", spectra.image(bands[:, np.newaxis], CRVAL1=4000.0, CD1_1=1.5, **titles)
    # Astra: at rest where the velocity is known.
    astra = table({"flux": np.full((2, spectra.PIXELS), 2.0),
                   "xcsao_v_rad": np.array([31.5, np.nan])}, "BOSS/APO")  # fmt: skip
    astra.header.update(
        {"CRVAL": spectra.COEFF0, "CDELT": spectra.COEFF1, "CRPIX": 1, "DC-FLAG": 1}
    )
    primary = fits.PrimaryHDU()
    primary.header["SDSS_ID"] = 54399428
    yield "mwmVisit-0.6.0-54399428", written(primary, astra)
    plain = {"wave": 400 + 0.125 * np.arange(spectra.PIXELS), "flux": flux,
             "err": np.full(spectra.PIXELS, 2, "f4")}  # fmt: skip
    units = {"wave": "nm", "flux": "erg/s/cm^2/A"}
    yield "nm", written(fits.PrimaryHDU(), table(plain, units=units))
    yield "vector", written(fits.PrimaryHDU(), table(plain, one_row=True))
    yield "pixels", spectra.image()
    yield "nothing", written(fits.PrimaryHDU(), table({"x": np.arange(3.0)}))


_LABELS: list[tuple[str, dict[str, str]]] = [
    ("PLATE,MJD,FIBERID,SUBCLASS\n266,51630,15,A0p\n390,51900,282,\n", {}),
    ("specObjID,subclass\n299495175003072512,F2\n11258999741427482624,A0\n12,A0\nx,A0\n", {}),
    ("main_id,ra,dec,sp_type,sp_qual\nHD 1,00 42 00.0,-05 15 00,G2V,B\n\u03b1 Cen, , ,NA,\n", {}),
    ("class,url,TEFF,LOGG,FE_H\nA0,https://x/0266/spec-0266-51630-0016.fits,4000.5,2.5,-9999\n",
     {"source_label": "mine", "radius_arcsec": "2"}),
    ("id,n,subclass,type,T,L\nX1-a,n,K3,M5,3000,V\n",
     {"object_field": "id", "spectral_field": "TYPE", "luminosity_field": "L", "teff_field": "T",
      "strip_prefix": "X", "strip_suffix": "-a"}),
    ("id,type\n1,A\n", {"spectral_field": "none"}),
]  # fmt: skip


# --- ogip --------------------------------------------------------------------------------------


def ogip(path: Path) -> Iterator[Given]:
    """Write spectra and responses of all kinds."""
    folder = Folder(path)
    for name, made in _ogip():
        yield folder.write("spectra", name, hdus.content(*made))
    two = hdus.content(hdus.pha(), hdus.pha(HDUCLAS2="BKG"), hdus.ebounds(0, 4))
    packed = gzip.compress(two, mtime=0)
    yield folder.write("spectra", "two.pha.gz", packed, response="x.rmf", area="x.arf")


def _ogip() -> Iterator[tuple[str, list[fits.BinTableHDU]]]:
    flags = {"QUALITY": ("I", [0, 5]), "GROUPING": ("I", [1, -1]), "SYS_ERR": ("E", [0.5, 0.25])}
    rates = {"CHANNEL": ("I", [0, 1]), "RATE": ("E", [0.5, 1.5]), "STAT_ERR": ("E", [0.25, 0.5])}
    gti = hdus.table({"START": ("D", [0.0]), "STOP": ("D", [9.0])}, {"EXTNAME": "GTI"})
    yield "rates.pha", [hdus.pha({**rates, **flags}, RESPFILE="none", BACKFILE="b.pha"), gti]
    yield "unusual.pha", [
        hdus.pha({"COUNTS": ("J", [1, 2])}, EXPOSURE=None, POISSERR="False", DETCHANS=3,
                 BACKSCAL="scale.fits", AREASCAL=0.0)
    ]  # fmt: skip
    columns = {
        "SPEC_NUM": ("I", [1, 2, 3]), "TSTART": ("D", [10.0, 20.0, 30.0]),
        "TELAPSE": ("D", [5.0, 6.0, 7.0]), "CHANNEL": ("3I", [[1, 2, 3]] * 3),
        "COUNTS": ("3J", [[1, 2, 3], [4, 5, 6], [7, 8, 9]]), "EXPOSURE": ("E", [4.0, -5.0, 6.0]),
        "BACKFILE": ("9A", ["b.bak{1}", "none", ""]), "BACKGROUND_UP": ("3J", [[0, 1, 0]] * 3),
    }  # fmt: skip
    yield "two.pha2", [hdus.pha(columns, EXPOSURE=None, BACKSCUP=4.0, HDUCLAS4="TYPE:II")]
    ragged = {"COUNTS": ("PJ()", hdus.ragged([[1, 2, 3], [4, 5]])), "EXPOSURE": ("E", [1.0, 2.0])}
    yield "ragged.pha2", [hdus.pha(ragged)]
    scaled = hdus.pha({"CHANNEL": ("I", [1, 2]), "COUNTS": ("I", [3, 4])})
    scaled.header["TSCAL2"], scaled.header["TNULL2"] = 0.5, 4
    yield "scaled.pha", [scaled]
    shifted = {"F_CHAN": ("PI()", hdus.ragged([[0], [0, 3], []]))}
    bad = hdus.matrix({"F_CHAN": ("PI()", hdus.ragged([[1], [1, 5], []]))})
    versions = [hdus.matrix(EXTVER=1), hdus.ebounds(EXTVER=1)]
    yield "versions.rmf", [*versions, hdus.matrix(EXTVER=2), hdus.ebounds(EXTVER=2), bad]
    yield "shifted.rmf", [hdus.matrix(shifted, TLMIN4=None), hdus.ebounds(0)]
    cells = [np.array(row) * 64 for row in hdus.GROUPS["MATRIX"][1]]
    full = hdus.matrix({"MATRIX": ("PD()", hdus.ragged(cells))}, HDUCLAS3="FULL", LO_THRES=0.125)
    yield "full.rsp", [full]
    falling = {"ENERG_LO": ("E", [2.0, 1.0, 0.5]), "ENERG_HI": ("E", [3.0, 2.0, 1.0])}
    yield "falling.rmf", [hdus.matrix(falling), hdus.ebounds()]
    yield "plain.arf", [hdus.arf(OBS_ID="17", RESPFILE="grid(x.rmf)", EXPOSURE=9.0)]
    yield "units.arf", [hdus.arf(unit="m**2", energy="eV")]
    areas = {
        "SPEC_NUM": ("I", [3, 4]), "ENERG_LO": ("2E", [[1, 2], [3, 4]]),
        "ENERG_HI": ("2E", [[2, 3], [4, 5]]), "SPECRESP": ("2E", [[10, 20], [30, 40]]),
    }  # fmt: skip
    yield "two.arf2", [hdus.arf(areas, unit="")]
    yield "energies.fits", [hdus.ebounds()]


# --- xmm ---------------------------------------------------------------------------------------

_DRAWN = """\
# Region file format: DS9
fk5
circle(266.9,-28.4,60")
-box(266.9,-28.4,30",20",30)
ellipse(17:47:30,-28:25:00,1',0.5',20) ||
circle(266.7,-28.4,30")
box(266.9,-28.4,30",20",60",40",30)
polygon(266.9,-28.4,266.8,-28.4,266.8,-28.5) # text={a}
"""
_LISTED = "label,ra,dec,radius,width,height,angle\n1,266.9,-28.4,60,,,\n2,266.8,-28.5,,90,30,45\n"
_PLACES = """\
ra,dec,detx,dety,instrument,obsid
266.9,-28.4,1.5,2.5,EPN,0862471101
266.8,-28.5,-3.5,4.5,EPN,0862471101
266.7,-28.6,5.5,6.5,EPN,0862471101
"""
_PRINTED = """ecoordconv:-  Region Centre:
 Theta: Phi: 351.5852 3.7445579
 X: Y: 21108.082 31269.16
 DETX: DETY: 4086.6953 -6000.8271
 RA: DEC: 267.04149 -28.391532
 CCD(s): 1 centred on CCD: 1

ecoordconv:-  Region Centre:
 X: Y: 22196.895 29473.48
 DETX: DETY: 2255.6002 -4972.6912
"""


def xmm(path: Path) -> Iterator[Given]:
    """Write masks of every kind, images and what lies beside them, and control points."""
    folder = Folder(path)
    labels = np.zeros((20, 20), np.int32)
    labels[2:6, 3:9], labels[10:14, 10:12], labels[15, 15] = 7, 300, 7
    pixels = (labels > 0).astype(np.int16)
    for name, values, options in (
        ("pixels", pixels, {}),
        ("ones", pixels.T, {"exclude": "ones", "algorithm": "rows", "obsid": "0862471101"}),
        ("labels", labels, {"labelled": "yes"}),
        ("threes", pixels * 3, {}),
        ("empty", pixels * 0, {}),
    ):
        # Pixels so large that the last bits of the sines of their corners are nothing beside them.
        made = epic.mask(folder.path / f"{name}.fits", values, scale=1800)
        yield Given("masks", made, options)
    yield folder.write("masks", "drawn.reg", _DRAWN)
    yield folder.write("masks", "cut.reg", 'fk5\n-circle(266.9,-28.4,60")\n', name="hole")
    yield folder.write("masks", "listed.csv", _LISTED, exclude="zeros")
    for name, changed in {
        "image": {},
        "exposure": {"OBS_ID": "0862471102", "CONTENT": "EPIC EXPOSURE MAP"},
        "axes": {"OBS_ID": "0862471103"}
        | {f"REF{a}{k}": None for a in "XY" for k in ("CTYP", "CRPX", "CRVL", "CDLT")},
        "pnU014-im": {"OBS_ID": "0862471104", "EXPIDSTR": None, "DATE-END": None},
        "north": {"DEC_PNT": "north"},
        "galactic": {"REFXCRVL": None, "CTYPE1": "GLON-CAR"},
    }.items():
        made = epic.image(folder.path / f"{name}.fits", shape=(3, 4), **changed)
        yield Given("images", made, {})
    with fits.open(folder.path / "image.fits") as file:
        counted = fits.CompImageHDU(np.arange(12, dtype=np.int32).reshape(3, 4), file[0].header)
        counted.header["OBS_ID"] = "0862471105"
        counted.writeto(folder.path / "packed.fits")
    yield Given("images", folder.path / "packed.fits", {"sas_compatible": "yes"})
    places = [100, -99999999, 300], [5, 6, 7], [1, 2, 3], [4, 5, 6]
    listed = epic.events(folder.path / "events.fits", *places, OBS_ID="0862471106")
    # An event list of an exposure whose image is there gives way to it.
    beside = epic.events(folder.path / "beside.fits", *places)
    yield from (Given("images", path, {}) for path in (listed, beside))
    yield Given("control", listed, {})
    yield folder.write("control", "places.csv", _PLACES, exposure="pnS003")
    of = {"obsid": "0862471107", "exposure": "mos1S001", "instrument": "EMOS1", "force": "yes"}
    yield folder.write("control", "printed.txt", _PRINTED, **of)
    yield folder.write("control", "holes.csv", "detx,dety,x,y\n1,2,3,\n", **of)
    yield folder.write("control", "whose.csv", "detx,dety,x,y\n1,2,3,4\n")


#: What writes the files of a mission into a folder that is not there yet.
WRITERS = {"csc": csc, "ogip": ogip, "sdss": sdss, "xmm": xmm}
