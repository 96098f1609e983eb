"""Battles that move by themselves in the demo: drafts that open, and votes that end."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from psycopg2.extensions import connection

from app.cli.demo.battle_cases import TASK
from app.cli.demo.scenario import Tally
from app.local.battles import Contender, make_battles
from app.local.provider_server import ProviderServer

_CONTENDERS = (Contender("gpt-5.4-mini"), Contender("claude-haiku-4-5"))
_COUNT = 3


class Promotion:
    """Drafts that are ready, and whose time to open has come."""

    kind = "promotion"
    title = "Drafts that open"
    story = "A sweep opens the drafts that are ready when their time has come."

    def __init__(self) -> None:
        self._drafts: list[UUID] = []

    def queue(self, session: connection, providers: ProviderServer) -> None:
        """Make the drafts, and an occasion for the sweep that doesn't wait for the next minute."""
        self._drafts = make_battles(
            session,
            _COUNT,
            *_CONTENDERS,
            task_prompt=TASK,
            status="draft",
            auto_promote=True,
            execution_starts_at=None,
        )
        with session.cursor() as row:
            row.execute(
                "INSERT INTO battles.schedules (battle_id, open_at) SELECT id, now() FROM unnest(%s) AS id",
                (self._drafts,),
            )
        _do_now(session, "promote_battles")

    def poll(self, session: connection) -> Sequence[Tally]:
        """How many drafts are open, or further on by now."""
        statuses = _statuses(session, self._drafts)
        waiting = statuses.count("draft")
        return [Tally("drafts, ready and due", "open", queued=waiting, succeeded=len(statuses) - waiting)]


class Finalizing:
    """Battles whose voting has ended, with more votes for slot B."""

    kind = "finalize"
    title = "Votes that end"
    story = "A sweep counts the votes and names the winner."

    def __init__(self) -> None:
        self._battles: list[UUID] = []

    def queue(self, session: connection, providers: ProviderServer) -> None:
        """Make the battles with their votes, and an occasion for the sweep."""
        self._battles = make_battles(
            session,
            _COUNT,
            *_CONTENDERS,
            task_prompt=TASK,
            status="voting",
            voting_closes_at="now",
        )
        with session.cursor() as row:
            row.execute(
                "INSERT INTO battles.vote_aggregates (battle_id, contender_id, raw_vote_count)"
                " SELECT battle_id, id, CASE slot WHEN 'A' THEN 1 ELSE 4 END"
                " FROM battles.contenders WHERE battle_id = ANY (%s)",
                (self._battles,),
            )
        _do_now(session, "finalize_battles")

    def poll(self, session: connection) -> Sequence[Tally]:
        """How many are closed, and whether the contender with more votes has won."""
        with session.cursor() as rows:
            rows.execute(
                "SELECT b.status::text, c.slot FROM battles.battles b"
                " LEFT JOIN battles.contenders c ON c.id = b.winner_contender_id WHERE b.id = ANY (%s)",
                (self._battles,),
            )
            ends: list[tuple[str, str | None]] = rows.fetchall()
        closed = [winner for status, winner in ends if status == "closed"]
        wrong = [f"{winner} won instead of B" for winner in closed if winner != "B"]
        return [
            Tally(
                "time to vote is over, 1 : 4",
                "closed, B has won",
                queued=_COUNT - len(closed),
                succeeded=len(closed),
                surprises=tuple(wrong),
            )
        ]


def _do_now(session: connection, sweep: str) -> None:
    """Have a sweep done once more in this minute, which the scheduler may have had it done in already."""
    with session.cursor() as row:
        row.execute("DELETE FROM worker.ticks WHERE sweep = %s", (sweep,))
        row.execute("SELECT worker.enqueue(%s, '{}', 'sweeps')", (sweep,))


def _statuses(session: connection, battles: Sequence[UUID]) -> list[str]:
    with session.cursor() as rows:
        rows.execute("SELECT status::text FROM battles.battles WHERE id = ANY (%s)", (list(battles),))
        return [status for (status,) in rows.fetchall()]
