"""Dagster's events as lines for people."""

import logging

import dagster as dg

from pipelines.events import lines


def run(body, capsys, **check) -> str:
    """What is printed while an asset runs."""

    @dg.asset(key_prefix="csc", check_specs=[dg.AssetCheckSpec("c", asset=["csc", "made"])])
    def made(context: dg.AssetExecutionContext):
        body(context)
        yield dg.MaterializeResult(metadata={"dagster/row_count": 12_345})
        yield dg.AssetCheckResult(check_name="c", **{"passed": True, **check})

    @dg.asset(deps=[made])
    def later() -> None:
        pass

    dg.Definitions(
        assets=[made, later], jobs=[dg.define_asset_job("job")], loggers={"console": lines}
    ).resolve_job_def("job").execute_in_process(
        raise_on_error=False, run_config={"loggers": {"console": {}}}
    )
    return capsys.readouterr().err


def test_what_is_made_is_a_line(capsys):
    err = run(lambda context: context.log.info("not told"), capsys)
    made, later = err.splitlines()
    assert made.split()[:4] == ["✓", "csc.made", "12,345", "rows"]
    assert made.endswith(" s")
    assert later.split()[:2] == ["✓", "later"]


def test_a_warning_is_its_own_message(capsys):
    err = run(lambda context: context.log.warning("no model: [%d] are too few", 3), capsys)
    assert err.splitlines()[0] == "! no model: [3] are too few"


def test_what_follows_from_a_failure_is_not_told(capsys):
    def fail(context):
        raise ValueError("why")

    assert run(fail, capsys) == ""


def test_a_check_that_warns_is_told(capsys):
    given = {"passed": False, "description": "odd", "severity": dg.AssetCheckSeverity.WARN}
    assert "! csc.made: odd\n" in run(lambda context: None, capsys, **given)


def test_a_record_of_another_library(capsys):
    logger = lines.logger_fn(None)
    logger.warning("%s things", 3)
    logger.log(logging.INFO, "not told")
    assert capsys.readouterr().err == "! 3 things\n"
