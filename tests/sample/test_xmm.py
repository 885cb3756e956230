import csv
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from lake.errors import UsageError
from lake.sample import write_samples
from lake.sample.xmm import write_sample

EXPOSURES = {"pnS003": "EPN", "mos1S001": "EMOS1", "mos2S002": "EMOS2"}
#: Angle of each camera in the focal plane with its roll, DETX and DETY of the pointing.
CONSTANTS = {
    "EPN": (-90 + 0.2159, -1084.38, 1478.26),
    "EMOS2": (90 - 0.2921, 1216.46, -1633.76),
}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return write_sample(tmp_path_factory.mktemp("sample"))


def image(paths, exposure):
    return fits.open(paths["images"] / f"{exposure}-obj-image-sky.fits")[0]


def events(paths):
    return fits.open(paths["control"] / "mos2S002-allevc.fits")["EVENTS"]


def shift(header, x, y, detx, dety):
    """Median offset of detector places from the constants of the camera, 0.05 arcsec."""
    angle, x0, y0 = CONSTANTS[header["INSTRUME"]]
    c, s = (f(np.radians(header["PA_PNT"] + angle)) for f in (np.cos, np.sin))
    dx, dy = np.asarray(x) - 25921, np.asarray(y) - 25921
    off = detx - (x0 - c * dx - s * dy), dety - (y0 - s * dx + c * dy)
    return np.median(off, axis=1), np.asarray(off)


def test_every_camera_has_an_image_of_the_field(paths):
    headers = {name: image(paths, name).header for name in EXPOSURES}
    for name, instrument in EXPOSURES.items():
        header, counts = headers[name], image(paths, name).data
        assert header["INSTRUME"] == instrument
        assert name.endswith(header["EXPIDSTR"])
        assert header["EXP_ID"] == header["OBS_ID"] + name[-3:]
        assert counts.shape == (900, 900)
        assert 40_000 < counts.sum() < 60_000
        # The field of view is a circle of 30 arcmin, in which most pixels have no photon.
        assert 0 < (counts > 0).mean() < 0.2
        assert not counts[:50, :50].any()
    pointings = {tuple(h[k] for k in ("OBS_ID", "RA_PNT", "PA_PNT")) for h in headers.values()}
    assert len(pointings) == 1
    # They see the same sky: blocks of 1 arcmin are bright and faint together.
    blocks = [
        image(paths, n).data[:885, :885].reshape(59, 15, 59, 15).sum((1, 3)) for n in EXPOSURES
    ]
    assert np.corrcoef([b.ravel() for b in blocks]).min() > 0.9


def test_both_systems_of_an_image_agree(paths):
    header = image(paths, "pnS003").header
    x, y = np.array([1.0, 450.0, 900.0]), np.array([900.0, 3.0, 451.0])
    sky = [
        header[f"CRVAL{i}L"] + (p - header[f"CRPIX{i}L"]) * header[f"CDELT{i}L"]
        for i, p in ((1, x), (2, y))
    ]
    reference = WCS(naxis=2)
    reference.wcs.ctype = "RA---TAN", "DEC--TAN"
    for i, axis in enumerate("XY"):
        assert header[f"REF{axis}CRVL"] == header[("RA_PNT", "DEC_PNT")[i]]
    reference.wcs.crpix = [header[f"REF{a}CRPX"] for a in "XY"]
    reference.wcs.crval = [header[f"REF{a}CRVL"] for a in "XY"]
    reference.wcs.cdelt = [header[f"REF{a}CDLT"] for a in "XY"]
    np.testing.assert_allclose(
        WCS(header).wcs_pix2world(x, y, 1), reference.wcs_pix2world(*sky, 1), rtol=0, atol=1e-10
    )


def test_events_have_both_frames(paths):
    table = events(paths)
    data, header = table.data, table.header
    assert 10_000 < len(data) <= 20_000
    assert header["TTYPE6"] == "X"
    assert header["TCRVL6"] == header["RA_PNT"]
    assert header["TCRPX7"] == 25921
    assert header["TCDLT6"] == pytest.approx(-header["TCDLT7"])
    assert (np.diff(data["TIME"]) >= 0).all()
    assert set(np.unique(data["CCDNR"])) == set(range(1, 8))
    assert data["RAWX"].min() >= 1
    assert data["RAWX"].max() <= 600
    median, off = shift(header, data["X"], data["Y"], data["DETX"], data["DETY"])
    # The boresight is off by 0.7 to 1.5 arcsec, the attitude drifts by a few tenths.
    assert 14 < np.hypot(*median) < 29
    drift = np.hypot(*(off - median[:, None]))
    assert 3 < np.median(drift) < 10
    assert drift.max() < 30


def test_control_points_are_off_as_the_events_are(paths):
    with (paths["control"] / "pnS003-control.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    header = image(paths, "pnS003").header
    assert {row["obsid"] for row in rows} == {header["OBS_ID"]}
    assert {row["exposure"] for row in rows} == {"pnS003"}
    ra, dec, detx, dety = (np.array([float(r[k]) for r in rows]) for k in
                           ("ra", "dec", "detx", "dety"))  # fmt: skip
    x, y = (v[0] + (p - 1) * 50 for v, p in zip(
        ([header["CRVAL1L"]], [header["CRVAL2L"]]), WCS(header).wcs_world2pix(ra, dec, 1),
        strict=True,
    ))  # fmt: skip
    pn, off = shift(header, x, y, detx, dety)
    assert np.hypot(*(off - pn[:, None])).max() < 0.15  # as they are printed
    data = events(paths).data
    mos2, _ = shift(events(paths).header, data["X"], data["Y"], data["DETX"], data["DETY"])
    # A shift (p, q) of the boresight is (p, -q) for pn and (-p, q) for MOS2.
    np.testing.assert_allclose(pn, -mos2, atol=1.5)


def test_the_mask_lies_on_the_image_and_is_turned(paths):
    mask = fits.open(paths["masks"])[0]
    assert mask.data.shape == (30, 30)
    assert set(np.unique(mask.data)) == {0, 1}
    assert 100 < mask.data.sum() < 400
    system = WCS(mask.header)
    assert abs(mask.header["PC1_2"]) > 0.3
    np.testing.assert_allclose(system.proj_plane_pixel_scales()[0].to_value("arcsec"), 30)
    corners = system.wcs_pix2world([1, 30, 30, 1], [1, 1, 30, 30], 1)
    pixels = np.array(WCS(image(paths, "pnS003").header).wcs_world2pix(*corners, 1))
    assert pixels.min() > 1
    assert pixels.max() < 900
    # Marked pixels are where the photons are.
    counts = image(paths, "pnS003").data
    rows, columns = np.indices(counts.shape)
    sky = WCS(image(paths, "pnS003").header).wcs_pix2world(columns, rows, 0)
    column, row = (np.rint(v).astype(int) for v in system.wcs_world2pix(*sky, 0))
    inside = (column >= 0) & (column < 30) & (row >= 0) & (row < 30)
    summed = np.zeros((30, 30))
    np.add.at(summed, (row[inside], column[inside]), counts[inside])
    assert summed[mask.data == 1].mean() > 1.5 * summed[mask.data == 0].mean()


def test_the_seed_decides_every_byte(tmp_path):
    write_sample(tmp_path / "one", size=3000)
    code = (
        "import sys; from pathlib import Path; from lake.sample.xmm import write_sample; "
        "write_sample(Path(sys.argv[1]), size=3000)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "two"], check=True)
    write_sample(tmp_path / "other", size=3000, seed=43)
    files = [p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*") if p.is_file()]
    assert len(files) == 6
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
        assert (tmp_path / "one" / file).read_bytes() != (tmp_path / "other" / file).read_bytes()


def test_an_unknown_size_is_refused(tmp_path):
    with pytest.raises(UsageError, match="'huge'"):
        write_sample(tmp_path, size="huge")
    with pytest.raises(UsageError, match="size 0"):
        write_sample(tmp_path, size=0)


def test_the_samples_say_how_they_are_to_be_added(tmp_path):
    files = [file for file in write_samples(tmp_path) if file.mission == "xmm"]
    assert {file.role for file in files} == {"images", "control", "masks"}
    assert all(file.release == "XMM-sample" and file.path.exists() for file in files)
