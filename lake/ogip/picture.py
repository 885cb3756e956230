"""The standard picture of one spectrum, from the lake."""

from typing import TYPE_CHECKING

from lake.home import Home
from lake.ogip import stored

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot(home: Home, identifier: str, release: str | None = None) -> "Figure":
    """Draw counts with their background, and the area and response that they were seen through.

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
    from lake.ogip import figures

    release = home.release_of("ogip.spectra", "spec_id", identifier, release)
    key = [release, identifier]
    chosen = "WHERE release = ? AND spec_id = ?"
    read = home.store.arrow
    channels = read(f"SELECT * FROM ogip.count_spectrum {chosen} ORDER BY position", key)
    [about] = read(f"SELECT * FROM ogip.net_counts {chosen}", key).to_pylist()
    area, response = channels["area_id"][0].as_py(), channels["response_id"][0].as_py()
    return figures.spectrum(
        channels,
        about,
        area and stored.effective_area(read, release, area),
        response and stored.response(read, release, response),
    )
