"""`lacus regions`: region tables of a mask without a lake."""

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from lake.sample.xmm import write_sample
from lake.xmm.esas import read_region_table


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return write_sample(tmp_path_factory.mktemp("sample"))


def image(sample, name: str) -> Path:
    return sample["images"] / f"{name}-obj-image-sky.fits"


def test_tables_of_two_exposures(sample, lacus, tmp_path):
    result = lacus(
        "regions", sample["masks"], "--image", image(sample, "pnS003"),
        "--image", image(sample, "mos2S002"),
        "--events", sample["control"] / "mos2S002-allevc.fits",
        "--control", sample["control"] / "pnS003-control.csv", "-o", tmp_path / "out",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "✓" in result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("steady_mask: image; zeros are cut out, fewest")
    values = fits.getdata(sample["masks"])
    assert lines[2].split()[:3] == ["0", str((values == 0).sum()), str((values == 1).sum())]
    cut = int(lines[2].split()[3])
    assert any(line.split()[:3] == ["pnS003", "points", "25"] for line in lines)
    assert any(line.split()[:3] == ["mos2S002", "events", "20000"] for line in lines)
    for name in ("pnS003", "mos2S002"):
        assert f"{name}  region({name}-bkg_region-det.fits)" in lines
        assert f"  sh {tmp_path / 'out' / f'{name}-esas.sh'}" in lines
        for frame in ("sky", "det"):
            regions, given, _ = read_region_table(
                tmp_path / "out" / f"{name}-bkg_region-{frame}.fits"
            )
            assert given == frame
            assert len(regions) == cut
            assert not regions.include.any()
        assert f"{name}-bkg_region-det.fits" in (tmp_path / "out" / f"{name}-esas.sh").read_text()


def test_json_says_all(sample, lacus, tmp_path):
    result = lacus(
        "regions", sample["masks"], "--exclude", "ones", "--algorithm", "rows",
        "--image", image(sample, "mos1S001"), "-o", tmp_path, "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    made = json.loads(result.stdout)
    values = fits.getdata(sample["masks"])
    assert made["mask"]["exclude"] == "ones"
    assert made["mask"]["algorithm"] == "rows"
    (label,) = made["mask"]["labels"]
    assert label["pixels_excluded"] == values.sum()
    runs = np.diff(np.pad(values, ((0, 0), (1, 1))), axis=1)
    assert label["regions_excluded"] == (runs == 1).sum()
    (exposure,) = made["exposures"]
    assert exposure["calibration"]["kind"] == "header"
    assert exposure["calibration"]["residual_median_arcsec"] is None
    assert exposure["exposure"] == "mos1S001"
    for table in exposure["tables"]:
        assert Path(table["path"]).is_file()
        assert table["expression"] == f"region({Path(table['path']).name})"
    assert all(Path(path).is_file() for path in [*exposure["ds9"], exposure["script"]])


def test_files_go_to_this_folder_by_default(sample, lacus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = lacus("regions", sample["masks"], "--image", image(sample, "pnS003"))
    assert result.exit_code == 0, result.output
    assert (tmp_path / "pnS003-bkg_region-sky.fits").is_file()
    assert not (tmp_path / "lacus-home").exists()


def test_an_image_is_needed(sample, lacus):
    result = lacus("regions", sample["masks"])
    assert result.exit_code == 2
    assert "--image" in result.stderr


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"RA_PNT": None}, "RA_PNT"),
        ({"INSTRUME": "RGS1"}, "INSTRUME is 'RGS1'"),
        ({"RA_PNT": 10.0, "REFXCRVL": 10.0}, "does not lie on the image"),
    ],
)
def test_bad_images_are_refused_and_nothing_is_written(change, told, sample, lacus, tmp_path):
    path = tmp_path / "bad.fits"
    with fits.open(image(sample, "pnS003")) as file:
        for keyword, value in change.items():
            if value is None:
                del file[0].header[keyword]
            else:
                file[0].header[keyword] = value
        file.writeto(path)
    out = tmp_path / "out"
    result = lacus("regions", sample["masks"], "--image", path, "-o", out)
    assert result.exit_code == 1
    assert result.stderr.startswith("lacus: ")
    assert told in result.stderr
    assert not out.exists()


def test_control_points_that_do_not_fit_need_force(sample, lacus, tmp_path):
    lines = (sample["control"] / "pnS003-control.csv").read_text().splitlines()
    cells = lines[1].split(",")
    lines[1] = ",".join([*cells[:5], str(float(cells[5]) + 500), cells[6]])
    (tmp_path / "bad.csv").write_text("\n".join(lines) + "\n")
    words = [
        "regions", sample["masks"], "--image", image(sample, "pnS003"), "--control",
        tmp_path / "bad.csv", "-o", tmp_path / "out",
    ]  # fmt: skip
    result = lacus(*words)
    assert result.exit_code == 1
    assert "bad.csv: does not fit 9990004008 pnS003" in result.stderr
    assert not (tmp_path / "out").exists()
    assert lacus(*words, "--force").exit_code == 0
