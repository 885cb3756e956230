"""Spectra of one's own, without a lake: preprocessed by a recipe, classified by a model."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from lake import records
from lake.commit import now
from lake.inputs import RecordRole
from lake.plan import Record
from lake.sdss import ROLES
from lake.sdss.preprocess import preprocess_table
from lake.sdss.recipes import RECIPES

if TYPE_CHECKING:
    from lake.sdss.cnn import Trained


def preprocess_files(
    paths: Iterable[str | Path], recipe: str = "default"
) -> Iterator[tuple[pa.Table, pa.Table, list[Record]]]:
    """Run a recipe on the spectra of some files, a part at a time.

    Parameters
    ----------
    paths : iterable of path
        Files, or folders, which stand for the FITS files below them.
    recipe : str
        One of `lake.sdss.recipes.RECIPES`.

    Yields
    ------
    spectra : pyarrow.Table
        Rows of sdss.preprocessed_spectra, and the file of each as `file`.
    log : pyarrow.Table
        Rows of sdss.recipe_log, and the file of each as `file`; also of spectra left out.
    taken : list of Record
        What became of each file; a rejected one has its reason.
    """
    role = ROLES["spectra"]
    assert isinstance(role, RecordRole)
    for tables, taken in records.read_own(role, map(Path, paths)):
        # One's own files may hold a spectrum twice: rows are told apart by their number.
        number = pa.array(map(str, range(tables["sdss.spectra"].num_rows)), pa.string())
        made, log = preprocess_table(
            _of_release(tables["sdss.spectra"], number),
            _of_release(tables["sdss.spectra_metadata"], number),
            RECIPES[recipe],
            now(),
        )
        files = [str(record.file.path) for record in taken for _ in range(record.rows_committed)]
        file = pa.array(files, pa.string())
        yield _with_file(made, file), _with_file(log, file), taken


def _with_file(rows: pa.Table, files: pa.Array) -> pa.Table:
    """Rows whose release is their spectrum's number, with the file of that beside them."""
    number = rows["release"].combine_chunks().cast(pa.int64())
    rows = _of_release(rows, pa.repeat("own", rows.num_rows))
    return rows.add_column(0, "file", files.take(number))


def _of_release(rows: pa.Table, release: pa.Array) -> pa.Table:
    return rows.set_column(rows.schema.get_field_index("release"), "release", release)


def classify_files(
    paths: Iterable[str | Path], trained: "Trained", model_id: str
) -> Iterator[tuple[pa.Table, pa.Table, list[Record]]]:
    """Classify the spectra of some files, a part at a time.

    Parameters
    ----------
    paths : iterable of path
        See `preprocess_files`.
    trained : Trained
        See `lake.sdss.cnn.load`.
    model_id : str

    Yields
    ------
    predictions : pyarrow.Table
        Columns file, spec_id, snr, and those of sdss.cnn_predictions; a spectrum that the
        model's recipe leaves without a valid pixel is not in it.
    log : pyarrow.Table
        Of the recipe; see `preprocess_files`.
    taken : list of Record
    """
    from lake.sdss import learning

    for spectra, log, taken in preprocess_files(paths, trained.recipe):
        (rows,) = learning.predict(trained, [spectra], model_id, "")
        rows = rows.drop_columns(["release", "model_release"])
        rows = rows.add_column(0, "file", spectra["file"])
        yield rows.add_column(2, "snr", spectra["snr"]), log, taken
