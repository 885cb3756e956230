"""What runs by itself: what is asked for, when, and what is told; against live instances."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import EngineEventData

import lake
from lake import contracts, failed_checks, inputs, watch
from lake.home import Source
from pipelines import automation, jobs, metadata
from pipelines.resources import HomeResource

ROWS = "name,obsid,ra,dec\n2CXO J000001.0+000001,{},10.5,20.5\n2CXO J000002.0+000002,2,11.5,-21.5\n"
SETTINGS = '[watch]\nfolders = ["in"]\nretry_seconds = [0, 0]\n'


def drop(home: Path, release: str, *, complete: bool = True, obsid: int = 1) -> Path:
    folder = home / "in" / "csc" / release
    folder.mkdir(parents=True)
    (folder / "tiny.csv").write_text(ROWS.format(obsid))
    if complete:
        (folder / "_COMPLETE").touch()
    return folder / "tiny.csv"


def break_release(home: Path, release: str) -> Path:
    """Let every commit of a release fail: where its folder would be, there is a file."""
    block = home / "lake" / "data" / "csc" / "detections" / f"release={release}"
    block.parent.mkdir(parents=True, exist_ok=True)
    block.touch()
    return block


@pytest.fixture(scope="module")
def watched(tmp_path_factory, lacus):
    """A home after `lacus watch --once`: one release was dropped well, another is broken."""
    home = tmp_path_factory.mktemp("watched") / "home"
    drop(home, "R1")
    drop(home, "BROKEN")
    break_release(home, "BROKEN")
    (home / "sources.toml").write_text(SETTINGS)
    return home, lacus("watch", "--once", home=home)


@pytest.fixture
def kept(watched, tmp_path) -> lake.Home:
    """A copy of that home without the broken release, and nothing left to do."""
    home = Path(shutil.copytree(watched[0], tmp_path / "home"))
    shutil.rmtree(home / "in" / "csc" / "BROKEN")
    text = (home / "sources.toml").read_text().replace(str(watched[0]), str(home))
    before, first, second = text.partition("[[source]]")
    blocks = [b for b in (first + second).split("[[source]]") if b and "BROKEN" not in b]
    (home / "sources.toml").write_text(
        before.replace("[0, 0]", "[60, 300]") + "".join("[[source]]" + b for b in blocks)
    )
    time.sleep(0.02)  # beyond the grain of the file system's clock
    (home / "in" / "csc" / "R1" / "_COMPLETE").touch()
    return lake.open(home)


def later(seconds: float = 61) -> float:
    return time.time() + seconds


def decide(home: lake.Home, now: float, memory=None) -> automation.Decision:
    with jobs.instance(home) as instance:
        return automation.decide(home, instance, {} if memory is None else memory, now)


def asked(decision: automation.Decision) -> list[tuple[str, str, int]]:
    return [(r.mission, r.release, r.attempt) for r in decision.requests]


def test_a_dropped_release_is_made_and_a_broken_one_is_retried_and_reported(watched, lacus):
    home, result = watched
    assert result.exit_code == 1
    assert result.stderr.count("✗ csc:BROKEN, csc_ingest: FileExistsError") == 3
    assert "csc:BROKEN: given up, tried 3 times: csc_ingest: FileExistsError" in result.stderr
    assert result.stderr.count("✓ csc.detections ") == 1
    opened = lake.open(home)
    assert opened.sql("SELECT release, count(*) FROM csc.features GROUP BY ALL").fetchall() == [
        ("R1", 2)
    ]
    assert jobs.stale(opened, "csc", "R1") == {}
    status = lacus("status", home=home).stdout
    assert "csc:R1 was last ingested" in status
    assert "csc:BROKEN is out of date, `lacus run` makes: csc.detections, csc.labels" in status
    assert "  why: csc.detections: files: 1 new\n" in status
    assert "csc:BROKEN: given up, tried 3 times" in status
    told = json.loads(lacus("status", "--json", home=home).stdout)
    assert told["out_of_date"]["csc:BROKEN"]["csc.labels"] == "files: 1 new"
    assert list(told["ingested"]) == ["csc:R1"]
    assert "given up" in told["watched"]["told"]["csc:BROKEN"]
    with jobs.instance(opened) as instance:
        runs = instance.get_runs()
    assert len(runs) == 4
    assert {run.tags[jobs.WHY_TAG] for run in runs} == {"csc.detections: files: 1 new"}


@pytest.mark.slow
def test_the_daemon_makes_what_is_dropped_while_another_release_is_broken(tmp_path):
    """Everything is Dagster's own: daemon, code server, queue, run; nothing but files is given."""
    home = lake.open(tmp_path / "home")
    home.root.mkdir()
    home.sources_file.write_text(SETTINGS)
    drop(home.root, "BROKEN")
    break_release(home.root, "BROKEN")
    environment = {**os.environ, **jobs.environment(home)}
    command = [sys.executable, "-m", "dagster._daemon", "run", "-m", "pipelines.definitions"]
    with jobs.instance(home) as instance, (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            drop(home.root, "R1")
            deadline, ended = time.monotonic() + 400, set()
            while not {("R1", "SUCCESS"), ("BROKEN", "FAILURE")} <= ended:
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.5)
                runs = instance.get_runs()
                ended = {(run.tags[jobs.PARTITION_TAG], run.status.value) for run in runs}
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)
        assert set(instance.get_dynamic_partitions("csc_releases")) == {"R1", "BROKEN"}
    assert jobs.stale(home, "csc", "R1") == {}
    assert home.sql("SELECT DISTINCT release FROM csc.features").fetchall() == [("R1",)]
    assert {source.release for source in home.sources()} == {"R1", "BROKEN"}


def test_a_release_that_was_given_up_is_tried_again_once_it_changes(kept):
    block = break_release(kept.root, "R3")
    path = drop(kept.root, "R3", obsid=3)
    decision = decide(kept, time.time())
    assert asked(decision) == [("csc", "R3", 0)]
    (request,) = decision.requests
    state = request.tags | {jobs.PARTITION_TAG: "R3"}
    ended = []
    for attempt, wait in enumerate((60, 300, None)):
        with jobs.instance(kept) as instance:
            failed = dg.DagsterRun(job_name="csc_release", run_id=f"{attempt}" * 8, tags=state)
            instance.add_run(failed)
            instance.report_run_failed(failed)
            ended.append(instance.get_run_records(limit=1)[0].end_time)
        decision = decide(kept, ended[-1] + (wait or 1e9) - 1)
        assert asked(decision) == []
        if wait is None:
            break
        assert f"tried {attempt + 1} time" in decision.told["csc:R3"]
        assert decision.told["csc:R3"].startswith("waits until")
        again = decide(kept, ended[-1] + wait, decision.memory)
        assert asked(again) == [("csc", "R3", attempt + 1)]
    assert decision.told["csc:R3"].startswith("given up, tried 3 times: still csc.detections")
    assert asked(decide(kept, ended[-1] + 1e9, decision.memory)) == []
    path.write_text(ROWS.format(4))
    assert asked(decide(kept, later(), decision.memory)) == [("csc", "R3", 0)]
    block.unlink()


def tick(home: lake.Home, instance: dg.DagsterInstance, cursor: str | None) -> dg.SensorResult:
    context = dg.build_sensor_context(
        instance=instance, cursor=cursor, resources={"home": HomeResource(root=str(home.root))}
    )
    result = automation.watch_inputs(context)
    assert isinstance(result, dg.SensorResult)
    return result


def test_the_sensor_asks_for_exactly_what_changed(kept, monkeypatch):
    with jobs.instance(kept) as instance:
        first = tick(kept, instance, None)
        assert not first.run_requests
        assert first.skip_reason.skip_message == "everything is up to date"
        with monkeypatch.context() as spared:  # and does not look twice at the same
            spared.setattr(jobs, "stale", lambda *_: pytest.fail("asked again"))
            assert not tick(kept, instance, first.cursor).run_requests
        drop(kept.root, "R2", obsid=2)
        drop(kept.root, "R4", complete=False)
        second = tick(kept, instance, first.cursor)
        (request,) = second.run_requests
        assert (request.job_name, request.partition_key) == ("csc_release", "R2")
        stale = jobs.stale(kept, "csc", "R2")
        assert request.asset_selection == [metadata.key(name) for name in stale]
        assert "csc.features" in stale
        assert request.tags[jobs.WHY_TAG] == "csc.detections: files: 1 new"
        (added,) = second.dynamic_partitions_requests
        assert (added.partitions_def_name, added.partition_keys) == ("csc_releases", ["R2"])
        assert watch.last_report(kept)["told"][str(kept.root / "in" / "csc" / "R4")] == (
            "is not complete yet"
        )


def test_a_failed_check_is_told_though_nothing_is_to_be_made(kept, lacus):
    failed_checks.note(kept.store, "R1", {("csc.detections", "ranges"): "one bad row"})
    decision = decide(kept, later())
    assert asked(decision) == []
    assert decision.told["csc:R1"] == "check ranges of csc.detections failed: one bad row"
    again = decide(kept, later(), decision.memory)
    assert again.told == decision.told
    assert lacus("watch", "--once", home=kept.root).exit_code == 1


def test_what_settles_is_waited_for(kept):
    (kept.root / "in" / "csc" / "R1" / "tiny.csv").write_text(ROWS.format(7))
    decision = decide(kept, time.time())
    assert (asked(decision), decision.told) == ([], {"csc:R1": "its inputs are still changing"})
    assert asked(decide(kept, later(), decision.memory)) == [("csc", "R1", 0)]


def test_what_a_manual_run_left_stale_is_asked_for_alone(kept):
    settled = decide(kept, later())
    assert asked(settled) == []
    with kept.store.commit("as by an older version") as commit:
        commit.record("R1", {"csc.validation": ("other", "0")})
    decision = decide(kept, later(), settled.memory)
    (request,) = decision.requests
    assert "csc.validation" in request.why
    assert "version 0 of the code, now" in request.why["csc.validation"]
    assert not {"csc.detections", "csc.features", "csc.mixture_models"} & set(request.why)


def test_a_change_of_options_alone_is_seen(kept):
    folder = kept.root / "in" / "csc" / "R1"
    kept.add(Source("csc", "R1", "detections", (folder,), {"duplicates": "first"}))
    (request,) = decide(kept, later()).requests
    assert request.why["csc.detections"].startswith("files: ")


@pytest.mark.parametrize("alive", [True, False])
def test_a_run_under_way_is_waited_for_unless_it_was_killed(kept, alive):
    (kept.root / "in" / "csc" / "R1" / "tiny.csv").write_text(ROWS.format(7))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    process = os.getpid() if alive else gone.pid
    with jobs.instance(kept) as instance:
        run = dg.DagsterRun(
            job_name="csc_release", run_id="a" * 8, tags={jobs.PARTITION_TAG: "R1"},
            status=dg.DagsterRunStatus.STARTED,
        )  # fmt: skip
        instance.add_run(run)
        instance.report_engine_event(
            "Started", run, EngineEventData({"pid": dg.MetadataValue.text(str(process))})
        )
        decision = automation.decide(kept, instance, {}, later())
        status = instance.get_run_by_id(run.run_id).status
    if alive:
        assert decision.told == {"csc:R1": "run aaaaaaaa is under way"}
        assert (asked(decision), status) == ([], dg.DagsterRunStatus.STARTED)
    else:
        assert (asked(decision), status) == ([("csc", "R1", 0)], dg.DagsterRunStatus.FAILURE)


def test_a_release_of_which_nothing_can_be_read_is_told_and_not_tried_again(kept, lacus):
    shutil.rmtree(kept.root / "in" / "csc" / "R1")
    folder = kept.root / "in" / "csc" / "BAD"
    folder.mkdir()
    (folder / "bad.csv").write_text("no,columns\n1,2\n")
    (folder / "_COMPLETE").touch()
    sources = kept.sources_file.read_text()
    kept.sources_file.write_text(sources[: sources.index("[[source]]")])
    result = lacus("watch", "--once", home=kept.root)
    assert result.exit_code == 1
    assert result.stderr.count("✗ csc:BAD, csc_ingest: nothing could be ingested") == 1
    told = watch.last_report(kept)["told"]["csc:BAD"]
    assert told == "nothing to ingest: every registered input was rejected"


def test_broken_sources_are_told(kept, lacus):
    kept.sources_file.write_text("[watch\n")
    result = lacus("watch", "--once", home=kept.root)
    assert result.exit_code == 1
    assert "sources.toml" in result.stderr


def test_ingested_tables_are_to_be_looked_at_once_a_year():
    from pipelines.definitions import definitions

    specs = {spec.key: spec for spec in definitions().resolve_all_asset_specs()}
    for mission in contracts.missions():
        for name in inputs.tables(mission):
            policy = specs.pop(metadata.key(name)).freshness_policy
            assert policy.fail_window.to_timedelta().days == 365, name
    assert {spec.freshness_policy for spec in specs.values()} == {None}
