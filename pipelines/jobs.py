"""Jobs, and how the command line runs them: on the home's own instance, so the UI shows them."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg

import lake
from lake import contracts, inputs, models
from lake.freshness import base_tables
from lake.plan import plan
from pipelines import metadata
from pipelines.defs import derivations
from pipelines.partitions import RELEASES

JOBS = [
    dg.define_asset_job(
        f"{mission}_release",
        selection=dg.AssetSelection.groups(mission),
        partitions_def=RELEASES[mission],
        description=f"Everything of one release of {mission}: ingest, compute, check",
    )
    for mission in contracts.missions()
]

_SETTINGS = """\
# Written by lacus; change it as you like.
telemetry:
  enabled: false
nux:
  enabled: false
"""


@dataclass(frozen=True)
class Failure:
    """A step that failed, and why, in one line."""

    mission: str
    release: str
    step: str
    reason: str


@contextmanager
def instance(home: lake.Home) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of a home, made at first use."""
    prepare(home)
    with dg.DagsterInstance.from_config(str(home.dagster)) as opened:
        yield opened


def prepare(home: lake.Home) -> None:
    """Make the instance's folder and settings, and point the environment at this home."""
    home.dagster.mkdir(parents=True, exist_ok=True)
    settings = home.dagster / "dagster.yaml"
    if not settings.exists():
        settings.write_text(_SETTINGS, encoding="utf-8")
    os.environ["LACUS_HOME"] = str(home.root)
    os.environ["DAGSTER_HOME"] = str(home.dagster)


def stale(home: lake.Home, mission: str, release: str) -> list[str]:
    """Tables and views of a release that are out of date, in the order of their making.

    Input tables are out of date if the registered files differ from those in the lake, derived
    ones if anything that they are made from has changed, and a view if a table below it has.
    """
    out: set[str] = set()
    if plan(home, mission, release).changed:
        out |= {role.table for role in inputs.roles(mission).values()}
    order = list(out)
    stored = home.store.fingerprints(release)
    for derivation in derivations(mission):
        print_ = derivation.fingerprint(home.store, release)
        below = out & set(base_tables(derivation.reads))
        if below or any(stored.get(table) != print_ for table in derivation.tables):
            out |= set(derivation.tables)
            order += derivation.tables
    return order + [
        v.name for v in models.for_namespace(mission) if out & set(base_tables(v.depends))
    ]


def selected(selection: str, names: Sequence[str]) -> list[str]:
    """Those of some tables and views that a selection needs.

    Parameters
    ----------
    selection : str
        A mission, or a table or view, which stands for itself and what it is made from.
    names : sequence of str

    Raises
    ------
    UsageError
        If there is no such mission, table or view.
    """
    if selection in contracts.missions():
        return [name for name in names if name.split(".")[0] == selection]
    if selection not in models.views():
        contracts.table(selection)
    needed, found = [selection], {selection}
    while needed:
        name = needed.pop()
        made = [d for d in derivations(name.split(".")[0]) if name in d.tables]
        view = models.views().get(name)
        sources = {n for d in made for n in (*d.reads, *d.tables)} | set(
            view.depends if view else ()
        )
        needed += sources - found
        found |= sources
    return [name for name in names if name in found]


def run(
    home: lake.Home, mission: str, release: str, names: Sequence[str], jobs: int = 1
) -> list[Failure]:
    """Materialise tables and views of one release.

    Parameters
    ----------
    home : Home
    mission, release : str
    names : sequence of str
        What `stale` gives, or part of it.
    jobs : int
        Processes; 1 stays in this one.

    Returns
    -------
    list of Failure
        Empty if all went well.
    """
    if jobs > 1:
        start = {"forkserver": {"preload_modules": ["pipelines.definitions"]}}
        executor = {"multiprocess": {"max_concurrent": jobs, "start_method": start}}
    else:
        executor = {"in_process": {}}
    with instance(home) as dagster:
        dagster.add_dynamic_partitions(str(RELEASES[mission].name), [release])
        result = dg.execute_job(
            dg.build_reconstructable_job("pipelines.jobs", "job", (mission,)),
            instance=dagster,
            run_config={"execution": {"config": executor}, "loggers": {"console": {}}},
            asset_selection=[metadata.key(name) for name in names],
            tags={"dagster/partition": release},
        )
    failed = [event for event in result.all_events if event.is_step_failure]
    return [Failure(mission, release, str(event.step_key), _reason(event)) for event in failed]


def job(mission: str) -> dg.JobDefinition:
    """The job of a mission, in whatever process it is to run."""
    from pipelines.definitions import definitions

    return definitions().resolve_job_def(f"{mission}_release")


def _reason(event: dg.DagsterEvent) -> str:
    """The innermost error of a failed step, without its traceback."""
    data = event.step_failure_data
    error = data.error if data else None
    while error is not None and error.cause is not None:
        error = error.cause
    text = error.message.strip() if error else "failed"
    for prefix in ("lake.errors.", "dagster._core.definitions.events.Failure: "):
        text = text.removeprefix(prefix)
    return text
