import pytest

import lake
from lake import csc, originals
from lake.errors import LacusError, UsageError

TINY = "name,obsid,ra,dec\n2CXO J000001.0+000001,1,10.5,20.5\n2CXO J000002.0+000002,2,11.5,-21.5\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    from lake.home import Source
    from lake.ingest import ingest

    root = tmp_path_factory.mktemp("lake")
    (root / "tiny.csv").write_text(TINY, encoding="utf-8")
    home = lake.open(root / "home")
    home.add(Source("csc", "R1", "detections", (root / "tiny.csv",)))
    ingest(home, "csc", "R1")
    return home


@pytest.fixture
def names(monkeypatch):
    """A mission whose detections can be written, each as a file of its name."""

    def write_files(read, rows, directory):
        total = read("SELECT count(*) AS n FROM csc.detections WHERE ra > ?", [0.0])
        paths = []
        for row in rows.to_pylist():
            path = directory / "files" / f"{row['obsid']}.txt"
            originals.place(path, f"{row['name']} of {total['n'][0]}".encode())
            paths.append(path)
        return paths

    monkeypatch.setattr(csc, "EXPORTS", {"csc.detections": write_files}, raising=False)


ORIGIN = originals.Origin("Title", "FROM csc.detections", 3, ("csc:R1",), "2024", "lacus", ("A",))


def test_only_what_a_mission_names_can_be_written(names):
    assert originals.writer("csc.detections") is not None
    assert originals.writer("csc.labels") is None
    assert originals.writer("SELECT 1") is None
    assert originals.writer("meta.files") is None


def test_files_of_the_chosen_rows_are_written_with_their_origin(home, names, tmp_path):
    query = "FROM csc.detections WHERE obsid = 2"
    paths = originals.write(home.store, "csc.detections", query, tmp_path / "out", ORIGIN, at=None)
    assert paths == [tmp_path / "out" / "files" / "2.txt"]
    assert paths[0].read_text() == "2CXO J000002.0+000002 of 2"
    sheet = (tmp_path / "out" / originals.ORIGIN).read_text()
    assert "csc:R1" in sheet
    assert "Snapshot:  3" in sheet


def test_wrong_places_and_rows_are_refused(home, names, tmp_path):
    def write(table, query, directory):
        originals.write(home.store, table, query, directory, ORIGIN, at=None)

    with pytest.raises(UsageError, match=r"csc\.labels cannot be written"):
        write("csc.labels", "FROM csc.labels", tmp_path / "a")
    with pytest.raises(UsageError, match=r"no row of .* is selected"):
        write("csc.detections", "FROM csc.detections WHERE obsid = 7", tmp_path / "a")
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="file: is a file"):
        write("csc.detections", "FROM csc.detections", tmp_path / "file")
    with pytest.raises(LacusError, match="cannot be written"):
        write("csc.detections", "FROM csc.detections", tmp_path / "file" / "below")


def test_another_file_is_left_alone_and_the_same_is_no_error(tmp_path):
    path = tmp_path / "new" / "x.fits"
    originals.place(path, b"one")
    originals.place(path, b"one")
    with pytest.raises(LacusError, match="another file of this name"):
        originals.place(path, b"two")
    assert path.read_bytes() == b"one"
    assert [p.name for p in path.parent.iterdir()] == ["x.fits"]
