"""A small Chandra Source Catalog and a small SIMBAD, as their TAP services have them."""

import numpy as np
import pyarrow as pa

from lake.csc.archive import _IDENTIFIERS, _NUMBERS

_INTEGERS = ("obsid", "obi", "region_id")
_UNITS = {"ra": "deg", "dec": "deg", "theta": "arcmin", "bb_kt": "keV", "gti_start": "s"}


def catalogue(sources: int = 40, seed: int = 1, schema: str = "csc21") -> dict[str, pa.Table]:
    """Tables of the catalogue: sources from RA 10 to 40, and some about RA 0.

    Every source has one to three detections, of which some do not meet the method's cuts; one
    detection in ten belongs to its source through two stacks.
    """
    random = np.random.default_rng(seed)
    ra = np.round(np.where(np.arange(sources) % 4, 10 + 30 * random.random(sources),
                           (358 + 4 * random.random(sources)) % 360), 6)  # fmt: skip
    dec = np.round(random.uniform(-20, 20, sources), 6)
    name = [f"2CXO J{i:06d}.0+000000" for i in range(sources)]
    master = pa.table(
        {
            "name": name, "ra": ra, "dec": dec,
            "significance": random.uniform(3, 30, sources),
            "likelihood": random.uniform(10, 100, sources),
        }
    )  # fmt: skip
    of = np.repeat(np.arange(sources), random.integers(1, 4, sources))
    n = len(of)
    observed: dict[str, pa.Array] = {
        "obsid": pa.array(1000 + np.arange(n), pa.int32()),
        "obi": pa.array(np.zeros(n), pa.int32()),
        "region_id": pa.array(1 + np.arange(n) % 7, pa.int32()),
        "flux_significance_b": pa.array(random.uniform(3, 20, n)),
    }
    for number in _NUMBERS:
        table, _, column = number.partition(".")
        if table == "o" and column not in observed:
            missing = random.random(n) < 0.1
            values = random.random(n) if "_prob_" in column else random.normal(size=n)
            observed[column] = pa.array(values, mask=missing)
    fields = [
        pa.field(k, v.type, metadata={b"unit": _UNITS[k].encode()} if k in _UNITS else None)
        for k, v in observed.items()
    ]
    stack = [f"stack{i}" for i in range(n)]
    twice = np.flatnonzero(random.random(n) < 0.1)
    both = [*range(n), *twice]
    stacks = stack + [f"other{i}" for i in twice]
    where = {"detect_stack_id": stacks, "region_id": pa.array([1] * len(both), pa.int32())}
    seen = {key: observed[key].take(pa.array(both)) for key in _INTEGERS}
    # A stack has its own numbers of regions; the key of the join is that of the observation.
    where["region_id"] = seen["region_id"]
    tables = {
        "master_source": master,
        "master_stack_assoc": pa.table({"name": [name[of[i]] for i in both], **where}),
        "observation_source": pa.Table.from_arrays(
            list(observed.values()), schema=pa.schema(fields)
        ),
        "stack_observation_assoc": pa.table({**where, "obsid": seen["obsid"], "obi": seen["obi"]}),
        "stack_source": pa.table(where),
    }
    return {f"{schema}.{key}": table for key, table in tables.items()}


def expected(tables: dict[str, pa.Table], schema: str = "csc21") -> dict[tuple[str, int], dict]:
    """Detections that the method's query gives, by name and obsid; found without SQL."""
    get = {key.removeprefix(f"{schema}."): t.to_pylist() for key, t in tables.items()}
    sources = {row["name"]: row for row in get["master_source"]}
    of = {(r["detect_stack_id"], r["region_id"]): r["name"] for r in get["master_stack_assoc"]}
    name = {
        r["obsid"]: of[r["detect_stack_id"], r["region_id"]] for r in get["stack_observation_assoc"]
    }
    found = {}
    for row in get["observation_source"]:
        if row["flux_significance_b"] > 5 and None not in (row["powlaw_gamma"], row["bb_kt"]):
            source = sources[name[row["obsid"]]]
            both = {"m": source, "o": row}
            found[source["name"], row["obsid"]] = {"name": source["name"]} | {
                number[2:]: both[number[0]][number[2:]] for number in (*_IDENTIFIERS, *_NUMBERS)
            }
    return found


def simbad(rows: list[tuple[int, str, str, str | None, float, float]]) -> dict[str, pa.Table]:
    """SIMBAD's tables of objects: oid, main_id, otype, otypes, ra, dec."""
    oid, main_id, otype, otypes, ra, dec = zip(*rows, strict=True)
    typed = [(o, t) for o, t in zip(oid, otypes, strict=True) if t is not None]
    return {
        "basic": pa.table(
            {
                "oid": pa.array(oid, pa.int64()), "main_id": main_id, "otype": otype,
                "ra": pa.array(ra, pa.float64()), "dec": pa.array(dec, pa.float64()),
                "update_date": ["2026-01-01"] * len(oid),
            }
        ),
        "alltypes": pa.table(
            {"oidref": pa.array([o for o, _ in typed], pa.int64()), "otypes": [t for _, t in typed]}
        ),
    }  # fmt: skip
