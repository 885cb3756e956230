"""Angles, cones, and bands of the sky."""

import numpy as np
import pytest

from lake.csc.sky import Band, Cone, angle, bands, separation
from lake.errors import UsageError

ARCSEC = 1 / 3600


@pytest.mark.parametrize(
    ("text", "degrees"),
    [("1arcsec", ARCSEC), ("0.5 deg", 0.5), ("10arcmin", 1 / 6), ('2.5"', 2.5 * ARCSEC),
     ("3'", 0.05), ("2", 2 / 60), ("1e-3deg", 1e-3), ("1°", 1.0)],
)  # fmt: skip
def test_an_angle_has_its_unit(text, degrees):
    assert angle(text, "arcmin") == pytest.approx(degrees, rel=1e-15)


@pytest.mark.parametrize("text", ["", "wide", "-1deg", "0arcsec", "1 parsec", "1.2.3deg", "nan"])
def test_what_is_no_angle_is_told(text):
    with pytest.raises(UsageError, match="is not an angle such as"):
        angle(text, "deg")


def test_bands_hold_every_position_once_and_not_too_many():
    ra = np.random.default_rng(1).uniform(0, 360, 5000)
    found = list(bands(ra, 300))
    assert sorted(np.concatenate([inside for _, inside in found])) == list(range(5000))
    for band, inside in found:
        assert 0 < len(inside) <= 300
        assert np.all((ra[inside] >= band.low) & (ra[inside] < band.high))
    names = [band.name for band, _ in found]
    assert names == sorted(set(names))


def test_a_new_position_changes_its_band_alone():
    ra = np.random.default_rng(2).uniform(0, 360, 999)
    before = {band: set(ra[inside]) for band, inside in bands(ra, 60)}
    after = {band: set(many[inside]) for many in [np.append(ra, 77.7)]
             for band, inside in bands(many, 60)}  # fmt: skip
    changed = [band for band in before if after.get(band) != before[band]]
    assert len(changed) == 1
    assert changed[0].low <= 77.7 < changed[0].high


def test_positions_that_are_all_the_same_come_to_an_end():
    ((band, inside),) = bands(np.full(10, 83.6), 3)
    assert len(inside) == 10
    assert band.high - band.low < 1e-4


def test_a_band_is_named_by_its_edges():
    assert Band(0.0, 7.5).name == "ra000.000000-007.500000"
    assert Band(0.0, 7.5).halves() == (Band(0.0, 3.75), Band(3.75, 7.5))


@pytest.mark.parametrize(
    ("text", "cone"),
    [
        ("83.82 -5.39 10arcmin", Cone(83.82, -5.39, 1 / 6)),
        ("05:35:16.8 -05:23:24 1", Cone(83.82, -5.39, 1.0)),
        ("5h35m16.8s -5d23m24s 1", Cone(83.82, -5.39, 1.0)),
        ("360 90 30arcsec", Cone(0.0, 90.0, 30 * ARCSEC)),
    ],
)
def test_a_cone_is_read_in_degrees_or_sexagesimal(text, cone):
    found = Cone.of(text)
    assert (found.ra, found.dec, found.radius) == pytest.approx((cone.ra, cone.dec, cone.radius))


@pytest.mark.parametrize(
    "cone",
    [Cone(83, -5, 0.1), Cone(0.05, 60, 0.2), Cone(359.9, -70, 3), Cone(10, 88, 3), Cone(5, -90, 1),
     Cone(180, 0, 89), Cone(40, 30, 120)],
)  # fmt: skip
def test_the_box_of_a_cone_holds_all_of_it(cone):
    rng = np.random.default_rng(3)
    ra = rng.uniform(0, 360, 200_000)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, 200_000)))
    # And its edge, all round.
    turn = np.radians(np.linspace(0, 360, 721))
    d, r = np.radians(cone.dec), np.radians(cone.radius)
    edge = np.arcsin(np.sin(d) * np.cos(r) + np.cos(d) * np.sin(r) * np.cos(turn))
    east = np.arctan2(np.sin(turn) * np.sin(r) * np.cos(d), np.cos(r) - np.sin(d) * np.sin(edge))
    ra = np.append(ra, (cone.ra + np.degrees(east)) % 360)
    dec = np.append(dec, np.degrees(edge))
    low, high, parts = cone.box()
    boxed = (dec >= low) & (dec <= high)
    boxed &= np.any([(ra >= band.low) & (ra < band.high) for band in parts], axis=0)
    assert np.all(boxed[-721:])
    assert np.all(boxed[cone.holds(ra, dec)])


def test_small_separations_are_exact():
    one = np.array([1.0])
    along = separation(150 * one, 60 * one, 150 * one, 60 * one + 0.3 * ARCSEC)
    assert along[0] / ARCSEC == pytest.approx(0.3, abs=1e-8)
    across = separation(150 * one, 60 * one, 150 * one + 0.3 * ARCSEC, 60 * one)
    assert across[0] / ARCSEC == pytest.approx(0.15, abs=1e-8)
    assert separation(0 * one, 90 * one, 180 * one, -90 * one)[0] == pytest.approx(180)
