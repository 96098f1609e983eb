"""`lf-worker enqueue battle`: two models, one task, on a reference platform."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from app.cli.enqueue.platform import check_models, print_ends, reference_platform
from app.errors import SettingsError
from app.local.battles import Contender, enqueue_battles

_FIND_ENDS = """
    SELECT b.id, b.status = 'voting', concat(b.id, ' ', b.status, E'\\n', string_agg(
        j.slot || ': ' || coalesce(s.content_text, j.error_message, j.status), E'\\n' ORDER BY j.slot))
    FROM battles.battles b
    JOIN battles.battle_execution_jobs j ON j.battle_id = b.id
    LEFT JOIN battles.submissions s ON s.contender_id = j.contender_id
    WHERE b.id = ANY (%s::uuid[])
    GROUP BY b.id HAVING bool_and(j.status IN ('completed', 'failed'))
"""


def battle(
    prompt: Annotated[str, typer.Option(help="The task that both contenders are given.")],
    models: Annotated[
        list[str], typer.Option("--model", help="Key of a contender's model, such as gpt-5.4; give two.")
    ],
    count: Annotated[int, typer.Option(min=1, max=100_000, help="How many equal battles.")] = 1,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for both answers and print them.")] = False,
) -> None:
    """Start battles between two models and print their ids; needs PLATFORM_API_BATTLE_WORKER_ENABLED."""
    if len(models) != 2:
        raise SettingsError("a battle has two contenders: give --model twice")
    with reference_platform() as session:
        with session:
            check_models(session, models)
            ids = enqueue_battles(session, count, *map(Contender, models), task_prompt=prompt)
        if not wait:
            print("\n".join(map(str, ids)))
        elif not print_ends(session, _FIND_ENDS, ids):
            sys.exit(1)
