import importlib

import pytest

from lake import contracts
from lake.missions import offered, offering


@pytest.mark.parametrize("mission", contracts.missions())
def test_a_mission_offers_its_roles_and_what_to_cite(mission):
    assert all(role.tables for role in offered(mission, "ROLES").values())
    assert all(isinstance(text, str) for text in offered(mission, "CITATIONS"))


@pytest.mark.parametrize("mission", contracts.missions())
def test_whatever_a_package_lists_is_there(mission):
    package = importlib.import_module(f"lake.{mission}")
    assert all(hasattr(package, name) for name in package.__all__)


def test_what_a_mission_does_not_offer_is_none_and_not_listed():
    assert offering("ARCHIVES") == ["csc", "sdss"]
    assert offered("xmm", "ARCHIVES") is None
