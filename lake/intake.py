"""What reading input files gave: what became of each file, and where its rows are staged."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lake.errors import InputError
from lake.plan import Record
from lake.staging import Stage, Staged


@dataclass
class Batch:
    """Files of one role that were read together.

    Attributes
    ----------
    records : list of Record
        The files in their order; committed (unless they are refused yet) or rejected.
    staged : list of Staged
        Their rows, one Parquet file for each table.
    """

    records: list[Record]
    staged: list[Staged] = field(default_factory=list)
    _whole: bool = field(init=False)

    def __post_init__(self) -> None:
        # A file that was refused late may have rows in what was staged before.
        self._whole = all(r.status == "committed" for r in self.records)

    @property
    def standing(self) -> list[Record]:
        """Files that are to be committed."""
        return [r for r in self.records if r.status == "committed"]

    def refuse(self, reasons: Mapping[str, str]) -> None:
        """Reject files after all, by SHA-256; their rows stay staged until `whittle`."""
        self._whole = False
        self.records = [
            refused(r, reasons[r.file.sha256])
            if r.status == "committed" and r.file.sha256 in reasons
            else r
            for r in self.records
        ]

    def keep(self, records: list[Record]) -> None:
        """Forget all files but these; the rows of the others stay staged until `whittle`."""
        self._whole = self._whole and len(records) == len(self.records)
        self.records = records

    def whittle(
        self, stage: Callable[[str, str, pa.Schema], AbstractContextManager[Stage]]
    ) -> None:
        """Take the rows of files that are not to be committed out of what is staged."""
        if self._whole:
            return
        wanted = pa.array([r.file.sha256 for r in self.standing], pa.string())
        kept = []
        for staged in self.staged:
            left = 0
            if len(wanted):
                hashes = pq.read_table(staged.path, columns=["file_sha256"], partitioning=None)
                left = pc.sum(pc.is_in(hashes["file_sha256"], wanted)).as_py() or 0
            if left == staged.rows:
                kept.append(staged)
                continue
            if left:
                with (
                    stage(staged.table, staged.release, staged.schema) as part,
                    pq.ParquetFile(staged.path) as file,
                ):
                    for batch in file.iter_batches(columns=staged.schema.names):
                        rows = batch.filter(pc.is_in(batch["file_sha256"], wanted))
                        part.write(rows.cast(staged.schema))
                if part.staged is not None:
                    kept.append(part.staged)
            staged.path.unlink(missing_ok=True)
        self.staged = kept


def failure(error: Exception) -> str:
    """Give the reason to refuse a file that its reader failed at.

    A reader's own mistake is a reason too: the other files go on.
    """
    if isinstance(error, InputError):
        return error.reason
    return f"the reader failed: {type(error).__name__}: {error}"


def left_out(number: int, first: str) -> str:
    """Say why so many rows of a file are not taken; what is wrong with the first stands for all."""
    return (
        f"1 row left out: {first}" if number == 1 else f"{number} rows left out: {first}, and so on"
    )


def refused(record: Record, reason: str, read: int | None = None) -> Record:
    """Give the record of a file that is not taken, and why."""
    rows = record.rows_read if read is None else read
    return replace(
        record, status="rejected", reason=reason, rows_read=rows, rows_committed=0,
        rows_rejected=rows,
    )  # fmt: skip
