"""Settings of archives in sources.toml."""

import pytest

from lake.errors import LacusError
from lake.fetch.settings import Settings, settings

DEFAULT = Settings(requests_per_second=2.0)


@pytest.fixture
def sources(tmp_path):
    return tmp_path / "sources.toml"


def test_the_archive_brings_its_own(sources):
    assert settings(sources, "csc", DEFAULT) is DEFAULT
    sources.write_text("[archives.sdss]\nparallel = 8\n")
    assert settings(sources, "csc", DEFAULT) == DEFAULT


def test_the_table_overrides_them(sources):
    sources.write_text('[archives.csc]\nurl = "http://x"\ntries = 2\ntimeout_s = 5\n')
    assert settings(sources, "csc", DEFAULT) == Settings("http://x", 2.0, 4, 5, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("speed = 1", "no setting 'speed'; there are url, requests_per_second"),
        ('parallel = "4"', "parallel = '4': expected a whole number"),
        ("parallel = 2.5", "parallel = 2.5: expected a whole number"),
        ("tries = true", "tries = True: expected a whole number"),
        ("requests_per_second = 0", "expected more than 0"),
        ("url = 1", "url = 1: expected a text"),
        ("url = ", "sources.toml"),
    ],
)
def test_what_is_no_setting_is_an_error(text, said, sources):
    sources.write_text(f"[archives.csc]\n{text}\n")
    with pytest.raises(LacusError, match=said):
        settings(sources, "csc", DEFAULT)


def test_archives_is_a_table_of_tables(sources):
    for text in ("archives = 1", "[archives]\ncsc = 1"):
        sources.write_text(text)
        with pytest.raises(LacusError, match="expected a table"):
            settings(sources, "csc", DEFAULT)
