"""From sky pixels X, Y to detector pixels DETX, DETY of the EPIC cameras, and back.

Seen from a camera the sky is mirrored, turned by the position angle, the camera's nominal
angle and its roll, and shifted. With x to the west and y to the north of the pointing, in units
of 0.05 arcsec, and r = PA_PNT + nominal + roll,

    DETX = X0 - s (x cos r + y sin r)
    DETY = Y0 - s (x sin r - y cos r)

The constants were found from what the SAS task esky2det gives for an observation of 2004. The
boresight moves with time: for other observations these alone are good to about 1.5 arcsec, and
a calibration (`lake.xmm.calibration`) replaces them.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lake.xmm.sky import Floats, SkyPixels, rounded_to_float32

#: Steps of sky pixels over which a direction is followed from one frame to another.
_STEP = 100.0


@dataclass(frozen=True)
class Camera:
    """An EPIC camera.

    Attributes
    ----------
    name : str
        As INSTRUME writes it.
    prefix : str
        As the ESAS writes it before the exposure identifier.
    nominal, roll : float
        Its angle in the focal plane, and what it differs by, degrees.
    det_x, det_y : float
        DETX and DETY of the pointing.
    """

    name: str
    prefix: str
    nominal: float
    roll: float
    det_x: float
    det_y: float


CAMERAS = {
    camera.name: camera
    for camera in (
        Camera("EPN", "pn", -90.0, 0.2159, -1084.38, 1478.26),
        Camera("EMOS1", "mos1", 0.0, 0.0003, -1410.42, -1394.04),
        Camera("EMOS2", "mos2", 90.0, -0.2921, 1216.46, -1633.76),
    )
}


@dataclass(frozen=True)
class DetectorFrame:
    """Detector pixels of one camera in one exposure.

    Attributes
    ----------
    ra, dec : float
        The pointing, degrees.
    pa : float
        Its position angle, degrees.
    nominal, roll : float
        Angle of the camera and what it differs by, degrees.
    det_x, det_y : float
        DETX and DETY of the pointing.
    scale : float
        Detector pixels per 0.05 arcsec.
    """

    ra: float
    dec: float
    pa: float
    nominal: float
    roll: float
    det_x: float
    det_y: float
    scale: float = 1.0

    @property
    def turn(self) -> float:
        """Position angle, nominal angle and roll together, degrees."""
        return self.pa + self.nominal + self.roll

    def of_sky_pixels(
        self,
        sky: SkyPixels,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        sas_compatible: bool = False,
    ) -> tuple[Floats, Floats]:
        """DETX and DETY of sky pixels.

        Parameters
        ----------
        sky : SkyPixels
        x, y : array_like
        sas_compatible : bool
            Round right ascension and declination to single precision first, as esky2det does:
            up to 1.1 units (0.06 arcsec) from the truth, but as the SAS has it.

        Returns
        -------
        detx, dety : ndarray
        """
        if sas_compatible:
            x, y = sky.of_sky(*rounded_to_float32(*sky.to_sky(x, y)))
        west, north = sky.offsets(x, y, self.ra, self.dec)
        c, s = (
            self.scale * np.cos(np.radians(self.turn)),
            self.scale * np.sin(np.radians(self.turn)),
        )
        return self.det_x - c * west - s * north, self.det_y - s * west + c * north

    def to_sky_pixels(
        self, sky: SkyPixels, detx: npt.ArrayLike, dety: npt.ArrayLike
    ) -> tuple[Floats, Floats]:
        """X and Y of detector pixels; inverse of `of_sky_pixels`."""
        c, s = np.cos(np.radians(self.turn)), np.sin(np.radians(self.turn))
        u = (self.det_x - np.asarray(detx, np.float64)) / self.scale
        v = (self.det_y - np.asarray(dety, np.float64)) / self.scale
        return sky.of_offsets(c * u + s * v, s * u - c * v, self.ra, self.dec)

    def angle(
        self, sky: SkyPixels, x: npt.ArrayLike, y: npt.ArrayLike, theta: npt.ArrayLike
    ) -> Floats:
        """Angle in the detector frame of a direction in the sky frame.

        Where the sky pixels touch the sphere at the pointing, as they do by default, this is
        180 + PA_PNT + nominal + roll - theta.

        Parameters
        ----------
        sky : SkyPixels
        x, y : array_like
            Where.
        theta : array_like
            Counter-clockwise from +X, degrees.

        Returns
        -------
        ndarray
            Counter-clockwise from +DETX, degrees, from 0 to 360.
        """
        angle = 180 + self.turn - np.asarray(theta, np.float64)
        if (sky.ra, sky.dec) != (self.ra, self.dec):
            x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
            there = sky.offsets(x + _STEP, y, self.ra, self.dec)
            here = sky.offsets(x - _STEP, y, self.ra, self.dec)
            angle = angle - np.degrees(np.arctan2(there[1] - here[1], there[0] - here[0]))
        return np.mod(angle, 360.0)
