"""Files of a few records each, in whatever number: opened once, read and staged in chunks.

A finished chunk is a few Parquet files and a note of what became of its input files. An ingest
that was interrupted takes up the finished chunks of the one before.
"""

import contextlib
import gc
import hashlib
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from lake import contracts, inputs
from lake.chunks import Place, finished, note, place
from lake.errors import InputError
from lake.formats.source import Content, contents, load
from lake.gathering import Gathering
from lake.inputs import InputFile, RecordRole
from lake.intake import Batch, failure, left_out, refused
from lake.plan import Record
from lake.staging import Stage
from lake.store import Store

#: Files that are staged together.
_CHUNK = 1000
#: Files from which on more than one process pays for its start.
_MANY = 4000
#: Bytes that may wait to be written, if they are not all of one batch.
_BEHIND_BYTES = 1 << 25
#: Files between two reports of progress.
_REPORT = 100
#: Objects that are made, and stay, between two searches for cycles.
_UNCOLLECTED = 50_000

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Task:
    """A chunk to be taken."""

    directory: Path
    mission: str
    release: str
    role: str
    records: list[Record]


def take(
    store: Store,
    release: str,
    role: RecordRole,
    records: Sequence[Record],
    progress: Progress,
    processes: int | None = None,
) -> list[Batch]:
    """Read files and stage their rows, taking up what an interrupted ingest has finished.

    Parameters
    ----------
    store : Store
        The caller holds the lock of the release.
    release : str
    role : RecordRole
    records : sequence of Record
        The files, hashed or not.
    progress : callable
        Called with the files done so far and their total.
    processes : int, optional
        As many as there are processors by default, if the files are many.

    Returns
    -------
    list of Batch
        All files with their checksums, rejected ones with the reason.
    """
    mission = role.table.split(".")[0]
    wanted = {place(r): r for r in records}
    batches = list(finished(store.directory, mission, release, role, wanted))
    # A chunk leaves out files that have the bytes of one of its own, but other options.
    while left := _left(wanted, batches):

        def report(number: int, before: int = len(wanted) - len(left)) -> None:
            progress(before + number, len(wanted))

        tasks = [
            _Task(store.directory, mission, release, role.name, left[i : i + _CHUNK])
            for i in range(0, len(left), _CHUNK)
        ]
        workers = processes or (os.cpu_count() or 1 if len(left) >= _MANY else 1)
        batches += _take_all(tasks, min(workers, len(tasks)), report)
    return batches


def _left(wanted: Mapping[Place, Record], batches: Iterable[Batch]) -> list[Record]:
    """Files that no chunk has taken."""
    done = {place(r) for b in batches for r in b.records}
    return [r for at, r in wanted.items() if at not in done]


def _take_all(tasks: list[_Task], workers: int, report: Callable[[int], None]) -> list[Batch]:
    """Take chunks, in as many processes."""
    before = 0
    if workers <= 1:
        batches = []
        for task in tasks:
            batches.append(_take(task, report, before))
            before += len(task.records)
        return batches
    made: dict[int, Batch] = {}
    with ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_leave_interrupts
    ) as pool:
        numbers: dict[Future[Batch], int] = {pool.submit(_take, t): i for i, t in enumerate(tasks)}
        try:
            for future in as_completed(numbers):
                number = numbers[future]
                made[number] = future.result()
                before += len(tasks[number].records)
                report(before)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return [made[i] for i in range(len(tasks))]


def _leave_interrupts() -> None:
    """Let the parent process alone answer Ctrl-C: chunks under way are finished."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _take(task: _Task, progress: Callable[[int], None] | None = None, before: int = 0) -> Batch:
    """Read a chunk of files and stage its rows, which are told apart by the bytes of the files."""
    role = inputs.role(task.mission, task.role)
    assert isinstance(role, RecordRole)
    store = Store(task.directory)
    gathering = Gathering(role, task.release)
    taken: list[Record] = []
    numbers: dict[str, int] = {}

    def twin(file: InputFile) -> Record | None:
        number = numbers.setdefault(file.sha256, len(taken))
        return taken[number] if number < len(taken) else None

    with contextlib.ExitStack() as stack:
        stack.enter_context(_rarely_collected())
        stages = {
            name: stack.enter_context(store.stage(name, task.release, schema))
            for name, schema in gathering.schemas.items()
        }
        # Parquet is written by a thread beside the parsing: it needs the interpreter hardly ever.
        writer = stack.enter_context(ThreadPoolExecutor(1))
        written: deque[tuple[int, Future[None]]] = deque()
        # Reading and hashing stay in this one: threads that take turns wait for each other longer
        # than either takes.
        found = stack.enter_context(contextlib.closing(contents(r.file.path for r in task.records)))
        for number, record in enumerate(task.records, 1):
            taken.append(_read(record, next(found), role, gathering, twin))
            last = number == len(task.records)
            if batches := gathering.batches(_refuse(taken), last):
                size = sum(batch.nbytes for made in batches.values() for batch in made)
                written.append((size, writer.submit(_write, stages, batches)))
                # A row group takes longer to write than its last rows to read.
                while len(written) > 1 and sum(size for size, _ in written) > _BEHIND_BYTES:
                    written.popleft()[1].result()
            if progress is not None and (last or number % _REPORT == 0):
                progress(before + number)
        for _, future in written:
            future.result()
    staged = [stage.staged for stage in stages.values()]
    batch = Batch([r for r in taken if r.status != "new"], [s for s in staged if s is not None])
    note(task.directory, task.mission, task.release, role, batch)
    return batch


@contextlib.contextmanager
def _rarely_collected() -> Iterator[None]:
    """Let Python search for cycles more rarely than after every few files.

    What is read has none, and a search goes through all that the process holds: with the usual
    threshold that takes a twentieth of the time of an ingest, and more beside TensorFlow.
    """
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], _UNCOLLECTED), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _read(
    record: Record,
    found: Content | OSError,
    role: RecordRole,
    gathering: Gathering,
    twin: Callable[[InputFile], Record | None] | None = None,
) -> Record:
    """Read what was found in one file: its checksum, and its rows.

    The rows of a file of the same bytes as one before, its twin, are there already, unless other
    options make other rows of them: such a file stays new.
    """
    file = record.file
    if isinstance(found, OSError):
        return refused(record, f"cannot be read: {found.strerror or found}")
    raw, status = found
    sha256 = hashlib.sha256(raw).hexdigest()
    if (file.sha256 and sha256 != file.sha256) or not file.is_as_it_was(status):
        return refused(record, "was changed while it was being read")
    file = replace(file, sha256=sha256)
    if twin is not None and (other := twin(file)):
        alike = other.file.options_json == file.options_json
        return replace(other if alike else record, file=file)
    try:
        try:
            data = load(raw)
        except InputError as error:
            raise InputError(file.path, error.problem) from None
        rows = role.records(file, bytes(data))
        out = rows.get("rejected", ())
        reason = None
        if out:
            reason = left_out(len(out), f"row {out[0]['file_row']}: {out[0]['reason']}")
        if not rows[role.table]:
            raise InputError(file.path, reason or "there is no row in it")
        if role.columns is None:
            _no_repeats(file, role, rows[role.table])
    except Exception as error:
        return refused(replace(record, file=file), failure(error), read=1)
    gathering.extend(rows, file.sha256)
    number = len(rows[role.table])
    return replace(
        record, file=file, status="committed", reason=reason, rows_read=number + len(out),
        rows_committed=number, rows_rejected=len(out),
    )  # fmt: skip


def _no_repeats(
    file: InputFile, role: RecordRole, rows: Sequence[Mapping[str, Any]] | pa.Table
) -> None:
    """Raise InputError if two rows of one file have one key."""
    if len(rows) < 2:
        return
    key = contracts.table(role.table).key[1:]
    if isinstance(rows, pa.Table):
        rows = rows.select([k for k in key if k in rows.column_names]).to_pylist()
    first: dict[tuple[Any, ...], int] = {}
    for number, row in enumerate(rows, 1):
        other = first.setdefault(tuple(row.get(k) for k in key), number)
        if other != number:
            text = f"repeats the key ({', '.join(key)}) of row {other}"
            raise InputError(file.path, text, f"row {number}")


def _refuse(taken: list[Record]) -> Callable[[Mapping[str, str]], None]:
    """Give a function that rejects some of these files after all.

    Rows of theirs that are staged already are taken out by `Batch.whittle`.
    """

    def refuse(reasons: Mapping[str, str]) -> None:
        batch = Batch(taken)
        batch.refuse(reasons)
        taken[:] = batch.records

    return refuse


def _write(stages: Mapping[str, Stage], batches: Mapping[str, list[pa.RecordBatch]]) -> None:
    for name, made in batches.items():
        for batch in made:
            stages[name].write(batch)


def read_own(
    role: RecordRole, paths: Iterable[Path], part: int = _CHUNK
) -> Iterator[tuple[dict[str, pa.Table], list[Record]]]:
    """Read files that are in no lake, a part at a time.

    Parameters
    ----------
    role : RecordRole
    paths : iterable of Path
        Files, or folders, which stand for the files of the role below them.
    part : int
        Files to a part.

    Yields
    ------
    tables : dict of str to pyarrow.Table
        Rows by table, as an ingest would store them under the release ``own``.
    records : list of Record
        What became of each file.
    """
    mission = role.table.split(".")[0]
    files = [file for path in paths for file in inputs.files_below(path, role.suffixes)]
    for start in range(0, len(files), part):
        gathering = Gathering(role, "own")
        taken: list[Record] = []
        of_part = files[start : start + part]
        for path, found in zip(of_part, contents(of_part), strict=True):
            status = found[1] if isinstance(found, tuple) else None
            size, changed = (status.st_size, status.st_mtime_ns) if status else (0, 0)
            file = InputFile(path, mission, "own", role.name, {}, size, changed, "")
            taken.append(_read(Record(file, role.version, "new"), found, role, gathering))
        batches = gathering.batches(_refuse(taken), last=True)
        tables = {
            name: pa.Table.from_batches(batches[name], schema)
            for name, schema in gathering.schemas.items()
        }
        yield tables, taken
