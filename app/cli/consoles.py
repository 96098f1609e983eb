"""Where commands print what the database holds."""

from __future__ import annotations

from rich.console import Console


def plain_console() -> Console:
    """A console that prints words as they are: what people and providers wrote may look like markup."""
    return Console(markup=False, emoji=False, highlight=False)
