"""Spectra of one's own, without a lake: preprocessed by a recipe, classified by a model."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

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
        Rows of sdss.recipe_log.
    taken : list of Record
        What became of each file; a rejected one has its reason.
    """
    role = ROLES["spectra"]
    assert isinstance(role, RecordRole)
    for tables, taken in records.read_own(role, map(Path, paths)):
        made, log = preprocess_table(
            tables["sdss.spectra"], tables["sdss.spectra_metadata"], RECIPES[recipe], now()
        )
        files = pa.table(
            {
                "sha256": [r.file.sha256 for r in taken],
                "file": [str(r.file.path) for r in taken],
            },
            pa.schema({"sha256": pa.string(), "file": pa.string()}),
        )
        where = pc.index_in(made["file_sha256"], files["sha256"].combine_chunks())
        yield made.add_column(0, "file", files["file"].take(where)), log, taken


def classify_files(
    paths: Iterable[str | Path], trained: "Trained", model_id: str
) -> Iterator[tuple[pa.Table, list[Record]]]:
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
    taken : list of Record
    """
    from lake.sdss import learning

    for spectra, _, taken in preprocess_files(paths, trained.recipe):
        (rows,) = learning.predict(trained, [spectra], model_id, "")
        rows = rows.drop_columns(["release", "model_release"])
        rows = rows.add_column(0, "file", spectra["file"])
        yield rows.add_column(2, "snr", spectra["snr"]), taken
