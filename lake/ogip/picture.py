"""The standard picture of one spectrum, from the lake."""

from typing import TYPE_CHECKING

from lake.errors import UsageError
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

    found = home.sql(
        "SELECT s.release FROM ogip.spectra AS s JOIN meta.releases AS r"
        " ON r.release = s.release AND r.table_name = 'ogip.spectra'"
        " WHERE s.spec_id = ? AND coalesce(s.release = ?, TRUE) ORDER BY r.snapshot DESC LIMIT 1",
        [identifier, release],
    ).fetchone()
    if found is None:
        where = f" in release {release}" if release else ""
        raise UsageError(f"no spectrum {identifier!r}{where}; `lacus sql` finds spec_id's")
    key = [found[0], identifier]
    chosen = "WHERE release = ? AND spec_id = ?"
    read = home.store.arrow
    channels = read(f"SELECT * FROM ogip.count_spectrum {chosen} ORDER BY position", key)
    [about] = read(f"SELECT * FROM ogip.net_counts {chosen}", key).to_pylist()
    area, response = channels["area_id"][0].as_py(), channels["response_id"][0].as_py()
    return figures.spectrum(
        channels,
        about,
        area and stored.effective_area(read, found[0], area),
        response and stored.response(read, found[0], response),
    )
