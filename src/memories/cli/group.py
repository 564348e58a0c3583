"""`LazyCommands`: finds commands by name, loads them when they run, and turns our errors into exit codes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NoReturn

import click

from ..errors import (
    BucketNotFound,
    DeadlineExceeded,
    InvalidKey,
    InvalidType,
    InvalidValue,
    KeyNotFound,
    MemoriesError,
    NotRunning,
    Unavailable,
    VersionMismatch,
)

FAILED, WRONG_CALL, NO_CLUSTER, NOT_FOUND, TRY_AGAIN, INTERRUPTED = 1, 2, 3, 4, 5, 130

CODES: tuple[tuple[tuple[type[MemoriesError], ...], int], ...] = (
    ((NotRunning, VersionMismatch), NO_CLUSTER),
    ((KeyNotFound, BucketNotFound), NOT_FOUND),
    ((InvalidKey, InvalidType, InvalidValue), WRONG_CALL),
    ((DeadlineExceeded, Unavailable), TRY_AGAIN),
)
"""The first that fits counts."""


def fail(message: str, exit_code: int = FAILED) -> NoReturn:
    """End the command with one line on standard error."""
    click.echo(f"Error: {message}", err=True)
    sys.exit(exit_code)


def exit_code_of(error: MemoriesError) -> int:
    """What a script sees of an error of ours."""
    return next((code for kinds, code in CODES if isinstance(error, kinds)), FAILED)


class LazyCommands(click.Group):
    """Shows an error of ours as one line; everything else is a bug and keeps its traceback.

    `modules` maps the names of commands to modules of this package, each with a command of that name
    (dashes as underscores): so `memories --help` loads neither Ray nor torch.
    """

    def __init__(self, *, modules: Mapping[str, str], **arguments: Any) -> None:
        super().__init__(**arguments)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._modules})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._modules:
            module = import_module(f"{__package__}.{self._modules[cmd_name]}")
            command: click.Command = getattr(module, cmd_name.replace("-", "_"))
            return command
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except MemoriesError as error:
            fail(str(error), exit_code_of(error))
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(INTERRUPTED)
