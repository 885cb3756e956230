"""The archive of the SDSS: what is found, what is fetched, what has changed."""

import pytest

import lake
from lake.errors import UsageError
from lake.fetch.archives import fetch, refetch
from lake.fetch.session import FetchError
from lake.ingest import ingest
from lake.sdss.archive import listing
from tests.fetch.server import Fault
from tests.sdss import sas


@pytest.fixture
def server(science_archive):
    return science_archive


@pytest.fixture
def home(tmp_path) -> lake.Home:
    return lake.open(tmp_path / "home")


@pytest.fixture
def get(server, home):
    def call(release="DR17", **parameters):
        return fetch(home, "sdss", release, parameters, url=f"{server.url}/sas")

    return call


def names(home, release="DR17") -> list[str]:
    folder = home.root / "archive" / "sdss" / release / "sdss"
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.fits"))


def full(*keys) -> list[str]:
    return sorted(f"{key[0]:04d}/{sas.name(*key)}" for key in keys)


def test_a_plate_is_found_in_its_reduction_with_all_its_mjds(get, home, server):
    done = get(plates="266,2805,3586-55181")
    wanted = [
        (266, 51602, 1), (266, 51602, 2), (266, 51630, 1), (2805, 54380, 7), (3586, 55181, 1),
        (3586, 55181, 190),
    ]  # fmt: skip
    assert names(home) == done.new == full(*wanted)
    assert done.failures == []
    for key in wanted:
        here = home.root / "archive/sdss/DR17/sdss" / full(key)[0]
        assert here.read_bytes() == sas.body(*key)
    assert server.count("GET", 404) == {  # reductions that this server does not have
        "/sas/dr17/sdss/spectro/redux/103/spectra/lite/": 1,
    }  # fmt: skip


def test_an_mjd_chooses(get, home):
    get(plates="266-51630")
    assert names(home) == full((266, 51630, 1))


def test_a_range_is_what_there_is_of_it(get, home):
    assert get(plates="1-999,2000-3000").failures == []
    assert names(home) == full((266, 51602, 1), (266, 51602, 2), (266, 51630, 1), (2805, 54380, 7))


def test_a_plate_that_is_not_there_is_named(get, home):
    done = get(plates="266-51630,267,266-51000")
    assert names(home) == full((266, 51630, 1))
    assert [str(f).partition(": ")[2][:20] for f in done.failures] == [
        "no plate 267 in sdss", "no plate 266-51000 i",
    ]  # fmt: skip
    with pytest.raises(FetchError, match="no plate 9999"):
        get("DR17-other", plates="9999")
    assert home.releases() == [("sdss", "DR17")]


def test_a_list_and_what_is_missing_of_it(get, home, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("3586 55181 190\n266 51602 2\n266 51602 99\n9999 59000 1\n")
    done = get(list=str(path))
    assert names(home) == full((266, 51602, 2), (3586, 55181, 190))
    assert [f.is_missing for f in done.failures] == [True, True]
    assert "no plate 9999, for spec-9999-59000-0001.fits of" in str(done.failures[0])
    assert "spec-0266-51602-0099.fits: the server answers 404" in str(done.failures[1])


def test_a_server_without_listings_still_has_the_files_of_a_list(get, home, server, tmp_path):
    for number in ("26", "103", "104"):
        url = f"/sas/dr17/sdss/spectro/redux/{number}/spectra/lite/"
        server.always(url, Fault(status=403))
    server.always("/sas/dr17/eboss/spectro/redux/v5_13_2/spectra/lite/", Fault(status=403))
    path = tmp_path / "list.txt"
    path.write_text("3586 55181 190\n2805 54380 7\n")
    assert get(list=str(path)).failures == []
    assert names(home) == full((2805, 54380, 7), (3586, 55181, 190))
    assert server.count("GET", 404).total() == 2  # of 2805, in 26 and 103
    assert refetch(home, "sdss", "DR17") == []
    get(plates="266,9-11")
    assert len(names(home)) == 5


def test_checksums_of_the_folder_are_verified(get, home, server):
    sas.fill(server, checksums=True)
    bad = sas.path(266, 51602, 1)
    server.always(bad, Fault(body=b"something else"))
    done = get(plates="266")
    assert [f.url for f in done.failures] == [server.url + bad]
    assert "its sha1 is" in str(done.failures[0])
    assert names(home) == full((266, 51602, 2), (266, 51630, 1))
    server.heal()
    assert len(refetch(home, "sdss", "DR17")[0].new) == 1
    assert refetch(home, "sdss", "DR17") == []


def test_requests_for_a_release_add_up(get, home, server, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("3586 55181 190\n")
    get(plates="266")
    before = server.count()
    done = get(plates="2805,266", list=str(path))
    assert done.new == full((2805, 54380, 7), (3586, 55181, 190))
    assert done.kept == 3
    assert done.removed == []
    asked = server.count() - before
    assert asked[sas.path(266, 51602, 1)] == 0  # the listing says that it is the same
    (source,) = home.sources()
    assert source.fetch == {
        "archive": "sdss", "url": f"{server.url}/sas", "plates": "266,2805", "list": str(path),
    }  # fmt: skip
    assert source.paths == (home.root / "archive/sdss/DR17/sdss",)
    assert 'paths = ["archive/sdss/DR17/sdss"]' in home.sources_file.read_text()


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("by", ["plates", "list"])
def test_what_the_archive_changes_is_fetched_again(by, bare, get, home, server, tmp_path):
    server.bare_listings = bare
    path = tmp_path / "list.txt"
    path.write_text("266 51602 1\n266 51602 2\n266 51630 1\n")
    get(**({"plates": "266"} if by == "plates" else {"list": str(path)}))
    assert refetch(home, "sdss", "DR17") == []
    before = server.count("GET", 200)

    changed, gone = sas.path(266, 51602, 1), sas.path(266, 51602, 2)
    server.put(changed, sas.body(266, 51602, 1, seed=9), modified=1_700_000_000)
    del server.documents[gone]
    (done,) = refetch(home, "sdss", "DR17")
    assert done.changed == full((266, 51602, 1))
    assert done.removed == full((266, 51602, 2))
    assert done.kept == 1
    assert [f.url for f in done.failures] == ([server.url + gone] if by == "list" else [])
    assert (server.count("GET", 200) - before)[sas.path(266, 51630, 1)] == 0
    assert names(home) == full((266, 51602, 1), (266, 51630, 1))
    assert refetch(home, "sdss", "DR17") == []


def test_an_archive_out_of_order_removes_nothing(get, home, server):
    get(plates="266,2805")
    had = names(home)
    documents = dict(server.documents)
    server.documents.clear()
    with pytest.raises(FetchError):
        refetch(home, "sdss", "DR17")
    with pytest.raises(FetchError, match="has nothing of what was asked for"):
        get("DR17-range", plates="1-3")
    assert names(home) == had
    server.documents.update(documents)
    plate = sas.folder("sdss/spectro/redux/26", 266)
    server.always(plate, Fault(status=500))
    with pytest.raises(FetchError, match="500"):
        refetch(home, "sdss", "DR17")
    done = get(plates="266,2805")
    assert [f.url for f in done.failures] == [server.url + plate]
    assert done.removed == []
    assert names(home) == had
    server.heal()
    assert [f.failures for f in refetch(home, "sdss", "DR17")] == [[]]


def test_a_reduction_that_may_not_be_listed_keeps_its_files(get, home, server):
    get(plates="260-270,3580-3590")
    had = names(home)
    server.always("/sas/dr17/eboss/spectro/redux/v5_13_2/spectra/lite/", Fault(status=403))
    assert get(plates="2805").removed == []
    assert names(home) == sorted([*had, *full((2805, 54380, 7))])


def test_a_file_lost_here_is_fetched_again(get, home):
    get(plates="2805")
    (home.root / "archive/sdss/DR17/sdss" / full((2805, 54380, 7))[0]).unlink()
    assert len(refetch(home, "sdss", "DR17")) == 1
    assert names(home) == full((2805, 54380, 7))


def test_the_lake_knows_where_its_files_are_from(get, home, server):
    get(plates="266")
    outcome = ingest(home, "sdss", "DR17")
    assert (len(outcome.committed), outcome.rejected) == (3, [])
    seen = home.sql("SELECT name, url, query FROM meta.files ORDER BY name").fetchall()
    assert seen[0] == (
        "spec-0266-51602-0001.fits", server.url + sas.path(266, 51602, 1), "plates=266",
    )  # fmt: skip
    del server.documents[sas.path(266, 51602, 2)]
    refetch(home, "sdss", "DR17")
    assert ingest(home, "sdss", "DR17").superseded == 1
    assert home.sql("SELECT count(*) FROM sdss.spectra").fetchone() == (2,)


@pytest.mark.parametrize(
    ("release", "run2d", "folder"),
    [
        ("DR8", "", "dr8/sdss/spectro/redux/26"),
        ("dr12", "", "dr12/boss/spectro/redux/v5_7_2"),
        ("DR16", "", "dr16/eboss/spectro/redux/v5_13_0"),
        ("DR17-stars", "", "dr17/sdss/spectro/redux/103"),
        ("DR18", "eboss/v5_13_2", "dr18/eboss/spectro/redux/v5_13_2"),
        ("DR12", "v5_7_0", "dr12/boss/spectro/redux/v5_7_0"),
        ("DR19", "v6_1_3,26", "dr19/eboss/spectro/redux/v6_1_3"),
    ],
)
def test_releases_and_their_reductions(release, run2d, folder, get, home, server):
    server.put(f"/sas/{folder}/spectra/lite/4055/{sas.name(4055, 55359, 596)}", b"x")
    get(release, plates="4055", run2d=run2d)
    assert names(home, release) == full((4055, 55359, 596))


@pytest.mark.parametrize(
    ("release", "parameters", "said"),
    [
        ("DR99", {"plates": "1"}, "reductions are not known.*--run2d"),
        ("seventeen", {"plates": "1"}, "expected DR17"),
        ("DR17", {"plates": "1", "run2d": "../x"}, "run2d '../x'"),
        ("DR17", {}, "expected plates or a list"),
        ("DR17", {"plate": "1"}, "no parameter 'plate'; it has plates, list, run2d"),
        ("a b", {"plates": "1"}, "release 'a b'"),
    ],
)
def test_wrong_usage(release, parameters, said, get, home):
    with pytest.raises(UsageError, match=said):
        get(release, **parameters)
    assert home.releases() == []


APACHE = """<html><head><title>Index of /x</title></head><body><table>
<tr><th><a href="?C=N;O=D">Name</a></th><th><a href="?C=M;O=A">Last modified</a></th></tr>
<tr><td><a href="/sas/">Parent Directory</a></td><td>&nbsp;</td><td>  - </td></tr>
<tr><td><a href="spec-0266-51602-0001.fits">spec-0266-..&gt;</a></td>
<td align="right">2019-11-30 12:00  </td><td align="right">190K</td></tr>
<tr><td><a href='0266/'>0266/</a></td><td>&nbsp;</td></tr></table>
<address>Apache/2.4 Server at data</address></body></html>"""
NGINX = """<h1>Index of /x/</h1><hr><pre><a href="../">../</a>
<a href="0266/">0266/</a>                 -
<a href="https://h/x/spec-0266-51602-0001.fits">spec</a>  30-Nov-2019 12:00   194400
</pre><hr>nginx/1.2 <a href="https://elsewhere/x/spec-1-2-3.fits">x</a>"""


@pytest.mark.parametrize("text", [APACHE, NGINX])
def test_listings_of_other_servers(text):
    found = listing("https://h/x/", text)
    assert list(found) in (
        ["spec-0266-51602-0001.fits", "0266/"],
        ["0266/", "spec-0266-51602-0001.fits"],
    )
    assert found["spec-0266-51602-0001.fits"] in (
        "2019-11-30 12:00 190K",
        "30-Nov-2019 12:00 194400",
    )
    assert found["0266/"] is None
