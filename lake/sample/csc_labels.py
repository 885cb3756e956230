"""Labels of the synthetic sources, as a cross-match with SIMBAD would give them."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lake.csc.features import CLASSES
from lake.csc.object_types import condensed_type
from lake.sample.sky import IntArray

SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("obsid", pa.int32()),
        ("main_id", pa.string()),
        ("main_type", pa.string()),
        ("other_types", pa.string()),
        ("separation_arcsec", pa.float64()),
        ("catalogue", pa.string()),
    ]
)

# Sources that are looked at more often are better known: labelled share of single and others.
_LABELLED = (0.06, 0.9)
_AMBIGUOUS, _OTHER = 0.06, 0.02

_AMBIGUOUS_TYPES = np.array(["X", "Star", "Radio", "IR", "Blue", "UV", "PartofG", "**"])
_OTHER_TYPES = np.array(["Galaxy", "CataclyV*", "Pulsar"])


def draw_labels(
    rng: np.random.Generator,
    classes: IntArray,
    detections: IntArray,
    source: IntArray,
    columns: dict[str, npt.NDArray],
) -> pa.RecordBatch:
    """Labels of a fifth of the sources, and types that tell nothing for a few more.

    Most types are spelt as in the published tables, a quarter as SIMBAD has them today; most
    labels are given per detection, a fifth of them per source.

    Parameters
    ----------
    rng : numpy.random.Generator
    classes : ndarray of int, shape (sources,)
        Index in `CLASSES`.
    detections : ndarray of int, shape (sources,)
        How many each source has.
    source : ndarray of int, shape (rows,)
        Of each detection.
    columns : dict
        ``name`` and ``obsid`` of the detections, shape (rows,).

    Returns
    -------
    pa.RecordBatch
        Under `SCHEMA`.
    """
    n = len(classes)
    kind = rng.uniform(size=n)
    labelled = kind < np.where(detections > 1, _LABELLED[1], _LABELLED[0])
    ambiguous = ~labelled & (kind > 1 - _AMBIGUOUS)
    other = ~labelled & ~ambiguous & (kind > 1 - _AMBIGUOUS - _OTHER)
    old = np.array(CLASSES)
    today = np.array([condensed_type(name) for name in CLASSES])
    spelling = np.where(rng.uniform(size=n) < 0.25, today[classes], old[classes])
    main_type = np.select(
        [labelled, ambiguous, other],
        [spelling, rng.choice(_AMBIGUOUS_TYPES, n), rng.choice(_OTHER_TYPES, n)],
        "",
    )
    separation = np.round(np.minimum(rng.rayleigh(0.4, n), 0.999), 6)
    per_source = rng.uniform(size=n) < 0.2

    first = np.zeros(len(source), bool)
    first[np.unique(source, return_index=True)[1]] = True
    rows = np.flatnonzero((labelled | ambiguous | other)[source] & (first | ~per_source[source]))
    of = source[rows]
    name = columns["name"][rows].astype(str)
    return pa.RecordBatch.from_arrays(
        [
            pa.array(name),
            pa.array(columns["obsid"][rows], pa.int32(), mask=per_source[of]),
            pa.array(np.char.add("SAMPLE ", np.char.replace(name, "2CXO ", ""))),
            pa.array(main_type[of].astype(str)),
            pa.array(np.char.add(main_type[of], "|X")),
            pa.array(separation[of]),
            pa.repeat("sample", len(rows)),
        ],
        schema=SCHEMA,
    )
