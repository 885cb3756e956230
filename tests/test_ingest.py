"""Ingest, through real files: what goes in, what stays, what is refused and why."""

import itertools
import os
import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake import ingest as ingest_module
from lake import inputs, staging
from lake.errors import InputError
from lake.formats.fits_write import write_fits
from lake.formats.votable_write import write_votable
from lake.home import Home, Source
from lake.ingest import Outcome, ingest

pytestmark = pytest.mark.usefixtures("one_thread")

CONSERVATION = """
SELECT f.name, f.rows_read, f.rows_committed, f.rows_rejected, count(t.file_row) AS stored
FROM meta.files AS f LEFT JOIN {table} AS t
    ON t.release = f.release AND t.file_sha256 = f.sha256 AND f.status = 'committed'
WHERE f.release = ? AND f.role = ?
GROUP BY f.name, f.path, f.status, f.ingested_at, f.rows_read, f.rows_committed, f.rows_rejected
HAVING f.rows_read <> f.rows_committed + f.rows_rejected
    OR (f.status = 'committed' AND f.rows_committed <> count(t.file_row))
"""

_releases = (f"R{n}" for n in itertools.count())


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    return Home(tmp_path_factory.mktemp("module") / "home")


class Case:
    """One release of its own, with files in a folder of its own."""

    def __init__(self, home: Home, folder: Path) -> None:
        self.home, self.folder, self.release = home, folder, next(_releases)

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def add(self, *paths: Path, role: str = "detections", **options: str) -> None:
        self.home.add(Source("csc", self.release, role, paths, options))

    def run(self) -> Outcome:
        outcome = ingest(self.home, "csc", self.release)
        for role, table in (("detections", "csc.detections"), ("labels", "csc.labels")):
            lost = self.home.sql(CONSERVATION.format(table=table), [self.release, role]).fetchall()
            assert lost == []
        assert not list((self.home.store.directory / "staging").glob("*"))
        return outcome

    def rows(self, columns: str = "name, obsid", table: str = "csc.detections", at=None):
        query = f"SELECT {columns} FROM {table} WHERE release = ? ORDER BY ALL"
        return self.home.sql(query, [self.release], at=at).fetchall()

    def files(self, columns: str = "name, status", at=None):
        query = f"SELECT {columns} FROM meta.files WHERE release = ? ORDER BY ALL"
        return self.home.sql(query, [self.release], at=at).fetchall()


@pytest.fixture
def case(home, tmp_path) -> Case:
    return Case(home, tmp_path)


def csv(*rows: tuple, header: str = "name,obsid,hard_hm") -> str:
    return "\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n"


def write_table(table: pa.Table, path: Path) -> None:
    match path.suffix:
        case ".fits":
            write_fits(table.to_batches(), table.schema, path)
        case ".vot":
            write_votable(table, path)
        case ".parquet":
            pq.write_table(table, path)


GOOD = csv(("A", 1, 0.5), ("B", 2, ""))


def test_rows_come_in_with_their_provenance(case):
    path = case.write("good.csv", GOOD)
    case.add(path)
    outcome = case.run()
    sha256 = inputs.sha256(path)
    assert outcome.describe() == "1 files in (2 rows), 0 unchanged, 0 out, 0 rejected"
    assert case.rows("name, obsid, hard_hm, file_sha256, file_row") == [
        ("A", 1, 0.5, sha256, 1), ("B", 2, None, sha256, 2),
    ]  # fmt: skip
    assert case.files(
        "name, path, size, mtime_ns, sha256, status, reason, rows_read, rows_committed,"
        " rows_rejected, snapshot, role"
    ) == [
        ("good.csv", str(path), len(GOOD), path.stat().st_mtime_ns, sha256, "committed", None,
         2, 2, 0, outcome.snapshot, "detections"),
    ]  # fmt: skip
    last = case.home.store.snapshots()[-1]
    assert (last.id, last.info["inputs"]) == (outcome.snapshot, {"good.csv": sha256})
    assert case.release in last.message


def test_every_format_gives_the_same_rows(case):
    table = pa.table(
        {
            "name": ["A", "B"],
            "obsid": pa.array([1, 2], pa.int32()),
            "ra": pa.array([10.5, None]),
            "extra": ["x", None],
        }
    )
    for name in ("f.parquet", "f.vot", "f.fits"):
        case.release = next(_releases)
        write_table(table, case.folder / name)
        case.add(case.folder / name)
        assert case.run().rejected == []
        rows = case.rows("name, obsid, ra, extra, file_row")
        assert rows == [("A", 1, 10.5, "x", 1), ("B", 2, None, None, 2)], name


def test_nothing_new_makes_no_snapshot(case, monkeypatch):
    path = case.write("good.csv", GOOD)
    case.add(path)
    first = case.run().snapshot
    monkeypatch.setattr(inputs, "sha256", lambda path: pytest.fail(f"hashed {path}"))
    again = ingest(case.home, "csc", case.release)
    assert (again.snapshot, again.unchanged, again.committed) == (None, 1, [])
    assert case.home.store.snapshot() == first


def test_a_touched_file_makes_no_snapshot(case):
    path = case.write("good.csv", GOOD)
    case.add(path)
    first = case.run().snapshot
    os.utime(path, ns=(1, 1))
    assert case.run().snapshot is None
    assert case.home.store.snapshot() == first


def test_a_changed_file_is_replaced_and_the_old_state_stays_readable(case):
    path = case.write("a.csv", GOOD)
    other = case.write("b.csv", csv(("C", 3, 0.1)))
    case.add(path, other)
    first = case.run().snapshot
    before = case.rows("name, hard_hm, file_sha256, file_row")
    case.write("a.csv", csv(("A", 1, 0.75)))
    outcome = case.run()
    assert (len(outcome.committed), outcome.superseded, outcome.unchanged) == (1, 1, 1)
    assert case.rows("name, hard_hm, file_sha256, file_row", at=first) == before
    assert case.rows("name, hard_hm, file_row") == [("A", 0.75, 1), ("C", 0.1, 1)]
    kept = [row for row in case.rows("name, hard_hm, file_sha256, file_row") if row[0] == "C"]
    assert kept == [row for row in before if row[0] == "C"]
    assert case.files() == [
        ("a.csv", "committed"), ("a.csv", "superseded"), ("b.csv", "committed"),
    ]  # fmt: skip


def test_a_correction_rewrites_no_row_of_another_file(case, monkeypatch):
    monkeypatch.setattr(staging, "FILE_BYTES", 1)  # a data file for each
    path = case.write("a.csv", GOOD)
    case.add(path, case.write("b.csv", csv(("C", 3, 0.1))))
    case.run()
    before = stored(case)
    case.write("a.csv", csv(("A", 1, 0.75)))
    case.run()
    after = stored(case)
    assert len(before & after) == 1
    assert {rows for _, rows in before - after} == {"A, B"}
    assert {rows for _, rows in after - before} == {"A"}


def test_a_correction_under_another_name(case):
    wrong = case.write("a.csv", GOOD)
    other = case.write("b.csv", csv(("C", 3, 0.1)))
    case.add(wrong, other)
    first = case.run().snapshot
    case.home.forget("csc", case.release)
    case.add(case.write("a_v2.csv", csv(("A", 1, 0.75))), other)
    outcome = case.run()
    assert (len(outcome.committed), outcome.superseded, outcome.unchanged) == (1, 1, 1)
    assert case.rows("name, hard_hm") == [("A", 0.75), ("C", 0.1)]
    assert case.rows("name, hard_hm", at=first) == [("A", 0.5), ("B", None), ("C", 0.1)]
    assert case.files() == [
        ("a.csv", "superseded"), ("a_v2.csv", "committed"), ("b.csv", "committed"),
    ]  # fmt: skip


def stored(case: Case) -> set[tuple[str, str]]:
    """Data files of a release, and the names of the rows that each of them has."""
    rows = case.home.sql(
        "SELECT filename, string_agg(name, ', ' ORDER BY name) FROM csc.detections"
        " WHERE release = ? GROUP BY 1",
        [case.release],
    )
    return set(rows.fetchall())


def test_a_file_removed_from_a_folder_takes_its_rows_along(case):
    case.write("in/a.csv", GOOD)
    gone = case.write("in/b.csv", csv(("C", 3, 0.1)))
    case.add(case.folder / "in")
    first = case.run().snapshot
    gone.unlink()
    assert case.run().superseded == 1
    assert case.rows("name") == [("A",), ("B",)]
    assert case.rows("name", at=first) == [("A",), ("B",), ("C",)]
    assert case.files() == [("a.csv", "committed"), ("b.csv", "superseded")]
    assert case.run().snapshot is None


@pytest.mark.parametrize("folder", [True, False])
def test_rows_stay_while_a_registered_path_is_away(case, folder):
    path = case.write("in/a.csv", GOOD)
    registered = path.parent if folder else path
    case.add(registered)
    case.run()
    shutil.move(registered, case.folder / "away")
    outcome = case.run()
    assert outcome.snapshot is not None
    assert [(r.file.path, r.reason) for r in outcome.rejected] == [
        (registered, "No such file or directory")
    ]
    assert case.rows() == [("A", 1), ("B", 2)]
    assert case.files("name, status, sha256 IS NULL") == [
        ("a.csv", "committed", False), (registered.name, "rejected", True),
    ]  # fmt: skip
    assert case.run().snapshot is None
    shutil.move(case.folder / "away", registered)
    assert case.run().rejected == []
    assert ("a.csv", "rejected") not in case.files()
    assert case.run().snapshot is None


def test_a_file_replaced_by_a_broken_one_keeps_its_rows(case):
    path = case.write("a.csv", GOOD)
    other = case.write("b.csv", csv(("C", 3, 0.1)))
    case.add(path, other)
    case.run()
    case.write("a.csv", csv(("A", "x", 0.75)))
    case.write("b.csv", csv(("C", 3, 0.2)))
    outcome = case.run()
    assert [r.file.path for r in outcome.committed] == [other]
    (refused,) = outcome.rejected
    assert refused.reason == "row 1, column 'obsid': 'x' is not a whole number that fits int32"
    assert case.rows("name, hard_hm") == [("A", 0.5), ("B", None), ("C", 0.2)]
    again = case.run()
    assert (again.snapshot, again.unchanged, len(again.rejected)) == (None, 2, 1)
    case.write("a.csv", csv(("A", 1, 0.75)))
    assert case.run().rejected == []
    assert case.rows("name, hard_hm") == [("A", 0.75), ("C", 0.2)]
    assert "rejected" not in {status for _, status in case.files()}


def test_a_good_file_is_checked_against_the_rows_that_stay(case):
    old, new = csv(("A", 1, 0.5)), csv(("B", 2, 0.5))
    a, b = case.write("a.csv", old), case.write("b.csv", new)
    case.add(a, b)
    case.run()
    # a breaks, so its row (A, 1) stays, and b may not take that key.
    case.write("a.csv", csv(("A", "x", 0.5)))
    case.write("b.csv", csv(("A", 1, 0.9)))
    outcome = case.run()
    assert [r.file.path.name for r in outcome.rejected] == ["a.csv", "b.csv"]
    assert "has the key (name, obsid, obi, region_id) of row 1 of a.csv" in (
        outcome.rejected[1].reason
    )
    assert case.rows("name, hard_hm") == [("A", 0.5), ("B", 0.5)]


def test_one_file_in_two_roles_stays_or_goes_in_each_by_itself(case):
    header = "name,obsid,hard_hm,main_type"
    path = case.write("both.csv", csv(("A", 1, 0.5, "QSO"), header=header))
    case.add(path)
    case.add(path, role="labels")
    case.run()
    # Good as detections, but without the column that labels need.
    path.write_text(csv(("A", 1, 0.75)))
    outcome = case.run()
    assert [(r.file.role, r.status) for r in outcome.committed + outcome.rejected] == [
        ("detections", "committed"), ("labels", "rejected"),
    ]  # fmt: skip
    assert case.rows("name, hard_hm") == [("A", 0.75)]
    assert case.rows("name, main_type", "csc.labels") == [("A", "QSO")]
    assert case.run().snapshot is None


def test_a_release_is_replaced_as_a_whole(case):
    old = [case.write(f"in/old{i}.csv", csv((f"A{i}", i, 0.5))) for i in range(3)]
    case.add(case.folder / "in")
    case.run()
    for path in old:
        path.unlink()
    for i in range(2):
        case.write(f"in/new{i}.csv", csv((f"A{i}", i, 0.75)))
    outcome = case.run()
    assert (len(outcome.committed), outcome.superseded) == (2, 3)
    assert case.rows("name, hard_hm") == [("A0", 0.75), ("A1", 0.75)]
    query = "SELECT rows FROM meta.releases WHERE release = ? AND table_name = 'csc.detections'"
    assert case.home.sql(query, [case.release]).fetchall() == [(2,)]


def test_equal_files_count_once(case):
    case.add(case.write("a.csv", GOOD), case.write("b.csv", GOOD))
    assert len(case.run().committed) == 1
    assert case.rows() == [("A", 1), ("B", 2)]


def test_other_options_read_the_file_again(case):
    path = case.write("a.csv", csv(("A", 1, 0.5), ("A", 1, 0.6)))
    case.add(path)
    assert len(case.run().rejected) == 1
    case.add(path, duplicates="first")
    outcome = case.run()
    assert outcome.rejected == []
    assert case.rows("name, hard_hm") == [("A", 0.5)]
    case.add(path)  # the default again: refused, so what is there stays
    assert len(case.run().rejected) == 1
    assert case.rows("name, hard_hm") == [("A", 0.5)]


def test_a_newer_reader_reads_the_file_again(case, monkeypatch):
    from dataclasses import replace

    from lake.csc import ROLES

    path = case.write("a.csv", GOOD)
    case.add(path)
    case.run()
    role = ROLES["detections"]
    newer = {**ROLES, "detections": replace(role, version=role.version + 1)}
    monkeypatch.setattr("lake.csc.ROLES", newer)
    assert case.run().superseded == 1
    assert case.rows() == [("A", 1), ("B", 2)]
    assert case.run().snapshot is None


def votable(rows: str, obsid: str = "int") -> str:
    return f"""<?xml version="1.0"?>
<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>
<FIELD name="name" datatype="char" arraysize="*"/><FIELD name="obsid" datatype="{obsid}"/>
<FIELD name="ra" datatype="double" unit="deg"/>
<DATA><TABLEDATA>{rows}</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"""


def fits_bytes() -> bytes:
    """Bytes of a FITS table with two rows."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.fits"
        write_table(pa.table({"name": ["A", "B"], "obsid": pa.array([1, 2], pa.int32())}), path)
        return path.read_bytes()


JPEG = bytes.fromhex("ffd8ffe000104a46494600010101006000600000ffdb004300") + bytes(range(256)) * 4
ROW = "<TR><TD>A</TD><TD>1</TD><TD>10.5</TD></TR>"

#: Name, bytes, and what the reason must say.
BAD = [
    ("cut.vot", votable(ROW)[:-60], ""),
    ("malformed.vot", votable(ROW.replace("</TD>", "", 1)), ""),
    ("cell.vot", votable(ROW + ROW.replace("10.5", "ten")), "row 2.*ra"),
    ("cut.fits", fits_bytes()[:5000], ""),
    ("short.fits", fits_bytes()[:1000], ""),
    ("quote.csv", 'name,obsid\n"A,1\nB,2\n', ""),
    ("ragged.csv", "name,obsid,ra\nA,1,2\nB,2\n", "row 2"),
    ("cut.parquet", b"PAR1" + bytes(100), ""),
    ("no_obsid.csv", "name,ra\nA,1\n", "column 'obsid' is missing; the file has name, ra"),
    ("no_name.csv", "obsid,ra\n1,1\n", "column 'name' is missing; the file has obsid, ra"),
    ("text.csv", csv(("A", 1, 0.5), ("B", 2, "soft")),
     "row 2, column 'hard_hm': 'soft' is not a number"),
    ("fraction.csv", csv(("A", 1.5, 0.5)), "row 1, column 'obsid': 1.5 is not a whole number"),
    ("large.csv", csv(("A", 1, 0), ("B", 2**40, 0)), "row 2, column 'obsid': 1099511627776 is not"),
    ("empty.csv", "name,obsid\n", "the table has no rows"),
    ("empty.vot", votable(""), "the table has no rows"),
    ("nothing.csv", "", "the file is empty"),
    ("twice.csv", csv(("A", 1, 0.5), ("B", 2, 0), ("A", 1, 0.5)),
     r"row 3: repeats the key \(name, obsid\) of row 1; .*duplicates=first"),
    ("infinite.csv", csv(("A", 1, 0.5), ("B", 2, "inf")),
     "row 2, column 'hard_hm': inf is not a finite number"),
    ("minus.csv", csv(("A", 1, "-Infinity")), "row 1, column 'hard_hm': -inf is not a finite"),
    ("no_id.csv", csv(("A", 1, 0.5), ("", 2, 0.5)), "row 2, column 'name': null"),
    ("no_obs.csv", csv(("A", 1, 0.5), ("B", "", 0.5)), "row 2, column 'obsid': null"),
    ("unit.vot", votable(ROW).replace('"deg"', '"keV"'), "column 'ra': unit 'keV', expected 'deg'"),
    ("image.csv", JPEG, ""),
    ("picture.vot", JPEG, ""),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "reason"), BAD, ids=[name for name, *_ in BAD])
def test_bad_input_is_refused_and_changes_no_table(case, name, content, reason):
    import re

    case.add(case.write(name, content))
    outcome = case.run()
    (refused,) = outcome.rejected
    assert re.search(reason, refused.reason), refused.reason
    assert str(case.folder) not in refused.reason
    assert "\n" not in refused.reason.strip()
    assert len(refused.reason) > 10
    assert case.rows() == []
    assert case.files("name, status, reason, rows_committed") == [
        (name, "rejected", refused.reason, 0)
    ]
    assert case.run().snapshot is None  # it is not read again before something changes


def test_good_files_come_in_beside_bad_ones(case):
    case.write("in/good.csv", GOOD)
    case.write("in/fine.vot", votable(ROW.replace("A", "V")))
    case.write("in/bad.csv", csv(("X", "one", 0)))
    case.write("in/cut.fits", fits_bytes()[:1000])
    case.add(case.folder / "in", case.write("alone.csv", csv(("Z", 9, 1))))
    outcome = case.run()
    assert sorted(r.file.path.name for r in outcome.rejected) == ["bad.csv", "cut.fits"]
    assert case.rows("name") == [("A",), ("B",), ("V",), ("Z",)]
    assert case.files("name, status") == [
        ("alone.csv", "committed"), ("bad.csv", "rejected"), ("cut.fits", "rejected"),
        ("fine.vot", "committed"), ("good.csv", "committed"),
    ]  # fmt: skip


def test_a_refused_file_that_goes_is_not_listed_any_more(case):
    case.write("in/good.csv", GOOD)
    bad = case.write("in/bad.csv", "obsid\n1\n")
    case.add(case.folder / "in")
    case.run()
    bad.unlink()
    assert case.run().rejected == []
    assert case.files() == [("bad.csv", "superseded"), ("good.csv", "committed")]
    assert case.run().snapshot is None


def test_a_key_that_another_file_has_is_refused(case):
    case.add(
        case.write("a.csv", csv(("A", 1, 0.5), ("B", 2, 0))),
        case.write("b.csv", csv(("C", 3, 0.5), ("B", 2, 0.1))),
        case.write("c.csv", csv(("D", 4, 0.5), ("C", 3, 0.1))),
    )
    outcome = case.run()
    # c shares its key only with b, which is not taken.
    assert [r.reason for r in outcome.rejected] == [
        "row 2: has the key (name, obsid, obi, region_id) of row 2 of a.csv"
    ]
    assert case.rows("name") == [("A",), ("B",), ("C",), ("D",)]
    later = case.write("d.csv", csv(("D", 4, 0.5)))
    case.add(later)
    reasons = [r.reason for r in case.run().rejected]
    assert reasons[-1] == "row 1: has the key (name, obsid, obi, region_id) of row 1 of c.csv"


def test_parts_of_the_key_that_a_file_lacks_are_null(case):
    header = "name,obsid,obi,region_id"
    case.add(
        case.write("a.csv", csv(("A", 1, 0, 7), ("A", 1, 0, 8), header=header)),
        case.write("b.csv", "name,obsid\nA,1\nB,1\n"),
        case.write("c.csv", csv(("A", 1, 0, 8), header=header)),
        case.write("d.csv", csv(("B", 1, "", ""), header=header)),
    )
    outcome = case.run()
    assert {r.file.path.name: r.reason for r in outcome.rejected} == {
        "c.csv": "row 1: has the key (name, obsid, obi, region_id) of row 2 of a.csv",
        "d.csv": "row 1: has the key (name, obsid, obi, region_id) of row 2 of b.csv",
    }
    assert case.rows("name, obi, region_id") == [
        ("A", 0, 7), ("A", 0, 8), ("A", None, None), ("B", None, None),
    ]  # fmt: skip


def test_the_first_of_repeated_keys_is_kept_on_request(case):
    path = case.write("a.csv", csv(("A", 1, 0.5), ("B", 2, 0), ("A", 1, 0.6), ("A", 1, 0.7)))
    case.add(path, duplicates="first")
    outcome = case.run()
    assert case.rows("name, hard_hm, file_row") == [("A", 0.5, 1), ("B", 0.0, 2)]
    assert outcome.partly_rejected == outcome.committed
    assert case.files("status, rows_read, rows_committed, rows_rejected, reason") == [
        ("committed", 4, 2, 2,
         "2 rows left out: row 3 repeats the key (name, obsid) of row 1, and so on"),
    ]  # fmt: skip


def test_labels_must_belong_and_have_types(case):
    case.add(case.write("a.csv", GOOD))
    alien = case.write("alien.csv", "name,main_type\nX,QSO\nY,AGN\n")
    untyped = case.write("untyped.csv", "name,obsid\nA,1\n")
    good = case.write("good.csv", "name,main_type\nA,QSO\nX,AGN\n")
    case.add(alien, untyped, good, role="labels")
    reasons = {r.file.path.name: r.reason for r in case.run().rejected}
    assert reasons == {
        "alien.csv": f"column 'name': none of its values occurs in csc.detections of release "
        f"{case.release}",
        "untyped.csv": "column 'main_type' is missing; the file has name, obsid",
    }
    assert case.rows("name, main_type, catalogue", "csc.labels") == [
        ("A", "QSO", "SIMBAD"), ("X", "AGN", "SIMBAD"),
    ]  # fmt: skip


def test_labels_come_in_once_their_detections_do(case):
    labels = case.write("labels.csv", "name,main_type\nA,QSO\n")
    case.add(labels, role="labels")
    assert len(case.run().rejected) == 1
    case.add(case.write("a.csv", GOOD))
    assert case.run().rejected == []
    assert case.rows("main_type", "csc.labels") == [("QSO",)]


def test_a_path_that_does_not_exist_is_recorded(case):
    case.home.root.mkdir(exist_ok=True)
    path = case.write("a.csv", GOOD)
    case.add(path, case.write("b.csv", csv(("C", 1, 0))))
    path.unlink()
    outcome = case.run()
    assert [r.reason for r in outcome.rejected] == ["No such file or directory"]
    assert case.rows("name") == [("C",)]
    assert case.files("name, status, reason") == [
        ("a.csv", "rejected", "No such file or directory"), ("b.csv", "committed", None),
    ]  # fmt: skip


def test_a_file_that_changes_under_the_reader_is_refused(case, monkeypatch):
    path = case.write("a.csv", GOOD)
    case.add(path)
    conform = ingest_module.conform

    def slow(*arguments):
        path.write_text(GOOD + "C,3,0\n")
        return conform(*arguments)

    monkeypatch.setattr(ingest_module, "conform", slow)
    (refused,) = case.run().rejected
    assert refused.reason == "was changed while it was being read"
    monkeypatch.undo()
    assert case.run().rejected == []
    assert case.rows("name") == [("A",), ("B",), ("C",)]


def test_a_second_ingest_beside_it_waits(case, monkeypatch):
    case.add(case.write("a.csv", GOOD))
    conform, waiting, others = ingest_module.conform, threading.Event(), []

    def second():
        told = lambda what, done, total: waiting.set() if what == "waiting" else None  # noqa: E731
        others.append(ingest(Home(case.home.root), "csc", case.release, told))

    beside = threading.Thread(target=second)

    def overtaken(*arguments):
        beside.start()
        assert waiting.wait(30)
        return conform(*arguments)

    monkeypatch.setattr(ingest_module, "conform", overtaken)
    outcome = case.run()
    beside.join(30)
    assert len(outcome.committed) == 1
    assert [(o.snapshot, o.unchanged) for o in others] == [(None, 1)]
    assert case.rows() == [("A", 1), ("B", 2)]


def test_a_failure_that_is_not_the_inputs_changes_nothing(case, monkeypatch):
    case.add(case.write("a.csv", GOOD), case.write("b.csv", csv(("C", 3, 0))))
    before = case.home.store.snapshot()
    monkeypatch.setattr(ingest_module.checks, "apart", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ingest(case.home, "csc", case.release)
    monkeypatch.undo()
    assert case.home.store.snapshot() == before
    assert not list((case.home.store.directory / "staging").glob("*"))
    assert len(case.run().committed) == 2


def test_extra_columns_follow_the_first_file_that_has_them(case):
    table = pa.table({"name": ["A"], "obsid": [1], "Hue 'x'": pa.array([90.0])})
    field = pa.field("Hue 'x'", pa.float64(), metadata={"unit": "deg", "ucd": "pos.angDistance",
                                                        "description": "Hue of it"})  # fmt: skip
    write_votable(table.cast(table.schema.set(2, field)), case.folder / "a.vot")
    case.add(case.folder / "a.vot")
    case.run()
    turned = pa.table({"name": ["B"], "obsid": [1], "HUE 'X'": pa.array([60.0], pa.float32())})
    field = pa.field("HUE 'X'", pa.float32(), metadata={"unit": "arcmin"})
    write_votable(turned.cast(turned.schema.set(2, field)), case.folder / "b.vot")
    text = case.write("c.csv", "name,obsid,hue 'x'\nC,1,red\n")
    case.add(case.folder / "b.vot", text)
    (refused,) = case.run().rejected
    assert refused.reason == (
        "row 1, column \"Hue 'x'\": 'red' is not a number, which earlier inputs made this column"
    )
    assert case.rows("name, \"Hue 'x'\"") == [("A", 90.0), ("B", 1.0)]
    query = (
        "SELECT column_name, datatype, unit, ucd, description, origin FROM meta.columns"
        " WHERE table_name = 'csc.detections' AND column_name ILIKE 'hue%'"
    )
    assert case.home.sql(query).fetchall() == [
        ("Hue 'x'", "DOUBLE", "deg", "pos.angDistance", "Hue of it", "input")
    ]


def test_the_spelling_of_declared_columns_does_not_matter(case):
    case.add(case.write("a.csv", "NAME,ObsId,Hard_HM\nA,1,0.5\n"))
    assert case.run().rejected == []
    assert case.rows("name, obsid, hard_hm") == [("A", 1, 0.5)]


def test_a_column_without_a_value_leaves_the_type_open(case):
    case.add(case.write("a.csv", "name,obsid,tint\nA,1,\n"))
    case.run()
    query = "SELECT count(*) FROM meta.columns WHERE column_name = 'tint'"
    assert case.home.sql(query).fetchall() == [(0,)]
    case.add(case.write("b.csv", "name,obsid,tint\nB,1,2.5\n"))
    case.run()
    assert case.rows("name, tint") == [("A", None), ("B", 2.5)]


def test_progress_is_told(case):
    case.add(case.write("a.csv", GOOD))
    told = []
    ingest(case.home, "csc", case.release, lambda *what: told.append(what))
    assert told == [("csc a.csv: rows", 2, None)]


def test_an_error_of_a_reader_names_the_file():
    error = InputError("a.csv", "is bad", "row 1")
    assert (str(error), error.reason) == ("a.csv: row 1: is bad", "row 1: is bad")


def test_many_small_files_cost_in_proportion(case, monkeypatch):
    """The statements that look at other files are as many for 60 files as for 3."""
    counts = {}
    for files in (3, 60):
        case.release = next(_releases)
        for i in range(files):
            case.write(f"{case.release}/{i}.csv", csv((f"A{i}", i, 0.5)))
        case.add(case.folder / case.release)
        calls = []
        apart, stored = ingest_module.checks.apart, ingest_module._stored
        monkeypatch.setattr(
            ingest_module.checks, "apart", lambda *a, f=apart, c=calls: c.append("apart") or f(*a)
        )
        monkeypatch.setattr(
            ingest_module, "_stored", lambda *a, f=stored, c=calls: c.append("stored") or f(*a)
        )
        assert len(case.run().committed) == files
        monkeypatch.undo()
        counts[files] = len(calls)
    assert counts[60] == counts[3]


def test_small_files_share_a_data_file_and_go_one_by_one(case):
    for i in range(20):
        header = "name,obsid,hard_hm" + (f",own{i}" if i % 7 == 0 else "")
        row = (f"A{i}", i, i / 100) + ((i,) if i % 7 == 0 else ())
        case.write(f"in/{i}.csv", csv(row, header=header))
    case.add(case.folder / "in")
    case.run()
    data = case.home.store.directory / "data" / "csc" / "detections" / f"release={case.release}"
    assert len(list(data.iterdir())) == 1
    assert case.rows("name, own0, own7, own14")[:2] == [
        ("A0", 0, None, None),
        ("A1",) + (None,) * 3,
    ]
    case.write("in/3.csv", csv(("A3", 3, 0.9)))
    (case.folder / "in" / "4.csv").unlink()
    case.run()
    rows = case.rows("obsid, hard_hm, file_sha256")
    expected = {i: i / 100 for i in range(20) if i != 4} | {3: 0.9}
    assert {obsid: hardness for obsid, hardness, _ in rows} == expected
    for obsid, _, sha256 in rows:
        assert sha256 == inputs.sha256(case.folder / "in" / f"{obsid}.csv")


def test_memory_is_bounded_by_a_batch(case):
    """Batches reach the staged file one after the other."""
    rows = 120_000
    table = pa.table(
        {"name": np.arange(rows).astype(str), "obsid": np.arange(rows, dtype=np.int32)}
    )
    pq.write_table(table, case.folder / "a.parquet")
    case.add(case.folder / "a.parquet")
    told = []
    ingest(case.home, "csc", case.release, lambda what, done, total: told.append(done))
    assert len(told) > 1
    assert max(np.diff([0, *told])) <= 50_000
    assert case.rows("count(*), sum(file_row), max(file_row)") == [
        (rows, rows * (rows + 1) // 2, rows)
    ]
