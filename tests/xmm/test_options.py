from pathlib import Path

import pytest

from lake.errors import InputError
from lake.inputs import InputFile
from lake.xmm.options import is_yes


def file(**options):
    return InputFile(Path("a.fits"), "xmm", "r1", "control", options, 0, 0, "")


def test_an_option_is_yes_or_no():
    assert is_yes(file(force="yes"), "force")
    assert not is_yes(file(force="no"), "force")
    assert not is_yes(file(), "force")
    with pytest.raises(InputError, match=r"a\.fits: force=1: expected yes or no"):
        is_yes(file(force="1"), "force")
