"""What runs by itself: a sensor that sees changed inputs and asks for exactly what is out of date.

The sensor runs in the daemon of `lacus ui`; `lacus watch` does the same without a server. Both
decide by `decide`, and remember nothing that the instance does not know, save what spares work.
"""

import functools
import hashlib
import importlib.metadata
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import dagster as dg

import lake
from lake import failed_checks, migrate, watch
from lake.sources import Watching
from pipelines import jobs, metadata
from pipelines.partitions import RELEASES
from pipelines.resources import HomeResource

_INTERVAL_S = 30
#: Tag of a run: the state of inputs and code that it was asked for.
STATE_TAG = "lacus/state"
_UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
#: How long a run may take to start, as one whose starter was killed never does.
_START_S = 600

#: By release: what was last seen, and what was said of it; see `decide`.
Memory = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Request:
    """A release of which something is out of date, to be made now."""

    mission: str
    release: str
    why: Mapping[str, str]
    state: str
    attempt: int

    @property
    def tags(self) -> dict[str, str]:
        """Tags by which the run is found again, and shown why it was needed."""
        return {STATE_TAG: self.state, jobs.WHY_TAG: jobs.summary(self.why)}


@dataclass(frozen=True)
class Decision:
    """What is to be made now, and what is to be said of the rest.

    Attributes
    ----------
    requests : list of Request
    told : dict
        By ``mission:release``, or path, whatever is not simply up to date.
    memory : dict
        To be given back next time.
    releases : list of (mission, release)
        All that are registered.
    """

    requests: list[Request] = field(default_factory=list)
    told: dict[str, str] = field(default_factory=dict)
    memory: Memory = field(default_factory=dict)
    releases: list[tuple[str, str]] = field(default_factory=list)


def decide(
    home: lake.Home, instance: dg.DagsterInstance, memory: Memory, now: float, queue: bool = True
) -> Decision:
    """Register what was dropped, and find the releases that are to be made now.

    A release is left alone while its inputs settle, while a run of it is under way, and between
    two attempts at the same state. What failed too often is told until its state changes.

    Parameters
    ----------
    home : Home
    instance : DagsterInstance
        It knows the runs under way and the attempts that failed.
    memory : dict
        What the decision before left; it only spares work.
    now : float
        Seconds since 1970.
    queue : bool
        Whether a daemon starts what is queued.

    Raises
    ------
    LacusError
        If `sources.toml` is not what it should be.
    """
    settings = home.watching()
    dropped = watch.register(home, now)
    decision = Decision(releases=home.releases())
    for text in dropped.strange:
        path, _, reason = text.partition(": ")
        decision.told[path] = reason
    for folder in dropped.unsettled:
        decision.told[str(folder)] = "is not complete yet"
    busy = _busy(instance, now, queue)
    lake_state = f"{home.store.snapshot() if home.store.exists else None} {_code()}"
    for mission, release in decision.releases:
        name = f"{mission}:{release}"
        if (mission, release) in busy:
            decision.told[name] = f"run {busy[mission, release][:8]} is under way"
            continue
        try:
            seen = watch.look(home, mission, release)
            if not seen.settled(settings, now):
                decision.told[name] = "its inputs are still changing"
                continue
            known = memory.get(name, {})
            state = f"{seen.digest} {lake_state}"
            if known.get("state") != state or known.get("until", now + 1) <= now:
                found = _consider(home, instance, settings, (mission, release, seen.digest), now)
                if isinstance(found, Request):
                    decision.requests.append(found)
                    decision.told[name] = f"was asked for: {jobs.summary(found.why)}"
                    continue
                known = {**found, "state": state}
        except (lake.LacusError, OSError) as error:
            decision.told[name] = f"cannot be looked at: {error}"
            continue
        decision.memory[name] = known
        if known["why"]:
            decision.told[name] = known["why"]
    return decision


def _consider(
    home: lake.Home,
    instance: dg.DagsterInstance,
    settings: Watching,
    release: tuple[str, str, str],
    now: float,
) -> Request | dict[str, Any]:
    """Ask for what is out of date of a release, or say why not, and until when that holds."""
    mission, name, digest = release
    why = jobs.stale(home, mission, name)
    if not why:
        nothing = jobs.empty(home, mission, name)
        return {"why": nothing.reason if nothing else _failing(home, mission, name)}
    text = json.dumps([digest, _code(), why], sort_keys=True)
    state = hashlib.sha256(text.encode()).hexdigest()[:16]
    runs = instance.get_run_records(
        dg.RunsFilter(
            job_name=f"{mission}_release", tags={STATE_TAG: state, jobs.PARTITION_TAG: name}
        )
    )
    if not runs:
        return Request(mission, name, why, state, 0)
    reason = _failure(instance, runs[0].dagster_run.run_id) or f"still {jobs.summary(why)}"
    tried = f"tried {len(runs)} time{'s' * (len(runs) > 1)}: {reason}"
    if len(runs) > len(settings.retry_seconds):
        return {"why": f"given up, {tried} (`lacus run` tries again)"}
    until = (runs[0].end_time or now) + settings.retry_seconds[len(runs) - 1]
    if now >= until:
        return Request(mission, name, why, state, len(runs))
    clock = datetime.fromtimestamp(until, UTC).strftime("%H:%M:%S")
    return {"why": f"waits until {clock} UTC, {tried}", "until": until}


def _failing(home: lake.Home, mission: str, release: str) -> str | None:
    """Checks of a release that failed, and what they found; None if none did."""
    noted = failed_checks.failed_checks(home.store)
    found = [c for c in noted if (c.mission, c.release) == (mission, release)]
    return "; ".join(f"{check.what} failed: {check.found}" for check in found) or None


def _busy(instance: dg.DagsterInstance, now: float, queue: bool) -> dict[tuple[str, str], str]:
    """Releases of which a run is under way; runs whose process is gone are declared failed."""
    found = {}
    for record in instance.get_run_records(dg.RunsFilter(statuses=_UNDER_WAY)):
        run = record.dagster_run
        release, mission = run.tags.get(jobs.PARTITION_TAG), run.job_name.removesuffix("_release")
        if release is None or mission not in RELEASES:
            continue
        if run.status is dg.DagsterRunStatus.QUEUED:
            alive = queue
        elif (process := _process(instance, run.run_id)) is not None:
            alive = _lives(process)
        else:
            alive = now - record.create_timestamp.timestamp() < _START_S
        if alive:
            found[mission, release] = run.run_id
        elif run.status is not dg.DagsterRunStatus.QUEUED:
            instance.report_run_failed(run, "Its process is gone: it was killed.")
    return found


def _process(instance: dg.DagsterInstance, run: str) -> int | None:
    """Process that a run was last seen in."""
    events = instance.all_logs(run, of_type=dg.DagsterEventType.ENGINE_EVENT)
    for entry in reversed(list(events)):
        event = entry.dagster_event
        facts = event.engine_event_data.metadata if event else {}
        if "pid" in facts:
            return int(str(facts["pid"].value))
    return None


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return True


def _failure(instance: dg.DagsterInstance, run: str) -> str | None:
    """Reason of the first step that failed in a run; None if none did."""
    for entry in instance.all_logs(run, of_type=dg.DagsterEventType.STEP_FAILURE):
        if entry.dagster_event is not None:
            return f"{entry.step_key}: {jobs.failure_of(entry.dagster_event)[0]}"
    return None


@functools.cache
def _code() -> str:
    """Digest of the code: a new version makes good what an old one could not."""
    parts = importlib.metadata.version("lacus"), migrate.digest()
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@dg.sensor(
    name="watch",
    jobs=jobs.JOBS,
    minimum_interval_seconds=_INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Registers dropped releases, and asks for what is out of date of the settled ones",
)
def watch_inputs(context: dg.SensorEvaluationContext, home: HomeResource) -> dg.SensorResult:
    """One look at all inputs."""
    opened, now = home.seen(), time.time()
    decision = decide(opened, context.instance, json.loads(context.cursor or "{}"), now)
    watch.report(opened, now, decision.told)
    said = "; ".join(f"{name}: {text}" for name, text in decision.told.items())
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                run_key=f"{r.mission}:{r.release}:{r.state}:{r.attempt}",
                job_name=f"{r.mission}_release",
                partition_key=r.release,
                tags=r.tags,
                run_config=jobs.run_config(),
                asset_selection=[metadata.key(name) for name in r.why],
            )
            for r in decision.requests
        ],
        dynamic_partitions_requests=list(_partitions(context.instance, decision)),
        skip_reason=None if decision.requests else said or "everything is up to date",
        cursor=json.dumps(decision.memory),
    )


def _partitions(
    instance: dg.DagsterInstance, decision: Decision
) -> Iterator[dg.AddDynamicPartitionsRequest]:
    for mission, definition in RELEASES.items():
        there = instance.get_dynamic_partitions(str(definition.name))
        new = [release for m, release in decision.releases if m == mission and release not in there]
        if new:
            yield definition.build_add_request(new)


SENSORS = [watch_inputs]
