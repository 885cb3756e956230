"""How far the spectra that a network is trained on depart from those observed."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Augmentation:
    """How far realisations depart from the spectrum they are made of.

    Attributes
    ----------
    snr_low, snr_high : float
        Signal-to-noise ratios per pixel are drawn evenly in their logarithm between these.
    clean : float
        Share of realisations without added noise.
    noise_tilt : float
        Standard deviation of the noise's logarithm between middle and end of the spectrum: a
        star that is faint in the blue is noisy there.
    noise_of_light : float
        Greatest power of the flux that the noise grows with: 0 for the sky's and the detector's
        noise, 1/2 for the star's own photons, 1 for a constant signal-to-noise ratio.
    noise_correlation : float
        Greatest weight of a neighbour's noise, as resampling mixes it in.
    ivar_unknown : float
        Share of realisations whose inverse variance is withheld.
    shift : float
        Standard deviation of the displacement along the grid, in pixels.
    wiggle : float
        Greatest standard deviation of smooth errors of the flux calibration.
    wiggle_cycles : int
        Greatest number of half-waves of these errors over the spectrum.
    strength : float
        Standard deviation of the logarithm of a smooth factor on the depth of all lines.
    gaps : int
        Greatest number of masked stretches.
    gap_length : int
        Greatest length of one, in pixels.
    borrow : float
        Probability that a spectrum loses what another of the batch does not cover, one of the
        least covered among some drawn at random: where classes come from different instruments,
        coverage must not tell them apart.
    crop : float
        Probability, at either end, that the spectrum starts later or ends earlier.
    crop_blue, crop_red : float
        Greatest share of the spectrum that is lost there.
    """

    snr_low: float = 3.0
    snr_high: float = 150.0
    clean: float = 0.12
    noise_tilt: float = 1.0
    noise_of_light: float = 1.0
    noise_correlation: float = 0.25
    ivar_unknown: float = 0.3
    shift: float = 1.0
    wiggle: float = 0.05
    wiggle_cycles: int = 30
    strength: float = 0.0
    gaps: int = 4
    gap_length: int = 120
    borrow: float = 0.6
    crop: float = 0.5
    crop_blue: float = 0.12
    crop_red: float = 0.18


def at_snr(settings: Augmentation, snr: float | None) -> Augmentation:
    """Fix the signal-to-noise ratio: what remains is the noise, the rest of a spectrum stays.

    Parameters
    ----------
    settings : Augmentation
        What shapes the noise is kept, as are the wiggles.
    snr : float or None
        Per pixel; None for no added noise.

    Returns
    -------
    Augmentation
    """
    return replace(
        settings,
        snr_low=snr or 1.0,
        snr_high=snr or 1.0,
        clean=0.0 if snr else 1.0,
        strength=0.0,
        shift=0.0,
        gaps=0,
        borrow=0.0,
        crop=0.0,
    )
