"""A model that stands while little changes: what changed is classified as if all of it were."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lake
from lake.csc import classify, registry, standing
from lake.ingest import ingest
from pipelines import jobs
from pipelines.assets import ASKED
from pipelines.defs import csc
from pipelines.resources import HomeResource
from tests.csc.conftest import make_detections

KEY = ["name", "obsid", "method"]


class Release:
    """Detections in four files and labels in one, below a home; and how to change them."""

    def __init__(self, home: lake.Home, name: str) -> None:
        self.home, self.name, self.root = home, name, home.root / name

    def fill(self, table: pa.Table) -> "Release":
        """Write and register the files."""
        (self.root / "in").mkdir(parents=True)
        quarter = table.num_rows // 4
        for i in range(4):
            self.write(f"{i}", pl.DataFrame(table.slice(i * quarter, quarter)))
        rows = pl.DataFrame(table).filter(pl.col("main_type").is_not_null())
        self.write_labels(rows.select("name", "obsid", "main_type"))
        with (self.home.root / "sources.toml").open("a", encoding="utf-8") as sources:
            for role, path in (("detections", "in"), ("labels", "labels.parquet")):
                sources.write(
                    f"[[source]]\nmission = 'csc'\nrelease = '{self.name}'\nrole = '{role}'\n"
                    f"paths = ['{self.name}/{path}']\n"
                )
        return self

    def read(self, file: str) -> pl.DataFrame:
        return pl.read_parquet(self.root / "in" / f"{file}.parquet")

    def write(self, file: str, rows: pl.DataFrame) -> None:
        columns = [c for c in rows.columns if c not in ("main_type", "kind")]
        pq.write_table(rows.select(columns).to_arrow(), self.root / "in" / f"{file}.parquet")

    def labels(self) -> pl.DataFrame:
        return pl.read_parquet(self.root / "labels.parquet")

    def write_labels(self, rows: pl.DataFrame) -> None:
        pq.write_table(rows.to_arrow(), self.root / "labels.parquet")

    def derive(self, *more: dg.AssetsDefinition, asked: str | None = None) -> None:
        """Ingest, train if need be, classify."""
        assert not ingest(self.home, "csc", self.name).rejected
        with dg.DagsterInstance.ephemeral() as instance:
            instance.add_dynamic_partitions("csc_releases", [self.name])
            dg.materialize(
                [csc.mixture, csc.classification, *more],
                instance=instance,
                partition_key=self.name,
                resources={"home": HomeResource(root=str(self.home.root))},
                tags={ASKED: asked} if asked else {},
            )

    def model(self) -> SimpleNamespace:
        return SimpleNamespace(**standing.row(self.home.store, self.name))

    def table(self, name: str) -> pl.DataFrame:
        rows = self.home.store.arrow(f"SELECT * FROM {name} WHERE release = ?", [self.name])
        return pl.DataFrame(rows)


def assert_as_a_whole(release: Release) -> None:
    """Clusters and probabilities are, bit for bit, what the model gives for all detections."""
    store = release.home.store
    trained = registry.load(release.home.models, release.model().model_id)
    table = standing.detections(store, release.name, store.snapshot())
    both = [classify.classify(trained, table, method) for method in ("softmin", "posterior")]
    whole = {
        "csc.class_probabilities": pa.concat_tables(both),
        "csc.clusters": classify.responsibilities(trained, table),
    }
    for name, expected in whole.items():
        wanted = pl.DataFrame(expected).drop("file_row")
        found = release.table(name)
        assert set(found["model_id"]) == {trained.model_id}
        key = [k for k in KEY if k in wanted.columns]
        assert found.select(wanted.columns).sort(key).equals(wanted.sort(key))


def files(release: Release) -> set[str]:
    """Data files of what is derived for each detection."""
    return {
        row[0]
        for table in ("clusters", "class_probabilities")
        for row in release.home.sql(
            f"SELECT data_file FROM ducklake_list_files('lake', '{table}', schema => 'csc')"
        ).fetchall()
    }


ROWS = 1000


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Three components are trained sooner than six."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csc, "_COMPONENTS", 3)
        patch.setattr(csc, "_MOST_COMPONENTS", 3)
        yield


@pytest.fixture(scope="module")
def sample() -> pa.Table:
    return make_detections(ROWS, labelled=0.4)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, sample) -> Path:
    release = Release(lake.open(tmp_path_factory.mktemp("trained") / "home"), "R").fill(sample)
    release.derive(csc.model_selection)
    return release.home.root


@pytest.fixture
def release(trained, tmp_path) -> Release:
    """A release with its model, of a home of its own."""
    return Release(lake.open(shutil.copytree(trained, tmp_path / "home")), "R")


@pytest.fixture
def classified(monkeypatch) -> list[int]:
    """Numbers of detections that were classified, update by update."""
    seen = []
    real = classify.responsibilities

    def instead(model, table):
        seen.append(table.num_rows)
        return real(model, table)

    monkeypatch.setattr(classify, "responsibilities", instead)
    return seen


def brighter(rows: pl.DataFrame, number: int) -> pl.DataFrame:
    """The first rows with another photon index."""
    index = pl.int_range(pl.len()) < number
    return rows.with_columns(
        pl.when(index).then(pl.col("powlaw_gamma") + 0.3).otherwise("powlaw_gamma").alias(
            "powlaw_gamma"
        )
    )  # fmt: skip


def test_updates_classify_what_changed_as_if_all_were(release, classified):
    """One update after the other; `changed` is what each adds to the model's count."""
    before, model, labels = files(release), release.model(), release.labels()
    assert model.changed_detections == model.changed_labelled == 0

    def changed() -> int:
        count = release.model().changed_detections
        release.derive()
        assert release.model().model_id == model.model_id
        assert release.model().trained_at == model.trained_at
        assert_as_a_whole(release)
        classified.pop()  # that of the comparison
        return release.model().changed_detections - count

    # A file is corrected in a few rows: all its rows name another file, few count.
    release.write("0", brighter(release.read("0"), 6))
    assert changed() == 6
    assert classified[-1] == ROWS // 4
    # A file comes.
    extra = release.read("1").head(5).with_columns(pl.col("obsid") + 100_000)
    release.write("9", extra)
    assert changed() == 5
    assert 5 < classified[-1] < 20  # the sources of the five, with all their detections
    # It goes; a label changes, one goes, one comes that holds for a whole source.
    (release.root / "in" / "9.parquet").unlink()
    other = pl.when(pl.int_range(pl.len()) == 7).then(pl.lit("Star")).otherwise("main_type")
    labels = labels.with_columns(other.alias("main_type"))[1:]
    source = pl.DataFrame(
        {"name": [release.read("2")["name"][1]], "obsid": [None], "main_type": ["HMXB"]},
        labels.schema,
    )
    release.write_labels(pl.concat([labels, source]))
    assert 5 + 1 + 1 <= changed() <= 5 + 1 + 1 + 2
    # The same labels in another order say nothing new.
    release.write_labels(release.labels().reverse())
    assert changed() == 0
    assert classified[-1] == 0
    # Rows go and rows change, and so do labels.
    release.write("3", release.read("3").slice(4))
    release.write("2", brighter(release.read("2"), 3))
    release.write_labels(release.labels()[2:])
    assert changed() in range(7, 10)
    assert before <= files(release)  # what did not change stays where it was


def test_small_changes_add_up_to_a_training(release):
    first, few = release.model(), int(standing.TOLERANCE * ROWS) // 2
    for step in (1, 2):
        release.write("0", brighter(release.read("0"), few))
        release.derive()
        assert release.model().model_id == first.model_id
        assert release.model().changed_detections == step * few
    release.write("0", brighter(release.read("0"), few))
    release.derive()
    assert release.model().model_id != first.model_id
    assert release.model().changed_detections == 0
    assert release.model().trained_snapshot > first.trained_snapshot
    assert_as_a_whole(release)


def test_labels_that_change_train_anew_though_they_are_few(release):
    """The selection of the model looks at no label, and stays."""
    first, selected = release.model(), release.home.store.made("R")["csc.model_selection"]
    number = int(standing.TOLERANCE * first.labelled_rows) + 1
    assert number < standing.TOLERANCE * ROWS
    release.write_labels(release.labels()[number:])
    release.derive(csc.model_selection)
    assert release.model().model_id != first.model_id
    assert_as_a_whole(release)
    again = release.home.store.made("R")["csc.model_selection"]
    assert again.fingerprint != selected.fingerprint
    assert release.table("csc.model_selection").height == 2
    added = "SELECT count(*) FROM ducklake_table_insertions('lake', 'csc', 'model_selection', ?, ?)"
    span = [selected.snapshot + 1, again.snapshot]
    assert release.home.sql(added, span).fetchone() == (0,)


def test_what_cannot_be_told_is_made_anew(release, classified):
    first = release.model()
    release.write("0", brighter(release.read("0"), 5))
    ingest(release.home, "csc", "R")
    read = release.home.store.made("R")["csc.mixture_models"].read_snapshot
    with release.home.store.connect(read_only=False) as connection:
        connection.execute(f"CALL ducklake_expire_snapshots('lake', versions => [{read}])")
    release.home.store.refresh()
    release.derive()
    assert release.model().trained_snapshot > first.trained_snapshot
    assert release.model().changed_detections == 0
    assert classified == [ROWS]
    assert_as_a_whole(release)


def test_a_model_whose_file_is_lost_is_trained_anew(release):
    registry.model_path(release.home.models, release.model().model_id).unlink()
    release.write("0", brighter(release.read("0"), 5))
    release.derive()
    assert release.model().changed_detections == 0
    assert_as_a_whole(release)


def test_a_model_is_trained_anew_if_it_is_asked_for(release):
    name = "csc.mixture_models"
    assert name not in jobs.stale(release.home, "csc", "R", name)
    assert not jobs.standing(release.home, "csc", "R")
    first = release.model()
    release.write("0", brighter(release.read("0"), 5))
    release.derive()
    assert name not in jobs.stale(release.home, "csc", "R")
    assert name in jobs.stale(release.home, "csc", "R", name)
    (told,) = jobs.standing(release.home, "csc", "R")
    assert told.startswith(f"the model of {first.trained_at:%Y-%m-%d %H:%M} UTC stands: ")
    assert "% of what it was trained on has changed since" in told
    release.derive(asked="csc.clusters")
    assert release.model().model_id == first.model_id
    release.derive(asked=name)
    assert release.model().model_id != first.model_id
    assert not jobs.standing(release.home, "csc", "R")
    assert_as_a_whole(release)


def test_what_tells_of_a_training_is_told_of_what_was_trained_on(release):
    store, model = release.home.store, release.model()
    was = standing.detections(store, "R", store.snapshot())
    release.write("0", brighter(release.read("0"), 5))
    release.derive()
    row = standing.row(store, "R")
    table, at = standing.training_set(release.home, row)
    assert table.equals(was)
    assert at == model.trained_snapshot
    table, at = standing.training_set(release.home, {**row, "trained_snapshot": 10_000})
    assert not table.equals(was)
    assert at == store.snapshot()


def test_a_release_takes_the_model_of_one_that_it_mostly_agrees_with(release, sample):
    home, first = release.home, release.model()
    same = Release(home, "R.1").fill(sample)
    same.write("1", brighter(same.read("1"), 8))
    same.derive(csc.model_selection)
    taken = same.model()
    assert (taken.model_id, taken.trained_release) == (first.model_id, "R")
    assert taken.changed_detections == 8
    assert_as_a_whole(same)
    selections = [r.table("csc.model_selection") for r in (release, same)]
    assert set(selections[1]["release"]) == {"R.1"}
    assert selections[0].drop("release").sort("k").equals(selections[1].drop("release").sort("k"))
    assert "trained on R, stands: " in jobs.standing(home, "csc", "R.1")[0]
    # It goes on by itself.
    same.write("1", brighter(same.read("1"), 60))
    same.derive()
    assert (same.model().trained_release, same.model().changed_detections) == ("R.1", 0)
    assert release.model().model_id == first.model_id


def test_a_release_that_differs_gets_a_model_of_its_own(release, sample):
    other = Release(release.home, "S").fill(sample)
    other.write("1", brighter(other.read("1"), 60))
    other.derive()
    assert (other.model().trained_release, other.model().changed_detections) == ("S", 0)
    assert_as_a_whole(other)
