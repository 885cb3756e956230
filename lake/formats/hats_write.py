"""Arrow to a HATS catalogue: a folder of Parquet files, one to a tile of the sky.

Sources: IVOA Note HATS 1.0 (Caplar et al. 2025) for the layout and the properties, and the library
``hats`` 0.11 for what its readers look for beyond it: ``hats.properties`` beside ``properties``,
``skymap.fits`` beside ``point_map.fits``, both HEALPix maps of the rows in a pixel.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from shutil import copyfile

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lake.errors import LacusError, UsageError
from lake.formats.columns import metadata, plain_schema
from lake.formats.healpix import DEEPEST, Tile, pixels_at_29, tiles
from lake.formats.sorted_runs import RunWriter, SortedRuns
from lake.formats.voparquet import (
    ROW_GROUP_BYTES,
    ROW_GROUP_ROWS,
    footer,
    lengthen,
    row_groups,
    text_lengths,
)
from lake.formats.votable_write import Infos

INDEX = "_healpix_29"
# What hats-import cuts at; the readers work on a whole tile at a time.
MOST_ROWS = 1_000_000
# Of the maps: pixels of 0.23 degrees, as LSDB writes them.
MAP_ORDER = 8

_INDEX_FIELD = pa.field(
    INDEX,
    pa.int64(),
    nullable=False,
    metadata={
        "ucd": "pos.healpix",
        "description": "HEALPix pixel of the position, order 29, nested scheme",
    },
)
# Readers take the last three from the names of folders; DuckDB does not tell dir from Dir.
_RESERVED = {INDEX, "norder", "dir", "npix"}
_FILES = re.compile(
    r"(hats\.)?properties|partition_info\.csv|(skymap|point_map)\.fits|data_thumbnail\.parquet"
    r"|dataset/(_metadata|_common_metadata|Norder=\d+/Dir=\d+/Npix=\d+\.parquet)"
)


@dataclass
class _Staged:
    """What is learnt of the rows while they are staged."""

    longest: dict[str, int]
    rows: int = 0
    nowhere: int = 0
    counts: npt.NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(12 << 2 * MAP_ORDER, np.int64)
    )


def write_hats(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    path: str | Path,
    *,
    name: str,
    builder: str,
    created: str,
    description: str | None = None,
    infos: Infos = (),
    coosys: str | None = None,
    properties: Mapping[str, str] | None = None,
    most_rows: int = MOST_ROWS,
) -> int:
    """Write a folder that ``hats``, LSDB and whatever reads Parquet take.

    Rows are staged in the folder itself, uncompressed, and sorted by their pixel on the way; what
    is held in memory does not grow with them, but for 16 bytes for each row of a tile.

    Parameters
    ----------
    batches : iterable of pa.RecordBatch
    schema : pa.Schema
        Of the batches; UCDs in the field metadata say which columns are the position.
    path : str or Path
        The folder, which must not exist.
    name : str
        Short name of the catalogue; what is not a letter or digit becomes ``_``.
    builder : str
        Software and its version, first word the software.
    created : str
        ISO 8601.
    description, infos, coosys
        Of the VOTable in each Parquet file, as in `lake.formats.voparquet.write_voparquet`.
    properties : mapping, optional
        Further entries of ``hats.properties``.
    most_rows : int
        Rows in a tile, at most; only a single position may have more.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    UsageError
        Where no position, or no single one, is among the columns, or a column has a name that the
        format keeps for itself.
    LacusError
        For rows without a position on the sky, and for a type that no export has.
    """
    path = Path(path)
    schema = plain_schema(schema).remove_metadata()
    ra, dec = position_columns(schema)
    if taken := [column for column in schema.names if column.lower() in _RESERVED]:
        raise UsageError(f"HATS keeps the name {taken[0]!r} for itself; rename it in the query")
    indexed = pa.schema([_INDEX_FIELD, *schema])
    stage = path / "staged.arrow"
    path.mkdir()
    with RunWriter(stage, indexed) as runs:
        staged = _stage(row_groups(batches, schema), indexed, (ra, dec), runs)
    if staged.nowhere:
        raise LacusError(
            f"{staged.nowhere:,} of {staged.rows:,} rows have no position on the sky, and a HATS "
            f"catalogue cannot hold them; leave them out of the query:"
            f" WHERE isfinite({ra}) AND {dec} BETWEEN -90 AND 90"
        )
    known = footer(indexed, staged.longest, description=description, infos=infos, coosys=coosys)
    with SortedRuns(stage) as rows:
        partitions = list(tiles(rows.count, most_rows))
        _write_dataset(path, partitions, rows, indexed.with_metadata(known), most_rows)
    stage.unlink()
    listed = "".join(f"{tile.order},{tile.pixel}\n" for tile in partitions)
    (path / "partition_info.csv").write_text(f"Norder,Npix\n{listed}")
    _write_map(path / "skymap.fits", staged.counts)
    copyfile(path / "skymap.fits", path / "point_map.fits")
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    facts = {
        "obs_collection": re.sub(r"\W+", "_", name),
        "dataproduct_type": "object",
        "hats_nrows": staged.rows,
        "hats_col_ra": ra,
        "hats_col_dec": dec,
        "hats_col_healpix": INDEX,
        "hats_col_healpix_order": DEEPEST,
        "hats_npix_suffix": ".parquet",
        "hats_skymap_order": MAP_ORDER,
        "hats_max_rows": most_rows,
        "hats_order": max((tile.order for tile in partitions), default=0),
        "hats_estsize": -(-size // 1024),
        "moc_sky_fraction": f"{np.count_nonzero(staged.counts) / len(staged.counts):.6g}",
        "hats_builder": builder,
        "hats_creation_date": f"{datetime.fromisoformat(created).astimezone(UTC):%Y-%m-%dT%H:%MZ}",
        "hats_version": "v1.0",
        **(properties or {}),
    }
    for file in ("hats.properties", "properties"):
        _write_properties(path / file, facts)
    return staged.rows


def position_columns(schema: pa.Schema) -> tuple[str, str]:
    """Names of the columns of right ascension and declination, by their UCDs.

    Those whose UCD has ``meta.main`` come before others; a number in degrees is asked for.

    Raises
    ------
    UsageError
        Where there are none, or several with equal right.
    """
    return _position_column(schema, "ra"), _position_column(schema, "dec")


def _position_column(schema: pa.Schema, axis: str) -> str:
    found = {}
    for column in schema:
        words = (metadata(column, b"ucd") or "").lower().split(";")
        in_degrees = metadata(column, b"unit") in (None, "", "deg")
        if words[0] == f"pos.eq.{axis}" and pa.types.is_floating(column.type) and in_degrees:
            found[column.name] = "meta.main" in words
    chosen = [name for name, main in found.items() if main] or list(found)
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        raise UsageError(
            f"which position is a HATS catalogue to be sorted by: {', '.join(chosen)}? Choose one"
            " in the query"
        )
    raise UsageError(
        f"a HATS catalogue needs a position, and no column is in degrees with UCD pos.eq.{axis}"
        f" (in a query: call it {axis})"
    )


def foreign(folder: Path, builder: str) -> str | None:
    """Name what a folder holds that is not of a catalogue by `builder`, None if nothing is.

    Parameters
    ----------
    folder : Path
        That exists.
    builder : str
        As in `write_hats`; the version does not matter.
    """
    files = [file for file in folder.rglob("*") if file.is_symlink() or not file.is_dir()]
    names = sorted(file.relative_to(folder).as_posix() for file in files)
    strange = [name for name in names if not _FILES.fullmatch(name)]
    if strange:
        return strange[0]
    if not names:
        return min((entry.name for entry in folder.iterdir()), default=None)
    marked = folder / "hats.properties"
    software = re.escape(builder.split()[0])
    said = marked.read_text("utf-8", "replace") if marked.is_file() else ""
    return None if re.search(rf"(?m)^hats_builder={software}( |$)", said) else names[0]


def _stage(
    groups: Iterable[pa.Table], schema: pa.Schema, position: tuple[str, str], runs: RunWriter
) -> _Staged:
    staged = _Staged(text_lengths(schema))
    for group in groups:
        ra, dec = (_degrees(group[name]) for name in position)
        nowhere = int(np.count_nonzero(~(np.isfinite(ra) & (np.abs(dec) <= 90))))
        staged.rows += group.num_rows
        staged.nowhere += nowhere
        if staged.nowhere:
            continue
        pixels = pixels_at_29(ra, dec)
        staged.counts += np.bincount(
            pixels >> 2 * (DEEPEST - MAP_ORDER), minlength=len(staged.counts)
        )
        lengthen(staged.longest, group)
        for batch in group.combine_chunks().to_batches():
            runs.add(pa.RecordBatch.from_arrays([pa.array(pixels), *batch.columns], schema=schema))
    return staged


def _degrees(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    return pc.fill_null(column.cast(pa.float64()), float("nan")).to_numpy()


def _write_dataset(
    path: Path, partitions: list[Tile], rows: SortedRuns, schema: pa.Schema, most_rows: int
) -> None:
    """Write the Parquet files: one to a tile, their common footers, a row of each as a sample."""
    dataset = path / "dataset"
    dataset.mkdir()
    in_group = ROW_GROUP_ROWS
    if rows.nbytes:
        in_group = max(1, min(in_group, ROW_GROUP_BYTES * rows.rows // rows.nbytes))
    footers: list[pq.FileMetaData] = []
    samples: list[pa.RecordBatch] = []
    for tile in partitions:
        name = f"Norder={tile.order}/Dir={tile.pixel // 10_000 * 10_000}/Npix={tile.pixel}.parquet"
        (dataset / name).parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(
            dataset / name, schema, compression="zstd", metadata_collector=footers
        ) as writer:
            for at, batch in enumerate(rows.read(*tile.span, in_group)):
                writer.write_batch(batch, row_group_size=batch.num_rows)
                if at == 0 and len(samples) < most_rows:
                    samples.append(batch.take(pa.array([0])))
        footers[-1].set_file_path(name)
    pq.write_metadata(schema, dataset / "_common_metadata")
    pq.write_metadata(schema, dataset / "_metadata", metadata_collector=footers)
    pq.write_table(
        pa.Table.from_batches(samples, schema), path / "data_thumbnail.parquet", compression="zstd"
    )


def _write_map(path: Path, counts: npt.NDArray[np.int64]) -> None:
    """Rows in each pixel that has any, in the layout of explicit HEALPix maps."""
    from astropy.io import fits

    pixels = np.flatnonzero(counts)
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column(name="PIXEL", format="K", array=pixels),
            fits.Column(name="VALUE", format="K", array=counts[pixels]),
        ]
    )
    table.header.update(
        PIXTYPE="HEALPIX",
        ORDERING="NESTED",
        COORDSYS="C",
        INDXSCHM="EXPLICIT",
        NSIDE=1 << MAP_ORDER,
        OBS_NPIX=len(pixels),
    )
    table.writeto(path)


def _write_properties(path: Path, facts: Mapping[str, object]) -> None:
    """One line to a fact; what Java's properties would take for an escape is doubled."""
    lines = ["#HATS catalog"]
    for key, value in facts.items():
        text = " ".join(str(value).split()).replace("\\", "\\\\")
        lines.append(f"{key}={text}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
