"""What assets work on: the home."""

import dagster as dg

import lake


class HomeResource(dg.ConfigurableResource):
    """The home directory; ``$LACUS_HOME`` unless configured otherwise."""

    root: str

    def open(self) -> lake.Home:
        """Open the home."""
        return lake.open(self.root)
