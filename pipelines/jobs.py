"""Jobs, and how the command line runs them: on the home's own instance, so the UI shows them."""

import os
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import dagster as dg
import filelock

import lake
from lake import contracts, disk, failed_checks, health, inputs, models
from lake.freshness import base_tables
from lake.plan import describe, plan
from pipelines import checks, metadata
from pipelines.assets import Derivation
from pipelines.dagster_files import held_open, write_settings
from pipelines.defs import derivations
from pipelines.partitions import RELEASES

JOBS = [
    dg.define_asset_job(
        f"{mission}_release",
        selection=dg.AssetSelection.groups(mission),
        description=f"Everything of one release of {mission}: ingest, compute, check",
    )
    for mission in contracts.missions()
]

_HERE: dict[str, Any] = {"in_process": {}}


@dg.configured(
    dg.multi_or_in_process_executor,
    config_schema=dg.Field(
        dg.Selector({"in_process": dg.Permissive(), "multiprocess": dg.Permissive()}),
        default_value=_HERE,
    ),
)
def _in_process_unless_asked(config: dict[str, Any]) -> dict[str, Any]:
    return config


#: Of every run, those of the browser too, which say nothing of it: a process for each step, which
#: Dagster would have, takes longer than most steps.
EXECUTOR = _in_process_unless_asked

PARTITION_TAG = "dagster/partition"
#: Tag of a run: why it was needed.
WHY_TAG = "lacus/why"


@dataclass(frozen=True)
class Failure:
    """What failed (a step, or a check of an asset), and why, in one line."""

    mission: str
    release: str
    what: str
    reason: str
    all_rejected: bool = False


@dataclass(frozen=True)
class Outcome:
    """Result of a run: what failed, and what was therefore not made."""

    failures: list[Failure] = field(default_factory=list)
    not_made: list[str] = field(default_factory=list)


def environment(home: lake.Home) -> dict[str, str]:
    """Make the home's Dagster folder and settings at first use; the variables that lead there.

    Raises
    ------
    LacusError
        If the folder cannot be written.
    """
    settings = home.dagster / "dagster.yaml"
    try:
        write_settings(settings)
    except OSError as error:
        raise lake.LacusError(f"{settings}: cannot be written: {error.strerror}") from error
    return {"LACUS_HOME": str(home.root), "DAGSTER_HOME": str(home.dagster)}


@contextmanager
def instance(home: lake.Home) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of a home; within, the environment leads to this home.

    Raises
    ------
    LacusError
        If the instance is damaged, or the disk is full.
    """
    import yaml
    from sqlalchemy.exc import SQLAlchemyError

    before = dict(os.environ)
    os.environ.update(environment(home))
    try:
        with held_open():
            with filelock.FileLock(home.dagster / ".lock"):  # two would make the same tables
                opened = dg.DagsterInstance.from_config(str(home.dagster))
            with opened:
                yield opened
    except (dg.DagsterError, SQLAlchemyError, yaml.YAMLError) as error:
        if disk.is_full(home.dagster, error):
            raise lake.LacusError(f"{home.dagster}: no space is left on the disk") from error
        raise lake.LacusError(
            f"{home.dagster}: Dagster's own files do not work: {_one_line(str(error))}"
            " (the lake needs none of them: move the folder away and a new one is made)"
        ) from error
    finally:
        os.environ.clear()
        os.environ.update(before)


def stale(home: lake.Home, mission: str, release: str, asked: str | None = None) -> dict[str, str]:
    """Tables and views of a release that are out of date, and why, in the order of their making.

    Input tables are out of date if the registered files differ from those in the lake, derived
    ones if anything that they are made from has changed, and a view if a table below it or the
    contracts have. A release of which nothing could be ingested has nothing to derive. What is
    made on request counts only if it is what is asked for, and so does what stands though
    something that it was made from has changed.

    What is made from a table that turns out to say the same as before is listed, and left alone
    by the run.
    """
    with home.store.held():
        return _stale(home, mission, release, asked)


def _stale(home: lake.Home, mission: str, release: str, asked: str | None) -> dict[str, str]:
    taken = inputs.tables(mission)
    stored = home.store.fingerprints(release)
    todo = plan(home, mission, release)
    why: dict[str, str] = {}
    changing: set[str] = set()  # one step makes all that is ingested, whatever of it changes
    if todo.changed:
        concerned = {r.file.role for r in todo.new + todo.gone}
        changing = {t for name in concerned for t in inputs.role(mission, name).tables}
        why = dict.fromkeys(taken, describe(todo))
    elif not stored.keys() & set(taken):
        return {}
    for derivation in derivations(mission):
        if derivation.on_request and asked not in derivation.tables:
            continue
        below = changing & set(base_tables(derivation.reads))
        print_ = derivation.fingerprint(home.store, release)
        stands = asked in derivation.tables and derivation.stands
        standing = stands and stands(home, release)
        old = [table for table in derivation.tables if stored.get(table) != print_]
        if below or old or standing:
            if below:
                reason = _changes(below)
            else:
                reason = _reason_of(home, release, derivation, old[0]) if old else str(standing)
            why |= dict.fromkeys(derivation.tables, reason)
            changing |= set(derivation.tables)
    renewed = not health.in_line(home.store)
    for view in models.for_namespace(mission):
        below = changing & set(base_tables(view.depends))
        if renewed or below:
            why[view.name] = "the contracts have changed" if renewed else _changes(below)
    return why


#: How a reason ends that another one of the same release is behind.
_FOLLOWS = (" change", " changes")
_NEVER = "never made"


def _changes(below: Collection[str]) -> str:
    return ", ".join(sorted(below)) + _FOLLOWS[len(below) == 1]


def _reason_of(home: lake.Home, release: str, derivation: Derivation, table: str) -> str:
    """Why the fingerprint of a derived table differs, though nothing below it is to be made."""
    made = {
        (row["release"], row["table_name"]): (row["code_version"], row["snapshot"])
        for row in home.store.releases()
    }
    if (release, table) not in made:
        return _NEVER
    version, snapshot = made[release, table]
    if version != derivation.version:
        return f"made by version {version} of the code, now {derivation.version}"
    read = [(release, name) for name in base_tables(derivation.reads)]
    read += [(of, name) for of, name in made if name in derivation.across]
    newer = sorted({n if of == release else f"{n} of {of}" for of, n in read
                    if made.get((of, n), ("", 0))[1] > snapshot})  # fmt: skip
    return f"newer: {', '.join(newer)}" if newer else "a view that it reads has changed"


def summary(why: Mapping[str, str]) -> str:
    """Say in one line why things are out of date, without what merely follows from it.

    Each reason is told once, with what it is the first of. That a table was never made which is
    made from no other is told only if that is all: in a new release it goes without saying.
    """
    missions = {name.split(".")[0] for name in why}
    alone = {t for m in missions for d in derivations(m) if not d.reads for t in d.tables}
    roots = {name: reason for name, reason in why.items() if not reason.endswith(_FOLLOWS)}
    news = {n: reason for n, reason in roots.items() if reason != _NEVER or n not in alone}
    told: dict[str, str] = {}
    for name, reason in (news or roots).items():
        told.setdefault(reason, name)
    text = "; ".join(f"{name}: {reason}" for reason, name in told.items())
    return textwrap.shorten(text, 500, placeholder=" ...")


def standing(home: lake.Home, mission: str, release: str) -> list[str]:
    """Say what of a release stands though something that it was made from has changed."""
    told = [d.stands(home, release) for d in derivations(mission) if d.stands]
    return [text for text in told if text]


def empty(home: lake.Home, mission: str, release: str) -> Failure | None:
    """Say why nothing of a release is in the lake; None if something is."""
    if set(inputs.tables(mission)) & home.store.fingerprints(release).keys():
        return None
    none = "; ".join(health.barren(home, mission, release))
    reason = none or "every registered input was rejected"
    return Failure(mission, release, "ingest", f"nothing to ingest: {reason}", all_rejected=True)


def still_failing(
    home: lake.Home, releases: Collection[tuple[str, str]], selection: str | None
) -> list[Failure]:
    """Look again at the checks of some releases that failed, and give those that still do.

    Parameters
    ----------
    home : Home
    releases : collection of (str, str)
        Missions and releases.
    selection : str, optional
        See `selected`; all by default.
    """
    noted = failed_checks.failed_checks(home.store)
    noted = [check for check in noted if (check.mission, check.release) in releases]
    if selection is not None:
        concerned = selected(selection, [check.table for check in noted])
        noted = [check for check in noted if check.table in concerned]
    return [
        Failure(check.mission, check.release, check.what, check.found)
        for check in checks.run_again(home.store, noted)
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
    made = models.named(selection)
    if made.namespace not in contracts.missions():
        raise lake.UsageError(f"{selection} is kept by every commit; no run makes it")
    needed, found = [selection], {selection}
    while needed:
        name = needed.pop()
        mission = name.split(".")[0]
        makers = [d for d in derivations(mission) if name in d.tables]
        view = models.views().get(name)
        sources = {n for d in makers for n in (*d.reads, *d.tables)}
        sources |= set(view.depends if view else ())
        taken = set(inputs.tables(mission))
        sources |= taken if name in taken else set()  # one step makes all that is ingested
        needed += sources - found
        found |= sources
    return [name for name in names if name in found]


def run(
    home: lake.Home,
    mission: str,
    release: str,
    why: Mapping[str, str],
    jobs: int = 1,
    tags: Mapping[str, str] = MappingProxyType({}),
) -> Outcome:
    """Materialise tables and views of one release.

    Parameters
    ----------
    home : Home
    mission, release : str
    why : mapping
        What `stale` gives, or part of it; the run shows the reasons.
    jobs : int
        Processes; 1 stays in this one.
    tags : mapping
        Of the run.

    Returns
    -------
    Outcome
        Without failures if all went well.

    Raises
    ------
    KeyboardInterrupt
        If one ended it: Dagster keeps it to itself, and what comes next would go on.
    """
    with instance(home) as dagster:
        dagster.add_dynamic_partitions(str(RELEASES[mission].name), [release])
        result = dg.execute_job(
            dg.build_reconstructable_job("pipelines.jobs", "job", (mission,)),
            instance=dagster,
            run_config=run_config(jobs),
            asset_selection=[metadata.key(name) for name in why],
            tags={PARTITION_TAG: release, WHY_TAG: summary(why), **tags},
        )
    failures, made = [], set()
    for event in result.all_events:
        if event.event_type == dg.DagsterEventType.RUN_FAILURE:
            reason = event.job_failure_data.failure_reason
            if reason is not None and reason.value == "UNEXPECTED_TERMINATION":
                raise KeyboardInterrupt
        if event.is_step_failure:
            text, rejected = failure_of(event)
            failures.append(Failure(mission, release, str(event.step_key), text, rejected))
        elif event.is_step_materialization and event.asset_key:
            made.add(".".join(event.asset_key.path))
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if not check.passed and check.severity is dg.AssetCheckSeverity.ERROR:
                what = f"check {check.check_name} of {'.'.join(check.asset_key.path)}"
                failures.append(Failure(mission, release, what, check.description or "failed"))
    if not result.success and not failures:
        failures.append(Failure(mission, release, "run", "Dagster ended it; see `lacus ui`"))
    return Outcome(failures, [name for name in why if name not in made])


def run_config(jobs: int = 1) -> dict[str, Any]:
    """Configuration of a run of some processes; one alone makes all where the run is, at once."""
    executor = _HERE
    if jobs > 1:
        start = {"forkserver": {"preload_modules": ["pipelines.definitions"]}}
        executor = {"multiprocess": {"max_concurrent": jobs, "start_method": start}}
    return {"execution": {"config": executor}, "loggers": {"console": {}}}


def job(mission: str) -> dg.JobDefinition:
    """The job of a mission, in whatever process it is to run."""
    from pipelines.definitions import definitions

    return definitions().resolve_job_def(f"{mission}_release")


def failure_of(event: dg.DagsterEvent) -> tuple[str, bool]:
    """Give the reason of a failed step in one line, and whether all inputs were rejected.

    An error of this library says it in words for the user; of any other, the first below
    Dagster's own wrapping is told.
    """
    data = event.step_failure_data
    if data.user_failure_data is not None:  # `dg.Failure`, which only an ingest raises
        return _one_line(data.user_failure_data.description or "failed"), True
    chain, error = [], data.error
    while error is not None:
        chain.append(error)
        error = error.cause
    own = [e for e in chain if e.cls_name in _OWN]
    told = own or [e for e in chain if not (e.cls_name or "").startswith("Dagster")] or chain
    if not told:
        return "failed", False
    text = _one_line(told[0].message)
    return (text.partition(": ")[2] if own else text), False


_OWN = {error.__name__ for error in (lake.LacusError, lake.UsageError, lake.InputError)}


def _one_line(text: str) -> str:
    return " ".join(text.split())
