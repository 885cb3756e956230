"""The standard picture of one spectrum, from the lake."""

from typing import TYPE_CHECKING

import pyarrow as pa

from lake.home import Home

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NEWEST = """
SELECT p.* FROM sdss.cnn_predictions AS p
JOIN meta.releases AS r ON r.release = p.model_release AND r.table_name = 'sdss.cnn_models'
WHERE p.release = ? AND p.spec_id = ? ORDER BY p.model_release = p.release DESC, r.snapshot DESC
LIMIT 1
"""


def plot(home: Home, identifier: str, release: str | None = None) -> "Figure":
    """Draw a spectrum with its error, model, masks and lines, and what the network says of it.

    Parameters
    ----------
    home : Home
    identifier : str
        spec_id.
    release : str, optional
        The newest that has the spectrum by default.

    Raises
    ------
    UsageError
        If the lake has no such spectrum.
    """
    from lake.sdss import figures

    release = home.release_of("sdss.spectra", "spec_id", identifier, release)
    key = [release, identifier]

    def rows(table: str) -> pa.Table:
        return home.store.arrow(f"SELECT * FROM {table} WHERE release = ? AND spec_id = ?", key)

    lines = home.store.arrow("SELECT * FROM sdss.line_list WHERE release = ?", key[:1])
    prediction = home.store.arrow(_NEWEST, key)
    return figures.spectrum(
        rows("sdss.spectra"),
        rows("sdss.spectra_metadata"),
        lines,
        prediction if prediction.num_rows else None,
    )
