"""What many files hold becomes columns at once, and one file's fault is its own."""

from dataclasses import dataclass

import numpy as np
import pytest

from lake import gathering
from lake.errors import InputError, LacusError
from lake.gathering import Gathering
from lake.inputs import RecordRole

TIME = np.datetime64("2026-01-01T00:00:00", "us").item()


@dataclass
class Found:
    """A spectrum of so many pixels."""

    name: str
    pixels: int
    step: int | str = 1

    @property
    def nbytes(self) -> int:
        return 4 * self.pixels


calls: list[list[str]] = []


def columns(found):
    calls.append([each.name for each in found])
    if any(each.pixels == 13 for each in found):
        raise KeyError("pixels")
    if any(each.pixels == 14 for each in found):
        raise InputError("x", "has 14 pixels", "HDU 1")
    names, rows = [each.name for each in found], list(range(1, len(found) + 1))
    return {
        "sdss.spectra": {
            "spec_id": names,
            "file_row": rows,
            "wavelength_grid": ["table"] * len(found),
            "n_pixels": [each.pixels for each in found],
            "flux": [np.ones(each.pixels, ">f4") for each in found],
        },
        "sdss.loading_log": {
            "spec_id": names,
            "file_row": rows,
            "step_order": [each.step for each in found],
            "step_name": ["load"] * len(found),
            "params_json": ["{}"] * len(found),
            "timestamp": [TIME] * len(found),
        },
    }


ROLE = RecordRole(
    name="spectra",
    table="sdss.spectra",
    also=("sdss.loading_log",),
    records=lambda file, data: {},
    columns=columns,
    suffixes=(".txt",),
)


@pytest.fixture
def gathered():
    calls.clear()
    return Gathering(ROLE, "R")


def give(gathered, *files: Found, last: bool = True):
    """Names by table that come out of these files, one spectrum to each, and who is refused."""
    out = {name: [] for name in ROLE.tables}
    refused: dict[str, str] = {}
    for number, found in enumerate(files, 1):
        gathered.extend({"sdss.spectra": [found]}, f"sha of {found.name}")
        end = last and number == len(files)
        for name, made in gathered.batches(refused.update, end).items():
            out[name] += [spec_id for batch in made for spec_id in batch["spec_id"].to_pylist()]
    return out, refused


def test_columns_are_made_of_many_files_at_once(gathered):
    out, refused = give(gathered, Found("a", 3), Found("b", 4), Found("c", 5))
    assert out == {name: ["a", "b", "c"] for name in ROLE.tables}
    assert calls == [["a", "b", "c"]]
    assert not refused


def test_lists_do_not_wait_and_the_other_tables_do(gathered, monkeypatch):
    monkeypatch.setattr(gathering, "_LIST_BYTES", 30)
    files = [Found(name, 5) for name in "abcde"]
    out, _ = give(gathered, *files, last=False)
    assert calls == [["a", "b"], ["c", "d"]]
    assert out == {"sdss.spectra": ["a", "b", "c", "d"], "sdss.loading_log": []}
    monkeypatch.setattr(gathering, "_ROWS", 1)
    out, _ = give(gathered, Found("f", 0))
    assert out == {"sdss.spectra": ["e", "f"], "sdss.loading_log": list("abcdef")}


def test_a_file_that_no_columns_can_be_made_of_is_refused_alone(gathered):
    files = [Found("a", 3), Found("b", 13), Found("c", 14), Found("d", 4)]
    out, refused = give(gathered, *files)
    assert out == {name: ["a", "d"] for name in ROLE.tables}
    assert refused == {
        "sha of b": "the reader failed: KeyError: 'pixels'",
        "sha of c": "HDU 1: has 14 pixels",
    }


def test_all_spectra_of_a_file_go_with_the_one_that_fails(gathered):
    gathered.extend({"sdss.spectra": [Found("a", 3)]}, "one")
    gathered.extend({"sdss.spectra": [Found("b", 3), Found("c", 13), Found("d", 3)]}, "several")
    refused: dict[str, str] = {}
    made = gathered.batches(refused.update, last=True)
    assert [batch["spec_id"].to_pylist() for batch in made["sdss.spectra"]] == [["a"]]
    assert list(refused) == ["several"]


def test_a_value_that_does_not_fit_drops_the_file_from_all_tables(gathered, monkeypatch):
    monkeypatch.setattr(gathering, "_LIST_BYTES", 30)
    files = [Found("a", 5), Found("b", 5, "last"), Found("c", 2**40), Found("d", 5)]
    monkeypatch.setattr(np, "ones", lambda size, kind: np.zeros(min(size, 5), kind))
    out, refused = give(gathered, *files)
    # Its pixels were staged before: `Batch.whittle` takes them out.
    assert out == {"sdss.spectra": ["a", "b", "d"], "sdss.loading_log": ["a", "d"]}
    assert refused == {
        "sha of b": "sdss.loading_log, column 'step_order': 'last' is not of type int32",
        "sha of c": "sdss.spectra, column 'n_pixels': 1099511627776 is not of type int32",
    }


def test_columns_of_another_length_are_a_mistake_of_the_reader(gathered, monkeypatch):
    def short(found):
        made = columns(found)
        made["sdss.spectra"]["n_pixels"] = []
        return made

    monkeypatch.setattr(gathered, "_role", RecordRole(**{**vars(ROLE), "columns": short}))
    with pytest.raises(LacusError, match=r"sdss\.spectra: 0 values of n_pixels, but 1 rows"):
        give(gathered, Found("a", 3))
