from pathlib import Path

import numpy as np
import pytest

from lake.errors import InputError
from lake.inputs import InputFile
from lake.xmm import control as module
from lake.xmm.control import read_control, records, stored
from lake.xmm.sky import SkyPixels
from tests.xmm.files import events

PLACES = """ra,dec,detx,dety,instrument,obsid
266.9,-28.4,1.5,2.5,EPN,0862471101
266.8,-28.5,-3.5,4.5,EPN,0862471101
266.7,-28.6,5.5,6.5,EMOS1,0862471101
"""
PRINTED = """ecoordconv:-  Region Centre:
 Theta: Phi: 351.5852 3.7445579
 X: Y: 21108.082 31269.16
 DETX: DETY: 4086.6953 -6000.8271
 IM_X: IM_Y: 354.65164 557.87323
 RA: DEC: 267.04149 -28.391532
 CCD(s): 1 centred on CCD: 1

ecoordconv:-  Region Centre:
 Theta: Phi: 261.44873 3.5666934
 X: Y: 22196.895 29473.48
 DETX: DETY: 2255.6002 -4972.6912
"""


def written(path, text):
    path.write_text(text)
    return path


def test_events_are_control_points(tmp_path):
    path = events(tmp_path / "e.fits", [100, -99999999, 300], [5, 6, 7], [1, 2, 3], [4, 5, 6])
    (found,) = read_control(path)
    assert (found.kind, found.exposure, found.instrument) == ("events", "pnS003", "EPN")
    assert found.events == 3
    # The one in the middle has no sky pixels.
    assert [list(v) for v in (found.x, found.detx)] == [[100, 300], [1, 3]]


def test_of_many_events_an_even_choice_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_EVENTS", 4)
    n = np.arange(1, 11)
    (found,) = read_control(events(tmp_path / "e.fits", n, n, n, n))
    assert list(found.x) == [1, 4, 7, 10]
    assert found.events == 10


def test_a_table_of_places_is_told_apart_by_camera(tmp_path):
    pn, mos1 = read_control(written(tmp_path / "p.csv", PLACES))
    assert (pn.instrument, mos1.instrument, pn.obsid) == ("EPN", "EMOS1", "0862471101")
    assert list(pn.detx) == [1.5, -3.5]
    sky = SkyPixels(266.9, -28.4)
    assert [v[0] for v in pn.sky_pixels(sky)] == [25921, 25921]
    assert pn.is_of("0862471101", "pnS003", "EPN")
    assert not pn.is_of("0862471101", "mos1S001", "EMOS1")
    assert not pn.is_of("0000000000", "pnS003", "EPN")


def test_what_ecoordconv_prints_is_read(tmp_path):
    (found,) = read_control(written(tmp_path / "e.txt", PRINTED), {"instrument": "EMOS1"})
    assert list(found.x) == [21108.082, 22196.895]
    assert list(found.dety) == [-6000.8271, -4972.6912]
    assert found.instrument == "EMOS1"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x,y\n1,2\n", "has the columns x, y, expected detx, dety"),
        ("detx,dety,x,y\n1,2,3,there\n", "column 'y': is string, expected numbers"),
        ("detx,dety,x,y\n1,2,3,4\n1,2,3,\n", "row 2, column 'y': is not a number"),
        ("ecoordconv:- nothing\n", "no place with X: Y:"),
    ],
)
def test_what_is_no_control_is_refused(tmp_path, text, problem):
    with pytest.raises(InputError, match=problem):
        read_control(written(tmp_path / "p.csv", text))


def test_an_unknown_camera_is_refused(tmp_path):
    with pytest.raises(InputError, match="instrument 'PN', expected EPN"):
        read_control(written(tmp_path / "p.csv", PLACES), {"instrument": "PN"})


def test_rows_of_the_lake_are_the_control_points_again(tmp_path):
    path = written(tmp_path / "p.csv", PLACES.replace("EMOS1", "EPN"))
    file = InputFile(Path(path), "xmm", "r1", "control", {"exposure": "pnS003"}, 0, 0, "")
    (row,) = records(file, path.read_bytes())["xmm.control"]
    assert (row["source"], row["exposure"]) == ("p.csv", "pnS003")
    (again,) = stored([row])
    (given,) = read_control(path, {"exposure": "pnS003"})
    np.testing.assert_array_equal(again.ra, given.ra)
    assert again.x is None
    with pytest.raises(InputError, match="does not say which exposure it is of"):
        records(InputFile(Path(path), "xmm", "r1", "control", {}, 0, 0, ""), path.read_bytes())


@pytest.mark.real
def test_real_output_of_ecoordconv_is_read(real_data):
    path = real_data / "xmm/steady/0862471101/reg_files_det/reg_pn.txt"
    (found,) = read_control(path)
    assert len(found.detx) == path.read_text().count("Region Centre")
