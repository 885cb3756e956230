"""Classify detections of one's own, without a lake."""

from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake import contracts, models
from lake.conform import conform
from lake.csc.classify import Method, classify
from lake.csc.detections import ROLES, read_detections
from lake.csc.model import ClassModel
from lake.csc.reference import ReferenceModel, load_reference
from lake.formats.reader import TableReader
from lake.inputs import InputFile

_NOWHERE = {"release": "own", "file_sha256": ""}


def read_own(path: str | Path) -> pa.Table:
    """Read detections of any format as `lacus add` does, but need neither name nor obsid.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    pyarrow.Table
        Columns named, typed and scaled as in csc.detections.

    Raises
    ------
    InputError
        If the file cannot be read or a value does not fit.
    """
    file = InputFile(Path(path), "csc", "own", "detections", {}, 0, 0, "")
    return as_detections(read_detections(file), file)


def as_detections(reader: TableReader, file: InputFile) -> pa.Table:
    """Bring a table to the contract of csc.detections; see `read_own`."""
    role = replace(ROLES["detections"], required=())
    return conform(reader, file, role, {}).read_all()


def classify_table(
    table: pa.Table,
    *,
    model: ClassModel | ReferenceModel | None = None,
    method: Method = "softmin",
) -> pa.Table:
    """Class probabilities of detections that are in no lake.

    Parameters
    ----------
    table : pyarrow.Table
        Columns of the Chandra Source Catalog as in csc.detections, in any order: raw ones
        (hard_hm, var_sigma_b, ...) or ready ratios (var_ratio_b, var_newq_b). What is absent
        counts as missing. Each row is classified by itself.
    model : ClassModel or ReferenceModel, optional
        The published classifier by default.
    method : {"softmin", "posterior"}

    Returns
    -------
    pyarrow.Table
        As `csc.class_probabilities`, one row per row of `table`, in its order.

    Raises
    ------
    UsageError
        If the model does not have the method.
    """
    with models.in_memory() as connection:
        _fill(connection, "csc.detections", _identified(table))
        features = connection.sql("SELECT * FROM csc.features ORDER BY file_row").to_arrow_table()
    model = model or load_reference()
    if isinstance(model, ClassModel):
        return classify(model, features, method)
    return model.classify(features, method)


def master_classes(classified: pa.Table) -> pa.Table:
    """Soft and hard class of each source, by the views of the lake.

    Parameters
    ----------
    classified : pyarrow.Table
        What `classify_table` gives.

    Returns
    -------
    pyarrow.Table
        Columns of csc.soft_master_class, with hard_master_class and tied.
    """
    with models.in_memory() as connection:
        _fill(connection, "csc.class_probabilities", classified)
        return connection.sql(
            "SELECT s.*, h.hard_master_class, h.tied FROM csc.soft_master_class AS s"
            " JOIN csc.hard_master_class AS h USING (release, name, method) ORDER BY name"
        ).to_arrow_table()


def _identified(table: pa.Table) -> pa.Table:
    """Give a table the columns that the views sort and join by, where it has none."""
    table = table.rename_columns([name.lower() for name in table.column_names])
    names = set(table.column_names)
    # Rows of a lake carry the numbers that they have in their files: here the order counts.
    row = pa.array(np.arange(1, table.num_rows + 1))
    if "file_row" in names:
        table = table.drop_columns(["file_row"])
    table = table.append_column("file_row", row)
    for name, value in _NOWHERE.items():
        if name not in names:
            table = table.append_column(name, pa.repeat(value, table.num_rows))
    label = pc.binary_join_element_wise("row", row.cast(pa.string()), " ")
    if "name" not in names:
        return table.append_column("name", label)
    named = pc.coalesce(table["name"].cast(pa.string()), label)
    return table.set_column(table.column_names.index("name"), "name", named)


def _fill(connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> None:
    """Insert the columns that the contract of a table knows."""
    known = contracts.table(name).by_name
    columns = [c for c in table.column_names if c.lower() in known]
    connection.register("rows_to_insert", table.select(columns))
    connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM rows_to_insert")
    connection.unregister("rows_to_insert")
