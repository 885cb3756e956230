"""Commands for files of one's own that need not go into a lake: classify, preprocess, predict."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pyarrow as pa

import lake
from pipelines import progress, show
from pipelines.command import SOME_REJECTED, Command, Product, examples, in_home
from pipelines.update import rejection

if TYPE_CHECKING:
    from lake.csc.classify import Method

#: Detections, sources or spectra that are shown on a terminal.
_SHOWN_ROWS = 40


@click.command(
    cls=Command,
    short_help="Classify your own X-ray sources; no lake is needed.",
    epilog=examples(
        "lacus classify my_detections.vot",
        "lacus classify my_detections.csv --model lake --method posterior -o classes.fits",
    ),
)
@in_home
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--model", default="reference", show_default=True, metavar="reference|lake|ID")
@click.option(
    "--method", type=click.Choice(["softmin", "posterior"]), default="softmin", show_default=True,
    help="posterior needs a model of the lake.",
)  # fmt: skip
@click.option("--output", "-o", type=Product(), help="Write every probability.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def classify(
    home: lake.Home,
    file: Path,
    model: str,
    method: "Method",
    output: Path | None,
    as_json: bool,
) -> None:
    """Classify your own X-ray sources; no lake is needed.

    FILE is a table of detections as the Chandra Source Catalog gives them: VOTable, FITS, CSV,
    command-line TSV or Parquet. The published classifier is used unless `--model lake` asks for
    the one that `lacus run` trained last.
    """
    from lake.csc import own, registry

    trained = None
    if model != "reference":
        asked = _newest(home, "csc.mixture_models", "model") if model == "lake" else model
        trained = registry.load(home.models, asked)
    table = own.read_own(file)
    classified = own.classify_table(table, model=trained, method=method)
    masters = own.master_classes(classified)
    if output is not None:
        from lake import csc
        from lake import export as exports

        ids = set(classified["model_id"].to_pylist())
        command = f"lacus classify {file.name} --model {model}"
        origin = _origin(f"Classes of {file.name}", command, ids, csc)
        rows = exports.export(classified, output, origin)
        show.done(f"{output}: {show.count(rows, 'detection')}")
    _name_without_class(classified)
    if as_json:
        show.as_json({"detections": classified.to_pylist(), "sources": masters.to_pylist()})
        return
    _show_classes("Detections", classified, ["name", "obsid"], "detection_class")
    _show_classes("Sources", masters, ["name", "detection_count"], "soft_master_class")


def _name_without_class(classified: pa.Table) -> None:
    """Say how many detections got no class, and why most of them."""
    rows = classified.select(["detection_class", "reason"]).to_pylist()
    if not rows:
        show.warn("there is no detection in the file")
    reasons = Counter(row["reason"] for row in rows if row["detection_class"] is None)
    if reasons:
        [(reason, number)] = reasons.most_common(1)
        total = reasons.total()
        told = reason if number == total else f"{number:,} for this: {reason}"
        show.warn(f"no class for {total:,} of {show.count(len(rows), 'detection')}; {told}")


def _newest(home: lake.Home, models: str, noun: str) -> str:
    """Model that was trained last, of those in a table."""
    found = home.sql(
        f"SELECT m.model_id FROM {models} AS m JOIN meta.releases AS r"
        " ON r.release = m.release AND r.table_name = ? ORDER BY r.snapshot DESC LIMIT 1",
        [models],
    ).fetchone()
    if found is None:
        mission = models.partition(".")[0]
        raise lake.LacusError(f"this lake has no {noun} yet; `lacus run {mission}` trains one")
    return str(found[0])


def _origin(title: str, command: str, ids: Iterable[str], mission: Any) -> Any:
    """Say where rows that are of no lake come from: which command and models made them."""
    from lake.export import Origin

    models = [f"model:{i}" for i in sorted(ids)]
    return Origin.now(title, command, releases=models, citations=mission.CITATIONS)


def _show_classes(title: str, data: pa.Table, named: Sequence[str], chosen: str) -> None:
    """Print class, probability, runner-up and grouped probabilities for people."""
    from lake.csc.features import AGGREGATE, CLASSES, PROBABILITIES

    column = dict(zip(CLASSES, PROBABILITIES, strict=True))
    groups: dict[str, list[str]] = {}
    for name, group in AGGREGATE.items():
        groups.setdefault(group, []).append(column[name])
    rows = []
    for row in data.to_pylist():
        best = row[chosen]
        ranked = sorted(CLASSES, key=lambda c: -(row[column[c]] or 0))
        rows.append(
            [
                *(row.get(name) for name in named),
                best,
                None if best is None else f"{row[column[best]]:.3f}",
                None if best is None else next(c for c in ranked if c != best),
                *(
                    None if best is None else f"{sum(row[p] for p in columns):.3f}"
                    for columns in groups.values()
                ),
                *([_digits(row["novelty_p_value"]), row["reason"]] if "reason" in row else
                  [row["hard_master_class"]]),
            ]
        )  # fmt: skip
    title, rows = _few(title, rows)
    last = ["novelty p", "note"] if "reason" in data.column_names else ["hard class"]
    header = [*named, "class", "P", "runner-up", *(f"P({g})" for g in groups), *last]
    print()
    show.title(title)
    show.table(header, rows, right=["P", *(f"P({group})" for group in groups)])


def _few(title: str, rows: list[list[Any]]) -> tuple[str, list[list[Any]]]:
    """As many rows as a person reads on a terminal."""
    if not show.out.is_terminal or len(rows) <= _SHOWN_ROWS:
        return title, rows
    return f"{title}: the first {_SHOWN_ROWS} of {len(rows):,}; -o FILE writes all", rows[
        :_SHOWN_ROWS
    ]


def _digits(value: float | None) -> str | None:
    return None if value is None else f"{value:.2g}"


FILES = click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
)


@click.command(
    cls=Command,
    short_help="Preprocess your own optical spectra; no lake is needed.",
    epilog=examples(
        "lacus preprocess spec-*.fits -o spectra.parquet",
        "lacus preprocess spectra/ --recipe seed -o spectra.parquet --log steps.csv",
    ),
)
@FILES
@click.option("--recipe", default="default", show_default=True, metavar="NAME")
@click.option("--output", "-o", type=Product(), required=True, help="The file for them.")
@click.option("--log", type=Product(), help="Write what each step did, with hashes.")
def preprocess(files: tuple[Path, ...], recipe: str, output: Path, log: Path | None) -> None:
    """Preprocess your own optical spectra; no lake is needed.

    FILE is a spectrum in any layout that `lacus add sdss` takes, or a folder of them. Recipes:
    default (rest frame, common grid, without dust and continuum), seed (minimum to maximum,
    2,048 pixels by index), and those of the ablation studies.
    """
    from lake import export as exports
    from lake import sdss
    from lake.sdss.recipes import RECIPES

    if recipe not in RECIPES:
        raise lake.UsageError(f"no recipe {recipe!r}; there are {', '.join(RECIPES)}")
    parts = sdss.preprocess_files(files, recipe)
    spectra, steps, rejected = _all_parts("preprocessing", parts)
    command = f"lacus preprocess --recipe {recipe}"
    for title, data, path in (
        ("Preprocessed spectra", spectra, output), ("Steps of the preprocessing", steps, log),
    ):  # fmt: skip
        if path is not None:
            rows = exports.export(data, path, _origin(title, command, (), sdss))
            show.done(f"{path}: {show.count(rows, 'row')}")
    _end(rejected)


@click.command(
    cls=Command,
    short_help="Classify your own optical spectra with a network of this home.",
    epilog=examples(
        "lacus predict spec-4055-55359-0001.fits", "lacus predict spectra/ -o classes.csv"
    ),
)
@in_home
@FILES
@click.option("--model", metavar="ID", help="The network trained last by default.")
@click.option("--output", "-o", type=Product(), help="Write every probability.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def predict(
    home: lake.Home, files: tuple[Path, ...], model: str | None, output: Path | None, as_json: bool
) -> None:
    """Classify your own optical spectra with a network of this home.

    FILE is a spectrum in any layout that `lacus add sdss` takes, or a folder of them; it does not
    go into the lake. Ends with 3 if some could not be read.
    """
    from lake import export as exports
    from lake import sdss
    from lake.sdss import learning

    chosen = model or _newest(home, "sdss.cnn_models", "network")
    trained = learning.load(home.models / "sdss", chosen)
    found, _, rejected = _all_parts("classifying", sdss.classify_files(files, trained, chosen))
    if output is not None:
        origin = _origin("Classes of spectra", f"lacus predict --model {chosen}", [chosen], sdss)
        show.done(f"{output}: {show.count(exports.export(found, output, origin), 'row')}")
    if as_json:
        show.as_json(found.to_pylist())
    else:
        _show_predictions(found)
    _end(rejected)


def _all_parts(
    what: str, parts: Iterable[tuple[pa.Table, pa.Table, list[Any]]]
) -> tuple[pa.Table, pa.Table, list[Any]]:
    """Gather the parts of a result, its log, and the records of files that were rejected.

    Spectra that a recipe left out are named on the way.
    """
    tables, logs, rejected, files = [], [], [], 0
    with progress.shown(what):
        for table, log, taken in parts:
            files += len(taken)
            progress.report(f"{what}: files", files)
            tables.append(table)
            logs.append(log)
            rejected += [r for r in taken if r.status == "rejected" or r.rows_rejected]
            _name_left_out(table, log)
    if not files:
        raise lake.UsageError("there is no FITS file")
    return pa.concat_tables(tables), pa.concat_tables(logs), rejected


def _name_left_out(table: pa.Table, log: pa.Table) -> None:
    made = set(zip(*(table[key].to_pylist() for key in ("file", "spec_id")), strict=True))
    steps = log.select(["file", "spec_id", "step_name", "warnings"]).to_pylist()
    last = {(step["file"], step["spec_id"]): step for step in steps}
    for (file, spec_id), step in last.items():
        if (file, spec_id) not in made:
            show.warn(f"{file}: {spec_id}, {step['step_name']}: {step['warnings']}")


def _show_predictions(found: pa.Table) -> None:
    rows = [
        [
            row["spec_id"], row["predicted_class"], f"{row['probability']:.3f}", row["runner_up"],
            f"{row['runner_up_probability']:.3f}", f"{row['entropy']:.2f}", _digits(row["snr"]),
            _digits(row["novelty_p_value"]), _doubt(row),
        ]
        for row in found.drop_columns(["classes", "probabilities"]).to_pylist()
    ]  # fmt: skip
    title, rows = _few("Spectra", rows)
    show.title(title)
    header = ["spec_id", "class", "P", "runner-up", "P(runner-up)", "entropy", "S/N", "novelty p",
              "note"]  # fmt: skip
    show.table(header, rows, right=["P", "P(runner-up)", "entropy", "S/N", "novelty p"])


def _doubt(row: dict[str, Any]) -> str | None:
    """Why the network abstains, if it does."""
    from lake.sdss.novelty import NOVELTY_THRESHOLD

    novelty = row["novelty_p_value"]
    if novelty is not None and novelty < NOVELTY_THRESHOLD:
        return "unlike all classes"
    return "unsure" if row["abstained"] else None


def _end(rejected: list[Any]) -> None:
    """Name the files that were rejected, wholly or in part; end with 3 if there are any."""
    for record in rejected:
        show.warn(rejection(record.status, str(record.file.path), record.reason))
    if rejected:
        raise SystemExit(SOME_REJECTED)


COMMANDS = (classify, preprocess, predict)
