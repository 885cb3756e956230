"""Options that a file was registered with."""

from lake.errors import InputError
from lake.inputs import InputFile


def is_yes(file: InputFile, name: str) -> bool:
    """Whether an option is yes; absent, it is no.

    Raises
    ------
    InputError
        It is neither.
    """
    value = file.options.get(name, "no")
    if value not in ("yes", "no"):
        raise InputError(file.path, f"{name}={value}: expected yes or no")
    return value == "yes"
