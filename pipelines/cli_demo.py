"""Commands for a first look: `demo` and `sample`."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pyarrow as pa

import lake
from lake.sources import Source
from pipelines import progress, show
from pipelines.command import OK, SOME_REJECTED, Command, examples, in_home
from pipelines.update import update

if TYPE_CHECKING:
    from lake.sample.sizes import Size

SIZES = click.Choice(["small", "medium", "large"])


@click.command(
    cls=Command,
    short_help="Fill a lake with sample data and print what came out.",
    epilog=examples("lacus --home demo-home demo"),
)
@in_home
@click.option("--size", type=SIZES, default="small", show_default=True)
def demo(home: lake.Home, size: "Size") -> None:
    """Write sample inputs, ingest them, compute, and print what came out."""
    from lake.sample import write_samples

    with progress.shown("writing sample inputs"):
        files = write_samples(home.root / "sample", size)
    for file in files:
        home.add(Source(file.mission, file.release, file.role, (file.path,)))
        show.done(f"{file.mission} {file.release} {file.role}: {file.path}")
    releases = list(dict.fromkeys((file.mission, file.release) for file in files))
    code = update(home, releases, None, 1)
    if code in (OK, SOME_REJECTED):
        _show_demo(home)
    sys.exit(code)


#: What the demo shows: titles, and the queries below them.
_SHOWN = (
    (
        "Classes of the detections and sources (csc.class_summary, method posterior)",
        "SELECT class, agg_class, detections, soft_sources, hard_sources, unique_sources,"
        " mean_probability FROM csc.class_summary WHERE method = 'posterior'"
        " ORDER BY detections DESC",
    ),
    (
        "How good they are (csc.validation, cross-validated by source)",
        "SELECT metric, max(value) FILTER (method = 'softmin') AS softmin,"
        " max(value) FILTER (method = 'posterior') AS posterior FROM csc.validation"
        " WHERE level = 'overall' AND metric IN ('log_loss', 'brier', 'accuracy',"
        " 'expected_calibration_error') GROUP BY metric ORDER BY metric",
    ),
    (
        "Spectra by spectral letter, and what the network calls them (sdss.cnn_predictions)",
        "SELECT coalesce(l.spectral_letter, 'no label') AS letter, count(*) AS spectra,"
        " median(m.sn_median) AS sn_median, string_agg(DISTINCT p.predicted_class, ' '"
        " ORDER BY p.predicted_class) AS predicted_classes FROM sdss.spectra_labels AS l"
        " JOIN sdss.spectra_metadata AS m USING (release, spec_id)"
        " LEFT JOIN sdss.cnn_predictions AS p USING (release, spec_id) GROUP BY letter"
        " ORDER BY strpos('OBAFGKM', letter)",
    ),
    (
        "How good that is on plates it was not trained on (sdss.cnn_evaluation)",
        'SELECT snr_level AS "S/N", n AS spectra, accuracy, letter_accuracy,'
        " expected_calibration_error, accepted_share FROM sdss.cnn_evaluation",
    ),
    (
        "Net counts of X-ray spectra, and how many were put in (ogip.net_counts)",
        "SELECT n.spec_id, n.counts, n.background, n.net_counts, n.net_counts_error AS error,"
        " coalesce(json_extract_string(s.row_json, 'SIMNET'),"
        " regexp_extract(h.header, 'SIMNET  = +([0-9.]+)', 1))::DOUBLE AS put_in,"
        " n.upper_limit_90, n.significance FROM ogip.net_counts AS n"
        " JOIN ogip.spectra AS s USING (release, spec_id)"
        " JOIN ogip.hdus AS h ON h.release = s.release AND h.file_sha256 = s.file_sha256"
        " AND h.hdu = s.hdu WHERE n.significance IS NOT NULL ORDER BY n.spec_id",
    ),
    (
        "What the mask cuts out of each exposure (xmm.exposure_masks)",
        "SELECT mask, exposure, regions_excluded, area_excluded, calibration, residual_p95"
        " FROM xmm.exposure_masks ORDER BY ALL",
    ),
)


def _show_demo(home: lake.Home) -> None:
    for title, query in _SHOWN:
        data = home.store.arrow(query)
        if not data.num_rows:
            continue
        numbers = [f.name for f in data.schema if not pa.types.is_string(f.type)]
        rows = [list(row.values()) for row in data.to_pylist()]
        print()
        show.title(title)
        show.table(data.column_names, rows, right=numbers, digits=3)
    default = home.root == Path("lacus-home").absolute()
    command = "lacus" if default else f"lacus --home {shlex.quote(str(home.root))}"
    found = home.sql("SELECT spec_id FROM sdss.spectra ORDER BY spec_id LIMIT 1").fetchone()
    print(
        "\nNext:"
        f'\n  {command} sql "SELECT name, method, master_class, p_qso FROM csc.uniquely_classified"'
        f"\n  {command} export csc.uniquely_classified -o unique.vot"
        + (f"\n  {command} plot sdss {found[0]}" if found else "")
        + f"\n  {command} export ogip.spectra --where \"obs_id = '00001'\" -o spectra"
        + f"\n  {command} ui"
    )


@click.command(
    cls=Command,
    short_help="Write the sample inputs, and print the commands that add them.",
    epilog=examples(
        "lacus sample inputs --size medium",
        "lacus sample inputs | sh        # writes and adds them",
    ),
)
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--size", type=SIZES, default="small", show_default=True)
@click.option("--seed", type=int, default=42, show_default=True)
def sample(directory: Path, size: "Size", seed: int) -> None:
    """Only write the sample inputs, and print the commands that add them."""
    from lake.sample import write_samples

    with progress.shown("writing sample inputs"):
        files = write_samples(directory, size, seed)
    for file in files:
        words = ["lacus", "add", file.mission, file.release, file.role, str(file.path)]
        print(shlex.join(words))


COMMANDS = (demo, sample)
