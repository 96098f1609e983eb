"""What a function's body has the server plan: its statements and expressions, one by one.

PL/pgSQL parses a body when the function is made, but looks at tables, columns and indexes only when a
statement runs for the first time. Taken out, each can be planned without being run.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Piece:
    """A statement or an expression as a query, and the line of the body where it begins.

    `into`: the variable that takes its row, if it is one; `rows`: the rows that it takes, as FROM wants them.
    `is_tried`: a CHECK that refuses what it writes is expected, and handled by the block that it stands in.
    """

    sql: str
    line: int
    into: str = ""
    rows: str = ""
    is_tried: bool = False


@dataclass(frozen=True)
class Variable:
    """A variable of a body with its type as the body names it."""

    name: str
    type: str


@dataclass
class Body:
    """A body taken apart. `directives`: its lines that begin with #, such as #variable_conflict."""

    directives: str = ""
    variables: list[Variable] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
