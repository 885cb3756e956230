import io
import tracemalloc

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from lake.errors import LacusError, UsageError
from lake.formats import hats_write, read_parquet, voparquet
from lake.formats.hats_write import foreign, position_columns, write_hats
from lake.formats.healpix import DEEPEST, pixels_at_29

RA = {"ucd": "pos.eq.ra;meta.main", "unit": "deg", "description": "Right ascension"}
DEC = {"ucd": "pos.eq.dec;meta.main", "unit": "deg"}


# Kept for good: what was allocated in it may outlive the test.
POOL = pa.proxy_memory_pool(pa.default_memory_pool())


def field(name, kind=None, **known) -> pa.Field:
    return pa.field(name, kind or pa.float64(), metadata=known)


SCHEMA = pa.schema(
    [
        field("name", pa.string(), ucd="meta.id;meta.main"),
        field("ra", **RA),
        field("dec", **DEC),
        field("flux", pa.float32(), unit="Jy", ucd="phot.flux"),
        field("counts", pa.list_(pa.int16())),
    ]
)


def sources(n: int, seed: int = 1) -> pa.Table:
    """Half of them all over the sky, half in a cluster."""
    rng = np.random.default_rng(seed)
    ra = rng.uniform(0, 360, n)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    ra[::2], dec[::2] = 83.8 + rng.normal(0, 0.02, (n + 1) // 2), -5.4
    flux = [None if i % 7 == 0 else i for i in range(n)]
    counts = [None if i % 5 == 0 else [i % 100] * (i % 3) for i in range(n)]
    columns = [[f"é{i}" for i in range(n)], ra, dec, pa.array(flux, pa.float32()), counts]
    return pa.table(columns, schema=SCHEMA)


def write(table: pa.Table, path, **options) -> int:
    known = {"name": "x", "builder": "lacus 0.1.0", "created": "2026-01-02T03:04:05+02:00"}
    return write_hats(table.to_batches(), table.schema, path, **{**known, **options})


def properties(path) -> dict[str, str]:
    lines = (path / "hats.properties").read_text("utf-8").splitlines()
    assert lines[0] == "#HATS catalog"
    return dict(line.split("=", 1) for line in lines[1:])


def leaves(path) -> dict[tuple[int, int], pa.Table]:
    """Rows of each Parquet file, by the order and pixel that its name says."""
    found = {}
    for file in sorted(path.glob("dataset/Norder=*/Dir=*/Npix=*.parquet")):
        order, folder, pixel = (part.split("=")[1] for part in file.parts[-3:])
        pixel = int(pixel.removesuffix(".parquet"))
        assert int(folder) == pixel - pixel % 10_000
        found[int(order), pixel] = pq.ParquetFile(file).read()
    return found


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    path = tmp_path_factory.mktemp("hats") / "x.hats"
    table = sources(3000)
    assert write(table, path, most_rows=200, infos=[("query", "a & b")], coosys="ICRS") == 3000
    return path, table


def test_every_row_is_in_the_tile_of_its_position(catalogue):
    path, table = catalogue
    found = leaves(path)
    assert max(order for order, _ in found) > 9  # of the cluster
    assert len({order for order, _ in found}) > 3
    for (order, pixel), rows in found.items():
        assert 0 < rows.num_rows <= 200
        index = rows["_healpix_29"].to_numpy()
        assert np.array_equal(index, pixels_at_29(rows["ra"].to_numpy(), rows["dec"].to_numpy()))
        assert set(index >> 2 * (DEEPEST - order)) == {pixel}
        assert (np.diff(index) >= 0).all()
        assert rows.column_names == ["_healpix_29", *table.column_names]
    together = pa.concat_tables(found.values()).drop_columns("_healpix_29").sort_by("name")
    assert together.to_pylist() == table.sort_by("name").to_pylist()


def test_files_say_what_there_is(catalogue):
    path, _ = catalogue
    listed = (path / "partition_info.csv").read_text().splitlines()
    assert listed[0] == "Norder,Npix"
    assert sorted(tuple(map(int, line.split(","))) for line in listed[1:]) == sorted(leaves(path))
    assert sorted(file.name for file in path.iterdir()) == [
        "data_thumbnail.parquet",
        "dataset",
        "hats.properties",
        "partition_info.csv",
        "point_map.fits",
        "properties",
        "skymap.fits",
    ]
    footer = pq.read_metadata(path / "dataset/_metadata")
    assert footer.num_rows == 3000
    firsts = [footer.row_group(i).column(0) for i in range(footer.num_row_groups)]
    assert {first.file_path for first in firsts} == {
        file.relative_to(path / "dataset").as_posix() for file in path.glob("dataset/*/*/*")
    }
    assert ds.parquet_dataset(path / "dataset/_metadata").count_rows() == 3000
    sample = pq.read_table(path / "data_thumbnail.parquet")
    assert sample.num_rows == len(leaves(path))
    assert sample.schema.equals(pq.read_schema(path / "dataset/_common_metadata"))


def test_maps_count_the_rows(catalogue):
    from astropy.io import fits

    path, table = catalogue
    assert (path / "skymap.fits").read_bytes() == (path / "point_map.fits").read_bytes()
    with fits.open(path / "skymap.fits") as hdus:
        hdus.verify("exception")
        header, data = hdus[1].header, hdus[1].data
        wanted = pixels_at_29(table["ra"].to_numpy(), table["dec"].to_numpy()) >> 2 * (DEEPEST - 8)
        pixels, counts = np.unique(wanted, return_counts=True)
        assert np.array_equal(data["PIXEL"], pixels)
        assert np.array_equal(data["VALUE"], counts)
        layout = [header[key] for key in ("PIXTYPE", "ORDERING", "COORDSYS", "INDXSCHM", "NSIDE")]
    assert layout == ["HEALPIX", "NESTED", "C", "EXPLICIT", 256]
    assert float(properties(path)["moc_sky_fraction"]) == pytest.approx(len(pixels) / 786432, 1e-5)


def test_properties(tmp_path):
    more = {"obs_title": "a\n  title \\n of it", "bib_reference": "Pérez 2024"}
    write(sources(300), tmp_path / "x", name="my lake & co", most_rows=200, properties=more)
    found = properties(tmp_path / "x")
    text = (tmp_path / "x" / "properties").read_text("utf-8")
    assert text == (tmp_path / "x" / "hats.properties").read_text("utf-8")
    assert found["obs_collection"] == "my_lake_co"
    assert (found["dataproduct_type"], found["hats_version"]) == ("object", "v1.0")
    assert (found["hats_col_ra"], found["hats_col_dec"]) == ("ra", "dec")
    assert (found["hats_col_healpix"], found["hats_col_healpix_order"]) == ("_healpix_29", "29")
    assert (found["hats_nrows"], found["hats_max_rows"]) == ("300", "200")
    assert int(found["hats_order"]) == max(order for order, _ in leaves(tmp_path / "x"))
    assert found["hats_creation_date"] == "2026-01-02T01:04Z"
    assert found["obs_title"] == r"a title \\n of it"
    assert found["bib_reference"] == "Pérez 2024"
    files = [file for file in (tmp_path / "x").rglob("*") if file.is_file()]
    others = sum(file.stat().st_size for file in files if "properties" not in file.name)
    assert int(found["hats_estsize"]) == -(-others // 1024)


def test_units_and_ucds_are_in_every_file(catalogue):
    from astropy.io import votable

    path, table = catalogue
    for file in [path / "dataset/_common_metadata", path / "dataset/_metadata"]:
        assert pq.read_schema(file).field("flux").metadata[b"unit"] == b"Jy"
    for file in [path / "dataset/_common_metadata", next(path.glob("dataset/*/*/*"))]:
        schema = pq.read_schema(file)
        assert schema.field("ra").metadata == {k.encode(): v.encode() for k, v in RA.items()}
        assert schema.field("_healpix_29").metadata[b"ucd"] == b"pos.healpix"
        content = schema.metadata[b"IVOA.VOTable-Parquet.content"]
        document = votable.parse(io.BytesIO(content), verify="exception")
        names = [column.name for column in document.get_first_table().fields]
        assert names == ["_healpix_29", *table.column_names]
        assert [(i.name, i.value) for i in document.resources[0].infos] == [("query", "a & b")]
        assert document.get_first_table().fields[1].arraysize == "5"  # é2999, in every tile
    back = read_parquet(next(path.glob("dataset/*/*/*")))
    assert back.schema.field("dec").metadata[b"unit"] == b"deg"


def test_duckdb_reads_the_leaves(catalogue):
    path, table = catalogue
    found = duckdb.sql(f"SELECT count(*), sum(flux) FROM '{path}/dataset/**/*.parquet'").fetchone()
    assert found == (3000, sum(flux or 0 for flux in table["flux"].to_pylist()))


@pytest.mark.parametrize("rows", [0, 1])
def test_few_rows(rows, tmp_path):
    table = sources(1).slice(0, rows)
    assert write(table, tmp_path / "x") == rows
    assert [order for order, _ in leaves(tmp_path / "x")] == [0] * rows
    assert properties(tmp_path / "x")["hats_nrows"] == str(rows)
    assert pq.read_metadata(tmp_path / "x/dataset/_metadata").num_rows == rows
    assert len((tmp_path / "x/partition_info.csv").read_text().splitlines()) == 1 + rows
    assert pq.read_table(tmp_path / "x/data_thumbnail.parquet").num_rows == rows


def test_poles_and_the_first_meridian(tmp_path):
    places = [(0, 90), (200, 90), (123, -90), (0, 0.1), (360, 0.1), (-360, 0.1), (359.999999, 0.1)]
    columns = [pa.array(axis, pa.float64()) for axis in zip(*places, strict=True)]
    write(
        pa.table(columns, schema=pa.schema([SCHEMA.field("ra"), SCHEMA.field("dec")])),
        tmp_path / "x",
    )
    found = {tile: rows["ra"].to_pylist() for tile, rows in leaves(tmp_path / "x").items()}
    assert found == {(0, 0): [0], (0, 2): [200], (0, 9): [123], (0, 4): [359.999999, 0, 360, -360]}


def test_rows_of_one_place_keep_their_order_and_fill_a_tile_of_their_own(tmp_path):
    table = pa.concat_tables([sources(1)] * 5 + [sources(4, seed=2).slice(1)])
    table = table.set_column(0, SCHEMA.field("name"), [[f"{i}" for i in range(8)]])
    write(table, tmp_path / "x", most_rows=3)
    found = leaves(tmp_path / "x")
    assert max(found)[0] == DEEPEST
    assert found[max(found)]["name"].to_pylist() == ["0", "1", "2", "3", "4"]
    assert sum(rows.num_rows for rows in found.values()) == 8


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_size_of_batches_does_not_matter(size, tmp_path, monkeypatch):
    """Whole, and in runs and row groups of few rows."""
    table = sources(500)
    write(table, tmp_path / "whole", most_rows=100)
    for module in (voparquet, hats_write):
        monkeypatch.setattr(module, "ROW_GROUP_ROWS", 30)
    batches = table.to_batches(max_chunksize=size)
    write(pa.Table.from_batches(batches), tmp_path / "parts", most_rows=100)
    one, other = leaves(tmp_path / "whole"), leaves(tmp_path / "parts")
    assert list(one) == list(other)
    assert all(one[tile].equals(other[tile]) for tile in one)
    footer = pq.read_metadata(tmp_path / "parts/dataset/_metadata")
    groups = [footer.row_group(i).num_rows for i in range(footer.num_row_groups)]
    assert max(groups) == 30
    assert len(groups) > len(one)


def test_rows_without_a_position_are_counted(tmp_path):
    ra, dec = [1.0, None, 2.0, 3.0, np.nan, 4.0], [1.0, 1.0, np.inf, -90.001, 1.0, 90.0]
    given = pa.table([ra, dec], schema=pa.schema([SCHEMA.field("ra"), SCHEMA.field("dec")]))
    said = r"4 of 6 rows have no position.*WHERE isfinite\(ra\) AND dec BETWEEN -90 AND 90"
    with pytest.raises(LacusError, match=said) as raised:
        write(given, tmp_path / "x")
    assert not isinstance(raised.value, UsageError)
    kept = duckdb.sql("FROM given WHERE isfinite(ra) AND dec BETWEEN -90 AND 90").to_arrow_table()
    assert kept["ra"].to_pylist() == [1.0, 4.0]
    assert write(kept.cast(given.schema), tmp_path / "y") == 2


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ([field("ra", **RA), field("dec", **DEC)], ("ra", "dec")),
        ([field("a", ucd="pos.eq.ra"), field("d", ucd="POS.EQ.DEC")], ("a", "d")),
        (
            [field("ra_pnt", ucd="pos.eq.ra;instr"), field("ra", **RA), field("dec", **DEC)],
            ("ra", "dec"),
        ),
        (
            # as VizieR has them: sexagesimal text, and degrees
            [
                field("RAJ2000", pa.string(), ucd="pos.eq.ra;meta.main"),
                field("_RA", **RA),
                field("_DE", pa.float32(), **DEC),
            ],
            ("_RA", "_DE"),
        ),
    ],
)
def test_positions_are_found_by_their_ucds(fields, wanted):
    assert position_columns(pa.schema(fields)) == wanted


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ([field("ra"), field("dec", **DEC)], "no column is in degrees with UCD pos.eq.ra"),
        ([field("ra", **RA)], "no column is in degrees with UCD pos.eq.dec"),
        (
            [field("ra", **{**RA, "unit": "h"}), field("dec", **DEC)],
            "in degrees with UCD pos.eq.ra",
        ),
        ([field("ra", ucd="stat.error;pos.eq.ra"), field("dec", **DEC)], "UCD pos.eq.ra"),
        ([field("a", **RA), field("b", **RA), field("dec", **DEC)], "sorted by: a, b"),
        ([field("ra", **RA), field("dec", **DEC), field("_healpix_29")], "name '_healpix_29'"),
        ([field("ra", **RA), field("dec", **DEC), field("DIR")], "name 'DIR' for itself"),
    ],
)
def test_what_columns_cannot_be_a_catalogue(fields, said, tmp_path):
    schema = pa.schema(fields)
    with pytest.raises(UsageError, match=said):
        write(pa.Table.from_batches([], schema), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_memory_does_not_grow_with_the_rows(tmp_path, monkeypatch):
    for module in (voparquet, hats_write):
        monkeypatch.setattr(module, "ROW_GROUP_BYTES", 1 << 18)
    kinds = [SCHEMA.field("ra"), SCHEMA.field("dec"), field("spectrum", pa.list_(pa.float64()))]
    rng = np.random.default_rng(1)

    def batches():
        for _ in range(100):
            dec = np.degrees(np.arcsin(rng.uniform(-1, 1, 400)))
            spectrum = pa.FixedSizeListArray.from_arrays(rng.uniform(size=400 * 50), 50)
            columns = [rng.uniform(0, 360, 400), dec, spectrum.cast(pa.list_(pa.float64()))]
            yield pa.record_batch(columns, schema=pa.schema(kinds))

    usual = pa.default_memory_pool()
    pa.set_memory_pool(POOL)
    tracemalloc.start()
    try:
        known = {"name": "x", "builder": "lacus 0.1.0", "created": "2026-01-02T03:04:05Z"}
        rows = write_hats(batches(), pa.schema(kinds), tmp_path / "x", most_rows=10_000, **known)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(usual)
    assert rows == 40_000  # 17 MB
    assert POOL.max_memory() < 4 << 20
    assert peak < 4 * 8 * 12 * 4**8  # what counts the rows of the map's pixels, and little else


def test_what_a_folder_holds_beside_a_catalogue(catalogue, tmp_path):
    path, _ = catalogue
    assert foreign(path, "lacus 9.9") is None
    assert foreign(path, "hats-import v0.6.4") == "data_thumbnail.parquet"
    assert foreign(tmp_path, "lacus 9.9") is None
    (tmp_path / "empty").mkdir()
    assert foreign(tmp_path, "lacus 9.9") == "empty"
    (tmp_path / "properties").write_text("hats_builder=lacus 0.1.0\n")
    assert foreign(tmp_path, "lacus 9.9") == "properties"
    (tmp_path / "hats.properties").write_bytes(b"hats_builder=lacustrine \xff\n")
    assert foreign(tmp_path, "lacus 9.9") == "hats.properties"
    (tmp_path / "hats.properties").write_text("hats_builder=lacus 0.1.0\n")
    assert foreign(tmp_path, "lacus 9.9") is None
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "mine.parquet").touch()
    assert foreign(tmp_path, "lacus 9.9") == "dataset/mine.parquet"
