"""What assets work on: the home."""

import functools

import dagster as dg

import lake
from lake import health


class HomeResource(dg.ConfigurableResource):
    """The home directory; ``$LACUS_HOME`` or ``./lacus-home`` unless configured otherwise."""

    root: str = ""

    def open(self) -> lake.Home:
        """Open the home, its lake in line with the present contracts."""
        home = self.seen()
        renew(home)
        return home

    def seen(self) -> lake.Home:
        """Open the home as it is, for a look alone."""
        return _opened(str(lake.open(self.root or None).root))


@functools.lru_cache(maxsize=1)
def _opened(root: str) -> lake.Home:
    """Open a home once for all steps of a process: its lake takes longer than many a step."""
    return lake.open(root)


def renew(home: lake.Home) -> bool:
    """Bring a lake into line with the contracts; says whether it was not.

    A computation reads views: it must not read those of former contracts.
    """
    if health.in_line(home.store):
        return False
    with home.store.commit("bring the lake into line with its contracts"):
        pass  # every commit begins with that
    return True
