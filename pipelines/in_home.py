"""Commands that work in a home."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import lake


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
