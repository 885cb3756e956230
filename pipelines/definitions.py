"""The Dagster code location: every mission's assets, on the home that ``$LACUS_HOME`` names."""

import functools

import dagster as dg

from pipelines import automation, defs, jobs
from pipelines.events import lines
from pipelines.resources import HomeResource


@dg.definitions
@functools.cache
def definitions() -> dg.Definitions:
    """All assets, checks, jobs, sensors and the home they work on."""
    return dg.Definitions(
        assets=dg.load_assets_from_package_module(defs),
        jobs=jobs.JOBS,
        sensors=automation.SENSORS,
        loggers={"console": lines},
        resources={"home": HomeResource()},
    )
