"""The detector frame of an exposure, calibrated on places that are known in both frames.

Shift, turn and scale are found by least squares. Turn and scale of a camera do not change with
time (over four observations of 2004 to 2020 the turn by less than 0.0001 degrees, the scale by
less than 2e-6), the shift does; so turn and scale are held to the camera's constants by weights
that a handful of points cannot overcome and thousands of events do. Three points that lie close
together then still hold for the whole field of view.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lake.errors import InputError, LacusError
from lake.xmm.control import Control
from lake.xmm.exposure import Exposure
from lake.xmm.geometry import DetectorFrame
from lake.xmm.sky import PIXEL_ARCSEC, Floats, rounded_to_float32

#: Standard deviations that turn (radians) and scale are held by, against that of a printed place.
_TURN, _SCALE, _PLACE = 1e-5, 1.5e-6, 0.1
#: What rounding to 0.1 unit in print leaves of a residual, with a margin.
_PRINTED_ARCSEC = 0.15 * PIXEL_ARCSEC
#: Fewest places.
FEWEST = 3
#: Residuals beyond which places are taken for wrong: of points the largest; of events the median,
#: since the attitude drifts under them (arcsec).
MOST_ARCSEC = {"points": 0.5, "events": 1.0}
#: The boresight has never been further from where the constants have it (arcsec).
MOST_SHIFT_ARCSEC = 10.0


@dataclass(frozen=True)
class Calibration:
    """Where a detector frame comes from and how good it is.

    Attributes
    ----------
    frame : DetectorFrame
    kind : str
        ``header`` (the constants of the camera), ``events`` or ``points``.
    points : int
        Events or points used.
    median, p95, largest : float or None
        Distances between given and computed detector pixels, arcsec.
    source : str or None
        File of the events or points.
    """

    frame: DetectorFrame
    kind: str = "header"
    points: int = 0
    median: float | None = None
    p95: float | None = None
    largest: float | None = None
    source: str | None = None

    def __str__(self) -> str:
        if self.kind == "header":
            return "header only, good to about 1.5 arcsec"
        return (
            f"{self.points} {self.kind}, residual median {self.median:.3f}, 95 % {self.p95:.3f}, "
            f"largest {self.largest:.3f} arcsec"
        )


def calibrate(
    exposure: Exposure, control: Sequence[Control] = (), *, force: bool = False
) -> Calibration:
    """Find the detector frame of an exposure.

    Parameters
    ----------
    exposure : Exposure
    control : sequence of Control
        Those that speak of another exposure are passed over. Events go before points, more of
        them before fewer.
    force : bool
        Take control points however large their residual is, even if they are not `forced`.

    Returns
    -------
    Calibration
        By the header alone where no control point is of the exposure.

    Raises
    ------
    InputError
        There are fewer than three places, or they do not fit the exposure.
    """
    mine = [c for c in control if c.is_of(exposure.obsid, exposure.name, exposure.camera.name)]
    if not mine:
        return Calibration(exposure.nominal_frame())
    best = max(mine, key=lambda c: (c.kind == "events", len(c.detx)))
    x, y = best.sky_pixels(exposure.sky)
    found = _fit(exposure, best, x, y)
    if best.kind == "points":
        # What the SAS computed, it computed from directions in single precision. So places that
        # fit when rounded are taken for rounded, even if the few of them fit unrounded too.
        rounded = exposure.sky.of_sky(*rounded_to_float32(*exposure.sky.to_sky(x, y)))
        of_sas = _fit(exposure, best, *rounded)
        if _p95(of_sas) <= max(_PRINTED_ARCSEC, _p95(found)):
            found = of_sas
    if not (force or best.forced):
        _check(exposure, found)
    return found


def _p95(calibration: Calibration) -> float:
    assert calibration.p95 is not None
    return calibration.p95


def _fit(exposure: Exposure, control: Control, x: Floats, y: Floats) -> Calibration:
    """Fit shift, turn and scale; events far off the rest are left out of a second fit."""
    given = control.detx + 1j * control.dety
    places = len(np.unique(np.stack([x, y, control.detx, control.dety]), axis=1).T)
    if places < FEWEST:
        raise InputError(
            control.source, f"{places} control points are fewer than the {FEWEST} that are needed"
        )
    nominal = exposure.nominal_frame()
    west, north = exposure.sky.offsets(x, y, exposure.ra, exposure.dec)
    # In the complex plane: given = shift + scale exp(i turn) mirrored.
    mirrored = -(west - 1j * north) * np.exp(1j * np.radians(nominal.turn))
    if not np.isfinite(mirrored).all():
        raise InputError(control.source, "control points lie on the other side of the sky")
    solution = _solve(mirrored, given)
    residual = _residual(solution, mirrored, given)
    if control.kind == "events":
        near = residual <= 5 * np.median(residual)
        solution = _solve(mirrored[near], given[near])
        residual = _residual(solution, mirrored, given)
    shift, factor = solution
    frame = replace(
        nominal,
        roll=float(nominal.roll + np.degrees(np.angle(factor))),
        det_x=float(shift.real),
        det_y=float(shift.imag),
        scale=float(np.abs(factor)),
    )
    median, p95, largest = (float(np.percentile(residual, q) * PIXEL_ARCSEC) for q in (50, 95, 100))
    return Calibration(frame, control.kind, len(given), median, p95, largest, control.source)


def _solve(mirrored: np.ndarray, given: np.ndarray) -> tuple[complex, complex]:
    """Shift b and factor a of ``given = b + a mirrored``, a held to 1.

    Parameters
    ----------
    mirrored, given : ndarray of complex, shape (n,)
    """
    # a = 1 + scale + i turn, both small; their mean is taken off so that b is not mixed in.
    centre = mirrored.mean()
    m, d = mirrored - centre, given - mirrored
    d0 = d.mean()
    d = d - d0
    size = float(np.sum(np.abs(m) ** 2))
    product = np.sum(np.conj(m) * d)
    scale = product.real / (size + (_PLACE / _SCALE) ** 2)
    turn = product.imag / (size + (_PLACE / _TURN) ** 2)
    factor = complex(1 + scale, turn)
    return complex(d0 + centre - factor * centre), factor


def _residual(solution: tuple[complex, complex], mirrored: np.ndarray, given: np.ndarray) -> Floats:
    shift, factor = solution
    return np.abs(shift + factor * mirrored - given)


def _check(exposure: Exposure, found: Calibration) -> None:
    """Raise InputError for control points that cannot be of the exposure."""
    assert found.median is not None
    assert found.largest is not None
    constants = exposure.camera
    residual = found.median if found.kind == "events" else found.largest
    what = "median" if found.kind == "events" else "largest"
    name = f"{exposure.obsid} {exposure.name}"
    source = found.source or ""
    if residual > MOST_ARCSEC[found.kind]:
        raise InputError(
            source,
            f"does not fit {name}: the {what} residual of its {found.points} {found.kind} is "
            f"{residual:.2f} arcsec, expected at most {MOST_ARCSEC[found.kind]} (force takes it)",
        )
    shift = PIXEL_ARCSEC * float(
        np.hypot(found.frame.det_x - constants.det_x, found.frame.det_y - constants.det_y)
    )
    if shift > MOST_SHIFT_ARCSEC:
        raise InputError(
            source,
            f"does not fit {name}: it lies {shift:.1f} arcsec from where the header has it, "
            f"expected at most {MOST_SHIFT_ARCSEC} (force takes it)",
        )


def check_used(exposures: Sequence[Exposure], control: Sequence[Control]) -> None:
    """Raise LacusError if control points are of none of the exposures."""
    for c in control:
        if not any(c.is_of(e.obsid, e.name, e.camera.name) for e in exposures):
            said = " ".join(v for v in (c.obsid, c.exposure or c.instrument) if v)
            there = ", ".join(f"{e.obsid} {e.name}" for e in exposures)
            raise LacusError(f"{c.source}: is of {said}, but the images are of {there}")
