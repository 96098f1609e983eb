"""Team runs in the demo: three agents on one task whose work is sent back once, and one agent alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from psycopg2.extensions import connection

from app.cli.demo.scenario import Tally
from app.local.provider_server import ProviderServer
from app.local.teams import TEAM_OF_THREE, enqueue_team_run, make_agent, make_team

#: What switches the executor of team runs on.
TEAM_ENVIRONMENT = {"PLATFORM_API_TEAM_RUN_WORKER_ENABLED": "true"}

#: A model that nobody else in the demo asks, so that what it is to say is said by the team.
MODEL, WIRE_MODEL = "claude-opus-4-6", "claude-opus-4-6"

TASK = {"task": "Write one line for the [[place]] door.", "place": "museum"}
_SAID = (
    "Emil writes it; it must name the hours.",
    "Come in and wonder.",
    "Nice, but when?\nVERDICT: REJECT, the hours are missing",
    "Come in and wonder, 9 to 5.",
    "VERDICT: ACCEPT",
)
_EXPECTED = {"team of three": "Come in and wonder, 9 to 5.", "agent alone": "Open daily."}

_FIND = """
    SELECT t.status, t.metadata #>> '{result,text}', t.metadata ->> 'error',
           (SELECT EXTRACT(epoch FROM min(c.first_claimed_at) - t.created_at)::float * 1000
            FROM worker.claims c WHERE c.kind = 'team_run' AND c.job = t.id),
           array(SELECT concat_ws('  ', rpad(a.display_name, 4), rpad(lower(m.payload ->> 'title'), 15),
                               replace(m.payload ->> 'text', E'\\n', ' '))
                 FROM agents.team_messages m JOIN agents.ai_lensers a ON a.id = m.from_agent_id
                 WHERE m.team_run_id = t.id ORDER BY m.occurred_at)
    FROM agents.team_runs t WHERE t.id = %s
"""


@dataclass
class _Case:
    """One team run and how much of its conversation was said already."""

    label: str
    run_id: UUID
    is_told: bool
    said: int = 0


class Teams:
    """A team and an agent on their tasks to the end; the team's conversation is said as it goes on."""

    kind = "team_run"
    title = "A team of agents"
    story = "Three agents work on one task; the reviewer sends it back once. Live:"

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._cases: list[_Case] = []

    def queue(self, session: connection, providers: ProviderServer) -> None:
        """Make the team and the agent, give each its task, and tell the models what to say."""
        providers.say(WIRE_MODEL, *_SAID)
        providers.say("deepseek-v4-pro", _EXPECTED["agent alone"])
        team = make_team(session, [replace(member, model=MODEL) for member in TEAM_OF_THREE])
        agent = make_agent(session, "Nia", persona="Be brief.", model="deepseek-v4-pro")
        of_team = enqueue_team_run(session, team.lead_id, team_id=team.team_id, inputs=TASK)
        of_agent = enqueue_team_run(session, agent, inputs=TASK)
        self._cases = [
            _Case("team of three", of_team, is_told=True),
            _Case("agent alone", of_agent, is_told=False),
        ]

    def poll(self, session: connection) -> Sequence[Tally]:
        """How far each run is."""
        return [self._look(session, case) for case in self._cases]

    def _look(self, session: connection, case: _Case) -> Tally:
        with session.cursor() as row:
            row.execute(_FIND, (case.run_id,))
            found = row.fetchone()
        assert found is not None, "nobody deletes the demo's runs"
        status, result, error, pickup_ms, conversation = found
        if case.is_told:
            for line in conversation[case.said :]:
                self._say(line)
            case.said = len(conversation)
        return _tally(case.label, status, result, error, pickup_ms)


def _tally(label: str, status: str, result: str | None, error: str | None, pickup_ms: Any) -> Tally:
    if status == "queued":
        return Tally(label, "waiting", queued=1)
    if status == "running":
        return Tally(label, "at work", running=1)
    is_well = status == "completed" and result == _EXPECTED[label]
    surprise = f"ended as {status} with {result or error!r} instead of {_EXPECTED[label]!r}"
    return Tally(
        label,
        f'"{result}"' if result else str(error),
        succeeded=int(status == "completed"),
        failed=int(status != "completed"),
        surprises=() if is_well else (surprise,),
        pickups_ms=() if pickup_ms is None else (pickup_ms,),
    )
