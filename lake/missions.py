"""What the package of a mission, ``lake.<mission>``, offers to the rest of the library.

========= ==========================================================================
ROLES     kinds of input files by name, in the order of their ingest (`lake.inputs`)
CITATIONS what to cite for products made from its tables
EXPORTS   what writes rows of a table as the mission's own files (`lake.originals`)
ARCHIVES  where its releases can be fetched from (`lake.fetch.archives`)
plot      draws the standard picture of an object: ``plot(home, identifier, release)``
========= ==========================================================================

The first two are required. ``__all__`` lists what is offered, so that what takes long to import
(`lake.later`) is known without being imported.
"""

import importlib
from typing import Any

from lake import contracts


def offered(mission: str, name: str) -> Any:
    """Give what a mission offers under a name; None if there is no such thing."""
    return getattr(importlib.import_module(f"lake.{mission}"), name, None)


def offering(name: str) -> list[str]:
    """Missions that list something under a name, in the order of their contracts."""
    return [
        mission
        for mission in contracts.missions()
        if name in importlib.import_module(f"lake.{mission}").__all__
    ]
