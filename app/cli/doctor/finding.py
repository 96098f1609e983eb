"""What the doctor finds: what is so, why it matters, and the command that mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any

from psycopg2.extensions import connection
from psycopg2.extras import RealDictCursor

from app.roles import is_restricted
from app.settings import Settings


class Level(IntEnum):
    """How bad it is; the worst one is the exit code."""

    FINE = 0
    #: Works, but not as it should or not for long.
    WARNING = 1
    #: Work is not done, or will be lost sight of, until this is mended.
    BROKEN = 2


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `why` and `mend` are blank where all is fine."""

    area: str
    level: Level
    what: str
    why: str = ""
    mend: str = ""

    def as_json(self) -> dict[str, Any]:
        """The finding with its level by name."""
        return {**asdict(self), "level": self.level.name.lower()}


@dataclass(frozen=True)
class Patient:
    """What the checks look at: a session like a worker's, and the settings.

    `online`: whether hosts besides the database and Realtime may be asked.
    """

    session: connection
    settings: Settings
    online: bool = False

    @cached_property
    def is_restricted(self) -> bool:
        """Whether the role is one made for workers, which the platform's tables are closed to."""
        return is_restricted(self.session)

    def rows(self, statement: str, parameters: Any = None) -> list[dict[str, Any]]:
        """The rows of a query."""
        with self.session.cursor(cursor_factory=RealDictCursor) as row:
            row.execute(statement, parameters)
            return [dict(found) for found in row.fetchall()]

    def value(self, statement: str, parameters: Any = None) -> Any:
        """The first column of the first row."""
        rows = self.rows(statement, parameters)
        return next(iter(rows[0].values())) if rows else None


Check = Callable[[Patient], Iterator[Finding]]
