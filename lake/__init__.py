"""Lacus: an X-ray and optical survey lake.

>>> import lake
>>> home = lake.open("lacus-home")                                      # doctest: +SKIP
>>> home.sql("SELECT name, master_class FROM csc.uniquely_classified").pl()   # doctest: +SKIP
"""

from lake.errors import InputError, LacusError, UsageError
from lake.home import Home, open

__all__ = ["Home", "InputError", "LacusError", "UsageError", "open"]
