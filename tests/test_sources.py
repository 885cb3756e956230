"""`sources.toml`: what is written there, by the library and by people."""

import multiprocessing
import os
import tomllib
from pathlib import Path

import pytest

import lake
from lake.errors import LacusError, UsageError
from lake.home import Home
from lake.sources import Source, check_release


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def files(tmp_path) -> list[Path]:
    paths = [tmp_path / f"{name}.csv" for name in "abc"]
    for path in paths:
        path.write_text("name,obsid\nA,1\n")
    return paths


def test_sources_come_back_as_they_were_added(home, files):
    first = Source("csc", "CSC2.0", "detections", tuple(files[:2]), {"duplicates": "first"})
    second = Source("csc", "CSC2.0", "labels", (files[2],))
    home.add(first)
    home.add(second)
    assert home.sources() == [first, second]
    assert home.releases() == [("csc", "CSC2.0")]
    assert lake.open(home.root).sources() == [first, second]
    assert home.sources_file.read_text().startswith("# What this lake is made from.")


def test_a_path_added_again_takes_the_new_options(home, files):
    home.add(Source("csc", "R", "detections", tuple(files)))
    home.add(Source("csc", "R", "detections", (files[1],), {"duplicates": "first"}))
    home.add(Source("csc", "S", "detections", (files[0],)))
    paths = [([p.name for p in s.paths], s.release, dict(s.options)) for s in home.sources()]
    assert paths == [
        (["a.csv", "c.csv"], "R", {}),
        (["b.csv"], "R", {"duplicates": "first"}),
        (["a.csv"], "S", {}),
    ]
    home.add(Source("csc", "R", "detections", (files[0], files[2])))
    assert [[p.name for p in s.paths] for s in home.sources()] == [
        ["b.csv"], ["a.csv"], ["a.csv", "c.csv"],
    ]  # fmt: skip


def test_what_people_write_stays(home, files):
    home.root.mkdir()
    home.sources_file.write_text(
        '# mine\n[[source]]\nmission = "csc"   # Chandra\nrelease = "R"\nrole = "detections"\n'
        'paths = ["../a.csv"]  # relative to this file\n'
    )
    assert home.sources()[0].paths[0].samefile(files[0])
    home.add(Source("csc", "R", "detections", (files[1],)))
    text = home.sources_file.read_text()
    assert all(comment in text for comment in ("# mine", "# Chandra", "# relative to this file"))
    assert len(home.sources()) == 2


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (("nope", "R", "detections", {}), r"no mission 'nope'; there are csc"),
        (("csc", "R", "nope", {}), r"csc has no role 'nope'; it has detections, labels"),
        (("csc", "R", "detections", {"hue": "1"}), r"no option 'hue'; it has duplicates"),
        (("csc", "R", "detections", {"duplicates": "maybe"}), r"expected reject or first"),
        (("csc", "R/S", "detections", {}), r"release 'R/S': letters"),
        (("csc", "", "detections", {}), r"release ''"),
        (("csc", "..", "detections", {}), r"release '\.\.'"),
    ],
)
def test_what_cannot_be_registered_is_refused(home, files, source, message):
    mission, release, role, options = source
    with pytest.raises(UsageError, match=message):
        home.add(Source(mission, release, role, (files[0],), options))
    assert not home.sources_file.exists()


def test_a_path_that_does_not_exist_is_refused(home, tmp_path):
    with pytest.raises(UsageError, match=r"none\.csv: no such file or folder"):
        home.add(Source("csc", "R", "detections", (tmp_path / "none.csv",)))
    assert not home.root.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[source]\n", "at line 1"),
        ('[[source]]\nmission = "csc"\n', "source 1: paths, release, role missing"),
        ('[source]\nmission = "csc"\n', "two brackets"),
        ("source = [3]\n", "source 1: is not a table"),
        ('[[source]]\nmission="csc"\nrelease="R"\nrole="detections"\npaths="a"\n', "is a list"),
        ('[[source]]\nmission="csc"\nrelease="R"\nrole="what"\npaths=["a"]\n', "no role 'what'"),
        ('[[source]]\nmission="csc"\nrelease="R S"\nrole="labels"\npaths=["a"]\n', "'R S'"),
    ],
)
def test_a_broken_file_is_reported_and_never_overwritten(home, files, text, message):
    home.root.mkdir()
    home.sources_file.write_text(text)
    for call in (home.sources, lambda: home.add(Source("csc", "R", "detections", (files[0],)))):
        with pytest.raises(LacusError, match=rf"sources\.toml: .*{message}"):
            call()
    assert home.sources_file.read_text() == text


def test_a_file_that_is_not_text_is_reported(home):
    home.root.mkdir()
    home.sources_file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LacusError, match=r"sources\.toml: .*utf-8"):
        home.sources()


def _add(root: Path, path: Path) -> None:
    Home(root).add(Source("csc", path.stem, "detections", (path,)))


def test_two_that_register_at_once_both_succeed(home, files):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lake.home"])
    adding = [context.Process(target=_add, args=(home.root, path)) for path in files * 3]
    for process in adding:
        process.start()
    for process in adding:
        process.join()
    assert sorted(release for _, release in home.releases()) == ["a", "b", "c"]


def test_a_release_is_a_directory_name():
    for good in ("CSC2.0", "DR17", "a", "0_x-y"):
        check_release(good)
    for bad in (".hidden", "-x", "a b", "ä", "x" * 64, "a\n"):
        with pytest.raises(UsageError):
            check_release(bad)


def test_a_path_may_hold_any_quotes(tmp_path):
    path = tmp_path / """a 'b' "c" [d].csv"""
    path.write_text("name,obsid\n")
    home = lake.open(tmp_path / "home")
    home.add(Source("csc", "R", "detections", (path,)))
    assert home.sources()[0].paths == (path,)


SOURCES = """\
# all about it

# the catalogue
[[source]]
mission = "csc"
release = "A"
role = "detections"
paths = ["a.vot"]
# why these options
options = {duplicates = "first"}

# the spectra, of plate [17]

[[source]]
mission = "sdss"
release = "A"
role = "spectra"
paths = [
  "plates",  # all of them
]

[[source]]
mission = "csc"
release = "A"
role = "labels"
paths = ["l.csv"]
[source.options]
catalogue = "SIMBAD"

# the end
"""


def test_a_release_is_forgotten_and_comments_stay(tmp_path):
    home = Home(tmp_path)
    home.sources_file.write_text(SOURCES, encoding="utf-8")
    home.forget("csc", "A")
    text = home.sources_file.read_text(encoding="utf-8")
    assert home.releases() == [("sdss", "A")]
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# all about it", "# the catalogue", "# the spectra, of plate [17]", "# the end",
    ]  # fmt: skip
    assert 'paths = [\n  "plates",  # all of them\n]' in text
    assert "SIMBAD" not in text


def test_nothing_is_written_if_there_is_nothing_to_forget(tmp_path):
    home = Home(tmp_path / "home")
    home.forget("csc", "A")
    assert not home.root.exists()
    home.root.mkdir()
    home.sources_file.write_text(SOURCES, encoding="utf-8")
    home.forget("csc", "B")
    assert home.sources_file.read_text(encoding="utf-8") == SOURCES


def test_sources_in_one_line_are_forgotten_too(tmp_path):
    home = Home(tmp_path)
    entry = '{{mission = "csc", release = "{}", role = "detections", paths = ["x"]}}'
    home.sources_file.write_text(f"source = [{entry.format('A')}, {entry.format('B')}]  # both\n")
    home.forget("csc", "A")
    assert home.releases() == [("csc", "B")]
    assert "# both" in home.sources_file.read_text()


def test_inputs_that_lie_in_the_home_move_with_it(tmp_path):
    home, outside = Home(tmp_path / "a" / ".." / "home"), tmp_path / "out.csv"
    (home.root / "in").mkdir(parents=True)
    outside.touch()
    paths = (home.root / "in", outside)
    home.add(Source("csc", "R1", "detections", paths))
    home.add(Source("csc", "R1", "detections", paths))
    (tmp_path / "home").rename(tmp_path / "moved")
    (source,) = Home(tmp_path / "moved").sources()
    assert source.paths == (tmp_path / "moved" / "in", outside)


def test_a_path_that_is_no_text_is_refused(tmp_path):
    home, path = Home(tmp_path / "home"), tmp_path / os.fsdecode(b"a\xff.csv")
    path.touch()
    with pytest.raises(UsageError, match=r"a\\xff\.csv: its name is not UTF-8"):
        home.add(Source("csc", "R1", "detections", (path,)))
    assert not home.sources_file.exists()


def test_the_file_is_parsed_again_only_where_its_text_is_another(home, files, monkeypatch):
    home.add(Source("csc", "R", "detections", (files[0],)))
    parsed, parse = [], tomllib.loads

    def loads(text):
        parsed.append(text)
        return parse(text)

    monkeypatch.setattr(tomllib, "loads", loads)
    first = home.sources()
    first.clear()  # the list is the caller's own
    assert len(home.sources()) == len(home.sources()) == len(parsed) == 1
    text = home.sources_file.read_text(encoding="utf-8")
    home.sources_file.write_text(text.replace('"R"', '"S"'), encoding="utf-8")
    assert [source.release for source in home.sources()] == ["S"]
