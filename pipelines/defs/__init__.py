"""Assets, one module per mission; each module here is found by being here."""

import importlib
import pkgutil

from pipelines.assets import DERIVATIONS, Derivation

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def derivations(mission: str) -> list[Derivation]:
    """Computations of a mission, in the order of its module."""
    return DERIVATIONS.get(mission, [])
