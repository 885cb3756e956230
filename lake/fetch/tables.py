"""Tables that a query gave, as files of a download folder.

They are written as Parquet, with units, UCDs and descriptions: the same rows make the same bytes,
while the VOTables that a service sends carry dates and addresses that are others every time.
"""

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from lake.fetch.folder import Folder, partial
from lake.formats import read_parquet
from lake.formats.voparquet import write_voparquet


def keep_table(
    folder: Folder,
    name: str,
    table: pa.Table,
    *,
    url: str,
    query: str,
    stamp: str,
    order: Sequence[str],
) -> None:
    """Make a table a file of the folder; a file that has these rows already stays as it is.

    Parameters
    ----------
    folder : Folder
    name : str
        Ends with ``.parquet``.
    table : pyarrow.Table
    url, query, stamp : str
        To be noted: see `lake.fetch.folder.Entry`.
    order : sequence of str
        Columns that the rows are sorted by, those of them that the table has; then by the others.
    """
    keys = [key for key in order if key in table.column_names]
    keys += [f.name for f in table.schema if f.name not in keys and not pa.types.is_nested(f.type)]
    table = table.sort_by([(key, "ascending") for key in keys])
    path = folder.target(name)
    here = folder.complete(name)
    part = partial(path)
    write_voparquet(
        table.to_batches(), table.schema, part, infos=[("url", url), ("query", query)],
        coosys="ICRS",
    )  # fmt: skip
    if here is not None and read_parquet(part).equals(read_parquet(path)):
        part.unlink()
        folder.note(replace(here, url=url, query=query, stamp=stamp))
        return
    folder.take(name, url=url, query=query, stamp=stamp)
