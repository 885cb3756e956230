"""What belongs together by name, and what keywords point to."""

import pytest

from lake.ogip.names import is_background, plain, reference, stem

ALIKE = [
    ["P011160506306_HE_TOTAL.fits", "P011160506306_HE_BKG.fits", "P011160506306_HE_RSP.fits"],
    ["3c273.pi", "3c273_bg.pi", "3c273.rmf", "3c273.arf", "3c273_src.pha.gz"],
    ["interval0wtsource.pi", "interval0wtback.pi", "interval0wt.arf"],
    ["pha_obs23523.fits", "bkg_obs23523.fits", "rmf_obs23523.fits"],
    ["acisf01575_001N001_r0085_pha3.fits.gz", "acisf01575_001N001_r0085_rmf3.fits"],
    ["bn1_b1_srcspectra.pha", "bn1_b1_bkgspectra.bak", "bn1_b1_weightedrsp.rsp"],
    ["glg_cspec_n3_bn080916009_v01.pha", "glg_cspec_n3_bn080916009_v00.rsp2"],
    ["x_spec.15grp", "x_specbg.fits", "x_spec.FTZ"],
]


@pytest.mark.parametrize("names", ALIKE, ids=lambda names: names[0])
def test_parts_of_one_observation_have_one_stem(names):
    assert len({stem("/data/" + name) for name in names}) == 1
    assert stem(names[0])


def test_different_observations_have_different_stems():
    assert len({stem(names[0]) for names in ALIKE}) == len(ALIKE)
    assert stem("me.src") != stem("me2.src")


@pytest.mark.parametrize("name", ["source.pi", "back.pi", "src.pha", "rmf.fits", "arf3.fits.gz"])
def test_a_name_that_is_only_a_part_has_no_stem(name):
    assert stem(name) == ""


@pytest.mark.parametrize(
    ("name", "expected"),
    [("le.bkg", True), ("x_bkg1.pi", True), ("x_bg.pi", True), ("awtback.pi", True),
     ("bkg_obs1.fits", True), ("x_specbg.fits", True), ("x_bkgspectra.bak", True),
     ("le.src", False), ("pullback_field.pi", False), ("bggcluster.pi", False)],
)  # fmt: skip
def test_backgrounds_are_known_by_name(name, expected):
    assert is_background("/somewhere_bkg/" + name) is expected


def test_references():
    assert reference("x.rsp") == ("x.rsp", None, None)
    assert reference("burst.rsp2{3}") == ("burst.rsp2", None, 3)
    assert reference("x.pha:2") == ("x.pha", None, 3)
    assert reference("pha3.fits[SPECTRUM,2]{1}") == ("pha3.fits", "SPECTRUM,2", 1)
    assert reference("a b/c:d.pi") == ("a b/c:d.pi", None, None)


def test_compression_is_no_part_of_a_name():
    assert plain("x.pha.gz") == "x.pha"
    assert plain("SPEC.FTZ") == "SPEC"
    assert plain("x.pha") == "x.pha"
