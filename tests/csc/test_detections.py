"""CSC inputs in the shapes in which the archive and its users give them."""

import functools
import itertools
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake import contracts
from lake.csc import ROLES
from lake.csc.detections import read_detections, read_labels
from lake.errors import InputError
from lake.formats import read_table
from lake.formats.parquet import scan_parquet
from lake.formats.votable_write import write_votable
from lake.home import Home, Source
from lake.ingest import Outcome, ingest
from lake.inputs import InputFile

TSV = """\
#Column\tsepn\t(E9.6)\t\t(.sepn)\t[""]\t[]
#Column\tname\t(A22)\tSource name\t(master_source.name)\t[""]\t[]
#Column\tobsid\t(I5)\tObservation\t(observation_source.obsid)\t[""]\t[]
#Column\thard_hm\t(F9.4)\tHardness\t(observation_source.hard_hm)\t[""]\t[]
#Column\tmstr_hue\t(F9.4)\tA colour\t(master_source.hue)\t["mag"]\t[phot.color]
sepn\tname\tobsid\thard_hm\tmstr_hue
5.786051e+02\t 2CXO J174803.1-325739\t 7273\t   0.5000\t      NaN
1.006973e+03\t 2CXO J174835.9-325458\t 7273\t      NaN\t   1.2500
"""

_releases = (f"R{n}" for n in itertools.count())


def file(path: Path, role: str = "detections", **options: str) -> InputFile:
    return InputFile(path, "csc", "R", role, options, 0, 0, "")


def detections(path: Path) -> pa.Table:
    return read_detections(file(path)).read_all()


@pytest.fixture
def write(tmp_path):
    def write(content: str, name: str = "in.csv") -> Path:
        (tmp_path / name).write_text(content)
        return tmp_path / name

    return write


def test_table_prefixes_go(write):
    path = write(
        "master_source.name,observation_source.obsid,.separation,stack_source.hue,other.x\n"
        "A,1,2.5,3,4\n"
    )
    assert detections(path).to_pylist() == [
        {"name": "A", "obsid": 1, "separation": 2.5, "hue": 3, "other.x": 4}
    ]


def test_the_aliases_of_a_query_go(write):
    path = write("m.name,o.obsid,O.HARD_HM,.separation,a1.b\nA,1,0.5,2.5,4\n")
    assert detections(path).column_names == ["name", "obsid", "HARD_HM", "separation", "a1.b"]


def test_where_two_would_be_equal_the_prefix_stays(write):
    path = write("master_source.flux,observation_source.flux,observation_source.FLUX_b\n1,2,3\n")
    assert detections(path).column_names == ["flux", "observation_source_flux", "FLUX_b"]


def test_the_archives_name_of_the_separation_is_the_catalogues(write):
    assert detections(write("name,SEPN\nA,1\n")).column_names == ["name", "separation"]


#: As VizieR has IX/70/csc21mas.
VIZIER = """\
#RESOURCE=yCat_9070
#Name: IX/70/csc21mas
#Column\t2CXO\t(a18)\tSource name (name)\t[ucd=meta.id;meta.main]
#Column\tRAICRS\t(F11.7)\tRight ascension (ra)\t[ucd=pos.eq.ra;meta.main]
#Column\tDEICRS\t(F11.7)\tDeclination (dec)\t[ucd=pos.eq.dec;meta.main]
#Column\tHRhm\t(F8.4)\tHardness ratio\t[ucd=phot.count]
#Column\tb_HRhm\t(F8.4)\tLower bound\t[ucd=phot.count]
#Column\tB_HRhm\t(F8.4)\tUpper bound\t[ucd=phot.count]
2CXO\tRAICRS\tDEICRS\tHRhm\tb_HRhm\tB_HRhm
 \tdeg\tdeg\t \t \t
------------------\t-----------\t-----------\t--------\t--------\t--------
J004307.5-092302\t 10.7812820\t -9.3840510\t  0.2311\t  0.1000\t  0.3000
J004307.5-092302X\t 10.7812820\t -9.3840510\t        \t        \t
"""


def test_name_and_position_of_vizier_are_those_of_the_catalogue(write):
    table = detections(write(VIZIER, "in.tsv"))
    # Those of master sources, not of their detections: hard_hm is another number.
    assert table.column_names == ["name", "ra", "dec", "HRhm", "b_HRhm", "B_HRhm_2"]
    names = ["2CXO J004307.5-092302", "2CXO J004307.5-092302X"]
    assert table["name"].to_pylist() == names
    assert table["ra"].to_pylist() == [10.781282] * 2


def test_without_names_of_the_catalogue_positions_keep_theirs(write):
    path = write("name,2CXO,RAICRS\nA,J004307.5-092302,1\n")
    assert detections(path).column_names == ["name", "2CXO", "ra"]
    assert detections(write("name,RAICRS\nA,1\n")).column_names == ["name", "RAICRS"]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("J004307.5-092302", "2CXO J004307.5-092302"),
        ("2CXOJ004307.5-092302", "2CXO J004307.5-092302"),
        ("2CXO J004307.5-092302", "2CXO J004307.5-092302"),
        ("CXO J004307.5-092302", "CXO J004307.5-092302"),
        ("J0043-0923", "J0043-0923"),
        ("7", 7),
    ],
)
def test_names_get_the_catalogue_that_they_lack(write, given, name):
    path = write(f"name,main_type,obsid\n{given},QSO,1\n")
    assert detections(path)["name"].to_pylist() == [name]
    assert read_labels(file(path, "labels")).read_all()["name"].to_pylist() == [name]


@pytest.mark.parametrize(
    ("ra", "dec", "degrees"),
    [
        ("00 43 07.531", "-09 23 02.05", (10.781379166666667, -9.383902777777779)),
        ("12:00:00", "+45:30:00.0", (180.0, 45.5)),
        (" 23 59 59.9 ", "-00 30 00", (359.99958333333336, -0.5)),
        ("1 2 3", "4 5 6", (15.5125, 4.085)),
    ],
)
def test_sexagesimal_positions_become_degrees(write, ra, dec, degrees):
    table = detections(write(f"name,ra,dec\nA,{ra},{dec}\nB,,\n"))
    assert table["ra"].to_pylist() == [pytest.approx(degrees[0], abs=1e-12), None]
    assert table["dec"].to_pylist() == [pytest.approx(degrees[1], abs=1e-12), None]
    assert table.schema.field("ra").metadata == {b"unit": b"deg"}


def test_sexagesimal_positions_are_read_batch_by_batch(tmp_path, monkeypatch):
    path = tmp_path / "in.parquet"
    by_row = functools.partial(scan_parquet, batch_rows=1)
    monkeypatch.setattr("lake.csc.detections.scan_table", by_row)
    given = {"name": ["A", "B", "C"], "ra": ["1 0 0", "2 0 0", "3 0 0"], "dec": ["+1 0 0"] * 3}
    pq.write_table(pa.table(given), path)
    batches = list(read_detections(file(path)))
    assert len(batches) == 3
    assert [batch["ra"][0].as_py() for batch in batches] == [15, 30, 45]


@pytest.mark.parametrize("bad", ["12 00", "12 60 00", "12 00 61", "12x00m00s", "north"])
def test_what_is_no_position_is_named(write, bad):
    path = write(f"name,ra,dec\nA,12 00 00,1\nB,{bad},2\n")
    with pytest.raises(InputError) as caught:
        detections(path)
    assert caught.value.reason.startswith(f"row 2, column 'ra': '{bad}' is not hh mm ss")


def test_degrees_stay(write):
    assert detections(write("name,ra,dec\nA,10.5,-3\n"))["ra"].to_pylist() == [10.5]


def test_labels_are_their_own_columns_alone(write):
    path = write("col1,name,obsid,main_type,other_types,angDist,ra_x\n1,A,5,QSO,QSO|X,0.25,3\n")
    assert read_labels(file(path, "labels")).read_all().to_pylist() == [
        {
            "name": "A", "obsid": 5, "main_type": "QSO", "other_types": "QSO|X",
            "separation_arcsec": 0.25, "catalogue": "SIMBAD",
        }
    ]  # fmt: skip


def test_columns_of_labels_are_known_in_any_case(write):
    path = write("NAME,MAIN_TYPE,AngDist\nA,QSO,0.25\n")
    (row,) = read_labels(file(path, "labels")).read_all().to_pylist()
    assert (row["name"], row["main_type"], row["separation_arcsec"]) == ("A", "QSO", 0.25)


def test_the_catalogue_of_labels(write):
    path = write("name,main_type\nA,QSO\n")
    (row,) = read_labels(file(path, "labels", catalogue="NED")).read_all().to_pylist()
    assert row["catalogue"] == "NED"
    path = write("name,main_type,catalogue\nA,QSO,4XMM\n")
    (row,) = read_labels(file(path, "labels", catalogue="NED")).read_all().to_pylist()
    assert row["catalogue"] == "4XMM"


def test_labels_without_types_are_refused(write):
    with pytest.raises(InputError, match="column 'main_type' is missing; the file has name, class"):
        read_labels(file(write("name,class\nA,1\n"), "labels"))


def test_labels_without_names_are_refused_with_the_columns_of_the_file(write):
    with pytest.raises(InputError, match="column 'name' is missing; the file has ra, main_type"):
        read_labels(file(write("ra,main_type\n1,QSO\n"), "labels"))


class Lake:
    """A lake into which each test ingests releases of its own."""

    def __init__(self, home: Home) -> None:
        self.home = home

    def ingest(self, *paths: Path, labels: Path | None = None, **options: str) -> Outcome:
        self.release = next(_releases)
        self.home.add(Source("csc", self.release, "detections", paths, options))
        if labels is not None:
            self.home.add(Source("csc", self.release, "labels", (labels,)))
        return ingest(self.home, "csc", self.release)

    def table(self, columns: str, table: str = "csc.detections") -> pa.Table:
        query = f"SELECT {columns} FROM {table} WHERE release = ? ORDER BY file_sha256, file_row"
        return self.home.store.arrow(query, [self.release])

    def rows(self, columns: str, table: str = "csc.detections") -> list[tuple]:
        return [tuple(row.values()) for row in self.table(columns, table).to_pylist()]


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:
    return Lake(Home(tmp_path_factory.mktemp("module") / "home"))


def test_a_command_line_export_comes_in_whole(lake, write):
    assert lake.ingest(write(TSV)).rejected == []
    assert lake.rows("name, obsid, separation, hard_hm, mstr_hue") == [
        ("2CXO J174803.1-325739", 7273, 578.6051, 0.5, None),
        ("2CXO J174835.9-325458", 7273, 1006.973, None, 1.25),
    ]
    kept = lake.home.sql(
        "SELECT unit, ucd, description, origin FROM meta.columns WHERE column_name = 'mstr_hue'"
    ).fetchall()
    assert kept == [("mag", "phot.color", "A colour", "input")]


def picked(lake, write, detections: str, labels: str) -> list[tuple]:
    outcome = lake.ingest(write(detections), labels=write(labels, "labels.csv"))
    assert outcome.rejected == []
    return lake.rows("name, obsid, main_type", "csc.labelled_features")


SEEN = "name,obsid\nA,1\nA,2\nB,1\nC,1\n"


def test_a_label_per_source_holds_for_all_its_detections(lake, write):
    assert picked(lake, write, SEEN, "name,main_type\nA,QSO\nB,AGN\nD,YSO\n") == [
        ("A", 1, "QSO"), ("A", 2, "QSO"), ("B", 1, "AGN"), ("C", 1, None),
    ]  # fmt: skip


def test_labels_match_by_names_of_vizier(lake, write):
    seen = "name,obsid\n2CXO J004307.5-092302,1\n2CXO J004307.6-092302,1\n"
    # As the CDS writes what it matched with SIMBAD.
    labels = "angDist,2CXO,RAICRS,main_id,main_type\n0.2,J004307.5-092302,10.7,M 1,QSO\n"
    assert picked(lake, write, seen, labels) == [
        ("2CXO J004307.5-092302", 1, "QSO"), ("2CXO J004307.6-092302", 1, None),
    ]  # fmt: skip


def test_a_label_of_the_observation_goes_first(lake, write):
    labels = "name,obsid,main_type,separation_arcsec\nA,,QSO,0.1\nA,2,AGN,0.9\nB,7,YSO,0.1\n"
    assert picked(lake, write, SEEN, labels) == [
        ("A", 1, "QSO"), ("A", 2, "AGN"), ("B", 1, None), ("C", 1, None),
    ]  # fmt: skip


def test_a_nearer_object_goes_first(lake, write):
    labels = (
        "name,obsid,main_id,main_type,separation_arcsec\n"
        "A,,far,QSO,0.9\nA,,near,AGN,0.2\nA,,unknown,YSO,\n"
    )
    assert picked(lake, write, SEEN, labels)[:2] == [("A", 1, "AGN"), ("A", 2, "AGN")]


def test_each_detection_is_once_in_the_view_with_or_without_obi(lake, write):
    seen = "name,obsid,obi,region_id\nA,1,0,1\nA,1,0,2\nA,1,,\nB,1,,\n"
    rows = picked(lake, write, seen, "name,obsid,main_type\nA,1,QSO\nA,,AGN\n")
    assert rows == [("A", 1, "QSO")] * 3 + [("B", 1, None)]


def test_every_format_of_a_detection_table(lake, tmp_path):
    table = pa.table({"name": ["A"], "obsid": [3], "ra": ["12 00 00"], "hard_hm": [0.5]})
    write_votable(table, tmp_path / "a.vot")
    pq.write_table(table, tmp_path / "a.parquet")
    for name in ("a.vot", "a.parquet"):
        assert lake.ingest(tmp_path / name).rejected == []
        assert lake.rows("name, obsid, ra, hard_hm") == [("A", 3, 180.0, 0.5)]


def test_endings_of_all_readable_formats_are_taken_from_a_folder():
    for role in ROLES.values():
        assert {".vot", ".fits", ".csv", ".tsv", ".parquet", ".ecsv"} <= set(role.suffixes)


@pytest.mark.real
def test_all_281_columns_of_real_exports_are_kept(lake, real_data):
    folder = real_data / "csc" / "cli_tsv"
    outcome = lake.ingest(folder)
    assert outcome.rejected == []
    assert len(outcome.committed) == 6
    parts = {}
    for path in sorted(folder.iterdir()):
        parts[path.name] = read_table(path)
    for record in outcome.committed:
        given = parts[record.file.path.name]
        columns = ", ".join(
            contracts.quote("separation" if name == "sepn" else name) for name in given.column_names
        )
        assert given.num_columns == 281
        stored = lake.home.store.arrow(
            f"SELECT {columns} FROM csc.detections WHERE release = ? AND file_sha256 = ?"
            " ORDER BY file_row",
            [lake.release, record.file.sha256],
        )
        assert stored.num_columns == 281
        for before, after in zip(given.columns, stored.columns, strict=True):
            assert after.cast(before.type).to_pylist() == before.to_pylist()
    undescribed = lake.home.sql(
        "SELECT c.column_name FROM duckdb_columns() AS c LEFT JOIN meta.columns AS m"
        " ON m.table_name = 'csc.detections' AND m.column_name = c.column_name"
        " WHERE c.database_name = 'lake' AND c.schema_name = 'csc'"
        " AND c.table_name = 'detections' AND m.description IS NULL"
    ).fetchall()
    assert undescribed == []


@pytest.mark.real
def test_a_real_votable_of_one_detection(lake, real_data):
    assert lake.ingest(real_data / "csc" / "cscview_one_detection.vot").rejected == []
    ((name, obsid, ra, dec, hardness),) = lake.rows("name, obsid, ra, dec, hard_hm")
    assert (name, obsid) == ("2CXO J004307.5-092302", 4884)
    assert (ra, dec) == (pytest.approx(10.78, abs=0.01), pytest.approx(-9.38, abs=0.01))
    assert hardness == pytest.approx(0.23110555902561, abs=1e-12)
    missing = lake.table("missing", "csc.features")["missing"].to_pylist()
    assert missing == ["powlaw_gamma, bb_kt"]


@pytest.mark.real
def test_master_sources_are_no_detections(lake, real_data):
    (refused,) = lake.ingest(real_data / "csc" / "cscview_master_sources.vot").rejected
    assert refused.reason.startswith("column 'obsid' is missing; the file has separation, name, ra")


@pytest.mark.real
def test_exports_of_another_group_come_in_with_their_columns(lake, real_data):
    path = real_data / "csc" / "muwclass" / "NGC3532_per.csv"
    outcome = lake.ingest(path)
    assert (outcome.rejected, outcome.committed[0].rows_committed) == ([], 389)
    given = read_table(path)
    stored = {c.lower() for c in lake.table("*").column_names}
    lost = {
        name
        for name in given.column_names
        if name.lower() not in stored and given[name].null_count < given.num_rows
    }
    assert lost == set()


@pytest.mark.real
def test_one_file_gives_detections_and_labels(lake, real_data):
    path = real_data / "csc" / "cscview_raw_with_simbad.csv"
    outcome = lake.ingest(path, labels=path)
    assert outcome.rejected == []
    assert [r.rows_committed for r in outcome.committed] == [1101, 1101]
    given = read_table(path)
    rows = lake.home.store.arrow(
        "SELECT d.ra, l.main_type FROM csc.detections AS d JOIN csc.labels AS l"
        " USING (release, name, obsid, file_sha256, file_row) WHERE release = ? ORDER BY file_row",
        [lake.release],
    )
    assert rows["ra"].to_pylist() == given["ra"].to_pylist()
    assert rows["main_type"].to_pylist() == given["main_type"].to_pylist()


@pytest.mark.real
def test_published_tables(lake, real_data):
    path = real_data / "csc" / "published_detection_level.csv"
    (refused,) = lake.ingest(path).rejected
    assert refused.reason.startswith("row 1677: repeats the key (name, obsid) of row 1676 (51 rows")
    (record,) = lake.ingest(path, duplicates="first").committed
    assert (record.rows_read, record.rows_committed, record.rows_rejected) == (9804, 9753, 51)
    ((distinct, total),) = lake.home.sql(
        "SELECT count(DISTINCT (name, obsid)), count(*) FROM csc.detections WHERE release = ?",
        [lake.release],
    ).fetchall()
    assert distinct == total == 9753
    for other in ("published_uniquely_classified.csv", "published_ambiguous.csv"):
        (refused,) = lake.ingest(real_data / "csc" / other).rejected
        assert refused.reason.startswith("column 'obsid' is missing")


@pytest.mark.real
def test_labels_of_the_real_detections(lake, real_data):
    outcome = lake.ingest(
        real_data / "csc" / "detections_features.parquet",
        labels=real_data / "csc" / "simbad_labels.csv",
    )
    assert outcome.rejected == []
    labelled = lake.table("main_type", "csc.labelled_features")["main_type"]
    assert len(labelled) == 9379
    assert len(labelled) - labelled.null_count == 4119
