"""The twelve features of the method, their normalisation, and the names of its classes.

The method is that of Perez-Diaz et al. 2024 (MNRAS 528, 4852; arXiv 2401.12203).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lake.csc.object_types import canonical_type
from lake.errors import LacusError

FloatArray = npt.NDArray[np.float64]

FEATURES: tuple[str, ...] = (
    "hard_hm",
    "hard_hs",
    "hard_ms",
    "powlaw_gamma",
    "bb_kt",
    "var_prob_b",
    "var_ratio_b",
    "var_prob_h",
    "var_ratio_h",
    "var_prob_s",
    "var_ratio_s",
    "var_newq_b",
)
"""The features, in the order of every matrix, mean and covariance of this package."""

LOG_FEATURES: tuple[str, ...] = ("bb_kt", "var_ratio_b", "var_ratio_h", "var_ratio_s", "var_newq_b")
"""Features scaled to 0..1 in the logarithm."""

LINEAR_FEATURES: tuple[str, ...] = ("powlaw_gamma",)
"""Features scaled to 0..1 as they are; those in neither list are left alone."""

CLASSES: tuple[str, ...] = (
    "QSO",
    "AGN",
    "Seyfert_1",
    "Seyfert_2",
    "HMXB",
    "LMXB",
    "XB",
    "YSO",
    "TTau*",
    "Orion_V*",
)
"""The classes, in SIMBAD's former spelling, in the order that breaks ties."""

PROBABILITIES: tuple[str, ...] = (
    "p_qso",
    "p_agn",
    "p_seyfert_1",
    "p_seyfert_2",
    "p_hmxb",
    "p_lmxb",
    "p_xb",
    "p_yso",
    "p_ttau",
    "p_orion_v",
)
"""The probability column of each class."""

AMBIGUOUS: frozenset[str] = frozenset(
    ("Star", "X", "Radio", "IR", "Blue", "UV", "gamma", "PartofG", "**")
)
"""SIMBAD types that say so little that the detection is treated as unlabelled."""

AGGREGATE: dict[str, str] = {
    "QSO": "AGN",
    "AGN": "AGN",
    "Seyfert_1": "Seyfert",
    "Seyfert_2": "Seyfert",
    "HMXB": "XB",
    "LMXB": "XB",
    "XB": "XB",
    "YSO": "YSO",
    "TTau*": "YSO",
    "Orion_V*": "YSO",
}
"""The four groups in which the classes are commonly counted."""

UNLABELLED = -1
"""Label code of a detection without a type, or with an ambiguous one."""

OTHER_TYPE = -2
"""Label code of a detection whose type the method neither learns from nor classifies."""


def label_codes(main_type: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.int8]:
    """Number the labels of a column of SIMBAD types.

    Parameters
    ----------
    main_type : pyarrow.Array or ChunkedArray of strings
        One SIMBAD type per detection.

    Returns
    -------
    ndarray of int8, shape (n,)
        The index in `CLASSES`; `UNLABELLED` where there is no type or an ambiguous one;
        `OTHER_TYPE` for the rest.
    """
    if pa.types.is_null(main_type.type):
        return np.full(len(main_type), UNLABELLED, dtype=np.int8)
    distinct = pc.unique(main_type)
    codes = np.empty(len(distinct), dtype=np.int8)
    for i, text in enumerate(distinct.to_pylist()):
        name = canonical_type(text)
        if name is None or name in AMBIGUOUS:
            codes[i] = UNLABELLED
        else:
            codes[i] = CLASSES.index(name) if name in CLASSES else OTHER_TYPE
    place = pc.index_in(main_type, value_set=distinct)
    return codes[np.asarray(place.to_numpy(zero_copy_only=False)).astype(np.int64)]


def feature_matrix(table: pa.Table) -> FloatArray:
    """Take the twelve features out of a table.

    Parameters
    ----------
    table : pyarrow.Table
        With the columns `FEATURES`, numeric; other columns are ignored.

    Returns
    -------
    ndarray of float64, shape (n, 12)
        NaN where a value is null, NaN or infinite.

    Raises
    ------
    LacusError
        If a column is absent or not numeric.
    """
    absent = [name for name in FEATURES if name not in table.column_names]
    if absent:
        raise LacusError(
            f"the table lacks {', '.join(absent)}; the twelve features are {', '.join(FEATURES)}"
        )
    matrix = np.empty((table.num_rows, len(FEATURES)))
    for i, name in enumerate(FEATURES):
        column = table.column(name)
        kind = column.type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
            raise LacusError(f"column {name!r} must be numeric, it is {kind}")
        values = pc.fill_null(column.cast(pa.float64()), np.nan)
        matrix[:, i] = values.to_numpy()
    matrix[~np.isfinite(matrix)] = np.nan
    return matrix


@dataclass(frozen=True)
class Normalisation:
    """The scaling of the features before any distance is taken.

    `LOG_FEATURES` become ln(x + m) with m a tenth of the smallest positive value, then are
    scaled to 0..1; `LINEAR_FEATURES` are scaled to 0..1; the rest stay as they are. The
    constants are fixed when the model is made, so a detection's scaled features never depend on
    the table in which it is given.

    Attributes
    ----------
    log_offset : dict of str to float
        m of each log feature, in the feature's own unit.
    minmax : dict of str to (float, float)
        The values that become 0 and 1; after the logarithm for the log features.
    """

    log_offset: dict[str, float]
    minmax: dict[str, tuple[float, float]]

    @classmethod
    def fit(cls, matrix: FloatArray) -> "Normalisation":
        """Derive the constants from a whole table.

        Parameters
        ----------
        matrix : ndarray, shape (n, 12)
            Raw features, NaN where missing.

        Raises
        ------
        LacusError
            If a scaled feature has no finite value, or a log feature no positive one.

        Notes
        -----
        The published code takes the smallest *non-zero* value for m. The two agree wherever
        its result is defined for all rows; a negative value, which these ratios and
        temperatures cannot have, would make m negative and every small value NaN.
        """
        log_offset: dict[str, float] = {}
        minmax: dict[str, tuple[float, float]] = {}
        for name in (*LINEAR_FEATURES, *LOG_FEATURES):
            values = matrix[:, FEATURES.index(name)]
            values = values[np.isfinite(values)]
            if name in LOG_FEATURES:
                positive = values[values > 0]
                if not positive.size:
                    raise LacusError(f"feature {name!r} has no positive value to scale it with")
                offset = float(positive.min() / 10)
                log_offset[name] = offset
                values = np.log(values[values > -offset] + offset)
            if not values.size:
                raise LacusError(f"feature {name!r} has no value to scale it with")
            minmax[name] = (float(values.min()), float(values.max()))
        return cls(log_offset, minmax)

    def transform(self, matrix: FloatArray) -> tuple[FloatArray, int]:
        """Scale raw features.

        Parameters
        ----------
        matrix : ndarray, shape (n, 12)
            Raw features, NaN where missing.

        Returns
        -------
        scaled : ndarray, shape (n, 12)
            A new array; NaN stays NaN.
        undefined : int
            How many values lie at or below -m under a logarithm; they are missing in `scaled`.
        """
        scaled = matrix.copy()
        undefined = 0
        for name, (low, high) in self.minmax.items():
            column = scaled[:, FEATURES.index(name)]
            if name in self.log_offset:
                column += self.log_offset[name]
                bad = column <= 0
                undefined += int(np.count_nonzero(bad))
                column[bad] = np.nan
                np.log(column, out=column)
            column -= low
            # A feature that was constant in training carries no scale; the seed's 0/0 is avoided.
            if high > low:
                column /= high - low
        return scaled, undefined

    def inverse_scale(self, scaled: FloatArray) -> FloatArray:
        """Undo the scaling to 0..1, not the logarithm.

        Parameters
        ----------
        scaled : ndarray, shape (n, 12)

        Returns
        -------
        ndarray, shape (n, 12)
            ln(x + m) for the log features, raw values for the others.
        """
        unscaled = scaled.copy()
        for name, (low, high) in self.minmax.items():
            column = unscaled[:, FEATURES.index(name)]
            if high > low:
                column *= high - low
            column += low
        return unscaled

    def to_dict(self) -> dict[str, Any]:
        """Give the constants as plain numbers."""
        return {
            "log_offset": dict(self.log_offset),
            "minmax": {name: list(pair) for name, pair in self.minmax.items()},
        }

    @classmethod
    def from_dict(cls, numbers: Mapping[str, Any]) -> "Normalisation":
        """Rebuild from `to_dict`.

        Raises
        ------
        LacusError
            If a constant of a scaled feature is absent.
        """
        try:
            return cls(
                {name: float(numbers["log_offset"][name]) for name in LOG_FEATURES},
                {
                    name: (float(numbers["minmax"][name][0]), float(numbers["minmax"][name][1]))
                    for name in (*LINEAR_FEATURES, *LOG_FEATURES)
                },
            )
        except KeyError as error:
            raise LacusError(f"the normalisation lacks the constant {error}") from error
