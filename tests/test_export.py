import csv
import datetime
import errno
import io
import json
import math
import os
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.errors import LacusError, UsageError
from lake.export import WRITERS, Origin, citation_text, export
from lake.formats import read_fits, read_table

ORIGIN = Origin(
    title="Bright & hard sources",
    query="select name\nfrom csc.detections where hard_hs > 0.5 " + "and significance > 10 " * 4,
    snapshot=7,
    releases=("csc:CSC2.0",),
    created="2026-01-02T03:04:05Z",
    software="lacus 0.1.0",
    citations=("Pérez-Díaz et al. 2024, MNRAS 528, 4852",),
)
UNITS = {
    "ra": {"unit": "deg", "ucd": "pos.eq.ra;meta.main", "description": "Right ascension"},
    "bb_kt": {"unit": "keV", "ucd": "phys.temperature", "description": "kT " + "of it " * 30},
    "obsid": {"ucd": "meta.id;obs", "description": "Observation"},
}


def described(table: pa.Table) -> pa.Table:
    fields = [field.with_metadata(UNITS.get(field.name)) for field in table.schema]
    return table.cast(pa.schema(fields))


@pytest.fixture
def table() -> pa.Table:
    return described(
        pa.table(
            {
                "name": ["2CXO J1", None, 'a & b_c, "d"'],
                "ra": [10.123456789, math.nan, 0.1],
                "bb_kt": pa.array([0.1, None, 1e-13], pa.float32()),
                "obsid": pa.array([1, None, -(2**31)], pa.int32()),
                "good": [True, None, False],
                "p_qso": [0.12345, None, 1.0],
                "counts": pa.array([[1, 2], None, [3]], pa.list_(pa.int16())),
                "when": pa.array([datetime.datetime(2024, 1, 2, 3, 4, 5), None, None]),
            }
        )
    )


@pytest.fixture
def empty(table: pa.Table) -> pa.Table:
    return table.slice(0, 0)


@pytest.mark.parametrize("ending", list(WRITERS))
def test_every_format_takes_tables_streams_and_emptiness(table, empty, ending, tmp_path):
    streamed, whole = tmp_path / f"stream{ending}", tmp_path / f"table{ending}"
    assert export(table.to_reader(max_chunksize=1), streamed, ORIGIN) == 3
    assert export(table, whole, ORIGIN) == 3
    if ending != ".parquet":  # whose row groups and dictionaries may differ
        assert streamed.read_bytes() == whole.read_bytes()
    assert export(empty, whole, ORIGIN) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([streamed.name, whole.name])


@pytest.mark.parametrize("ending", [".parquet", ".vot", ".fits", ".fits.gz"])
def test_values_units_and_ucds_come_back(table, ending, tmp_path):
    path = tmp_path / f"out{ending}"
    export(table, path, ORIGIN)
    back = read_table(path)
    assert back.column_names == table.column_names
    for name in ("name", "bb_kt", "obsid", "good", "p_qso"):
        assert back[name].to_pylist() == table[name].to_pylist(), name
    assert [back["ra"][0].as_py(), back["ra"][2].as_py()] == [10.123456789, 0.1]
    assert [cell or None for cell in back["counts"].to_pylist()] == [[1, 2], None, [3]]
    for name, known in UNITS.items():
        metadata = back.schema.field(name).metadata
        for key, text in known.items():
            assert metadata[key.encode()] == text.strip().encode(), (name, key)


def test_parquet_is_voparquet(table, tmp_path):
    from astropy.io import votable
    from astropy.table import Table

    path = tmp_path / "out.parquet"
    wanted = table.drop_columns(["good", "when"])  # astropy joins neither with their nulls
    export(wanted, path, ORIGIN)
    footer = pq.ParquetFile(path).metadata
    assert footer.metadata[b"IVOA.VOTable-Parquet.version"] == b"1.0"
    assert footer.row_group(0).column(0).compression == "ZSTD"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        document = votable.parse(
            io.BytesIO(footer.metadata[b"IVOA.VOTable-Parquet.content"]), verify="exception"
        )
        read = Table.read(path, format="parquet.votable")
    infos = {info.name: info.value for info in document.resources[0].infos}
    assert (infos["query"], infos["snapshot"]) == (ORIGIN.query, "7")
    assert infos["citation"] == ORIGIN.citations[0]
    assert [field.name for field in document.get_first_table().fields] == wanted.column_names
    assert (str(read["ra"].unit), read["ra"].meta["ucd"]) == ("deg", "pos.eq.ra;meta.main")
    assert list(read["ra"][[0, 2]]) == [10.123456789, 0.1]
    assert list(read["name"][[0, 2]]) == ["2CXO J1", 'a & b_c, "d"']
    assert pq.read_schema(path).field("ra").metadata[b"unit"] == b"deg"


def test_parquet_keeps_types_that_the_others_put_in_words(tmp_path):
    table = pa.table(
        {
            "when": pa.array([0, None], pa.timestamp("us", "UTC")),
            "classes": [["QSO", "AGN"], None],
            "pair": [{"x": 1}, None],
        }
    )
    export(table, tmp_path / "out.parquet", ORIGIN)
    back = pq.read_table(tmp_path / "out.parquet")
    assert back.schema.types == table.schema.types
    assert back.to_pylist() == table.to_pylist()


def test_small_batches_share_a_row_group(tmp_path):
    batches = pa.table({"x": np.arange(1000)}).to_reader(max_chunksize=10)
    export(batches, tmp_path / "out.parquet", ORIGIN)
    assert pq.ParquetFile(tmp_path / "out.parquet").num_row_groups == 1


def test_votable_has_its_origin_and_its_reference_system(tmp_path):
    from astropy.io import votable

    path = tmp_path / "out.xml"
    export(pa.table({"ra": [1.0], "dec": [2.0], "n": [3]}), path, ORIGIN)
    document = votable.parse(path, verify="exception")
    infos = [(info.name, info.value) for info in document.resources[0].infos]
    assert infos == [
        ("query", ORIGIN.query),
        ("request_date", ORIGIN.created),
        ("server_software", "lacus 0.1.0"),
        ("snapshot", "7"),
        ("resource_version", "csc:CSC2.0"),
        ("citation", ORIGIN.citations[0]),
    ]
    ra, dec, n = document.get_first_table().fields
    assert (ra.ucd, dec.ucd, n.ucd) == ("pos.eq.ra", "pos.eq.dec", None)
    assert document.get_coosys_by_id(ra.ref).system == "ICRS"
    assert n.ref is None


@pytest.mark.parametrize(
    ("said", "system", "equinox"),
    [
        ("Right ascension, ICRS", "ICRS", None),
        ("Right ascension of the pointing (RA_PNT), FK5", "eq_FK5", "J2000"),
        ("Right ascension (RA_OBJ), in the frame that the header names", None, None),
    ],
)
def test_positions_are_in_the_frame_that_their_description_names(tmp_path, said, system, equinox):
    from astropy.io import fits, votable

    field = pa.field("ra_x", pa.float64(), metadata={"ucd": "pos.eq.ra", "description": said})
    table = pa.table([[1.0]], schema=pa.schema([field]))
    for name in ("out.vot", "out.fits"):
        export(table, tmp_path / name, ORIGIN)
    document = votable.parse(tmp_path / "out.vot", verify="exception")
    systems = [(c.system, c.equinox) for c in document.resources[0].coordinate_systems]
    assert systems == ([(system, equinox)] if system else [])
    frame = fits.getheader(tmp_path / "out.fits", 1).get("RADESYS")
    assert frame == (system.removeprefix("eq_") if system else None)


@pytest.mark.parametrize("created", ["2026-01-02T03:04:05+00:00", "2026-01-02T05:04:05+02:00"])
def test_fits_says_when_it_was_made_as_fits_writes_times(tmp_path, created):
    from astropy.io import fits

    path = tmp_path / "out.fits"
    export(pa.table({"x": [1]}), path, replace(ORIGIN, created=created))
    assert fits.getheader(path, 1)["DATE"] == "2026-01-02T03:04:05"


class TestFits:
    def test_astropy_sees_the_same_table(self, table, tmp_path):
        from astropy.io import fits
        from astropy.table import Table

        path = tmp_path / "out.fits"
        export(table.drop_columns("good"), path, ORIGIN)
        with fits.open(path) as hdus:
            hdus.verify("exception")
            header = hdus[1].header
            assert " ".join(ORIGIN.query.split()) == header["QUERY"]
            assert (header["SNAPSHOT"], header["RELEAS1"]) == (7, "csc:CSC2.0")
            assert header["TITLE"] == "Bright & hard sources"
            assert header["REFER1"].startswith(r"P\xe9rez-D\xedaz")
            assert (header["TUCD2"], header["TCOMM3"]) == (
                "pos.eq.ra;meta.main",
                UNITS["bb_kt"]["description"].strip(),
            )
            assert [list(cell) for cell in hdus[1].data["counts"]] == [[1, 2], [], [3]]
        read = Table.read(path, hdu=1)
        assert list(np.ma.getmaskarray(read["obsid"])) == [False, True, False]
        assert (read["obsid"][0], read["obsid"][2]) == (1, -(2**31))
        assert (str(read["bb_kt"].unit), read["bb_kt"][0]) == ("keV", np.float32(0.1))
        assert math.isnan(np.ma.filled(read["bb_kt"], math.nan)[1])

    @pytest.mark.parametrize(
        ("values", "kind", "form"),
        [
            ([*range(1, 256), None], pa.uint8(), "B"),
            ([*range(256), None], pa.uint8(), "I"),
            ([*range(-(2**15), 2**15), None], pa.int16(), "J"),
            ([-(2**15), 2**15 - 1, None], pa.int16(), "I"),
            ([-(2**63), 2**63 - 1, None], pa.int64(), "K"),
            ([None, None], pa.int32(), "J"),
        ],
    )
    def test_null_integers_take_a_free_value_or_a_wider_type(self, values, kind, form, tmp_path):
        from astropy.io import fits

        path = tmp_path / "out.fits"
        export(pa.table({"n": pa.array(values, kind)}), path, ORIGIN)
        assert fits.getheader(path, 1)["TFORM1"] == form
        assert read_fits(path)["n"].to_pylist() == values

    def test_undefined_booleans_are_zero_bytes(self, tmp_path):
        from astropy.io import fits

        path = tmp_path / "out.fits"
        export(pa.table({"b": [True, None, False]}), path, ORIGIN)
        with fits.open(path, logical_as_bytes=True) as hdus:
            assert hdus[1].data["b"].tolist() == [b"T", b"", b"F"]

    def test_lists_of_one_length_are_vectors(self, tmp_path):
        from astropy.io import fits

        path = tmp_path / "out.fits"
        table = pa.table({"v": [[1.0, 2.0], [3.0, 4.0]], "w": [[1.0], []], "z": [[True], [False]]})
        export(table, path, ORIGIN)
        with fits.open(path) as hdus:
            assert hdus[1].columns.formats == ["2D", "1PD(1)", "1PL(1)"]
            assert hdus[1].data["v"].tolist() == [[1, 2], [3, 4]]
            assert [list(cell) for cell in hdus[1].data["w"]] == [[1], []]

    def test_text_beyond_ascii_is_refused_with_its_place(self, tmp_path):
        with pytest.raises(LacusError, match="column 's', row 3: 'β' is not printable ASCII"):
            export(pa.table({"s": ["a", None, "β"]}), tmp_path / "out.fits", ORIGIN)
        assert not list(tmp_path.iterdir())

    @settings(max_examples=30, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.none() | st.text(st.characters(min_codepoint=33, max_codepoint=126)),
                st.none() | st.integers(-(2**15), 2**15 - 1),
                st.none() | st.floats(allow_nan=False),
                st.none() | st.booleans(),
                st.lists(st.floats(allow_nan=False, width=32), max_size=4),
            ),
            max_size=6,
        )
    )
    def test_any_table_comes_back(self, tmp_path_factory, rows):
        kinds = [pa.string(), pa.int16(), pa.float64(), pa.bool_(), pa.list_(pa.float32())]
        columns = [pa.array([row[i] for row in rows], kind) for i, kind in enumerate(kinds)]
        path = tmp_path_factory.mktemp("fits") / "out.fits"
        export(pa.table(columns, names=list("sifbl")), path, ORIGIN)
        wanted = [(text or None, *rest) for text, *rest in rows]
        assert [tuple(row.values()) for row in read_fits(path).to_pylist()] == wanted


def test_csv_tells_null_from_empty(tmp_path):
    table = pa.table(
        {
            "s": ['say "a, b"', None, "", "two\nlines"],
            "x": [0.1, None, 1e300, -0.5],
            "l": [[1, 2], None, [], [None]],
            "t": pa.array([0, None, 1, 2], pa.timestamp("s")),
        }
    )
    path = tmp_path / "out.csv"
    export(table, path, ORIGIN)
    assert path.read_bytes().splitlines()[2] == b",,,"
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["s"] for row in rows] == ['say "a, b"', "", "", "two\nlines"]
    assert [float(row["x"]) for row in rows if row["x"]] == [0.1, 1e300, -0.5]
    assert [row["l"] for row in rows] == ["[1,2]", "", "[]", "[null]"]
    assert rows[2]["t"] == "1970-01-01T00:00:01"
    assert b'"",' in path.read_bytes()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                'odd "key"': st.none() | st.text(),
                "n": st.none() | st.integers(-(2**63), 2**63 - 1),
                "x": st.none() | st.floats(allow_nan=False, allow_infinity=False),
                "b": st.none() | st.booleans(),
                "l": st.none() | st.lists(st.none() | st.text(max_size=3), max_size=3),
            }
        ),
        min_size=1,
        max_size=5,
    )
)
def test_json_is_what_the_json_module_reads(tmp_path_factory, rows):
    kinds = {'odd "key"': pa.string(), "n": pa.int64(), "x": pa.float64(), "b": pa.bool_()}
    kinds["l"] = pa.list_(pa.string())
    table = pa.Table.from_pylist(rows, schema=pa.schema(kinds))
    path = tmp_path_factory.mktemp("json") / "out.json"
    export(table.to_reader(max_chunksize=2), path, ORIGIN)
    assert json.loads(path.read_text())["rows"] == rows


def test_json_says_where_it_comes_from_and_has_no_nan(table, tmp_path):
    export(table, tmp_path / "out.json", ORIGIN)
    read = json.loads((tmp_path / "out.json").read_text())
    assert (read["origin"]["snapshot"], read["origin"]["releases"]) == (7, ["csc:CSC2.0"])
    assert read["columns"][1] == {"name": "ra", "type": "double", **UNITS["ra"]}
    assert (read["rows"][1]["ra"], read["rows"][0]["when"]) == (None, "2024-01-02T03:04:05.000000")


def test_latex_keeps_the_time_of_day_and_parts_a_factor_from_its_unit(tmp_path):
    path = tmp_path / "out.tex"
    about = {
        "start": ("d", "time.start;obs"),
        "stop": ("s", "time.end;obs"),
        "flux": ("10**-17erg.s**-1", "phot.flux"),
    }
    fields = [
        pa.field(name, pa.float64(), metadata={"unit": unit, "ucd": ucd})
        for name, (unit, ucd) in about.items()
    ]
    export(pa.table([[55000.12345], [5.1e8 + 0.25], [2.0]], pa.schema(fields)), path, ORIGIN)
    lines = path.read_text().splitlines()
    assert r"55000.12345 & 510000000.250 & 2" in lines
    assert any(r"($\mathrm{10^{-17}\,erg\,s^{-1}}$)" in line for line in lines)


def test_latex_is_a_deluxetable(table, tmp_path):
    path = tmp_path / "out.tex"
    fields = [table.schema.field(name) for name in ("name", "ra", "bb_kt", "obsid", "p_qso")]
    flux = pa.field("flux", pa.float64(), metadata={"unit": "erg.s**-1.cm**-2", "format": "E9.2"})
    wanted = table.select([f.name for f in fields]).append_column(flux, pa.array([1.5e-13, -2, 0]))
    export(wanted, path, ORIGIN)
    lines = path.read_text().splitlines()
    remarks = [line for line in lines if line.startswith("%")]
    assert remarks[0] == "% Bright & hard sources"
    assert any("select name from csc.detections" in line for line in remarks)
    body = lines[len(remarks) :]
    assert body[0] == r"\begin{deluxetable*}{lrrrrr}"
    assert r"\tablecaption{Bright \& hard sources}" in body
    assert body[4] == (
        r"\colhead{} & \colhead{(deg)} & \colhead{(keV)} & \colhead{} & \colhead{} & "
        r"\colhead{($\mathrm{erg\,s^{-1}\,cm^{-2}}$)}}"
    )
    start = body.index(r"\startdata")
    assert body[start + 1 : start + 5] == [
        r"2CXO J1 & 10.123457 & 0.1 & 1 & 0.123 & $1.50\times10^{-13}$ \\",
        r"\nodata & \nodata & \nodata & \nodata & \nodata & $-2.00\times10^{0}$ \\",
        r'a \& b\_c, "d" & 0.100000 & $1\times10^{-13}$ & $-2147483648$ & 1.000 & '
        r"$0.00\times10^{0}$",
        r"\enddata",
    ]
    assert body[-1] == r"\end{deluxetable*}"


@pytest.mark.parametrize("ending", list(WRITERS))
def test_a_failure_leaves_what_was_there(ending, tmp_path):
    path = tmp_path / f"out{ending}"
    path.write_text("the old one")

    def batches():
        yield pa.record_batch({"x": [1]})
        raise LacusError("the disk is on fire")

    class Failing:
        schema = pa.schema([("x", pa.int64())])

        def __iter__(self):
            return batches()

    with pytest.raises(LacusError, match="on fire"):
        export(Failing(), path, ORIGIN)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "the old one"


class TestHats:
    """A catalogue is a folder; `tests/formats/test_hats_write.py` looks into it."""

    sky = pa.table({"ra": [10.0, 20.0], "dec": [-5.0, 5.0], "name": ["a", "b"]})

    @staticmethod
    def properties(path) -> str:
        return (path / "hats.properties").read_text("utf-8")

    @pytest.mark.parametrize("name", ["out.hats", "out.hats/", "OUT.HATS"])
    def test_tables_streams_and_emptiness(self, name, tmp_path):
        target = f"{tmp_path}/{name}"
        assert export(self.sky, target, ORIGIN) == 2
        assert export(self.sky.to_reader(max_chunksize=1), target, ORIGIN) == 2
        assert export(self.sky.slice(0, 0), target, ORIGIN) == 0
        assert [path.name for path in tmp_path.iterdir()] == [name.strip("/")]

    def test_it_has_its_origin(self, tmp_path):
        path = tmp_path / "out.hats"
        export(self.sky, path, ORIGIN)
        lines = self.properties(path).splitlines()
        assert {
            "obs_collection=Bright_hard_sources",
            "obs_title=Bright & hard sources",
            f"lacus_query={' '.join(ORIGIN.query.split())}",
            "lacus_snapshot=7",
            "prov_progenitor=csc:CSC2.0",
            f"bib_reference={ORIGIN.citations[0]}",
            "hats_builder=lacus 0.1.0",
            "hats_creation_date=2026-01-02T03:04Z",
        } <= set(lines)
        leaf = next(path.glob("dataset/*/*/*.parquet"))
        content = pq.read_metadata(leaf).metadata[b"IVOA.VOTable-Parquet.content"].decode()
        for text in ('name="snapshot" value="7"', "Pérez-Díaz", 'system="ICRS"'):
            assert text in content

    @pytest.mark.parametrize("empty", [False, True])
    def test_a_former_one_or_an_empty_folder_is_replaced(self, empty, tmp_path):
        path = tmp_path / "out.hats"
        if empty:
            path.mkdir()
        else:
            export(self.sky, path, Origin("old", "q", None, (), ORIGIN.created, "lacus 0.0.9"))
        export(self.sky.slice(1), path, ORIGIN)
        assert "hats_nrows=1\n" in self.properties(path)
        assert len(list(path.glob("dataset/*/*/*.parquet"))) == 1
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("name", ["notes.txt", "dataset/Norder=0/mine.parquet"])
    def test_a_folder_with_something_else_is_not(self, name, tmp_path):
        path = tmp_path / "out.hats"
        export(self.sky, path, ORIGIN)
        (path / name).write_text("mine")
        with pytest.raises(UsageError, match=f"it holds {name}"):
            export(self.sky, path, ORIGIN)
        assert (path / name).read_text() == "mine"
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("name", ["out.hats", "out.csv"])
    def test_what_came_while_it_was_written_is_kept(self, name, tmp_path):
        path = tmp_path / name

        class Slow:
            schema = TestHats.sky.schema

            def __iter__(self):
                yield from TestHats.sky.to_batches()
                path.mkdir()
                (path / "notes").write_text("mine")

        with pytest.raises(LacusError, match=r"it holds notes|Is a directory"):
            export(Slow(), path, ORIGIN)
        assert (path / "notes").read_text() == "mine"
        assert list(tmp_path.iterdir()) == [path]

    def test_a_catalogue_by_others_is_not(self, tmp_path):
        path = tmp_path / "out.hats"
        export(self.sky, path, ORIGIN)
        text = self.properties(path).replace("lacus 0.1.0", "hats-import v0.6.4")
        (path / "hats.properties").write_text(text, "utf-8")
        with pytest.raises(UsageError, match="not a catalogue that Lacus wrote"):
            export(self.sky, path, ORIGIN)
        assert self.properties(path) == text

    @pytest.mark.parametrize("linked", [False, True])
    def test_a_file_or_a_link_is_not(self, linked, tmp_path):
        path = tmp_path / "out.hats"
        if linked:
            (tmp_path / "there").mkdir()
            path.symlink_to(tmp_path / "there")
        else:
            path.write_text("mine")
        with pytest.raises(UsageError, match="no folder; it is not replaced"):
            export(self.sky, path, ORIGIN)
        assert path.is_symlink() == linked
        assert linked or path.read_text() == "mine"

    @pytest.mark.parametrize("after", [1, 5])
    def test_a_failure_leaves_what_was_there(self, after, tmp_path, monkeypatch):
        from lake.formats import hats_write

        path = tmp_path / "out.hats"
        export(self.sky, path, ORIGIN)
        before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}

        class Failing:
            schema = TestHats.sky.schema

            def __iter__(self):
                yield from [TestHats.sky.to_batches()[0]] * after
                raise LacusError("the disk is on fire")

        with pytest.raises(LacusError, match="on fire"):
            export(Failing(), path, ORIGIN)

        def full(*args):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(hats_write, "_write_map", full)
        with pytest.raises(LacusError, match=r"out\.hats: cannot be written: No space left"):
            export(self.sky, path, ORIGIN)
        assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before
        assert list(tmp_path.iterdir()) == [path]

    def test_the_former_one_comes_back_where_the_new_one_cannot_take_its_place(
        self, tmp_path, monkeypatch
    ):
        path = tmp_path / "out.hats"
        export(self.sky, path, ORIGIN)
        rename = Path.rename
        done = []

        def second_fails(self, target):
            done.append(target)
            if len(done) == 2:
                raise OSError(13, "Permission denied")
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", second_fails)
        with pytest.raises(LacusError, match="Permission denied"):
            export(self.sky.slice(1), path, ORIGIN)
        assert "hats_nrows=2\n" in self.properties(path)
        assert list(tmp_path.iterdir()) == [path]

    def test_rows_without_a_position_leave_nothing(self, tmp_path):
        with pytest.raises(LacusError, match="1 of 2 rows have no position"):
            export(pa.table({"ra": [1.0, None], "dec": [1.0, 2.0]}), tmp_path / "x.hats", ORIGIN)
        with pytest.raises(UsageError, match="needs a position"):
            export(pa.table({"x": [1.0]}), tmp_path / "x.hats", ORIGIN)
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["hats/", "out.txt", "out"])
def test_an_unknown_format_lists_the_known_ones(name, tmp_path):
    with pytest.raises(UsageError, match=r"\.parquet, \.csv, \.vot.*\.json, \.hats"):
        export(pa.table({"x": [1]}), f"{tmp_path}/{name}", ORIGIN)


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"there is no folder .*absent"):
        export(pa.table({"x": [1]}), tmp_path / "absent" / "out.csv", ORIGIN)


def test_a_type_that_nothing_holds_is_named(tmp_path):
    table = pa.table({"interval": pa.array([None], pa.month_day_nano_interval())})
    with pytest.raises(LacusError, match="'interval': columns of type month_day_nano_interval"):
        export(table, tmp_path / "out.parquet", ORIGIN)


def test_the_citation_sheet():
    text = citation_text(ORIGIN)
    assert text.splitlines()[0] == "Bright & hard sources"
    assert "Snapshot:  7" in text
    assert "please cite:\n  Pérez-Díaz et al. 2024" in text
    bare = Origin("t", "q", None, (), "2026-01-01T00:00:00Z", "lacus 0.1.0")
    assert "Snapshot" not in citation_text(bare)
    assert "cite" not in citation_text(bare)


def test_what_killed_exports_left_goes_with_the_next_one_into_the_folder(table, tmp_path):
    kept = [".lacus-export-89ef0123.out.csv", ".lacus-export-0123abcz.out.csv", "x.out.csv",
            ".0123abcd.out.csv", ".lacus-export-home"]  # fmt: skip
    gone = [".lacus-export-0123abcd.out.csv", ".lacus-export-0123abcd.other.fits.gz"]
    for name in (*kept, *gone):
        (tmp_path / name).touch()
    old, young = (tmp_path / f".lacus-export-{n}.out.hats" for n in ("01234567", "89abcdef"))
    for folder in (old, young):
        (folder / "dataset").mkdir(parents=True)
        (folder / "dataset" / "part.parquet").touch()
    folders = [path for path in tmp_path.rglob("*") if path.is_dir()]
    for path in (*(tmp_path / name for name in (*gone, *kept[1:])), *folders):
        os.utime(path, (1, 1))
    os.utime(old / "dataset" / "part.parquet", (1, 1))
    export(table, tmp_path / "out.csv", ORIGIN)
    # A folder is written to while anything in it is.
    assert {path.name for path in tmp_path.iterdir()} == {*kept, young.name, "out.csv"}


def test_what_another_user_left_is_no_hindrance(table, tmp_path, monkeypatch):
    left = tmp_path / ".lacus-export-0123abcd.out.csv"
    left.touch()
    os.utime(left, (1, 1))

    def unlink(path, missing_ok=False):
        if path == left:
            raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "unlink", unlink)
    assert export(table, tmp_path / "out.csv", ORIGIN) == 3
    assert left.exists()


def test_a_folder_that_is_being_replaced_is_not_taken_for_abandoned(tmp_path, monkeypatch):
    positions = described(pa.table({"ra": [1.0], "dec": [2.0]}))
    target = tmp_path / "out.hats"
    export(positions, target, ORIGIN)
    for path in (target, *target.rglob("*")):
        os.utime(path, (1, 1))
    rename, between = Path.rename, iter(["other.csv"])

    def renamed(path, to):
        # The former one has made way, and another export comes in between.
        if to == target and (name := next(between, None)):
            export(positions, tmp_path / name, ORIGIN)
            raise OSError(errno.EIO, "failed")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", renamed)
    with pytest.raises(LacusError, match="failed"):
        export(positions, target, ORIGIN)
    assert (target / "dataset").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"out.hats", "other.csv"}
