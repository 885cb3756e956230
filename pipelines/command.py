"""What all commands share: examples in their help, and the home that they work in."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import lake

#: Exit codes, as the help of `lacus` says them.
OK, FAILED, WRONG_USAGE, SOME_REJECTED = 0, 1, 2, 3


class Command(click.Command):
    """A command whose epilog is printed as it is: examples, a line for each."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples without filling their lines."""
        if self.epilog:
            formatter.write_paragraph()
            formatter.write("Examples:\n")
            for line in self.epilog.splitlines():
                formatter.write(f"  {line}\n")


class Group(Command, click.Group):
    """Commands in the order of their definition."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands."""
        return list(self.commands)


class Product(click.Path):
    """A file to export to, whose name is looked at before anything is made for it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Path of the file; raises UsageError, see `lake.export.check_name`."""
        from lake import export

        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        export.check_name(path)
        return path


def examples(*lines: str) -> str:
    """Give the epilog of a command."""
    return "\n".join(lines)


def in_home(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command its home as first argument; `--home` may stand before or behind its name."""
    option = click.option(
        "--home",
        type=click.Path(path_type=Path, file_okay=False),
        expose_value=False,
        callback=_remember,
        help="Home directory.",
    )

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        command(lake.open(click.get_current_context().obj), *args, **kwargs)

    return option(wrapped)


def _remember(context: click.Context, _: click.Parameter, home: Path | None) -> None:
    context.obj = home or context.obj
