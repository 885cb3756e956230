"""Figures and tables for papers: files below products/, listed in the lake and shown in the UI."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa

import lake
from lake import contracts
from pipelines.assets import Computed, derived

_SDSS_READS = [
    "sdss.spectra", "sdss.spectra_metadata", "sdss.preprocessed_spectra", "sdss.spectral_lines",
    "sdss.line_list", "sdss.dataset_overview", "sdss.preprocessing_log", "sdss.class_balance",
    "sdss.splits", "sdss.cnn_models", "sdss.cnn_evaluation", "sdss.cnn_predictions",
    "sdss.confusion", "sdss.release_shift", "sdss.ablation_studies",
]  # fmt: skip


class _Shelf:
    """What a release has for a paper: files that are written, and the rows that list them."""

    def __init__(self, home: lake.Home, mission: str, release: str) -> None:
        self.home, self.mission, self.release = home, mission, release
        self.folder = home.products / mission / release
        self.rows: list[dict[str, Any]] = []
        self.files: list[tuple[Path, str]] = []

    def query(self, query: str) -> pa.Table:
        """Rows of the release: every ``?`` of the query is its name."""
        return self.home.store.arrow(query, [self.release] * query.count("?"))

    def _put(self, name: str, kind: str, paths: list[Path], caption: str) -> None:
        self.files += [(path, kind) for path in paths]
        below = [path.relative_to(self.home.root).as_posix() for path in paths]
        self.rows.append(
            {"release": self.release, "name": name, "kind": kind, "paths": below,
             "caption": caption}
        )  # fmt: skip

    def figure(self, name: str, caption: str, draw: Callable[[], Any]) -> None:
        """Write a figure as SVG and PNG."""
        from lake import figures

        drawn = draw()
        paths = [figures.save(drawn, self.folder / f"{name}{end}") for end in (".svg", ".png")]
        self._put(name, "figure", paths, caption)

    def table(self, name: str, caption: str, rows: pa.Table, query: str) -> None:
        """Write a table as LaTeX and CSV."""
        from lake import sdss
        from lake.export import Origin
        from lake.sdss import paper_tables

        origin = Origin.now(
            caption,
            query,
            snapshot=self.home.store.snapshot(),
            releases=[f"{self.mission}:{self.release}"],
            citations=sdss.CITATIONS,
        )
        paths = paper_tables.write(rows, self.folder / name, origin)
        self._put(name, "table", paths, caption)


@derived(tables=["sdss.figures"], reads=_SDSS_READS, version="1")
def figures(context: dg.AssetExecutionContext, home: lake.Home, release: str) -> Computed:
    """Write the figures and tables of a release to products/sdss, as far as there are data."""
    shelf = _Shelf(home, "sdss", release)
    for draw in (_example, _sample, _network, _shift, _studies):
        draw(shelf)
    name = "sdss.figures"
    shown = {
        row["name"]: dg.MetadataValue.path(str(home.root / row["paths"][0])) for row in shelf.rows
    }
    rows = contracts.table(name).arrow(shelf.rows)
    return Computed({name: rows}, {name: shown}, shelf.files)


def _example(shelf: _Shelf) -> None:
    """Draw one spectrum as observed and as preprocessed: the labelled star of a middling S/N."""
    from lake.sdss import figures

    chosen = shelf.query(
        "SELECT p.spec_id FROM sdss.preprocessed_spectra AS p JOIN sdss.spectra_metadata AS m"
        " ON m.release = p.release AND m.spec_id = p.spec_id WHERE p.release = ?"
        " ORDER BY m.object_class = 'STAR' DESC NULLS LAST, abs(ln(greatest(p.snr, 0.1) / 30)),"
        " p.spec_id LIMIT 1"
    )["spec_id"].to_pylist()
    for spec_id in chosen:
        own = f"WHERE release = ? AND spec_id = {contracts.literal(spec_id)}"
        shelf.figure(
            "figure_1_example_spectrum",
            f"Spectrum {spec_id} as observed (above), and in its rest frame on the common grid,"
            " divided by its continuum (below); lines of the line list are marked.",
            lambda own=own: figures.example_spectrum(  # type: ignore[misc]
                shelf.query(f"SELECT * FROM sdss.spectra {own}"),
                shelf.query(f"SELECT * FROM sdss.spectra_metadata {own}"),
                shelf.query(f"SELECT * FROM sdss.preprocessed_spectra {own}"),
                shelf.query("SELECT * FROM sdss.line_list WHERE release = ?"),
                shelf.query(f"SELECT * FROM sdss.spectral_lines {own}"),
            ),
        )


def _sample(shelf: _Shelf) -> None:
    """Say what the spectra are, and what was done to them."""
    from lake.sdss import figures, paper_tables

    splits = shelf.query("SELECT * FROM sdss.splits WHERE release = ? ORDER BY spec_id")
    if splits.num_rows:
        shelf.figure(
            "figure_3_class_balance",
            "Labelled spectra by class and side of the split, and their signal-to-noise ratios.",
            lambda: figures.class_balance(splits),
        )
    for name, caption, make, query in (
        ("table_a_dataset_overview", "The spectra of each class", paper_tables.dataset_overview,
         "SELECT * FROM sdss.dataset_overview WHERE release = ?"),
        ("table_b_preprocessing", "Steps of the preprocessing", paper_tables.preprocessing_steps,
         "SELECT * FROM sdss.preprocessing_log WHERE release = ?"),
        ("supplement_line_list", "Lines that features are matched with", paper_tables.line_list,
         "SELECT * FROM sdss.line_list WHERE release = ?"),
        ("supplement_splits", "Spectra and plates on each side of the split",
         paper_tables.split_counts, "SELECT * FROM sdss.class_balance WHERE release = ?"),
    ):  # fmt: skip
        rows = shelf.query(query)
        if rows.num_rows:
            shelf.table(name, caption, make(rows), query)


def _network(shelf: _Shelf) -> None:
    """Say how the network was trained, and what it is worth."""
    from lake.sdss import evaluation_figures, network_tables

    models = shelf.query("SELECT * FROM sdss.cnn_models WHERE release = ?")
    for model in models.to_pylist():
        shelf.figure(
            "figure_training_history",
            "Loss and accuracy by epoch; the epoch whose weights were kept is marked.",
            lambda model=model: evaluation_figures.training_history(  # type: ignore[misc]
                json.loads(model["history_json"])
            ),
        )
        own = f"model_id = {contracts.literal(model['model_id'])}"
        tested = shelf.query(
            "SELECT s.class_mk, s.sn_median, p.* EXCLUDE (release) FROM sdss.cnn_predictions AS p"
            " JOIN sdss.splits AS s ON s.release = p.release AND s.spec_id = p.spec_id"
            f" WHERE p.release = ? AND s.split = 'test' AND p.{own} ORDER BY p.spec_id"
        )
        levels = shelf.query(f"SELECT * FROM sdss.cnn_evaluation WHERE release = ? AND {own}")
        if tested.num_rows:
            shelf.figure(
                "figure_4_evaluation",
                "The network on plates that it was not trained on: confusion matrix, ROC and"
                " precision-recall curves, accuracy against signal-to-noise ratio, reliability.",
                lambda t=tested, n=levels: evaluation_figures.evaluation(t, n),  # type: ignore[misc]
            )
        for name, caption, make, query in (
            ("table_c_network", "Network and training", network_tables.network_configurations,
             f"SELECT * FROM sdss.cnn_models WHERE release = ? AND {own}"),
            ("table_c_scores", "Scores of the network on the test side",
             network_tables.network_scores,
             f"SELECT * FROM sdss.cnn_models WHERE release = ? AND {own}"),
            ("table_d_class_scores", "Scores of each class on the test side",
             network_tables.class_scores,
             f"SELECT * FROM sdss.confusion WHERE release = ? AND {own}"),
        ):  # fmt: skip
            rows = shelf.query(query)
            if rows.num_rows:
                shelf.table(name, caption, make(rows), query)


def _shift(shelf: _Shelf) -> None:
    """Say what networks of other releases make of this one."""
    from lake.sdss import evaluation_figures

    shift = shelf.query("SELECT * FROM sdss.release_shift WHERE release = ?")
    if len(set(shift["model_release"].to_pylist())) > 1:
        shelf.figure(
            "figure_5_release_shift",
            "Networks on a release that they were not trained on.",
            lambda: evaluation_figures.release_shift(shift),
        )


def _studies(shelf: _Shelf) -> None:
    """Say what each part of recipe and network is worth, if that was asked for."""
    from lake.sdss import evaluation_figures, network_tables

    query = "SELECT * FROM sdss.ablation_studies WHERE release = ?"
    studies = shelf.query(query)
    if studies.num_rows:
        caption = "What each part of the recipe and of the network is worth"
        shelf.figure(
            "supplement_ablation", f"{caption}.", lambda: evaluation_figures.ablation(studies)
        )
        shelf.table("supplement_ablation_studies", caption, network_tables.ablation(studies), query)
