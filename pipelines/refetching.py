"""Archives that are asked by themselves whether they have changed what was fetched from them.

A mission's job fetches again what its archives have changed of one release; its schedule runs that
every night. The job only brings files: the sensor of `pipelines.automation` sees them, and asks for
what is thereby out of date.
"""

from collections.abc import Iterator

import dagster as dg

from lake.missions import offering
from pipelines import progress
from pipelines.resources import HomeResource

#: In the night of the machine, when archives and people are least busy.
_WHEN = "0 3 * * *"

#: An archive that is down for a while is asked twice more.
_RETRIES = dg.RetryPolicy(max_retries=2, delay=600, backoff=dg.Backoff.EXPONENTIAL)


class Release(dg.Config):
    """What the job is about."""

    mission: str
    release: str


@dg.op(retry_policy=_RETRIES)
def ask_archives(context: dg.OpExecutionContext, config: Release, home: HomeResource) -> None:
    """Fetch again what archives have changed of a release; nothing else is fetched."""
    from lake.fetch import archives
    from lake.fetch.session import FetchError

    failures: list[FetchError] = []
    for fetched in archives.refetch(home.seen(), config.mission, config.release, progress.report):
        origin = fetched.source.fetch["archive"]
        context.log.info("%s %s: %s", origin, config.release, fetched.describe())
        failures += fetched.failures
    missing = [failure for failure in failures if failure.is_missing]
    for failure in missing:  # it was told of when it was first asked for, and stays so
        context.log.warning("%s", failure)
    if lost := [failure for failure in failures if not failure.is_missing]:
        raise dg.Failure(f"{len(lost)} files could not be had, the first: {lost[0]}")


def _refetched(mission: str) -> tuple[dg.JobDefinition, dg.ScheduleDefinition]:
    """Job and schedule of a mission."""

    @dg.job(
        name=f"{mission}_refetch",
        description=f"Fetch again what archives have changed of a release of {mission}",
    )
    def refetch() -> None:
        ask_archives()

    @dg.schedule(
        name=f"{mission}_archives",
        job=refetch,
        cron_schedule=_WHEN,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Asks the archives that releases of {mission} were fetched from",
    )
    def ask(
        context: dg.ScheduleEvaluationContext, home: HomeResource
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        from lake.fetch import archives

        releases = [name for of, name in archives.releases(home.seen()) if of == mission]
        for release in releases:
            config = Release(mission=mission, release=release)
            yield dg.RunRequest(
                run_key=f"{release} {context.scheduled_execution_time:%Y-%m-%dT%H:%M}",
                run_config=dg.RunConfig(ops={"ask_archives": config}),
                tags={"lacus/release": release},
            )
        if not releases:
            yield dg.SkipReason(f"no release of {mission} was fetched from an archive")

    return refetch, ask


_REFETCHED = [_refetched(mission) for mission in offering("ARCHIVES")]

JOBS = [job for job, _ in _REFETCHED]
SCHEDULES = [schedule for _, schedule in _REFETCHED]
