"""`lacus watch`: the home keeps itself up to date, in this process and without a server."""

import signal
import time
from types import FrameType

import lake
from lake import failed_checks
from lake import watch as inputs
from pipelines import automation, progress, show
from pipelines import jobs as runner
from pipelines.command import FAILED, OK, SOME_REJECTED
from pipelines.update import rejection, rejections


def watch(home: lake.Home, every: float, jobs: int, once: bool) -> int:
    """Make what is out of date as soon as its inputs have settled, until an interrupt.

    Parameters
    ----------
    home : Home
    every : float
        Seconds between two looks.
    jobs : int
        Processes of a run.
    once : bool
        End when nothing is left to be made now.

    Returns
    -------
    int
        Exit code: of an interrupt, 0.

    Raises
    ------
    LacusError
        With `once`, if `sources.toml` is not what it should be.
    """
    former = {n: signal.signal(n, _interrupt) for n in (signal.SIGTERM, signal.SIGHUP)}
    watcher = _Watcher(home, jobs)
    if not once:
        show.done(f"watching {home.sources_file}; Ctrl-C ends it")
    try:
        while True:
            try:
                asked = watcher.look()
            except lake.LacusError as error:
                if once:
                    raise
                watcher.tell({"": str(error)})
                asked = False
            if not asked:
                if once:
                    return watcher.code()
                time.sleep(every)
    except KeyboardInterrupt:
        show.done("ended; what was under way is made anew next time")
        return OK
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class _Watcher:
    """What is remembered from one look to the next."""

    def __init__(self, home: lake.Home, jobs: int) -> None:
        self.home, self.jobs = home, jobs
        self.memory: automation.Memory = {}
        self.told: dict[str, str] = {}
        self.failed = False

    def look(self) -> bool:
        """Look once, and make what is to be made; says whether there was anything."""
        with runner.instance(self.home) as instance:
            now = time.time()
            decision = automation.decide(self.home, instance, self.memory, now, queue=False)
        self.memory = decision.memory
        inputs.report(self.home, now, decision.told)
        self.tell(decision.told)
        for request in decision.requests:
            self._make(request)
        return bool(decision.requests)

    def tell(self, told: dict[str, str]) -> None:
        """Say what was not said the last time."""
        for name, text in told.items():
            if self.told.get(name) != text:
                show.warn(f"{name}: {text}" if name else text)
        self.told = told

    def _make(self, request: automation.Request) -> None:
        pair = (request.mission, request.release)
        progress.err.print(" ".join(pair), style="bold")
        with progress.shown(":".join(pair)):
            outcome = runner.run(self.home, *pair, request.why, self.jobs, request.tags)
        for failure in outcome.failures:
            self.failed = True
            show.failed(f"{':'.join(pair)}, {failure.what}: {failure.reason}")
        for row in rejections(self.home, [pair]):
            show.warn(rejection(row["status"], row["path"], row["reason"]))

    def code(self) -> int:
        """Exit code of what was done."""
        releases = self.home.releases()
        failing = failed_checks.failed_checks(self.home.store)
        if self.failed or any((check.mission, check.release) in releases for check in failing):
            return FAILED
        return SOME_REJECTED if rejections(self.home, releases) else OK
