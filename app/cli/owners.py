"""Owners as commands are told them: whoever is mistyped would have a budget or a weight without effect."""

from __future__ import annotations

from uuid import UUID

import typer


def owner_id(text: str) -> str:
    """A lenser's id as the database writes it."""
    try:
        return str(UUID(text))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no lenser's id") from None


def owner_id_or_all(text: str) -> str:
    """The same, or `*`."""
    return text if text == "*" else owner_id(text)
