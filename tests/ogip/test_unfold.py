import numpy as np
import pytest

from lake.errors import LacusError
from lake.ogip.unfold import ERG_PER_KEV, unfold


def test_counts_become_photons_by_the_ratio_of_the_model():
    energy = np.array([1.0, 2, 4])
    photons = 3 * energy**-2.0
    folded = np.array([30.0, 10, 0])
    got = unfold(2 * folded, 0.1 * folded, folded, photons, energy)
    np.testing.assert_allclose(got.photon, [6, 1.5, np.nan], rtol=1e-15)
    np.testing.assert_allclose(got.photon_error, [0.3, 0.075, np.nan], rtol=1e-15)
    np.testing.assert_allclose(got.flux[:2], [6 * ERG_PER_KEV, 3 * ERG_PER_KEV], rtol=1e-15)
    np.testing.assert_allclose(got.energy[:2], [6 * ERG_PER_KEV] * 2, rtol=1e-15)
    np.testing.assert_allclose(got.energy_error[:2], [0.3 * ERG_PER_KEV] * 2, rtol=1e-15)
    assert got.flux_error[1] == pytest.approx(0.15 * ERG_PER_KEV)


def test_arguments_of_different_length_are_refused():
    with pytest.raises(LacusError, match=r"\[1, 2\] groups"):
        unfold(*[np.ones(2)] * 4, np.ones(1))
