"""What goes out of the lake: one table, one file or folder, with its origin inside."""

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from lake.commit import now
from lake.errors import LacusError, UsageError
from lake.formats.columns import metadata
from lake.whole import is_abandoned

#: Begins the names of what is being written; nothing else in a user's folder is called so.
_PARTIAL = ".lacus-export-"
_FRAME = re.compile(r"\b(?:ICRS|FK5)\b")


class Batches(Protocol):
    """Record batches under one schema, such as a `pa.RecordBatchReader`."""

    @property
    def schema(self) -> pa.Schema:
        """Schema of every batch."""

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Batches, once."""


@dataclass(frozen=True)
class Origin:
    """Where a product comes from; written into its header.

    Parameters
    ----------
    title : str
    query : str
        SQL, or the name of a table.
    snapshot : int or None
        Of the lake.
    releases : tuple of str
        Such as ``csc:CSC2.0``.
    created : str
        ISO 8601, UTC.
    software : str
        Such as ``lacus 0.1.0``.
    citations : tuple of str
        What a user of the product has to cite.
    """

    title: str
    query: str
    snapshot: int | None
    releases: tuple[str, ...]
    created: str
    software: str
    citations: tuple[str, ...] = ()

    @classmethod
    def now(
        cls,
        title: str,
        query: str,
        *,
        snapshot: int | None = None,
        releases: Iterable[str] = (),
        citations: Iterable[str] = (),
    ) -> "Origin":
        """Origin of what this version of the library makes at this moment."""
        created, software = now().isoformat(timespec="seconds"), f"lacus {version('lacus')}"
        return cls(title, query, snapshot, tuple(releases), created, software, tuple(citations))


def citation_text(origin: Origin) -> str:
    """The citation sheet of a product: plain text, one statement to a line."""
    lines = [origin.title, ""]
    lines += [f"Query:     {' '.join(origin.query.split())}"]
    if origin.snapshot is not None:
        lines += [f"Snapshot:  {origin.snapshot}"]
    if origin.releases:
        lines += [f"Releases:  {', '.join(origin.releases)}"]
    lines += [f"Created:   {origin.created}", f"Software:  {origin.software}"]
    if origin.citations:
        lines += ["", "If you use these data, please cite:"]
        lines += [f"  {citation}" for citation in origin.citations]
    return "\n".join(lines) + "\n"


def export(
    data: pa.Table | pa.RecordBatchReader | Batches, path: str | Path, origin: Origin
) -> int:
    """Write `data` to one file, or a folder of them, in the format that the name ends in.

    Units, UCDs and descriptions come from the field metadata. The product is complete or absent:
    it is written beside its place and renamed at the end, so that a failure leaves what was there
    as it was; what a killed process leaves goes with the next export into the folder, a day later.
    A folder is replaced only where it is empty or a product of this function. All
    formats but FITS are streamed in constant memory.

    Parameters
    ----------
    data : pa.Table, pa.RecordBatchReader or anything alike
        With a ``schema``, and record batches when iterated.
    path : str or Path
        Ends in one of `WRITERS` or `FOLDERS`; its folder has to exist.
    origin : Origin

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    UsageError
        For an unknown format, a folder that does not exist, a folder of something else, and
        columns that cannot make the product.
    LacusError
        For values that the format cannot hold, and for a place that cannot be written.
    """
    path = Path(path)
    write = _writer(path, origin)
    schema = _with_positions(data.schema)
    batches = data.to_batches() if isinstance(data, pa.Table) else data
    partial = _beside(path)
    try:
        _sweep(path.parent)
        try:
            rows = write(batches, schema, partial, origin)
            _put(partial, path, origin)
        finally:
            _remove(partial)
    except OSError as error:
        raise LacusError(f"{path}: cannot be written: {error.strerror or error}") from error
    return rows


Writer = Callable[[Iterable[pa.RecordBatch], pa.Schema, Path, Origin], int]


def has_format(path: Path) -> bool:
    """Whether a name ends in that of a format, and is not that of a folder of anything else."""
    name = path.name.lower()
    return name.endswith(tuple(FOLDERS)) or (name.endswith(tuple(WRITERS)) and not path.is_dir())


def check_name(path: Path) -> None:
    """Refuse what `export` would not write to, before there is anything to write.

    Raises
    ------
    UsageError
        For an unknown format, and a folder that does not exist.
    """
    if not has_format(path):
        known = ", ".join([*WRITERS, *FOLDERS])
        raise UsageError(f"{path}: no format to export to; the name has to end in one of {known}")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}")


def _writer(path: Path, origin: Origin) -> Writer:
    check_name(path)
    name = path.name.lower()
    if name.endswith(tuple(FOLDERS)):
        _check_replaceable(path, origin)
    return next(write for end, write in {**WRITERS, **FOLDERS}.items() if name.endswith(end))


def _check_replaceable(path: Path, origin: Origin) -> None:
    from lake.formats.hats_write import foreign

    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise UsageError(f"{path}: is there, and no folder; it is not replaced by one")
    if path.is_dir() and (name := foreign(path, origin.software)):
        raise UsageError(
            f"{path}: is not replaced, for it is not a catalogue that Lacus wrote, or more than"
            f" that: it holds {name}"
        )


def _put(partial: Path, path: Path, origin: Origin) -> None:
    """Move a product to its place; a former folder goes when the new one is there."""
    if not (partial.is_dir() and path.is_dir()):
        partial.replace(path)
        return
    _check_replaceable(path, origin)  # again: something may have come while this was written
    former = _beside(path)
    os.utime(path)  # an old one would be taken for abandoned
    path.rename(former)
    try:
        partial.rename(path)
    except OSError:
        former.rename(path)
        raise
    shutil.rmtree(former)


def _beside(path: Path) -> Path:
    """Give a name beside a product's for what is not in its place yet, or not any more.

    It keeps the ending for what looks at it, and starts with a dot for what lists folders.
    """
    return path.with_name(f"{_PARTIAL}{secrets.token_hex(4)}.{path.name}")


def _sweep(folder: Path) -> None:
    """Remove what killed exports, of whatever name, left in a folder."""
    for left in folder.glob(f"{_PARTIAL}{'[0-9a-f]' * 8}.*"):
        if is_abandoned(left):
            # Another export may be faster, and what another user left is for theirs to remove.
            with contextlib.suppress(FileNotFoundError, PermissionError):
                _remove(left)


def _remove(partial: Path) -> None:
    if partial.is_dir():
        shutil.rmtree(partial)
    else:
        partial.unlink(missing_ok=True)


def _infos(origin: Origin) -> list[tuple[str, str]]:
    """Pairs for INFO elements, named as the IVOA Note Data Origin in the VO (2024) has them."""
    infos = [
        ("query", origin.query),
        ("request_date", origin.created),
        ("server_software", origin.software),
    ]
    if origin.snapshot is not None:
        infos.append(("snapshot", str(origin.snapshot)))
    infos += [("resource_version", release) for release in origin.releases]
    infos += [("citation", citation) for citation in origin.citations]
    return infos


def _frame(schema: pa.Schema) -> str | None:
    """Reference system of the positions, as their descriptions name it.

    None where they name several or none; positions without a description are taken as ICRS.
    """
    frames = set()
    for field in schema:
        if (metadata(field, b"ucd") or "").lower().startswith("pos.eq"):
            found = _FRAME.search(metadata(field, b"description") or "ICRS")
            frames.add(found[0] if found else None)
    return frames.pop() if len(frames) == 1 else None


def _with_positions(schema: pa.Schema) -> pa.Schema:
    """Give columns ``ra`` and ``dec`` of a free query, which have no UCD, the one they need."""
    for name, ucd in (("ra", "pos.eq.ra"), ("dec", "pos.eq.dec")):
        at = schema.get_field_index(name)
        if at < 0:
            continue
        field = schema.field(at)
        if pa.types.is_floating(field.type) and not metadata(field, b"ucd"):
            known = {**(field.metadata or {}), b"ucd": ucd.encode()}
            schema = schema.set(at, field.with_metadata(known))
    return schema


def _parquet(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, path: Path, origin: Origin
) -> int:
    from lake.formats.voparquet import write_voparquet

    return write_voparquet(
        batches,
        schema,
        path,
        description=origin.title,
        infos=_infos(origin),
        coosys=_frame(schema),
    )


def _hats(batches: Iterable[pa.RecordBatch], schema: pa.Schema, path: Path, origin: Origin) -> int:
    from lake.formats.hats_write import write_hats

    properties = {"obs_title": origin.title, "lacus_query": origin.query}
    if origin.snapshot is not None:
        properties["lacus_snapshot"] = str(origin.snapshot)
    if origin.releases:
        properties["prov_progenitor"] = ", ".join(origin.releases)
    if origin.citations:
        properties["bib_reference"] = "; ".join(origin.citations)
    return write_hats(
        batches,
        schema,
        path,
        name=origin.title,
        builder=origin.software,
        created=origin.created,
        description=origin.title,
        infos=_infos(origin),
        coosys=_frame(schema),
        properties=properties,
    )


def _votable(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, path: Path, origin: Origin
) -> int:
    from lake.formats.votable_write import write_votable

    return write_votable(
        batches,
        path,
        schema=schema,
        description=origin.title,
        infos=_infos(origin),
        coosys=_frame(schema),
    )


def _fits(batches: Iterable[pa.RecordBatch], schema: pa.Schema, path: Path, origin: Origin) -> int:
    from lake.formats.fits_write import write_fits

    cards: list[tuple[str, str | int, str]] = [
        ("EXTNAME", "TABLE", ""),
        ("TITLE", origin.title, ""),
        ("DATE", _fits_time(origin.created), "UTC"),
        ("CREATOR", origin.software, ""),
        ("QUERY", origin.query, ""),
    ]
    if origin.snapshot is not None:
        cards.append(("SNAPSHOT", origin.snapshot, "of the lake"))
    cards += [(f"RELEAS{n}", release, "") for n, release in enumerate(origin.releases, 1)]
    cards += [(f"REFER{n}", citation, "") for n, citation in enumerate(origin.citations, 1)]
    if frame := _frame(schema):
        cards.append(("RADESYS", frame, ""))
    return write_fits(
        batches, schema, path, cards=cards, compress=path.name.lower().endswith(".gz")
    )


def _fits_time(text: str) -> str:
    """ISO 8601 time as FITS writes UTC: without a zone (FITS Standard 4.0, section 4.4.2.1)."""
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%dT%H:%M:%S}"


def _csv(batches: Iterable[pa.RecordBatch], schema: pa.Schema, path: Path, origin: Origin) -> int:
    from lake.formats.text_write import write_csv

    return write_csv(batches, schema, path)


def _json(batches: Iterable[pa.RecordBatch], schema: pa.Schema, path: Path, origin: Origin) -> int:
    from lake.formats.text_write import write_json

    return write_json(batches, schema, path, origin=asdict(origin))


def _latex(batches: Iterable[pa.RecordBatch], schema: pa.Schema, path: Path, origin: Origin) -> int:
    from lake.formats.latex_write import write_latex

    comments = [f"Releases {', '.join(origin.releases)}."] if origin.releases else []
    comments += [f"From {citation}." for citation in origin.citations]
    return write_latex(
        batches,
        schema,
        path,
        caption=origin.title,
        remarks=[citation_text(origin)],
        comments=" ".join(comments),
    )


#: What writes each format, by the end of its name.
WRITERS: dict[str, Writer] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".vot": _votable,
    ".votable": _votable,
    ".xml": _votable,
    ".fits": _fits,
    ".fits.gz": _fits,
    ".tex": _latex,
    ".json": _json,
}

#: Those that make a folder.
FOLDERS: dict[str, Writer] = {".hats": _hats}
