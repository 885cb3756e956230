"""Which background, response and area go with a spectrum, and how that was found."""

from typing import Any

import pyarrow as pa
import pytest

from lake import contracts
from lake.ogip.pairing import AREAS, RESPONSES, SPECTRA, pair


def table(name: str, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> pa.Table:
    schema = contracts.table(name).schema()
    return pa.Table.from_pylist(rows, pa.schema([schema.field(c) for c in columns]))


def spectrum(name: str, **more: Any) -> dict[str, Any]:
    return {"release": "R", "spec_id": name, "path": f"/in/{name}", "hdu": 1, "n_channels": 5,
            "content": "TOTAL", "telescope": "T", "instrument": "I", "file_sha256": name,
            **more}  # fmt: skip


def response(name: str, **more: Any) -> dict[str, Any]:
    return {"response_id": name, "path": f"/in/{name}", "hdu": 1, "n_energies": 3,
            "n_channels": 5, "energy_min": 0.5, "energy_max": 3.0, "includes_area": False,
            "telescope": "T", "instrument": "I", "max_row_sum": 1.0, **more}  # fmt: skip


def area(name: str, **more: Any) -> dict[str, Any]:
    return {"area_id": name, "path": f"/in/{name}", "hdu": 1, "n_energies": 3,
            "energ_lo": [0.5, 1.0, 2.0], "energ_hi": [1.0, 2.0, 3.0], "telescope": "T",
            "instrument": "I", **more}  # fmt: skip


def paired(spectra, responses=(), areas=(), options=None, copies=None) -> list[dict[str, Any]]:
    found = pair(
        table("ogip.spectra", SPECTRA, list(spectra)),
        table("ogip.responses", RESPONSES, list(responses)),
        table("ogip.effective_area", AREAS, list(areas)),
        options,
        copies,
    )
    assert found.schema == contracts.table("ogip.pairs").schema()
    return found.to_pylist()


NAMES_OF = ("BACKFILE 'b.pi'", "RESPFILE 'r.rmf'", "ANCRFILE 'a.arf'")
NAMED = {"backfile": "b.pi", "respfile": "r.rmf", "ancrfile": "a.arf"}


def test_by_keyword_beside_the_file():
    spectra = [spectrum("x.pi", **NAMED), spectrum("b.pi", content="BKG")]
    x, b = paired(spectra, [response("r.rmf")], [area("a.arf")])
    assert x == {
        "release": "R", "spec_id": "x.pi", "background_id": "b.pi", "background_from": "keyword",
        "response_id": "r.rmf", "response_from": "keyword", "response_parts": None,
        "response_kind": "rmf",
        "area_id": "a.arf", "area_from": "keyword", "missing": [], "problems": [],
        "foldable": True, "file_sha256": "x.pi",
    }  # fmt: skip
    assert (b["background_id"], b["missing"], b["foldable"]) == (None, ["response"], False)


@pytest.mark.parametrize(
    ("written", "there"),
    [("sub/r.rmf", "/in/sub/r.rmf"), ("../r.rmf", "/r.rmf"), ("/far/away/r.rmf", "/in/r.rmf"),
     ("/cal/r.rmf", "/cal/r.rmf"), ("r.rmf", "/in/r.rmf.gz"), ("r.rmf.gz", "/in/r.rmf"),
     ("r.rmf[MATRIX]", "/in/r.rmf"), ("r.rmf[1]", "/in/r.rmf"), ("r.rmf{1}", "/in/r.rmf")],
)  # fmt: skip
def test_names_are_relative_and_absolute_and_compressed(written, there):
    row = response("r", path=there, extname="MATRIX", includes_area=True)
    [found] = paired([spectrum("x.pi", respfile=written)], [row])
    assert (found["response_id"], found["response_from"]) == ("r", "keyword")
    assert (found["response_kind"], found["foldable"]) == ("rsp", True)
    assert found["missing"] == ["background"]


@pytest.mark.parametrize("scale", ["backscup", "backscdn"])
def test_a_grating_spectrum_has_a_background_beside_it(scale):
    [found] = paired([spectrum("x.pha2", **{scale: 4.0})])
    assert (found["background_id"], found["background_from"]) == (None, "columns")
    assert found["missing"] == ["response"]
    # That of a file, as tg_bkg writes it, goes before.
    rows = [spectrum("x.pha2", backfile="b.pi", **{scale: 4.0}), spectrum("b.pi", content="BKG")]
    found, _ = paired(rows)
    assert (found["background_id"], found["background_from"]) == ("b.pi", "keyword")


def test_what_is_named_and_not_there_is_a_problem_and_the_names_are_tried():
    spectra = [spectrum("x.pi", **NAMED), spectrum("x_bkg.pi")]
    x, b = paired(spectra, [response("x.rmf")], [area("x.arf")])
    assert (x["background_id"], x["response_id"], x["area_id"]) == ("x_bkg.pi", "x.rmf", "x.arf")
    assert {x[f"{kind}_from"] for kind in ("background", "response", "area")} == {"name"}
    assert x["problems"] == [
        "BACKFILE 'b.pi' is not there",
        "RESPFILE 'r.rmf' is not there",
        "ANCRFILE 'a.arf' is not there",
    ]
    assert x["missing"] == []
    assert x["foldable"]
    # What its name says to be a background needs none itself.
    assert (b["background_id"], b["response_id"], b["missing"]) == (None, "x.rmf", [])


def test_names_count_in_the_folder_or_the_same_observation_only():
    elsewhere = {"path": "/other/x.rsp", "includes_area": True}
    [found] = paired([spectrum("x.pi")], [response("far", **elsewhere)])
    assert found["response_id"] is None
    rows = [spectrum("x.pi", obs_id="7"), spectrum("bkg", path="/b/x.bak", obs_id="7")]
    found, _ = paired(rows)
    assert (found["background_id"], found["background_from"]) == ("bkg", "name")


def test_names_of_another_instrument_do_not_count():
    [found] = paired([spectrum("x.pi")], [response("x.rsp", instrument="J", includes_area=True)])
    assert found["response_id"] is None
    [found] = paired([spectrum("x.pi")], [response("x.rsp", instrument=None, includes_area=True)])
    assert found["response_id"] == "x.rsp"


def test_of_files_called_alike_the_one_that_fits_is_taken():
    rows = [response("x.rsp", n_channels=5, includes_area=True),
            response("x.rsp2", n_channels=9, includes_area=True)]  # fmt: skip
    five, nine = paired([spectrum("x.src"), spectrum("x.src2", n_channels=9)], rows)
    assert (five["response_id"], nine["response_id"]) == ("x.rsp", "x.rsp2")
    both = [response("x.rsp", includes_area=True), response("x.rsp2", includes_area=True)]
    [found] = paired([spectrum("x.src")], both)
    assert found["response_id"] is None
    assert found["problems"] == ["2 response files are called alike: none is taken"]


def test_by_option_last():
    options = {"x.pi": {"background": "bgs/b.pi", "response": "r.rsp", "area": "none.arf"}}
    rows = [spectrum("x.pi"), spectrum("b", path="/in/bgs/b.pi", content="BKG")]
    found, _ = paired(rows, [response("r", path="/cal/r.rsp")], [area("q.arf")], options)
    assert (found["background_id"], found["background_from"]) == ("b", "option")
    assert (found["response_id"], found["response_from"]) == ("r", "option")
    assert found["area_id"] is None
    assert found["problems"] == ["option area 'none.arf' is not there"]
    assert (found["missing"], found["foldable"]) == (["area"], False)


def test_a_response_that_lies_in_two_folders_is_one():
    """Missions deliver the same RMF with every observation; the lake has it once."""
    folders = ("/in/1/", "/in/2/")
    rows = [spectrum(f"x{f[-2]}", path=f"{f}x.pi", obs_id="7", **NAMED) for f in folders]
    rows.append(spectrum("b", path="/in/1/b.pi", content="BKG"))
    given = [response("r", path="/in/1/r.rmf")], [area("a", path="/in/1/a.arf")]
    copies = {f"/in/2/{name}": f"/in/1/{name}" for name in ("b.pi", "r.rmf", "a.arf")}
    one, other, _ = paired(rows, *given, copies=copies)
    for row in (one, other):
        assert (row["background_id"], row["response_id"], row["area_id"]) == ("b", "r", "a")
        assert row["response_from"] == "keyword"
        assert (row["problems"], row["foldable"]) == ([], True)
    _, without, _ = paired(rows, *given)
    assert without["problems"][1:] == [f"{k} is not there" for k in NAMES_OF[1:]]
    # By name, beside the copy and by observation; by option, whichever of them is meant.
    alike = {"/in/2/x.rmf": "/in/1/x.rmf", "/in/3/x.rmf": "/in/1/x.rmf"}
    given = [response("r", path="/in/1/x.rmf")], [area("a", path="/in/1/x.arf")]
    for folder in ("1", "2", "4"):
        [row] = paired([spectrum("x", path=f"/in/{folder}/x.pi")], *given, copies=alike)
        assert row["response_id"] == (None if folder == "4" else "r")
    options = {"x": {"response": "x.rmf"}}
    [row] = paired([spectrum("x", path="/in/4/y.pi")], *given, options, alike)
    assert (row["response_id"], row["response_from"]) == ("r", "option")


def test_a_spectrum_that_lies_in_two_folders_has_the_files_of_both():
    rows = [spectrum("x.pi", path="/in/1/x.pi", respfile="r.rmf")]
    matrix = response("r", path="/in/2/r.rmf", includes_area=True)
    [row] = paired(rows, [matrix], copies={"/in/2/x.pi": "/in/1/x.pi"})
    assert (row["response_id"], row["response_from"]) == ("r", "keyword")


def test_what_does_not_fit_is_said_and_never_foldable():
    rows = [spectrum("x.pi", **NAMED), spectrum("b.pi", content="BKG", n_channels=4)]
    x, _ = paired(rows, [response("r.rmf", n_channels=9)], [area("a.arf")])
    assert (x["background_id"], x["response_id"]) == ("b.pi", "r.rmf")
    assert x["problems"] == [
        "BACKFILE 'b.pi': has 4 channels, the spectrum 5",
        "RESPFILE 'r.rmf': has 9 channels, the spectrum 5",
    ]
    assert not x["foldable"]
    x, _ = paired(rows, [response("r.rmf")], [area("a.arf", n_energies=7)])
    assert x["problems"][1:] == ["ANCRFILE 'a.arf': has 7 energy bins, the matrix 3"]
    assert not x["foldable"]
    x, _ = paired(rows, [response("r.rmf", energy_max=10.0)], [area("a.arf")])
    assert x["problems"][1:] == ["ANCRFILE 'a.arf': ends at 3 keV, the matrix at 10 keV"]
    assert not x["foldable"]


def test_source_and_background_of_one_file():
    rows = [spectrum("s", path="/in/p.fits", hdu=1, backfile="p.fits"),
            spectrum("b", path="/in/p.fits", hdu=4, content="BKG", backfile="p.fits")]  # fmt: skip
    source, background = paired(rows)
    assert (source["background_id"], source["background_from"]) == ("b", "keyword")
    assert background["background_id"] is None
    [named] = paired([{**rows[0], "backfile": "p.fits[4]"}])
    assert named["problems"] == ["BACKFILE 'p.fits[4]' names none in its file"]


def test_rows_go_with_rows():
    source = [spectrum(f"s{n}", path="/in/x.pha", row=n, spec_id=f"s{n}") for n in (1, 2, 3)]
    back = [spectrum(f"b{n}", path="/in/x.bak", row=n, content="BKG") for n in (1, 2, 3)]
    found = paired([*source, *back])[:3]
    assert [row["background_id"] for row in found] == ["b1", "b2", "b3"]
    named = [{**row, "backfile": f"x.bak{{{4 - row['row']}}}"} for row in source]
    found = paired([*named, *back])[:3]
    assert [row["background_id"] for row in found] == ["b3", "b2", "b1"]
    assert {row["background_from"] for row in found} == {"keyword"}
    found = paired([*source, *back[:1]])[:3]
    assert [row["background_id"] for row in found] == ["b1", "b1", "b1"]


def rsp2(*intervals: tuple[float, float]) -> list[dict[str, Any]]:
    return [
        response(f"m{n}", path="/in/x.rsp2", hdu=n + 1, includes_area=True, t_start=a, t_stop=b)
        for n, (a, b) in enumerate(intervals, 1)
    ]


def test_of_several_matrices_the_one_of_the_time_or_the_number():
    times = [(0.0, 1.0), (1.2, 1.4), (5.0, 9.0), (100.0, 101.0)]
    spectra = [
        spectrum(f"s{n}", path="/in/x.pha", row=n, t_start=a, t_stop=b)
        for n, (a, b) in enumerate(times, 1)
    ]
    matrices = rsp2((0, 2), (2, 4), (4, 10))
    found = [row["response_id"] for row in paired(spectra, matrices)]
    assert found == ["m1", "m1", "m3", "m3"]
    # Files of the Fermi GBM end with an interval of no length.
    found = [row["response_id"] for row in paired(spectra, rsp2((0, 2), (2, 5), (5, 5)))]
    assert found == ["m1", "m1", "m3", "m3"]
    named = [{**row, "respfile": "x.rsp2{2}"} for row in spectra]
    assert {row["response_id"] for row in paired(named, matrices)} == {"m2"}
    timeless = [{**row, "t_start": None, "respfile": "x.rsp2"} for row in spectra[:1]]
    [row] = paired(timeless, matrices)
    assert row["response_id"] is None
    assert row["problems"][0] == "RESPFILE 'x.rsp2' names 3 in its file"


def split(*parts: tuple[float, int], **more: Any) -> list[dict[str, Any]]:
    """Matrices of one file: sums of their rows and numbers of energies."""
    return [
        response(f"m{n}", path="/in/x.rmf", hdu=n, extname="MATRIX", max_row_sum=total,
                 n_energies=size, **more)
        for n, (total, size) in enumerate(parts, 1)
    ]  # fmt: skip


def test_parts_of_a_response_are_taken_together():
    """Resolve of XRISM: a core in narrow energy bins, tails in wide ones."""
    rows = [spectrum("x.pi", respfile="x.rmf", ancrfile="a.arf")]
    for matrices in (split((0.9, 3), (0.3, 1)), split((0.3, 1), (0.9, 3))):
        [row] = paired(rows, matrices, [area("a.arf")])
        core, tails = (m["response_id"] for m in sorted(matrices, key=lambda m: -m["n_energies"]))
        assert (row["response_id"], row["response_parts"]) == (core, [tails])
        assert (row["missing"], row["problems"], row["foldable"]) == (["background"], [], True)
    [row] = paired([{**rows[0], "respfile": "x.rmf[MATRIX,2]"}], matrices, [area("a.arf")])
    assert (row["response_id"], row["response_parts"]) == ("m2", None)


@pytest.mark.parametrize(
    "matrices",
    [
        split((0.9, 3), (0.9, 3)),
        split((0.9, 3), (0.3, 3), includes_area=True),
        [{**row, "t_start": float(n)} for n, row in enumerate(split((0.9, 3), (0.3, 1)))],
        [{**row, "n_channels": 5 + n} for n, row in enumerate(split((0.9, 3), (0.3, 1)))],
    ],
)
def test_alternatives_are_no_parts(matrices):
    [row] = paired([spectrum("y.pi", respfile="x.rmf")], matrices)
    assert (row["response_id"], row["response_parts"]) == (None, None)
    assert row["problems"] == ["RESPFILE 'x.rmf' names 2 in its file"]


def test_an_area_is_found_without_a_response():
    [row] = paired([spectrum("x.pi", **NAMED)], (), [area("a.arf")])
    assert (row["area_id"], row["area_from"], row["foldable"]) == ("a.arf", "keyword", False)
    assert row["missing"] == ["background", "response"]


def test_a_net_spectrum_needs_no_background():
    [row] = paired([spectrum("x.pi", content="NET")])
    assert row["missing"] == ["response"]


def test_the_cost_is_linear_in_the_rows():
    """Thousands of rows of two TYPE II tables: each looks at its own partner only."""
    size = 3000
    rows = [spectrum(f"s{n}", path="/in/x.pha", row=n) for n in range(1, size + 1)]
    rows += [spectrum(f"b{n}", path="/in/x.bak", row=n, content="BKG") for n in range(1, size + 1)]
    looked = 0

    class Counted(dict):
        def get(self, key, default=None):
            nonlocal looked
            looked += key == "spec_id"
            return super().get(key, default)

    from lake.ogip import pairing

    candidates = pairing._Candidates(
        pairing._BACKGROUND, [Counted(r) for r in rows], rows[size:], {}
    )
    for row in rows[:size]:
        for path in candidates.alike({**row, "obs_id": None}):
            assert len(candidates.rows(path, row, pairing.Reference(path, None, None))) == 1
    assert looked == size
