"""Assets, one module per mission and one for papers; each module here is found by being here."""

import importlib
import pkgutil
from graphlib import TopologicalSorter

from lake.freshness import base_tables
from pipelines.assets import DERIVATIONS, Derivation

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def derivations(mission: str) -> list[Derivation]:
    """Computations of a mission, each after those whose tables it reads."""
    known = DERIVATIONS.get(mission, [])
    makers = {table: derivation.name for derivation in known for table in derivation.tables}
    below = {
        derivation.name: [makers[t] for t in base_tables(derivation.reads) if t in makers]
        for derivation in known
    }
    by_name = {derivation.name: derivation for derivation in known}
    return [by_name[name] for name in TopologicalSorter(below).static_order()]
