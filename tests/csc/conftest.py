"""Made-up detections with the shape of the real ones."""

import numpy as np
import pyarrow as pa
import pytest

from lake.csc.features import FEATURES

# Centres of three kinds in hardness, photon index and temperature, wide enough apart to learn.
KINDS = {
    "QSO": (0.0, -0.2, -0.1, 1.9, 0.5),
    "HMXB": (0.5, 0.6, 0.3, 1.0, 1.2),
    "YSO": (-0.3, -0.5, -0.4, 3.5, 0.3),
}


def make_detections(rows: int, seed: int = 1, labelled: float = 0.5) -> pa.Table:
    """Detections of three kinds, two per source; kind, and a label for a part of them."""
    random = np.random.default_rng(seed)
    kind = np.repeat(random.choice(list(KINDS), (rows + 1) // 2, p=[0.5, 0.3, 0.2]), 2)[:rows]
    centre = np.array([KINDS[name] for name in kind])
    columns: dict[str, np.ndarray] = {
        "hard_hm": np.clip(centre[:, 0] + 0.15 * random.normal(size=rows), -1, 1),
        "hard_hs": np.clip(centre[:, 1] + 0.15 * random.normal(size=rows), -1, 1),
        "hard_ms": np.clip(centre[:, 2] + 0.15 * random.normal(size=rows), -1, 1),
        "powlaw_gamma": centre[:, 3] + 0.4 * random.normal(size=rows),
        "bb_kt": centre[:, 4] * np.exp(0.2 * random.normal(size=rows)),
        "var_newq_b": 1 + random.exponential(0.1, size=rows),
    }
    for band in "bhs":
        columns[f"var_prob_{band}"] = random.beta(0.5, 0.8, size=rows)
        columns[f"var_ratio_{band}"] = random.lognormal(-3, 1, size=rows)
    main_type = np.where(random.random(rows) < labelled, kind, None)
    return pa.table(
        {
            "name": pa.array([f"2CXO J{i // 2:06d}" for i in range(rows)]),
            "obsid": pa.array(np.arange(rows), pa.int64()),
            **{name: pa.array(columns[name]) for name in FEATURES},
            "main_type": pa.array(main_type.tolist(), pa.string()),
            "kind": pa.array(kind.tolist(), pa.string()),
        }
    )


@pytest.fixture(scope="session")
def detections() -> pa.Table:
    return make_detections(900)
