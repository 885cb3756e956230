"""How loops over the pixels of spectra are compiled.

This module needs Numba, of the extra ``cnn``. The code is compiled at its first call with a kind
of array, and kept on the disk. Kernels go through one spectrum after another, so that what they
work on stays in the cache of a core, and let other threads run beside them.
"""

from numba import njit

# A division by zero is none that has to be looked for: loops over pixels become vectors.
kernel = njit(nogil=True, cache=True, error_model="numpy")
#: For sums, whose terms may be added in another order, several at a time.
summing = njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc"})
