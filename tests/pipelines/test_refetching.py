"""The schedules that ask archives, and the job that fetches again."""

from datetime import datetime

import dagster as dg
import pytest

import lake
from lake.fetch import archives
from pipelines import refetching
from pipelines.definitions import definitions
from pipelines.resources import HomeResource
from tests.fetch.server import Fault
from tests.sdss import sas


@pytest.fixture
def server(science_archive):
    return science_archive


@pytest.fixture
def home(server, tmp_path) -> lake.Home:
    """A home with one plate of DR17, fetched."""
    opened = lake.open(tmp_path / "home")
    archives.fetch(opened, "sdss", "DR17", {"plates": "266"}, url=f"{server.url}/sas")
    return opened


def tick(mission: str, home: lake.Home):
    schedule = definitions().get_schedule_def(f"{mission}_archives")
    context = dg.build_schedule_context(
        scheduled_execution_time=datetime(2026, 11, 21, 3),
        resources={"home": HomeResource(root=str(home.root))},
    )
    return schedule.evaluate_tick(context)


def ask(home: lake.Home) -> None:
    refetching.ask_archives(
        dg.build_op_context(),
        refetching.Release(mission="sdss", release="DR17"),
        HomeResource(root=str(home.root)),
    )


def fetched(home: lake.Home) -> set[str]:
    return {path.name for path in home.root.rglob("spec-*.fits")}


def test_every_release_that_was_fetched_is_asked_for(home, server):
    archives.fetch(home, "sdss", "DR17-more", {"plates": "2805"}, url=f"{server.url}/sas")
    asked = tick("sdss", home).run_requests
    assert [request.tags["lacus/release"] for request in asked] == ["DR17", "DR17-more"]
    assert len({request.run_key for request in asked}) == 2


def test_a_mission_of_which_nothing_was_fetched_asks_for_nothing(home):
    done = tick("csc", home)
    assert done.run_requests == []
    assert done.skip_message == "no release of csc was fetched from an archive"


def test_the_job_brings_what_the_archive_has_changed(home, server):
    before = fetched(home)
    server.put(sas.folder("sdss/spectro/redux/26", 266) + sas.name(266, 51602, 9), b"new")
    request = tick("sdss", home).run_requests[0]
    job = definitions().get_job_def("sdss_refetch")
    result = job.execute_in_process(
        run_config=request.run_config, resources={"home": HomeResource(root=str(home.root))}
    )
    assert result.success
    assert fetched(home) - before == {sas.name(266, 51602, 9)}


def test_an_archive_that_is_down_fails_the_job_and_loses_nothing(home, server):
    before = fetched(home)
    server.always(sas.folder("sdss/spectro/redux/26", 266), Fault(status=500))
    with pytest.raises(lake.LacusError, match="500"):
        ask(home)
    assert fetched(home) == before
    server.heal()
    ask(home)
