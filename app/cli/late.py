"""Commands that are imported when they are called: none waits for what only another one needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup


@dataclass(frozen=True)
class Late:
    """Where a command is: `module:name` of a function or of a group of commands, and its line in the help."""

    place: str
    help: str

    def load(self, name: str) -> Any:
        """The command itself."""
        module, _, attribute = self.place.partition(":")
        found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            command: Any = typer.main.get_group(found)
        else:
            alone = typer.Typer(add_completion=False)
            alone.command(name)(found)
            command = typer.main.get_command(alone)
        command.name = name
        return command


def late_group(commands: Mapping[str, Late], *, help: str) -> typer.Typer:  # noqa: A002 - as typer calls it
    """A group that knows of its commands no more than their names and lines until one is called."""

    class Group(TyperGroup):
        def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
            if args and args[0] in commands:
                self.add_command(commands[args[0]].load(args[0]))
            return super().resolve_command(ctx, args)

    group = typer.Typer(
        cls=Group, help=help, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
    )
    for name, command in commands.items():
        group.command(name, help=command.help)(_is_not_loaded)
    return group


def _is_not_loaded() -> None:
    """Stands for a command in the help."""
