"""The Dagster code location: every mission's assets, on the home that ``$LACUS_HOME`` names."""

import functools

import dagster as dg

from pipelines import automation, defs, jobs, refetching
from pipelines.events import lines
from pipelines.resources import HomeResource


@dg.definitions
@functools.cache
def definitions() -> dg.Definitions:
    """All assets, checks, jobs, sensors, schedules and the home they work on."""
    return dg.Definitions(
        assets=dg.load_assets_from_package_module(defs),
        jobs=[*jobs.JOBS, *refetching.JOBS],
        sensors=automation.SENSORS,
        schedules=refetching.SCHEDULES,
        executor=jobs.EXECUTOR,
        loggers={"console": lines},
        resources={"home": HomeResource()},
    )
