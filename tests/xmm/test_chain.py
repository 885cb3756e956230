import pytest

from lake.xmm.chain import Made, expression, file_name, script, selections


@pytest.mark.parametrize(
    ("role", "frame", "label", "name"),
    [
        ("bkg", "sky", 0, "pnS003-bkg_region-sky.fits"),
        ("mask", "det", 0, "pnS003-mask_region-det.fits"),
        ("box", "sky", 0, "pnS003-box_table-sky.fits"),
        ("mask", "sky", 17, "pnS003-mask_region-17-sky.fits"),
    ],
)
def test_tables_are_called_what_the_esas_looks_for(role, frame, label, name):
    assert file_name("pnS003", role, frame, label) == name
    # However many rows a table has, the expression is as short as this.
    assert expression(name) == f"region({name})"


TABLES = [(r, f) for r in ("bkg", "mask", "box") for f in ("sky", "det")]
MADE = [Made(r, f, file_name("mos1S001", r, f)) for r, f in TABLES]


def test_the_selection_of_the_esas_takes_what_is_not_cut_out():
    name = "mos1S001-region.txt"
    assert selections("mos1S001", MADE) == {name: "&&region(mos1S001-bkg_region-det.fits)\n"}
    assert selections("mos1S001", MADE[2:]) == {name: "&&region(mos1S001-mask_region-det.fits)\n"}


def test_each_label_is_a_selection_of_its_own():
    made = [Made("mask", "det", f"m{k}.fits", k) for k in (3, 5)]
    assert selections("pnS003", made) == {
        "pnS003-region-3.txt": "&&region(m3.fits)\n",
        "pnS003-region-5.txt": "&&region(m5.fits)\n",
    }
    assert script("pnS003", made).count("pnspectra eventfile") == 2


def test_the_script_draws_every_table_but_the_box_and_makes_spectra():
    text = script("mos1S001", MADE)
    assert text.startswith("#!/bin/sh\n")
    assert text.count("evselect table=mos1S001-allevc.fits:EVENTS") == 4
    assert "xcolumn=DETX ycolumn=DETY" in text
    assert "box_table" not in text
    assert "regionfile=mos1S001-region.txt" in text
    assert "pattern=12" in text
    assert "pattern=4" in script("pnU002", MADE)
