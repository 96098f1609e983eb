"""`lf-worker enqueue team-run`: a team of three, or one agent, on a task, on a reference platform."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import Annotated
from uuid import UUID

import typer
from psycopg2.extensions import connection

from app.cli.enqueue.platform import POLL_SECONDS, WAIT_SECONDS, check_models, reference_platform
from app.errors import DatabaseError
from app.local.teams import TEAM_OF_THREE, enqueue_team_run, make_agent, make_team

_FIND_WORDS = """
    SELECT a.display_name, m.payload ->> 'title', m.payload ->> 'text' FROM agents.team_messages m
    JOIN agents.ai_lensers a ON a.id = m.from_agent_id
    WHERE m.team_run_id = %s ORDER BY m.occurred_at OFFSET %s
"""
_FIND_END = """
    SELECT status,
           coalesce(metadata #>> '{result,text}', metadata ->> 'error', metadata ->> 'approval_reason')
    FROM agents.team_runs WHERE id = %s AND status NOT IN ('queued', 'running')
"""


def team_run(
    task: Annotated[str, typer.Option(help="What is to be done.")],
    model: Annotated[str, typer.Option(help="Key of the model that all ask, such as gpt-5.4.")],
    alone: Annotated[bool, typer.Option("--alone", help="One agent, and no team.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Print what is said, and wait for the end.")] = False,
) -> None:
    """Give a new team of three a task and print the run's id; needs PLATFORM_API_TEAM_RUN_WORKER_ENABLED."""
    with reference_platform() as session:
        with session:
            check_models(session, [model])
            run_id = _enqueue(session, task, model, alone=alone)
        if not wait:
            print(run_id)
        elif not _print_discussion(session, run_id):
            sys.exit(1)


def _enqueue(session: connection, task: str, model: str, *, alone: bool) -> UUID:
    if alone:
        return enqueue_team_run(session, make_agent(session, "Nia", model=model), inputs={"task": task})
    team = make_team(session, [replace(member, model=model) for member in TEAM_OF_THREE])
    return enqueue_team_run(session, team.lead_id, team_id=team.team_id, inputs={"task": task})


def _print_discussion(session: connection, run_id: UUID) -> bool:
    """Print each turn as it is said, and the end; whether the run was completed."""
    said = 0
    deadline = time.monotonic() + WAIT_SECONDS
    session.autocommit = True
    while True:
        with session.cursor() as row:
            row.execute(_FIND_END, (run_id,))
            end = row.fetchone()
            row.execute(_FIND_WORDS, (run_id, said))
            for name, title, text in row.fetchall():
                said += 1
                print(f"{name}, {title}: {text}\n")
        if end is not None:
            print(f"{run_id} {end[0]}: {end[1]}")
            return bool(end[0] == "completed")
        if time.monotonic() >= deadline:
            raise DatabaseError(f"the run did not end within {WAIT_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)
