"""Values that our statements get from Python, or hand to functions of the platform, by column.

What stands in a statement itself is read off it. A column that takes only listed values and is written in any
other way needs an entry here; a test holds that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel

from app.nodes.battles.creating import NewBattle
from app.nodes.storage.memory import MemoryWrite
from app.workflow.statuses import NodeStatus, RunStatus


def _choices(settings: type[BaseModel], name: str) -> tuple[str, ...]:
    """What a setting may be, if it is one of a list, else what it is by default."""
    field = settings.model_fields[name]
    choices: tuple[Any, ...] = get_args(field.annotation)
    return tuple(map(str, choices)) or (str(field.default),)


#: Columns whose values are a person's, which the platform has taken before or refuses with its reason.
FROM_PEOPLE = (
    "public.user_oauth_connections.capability",
    "public.user_oauth_connections.provider",
    "public.user_oauth_connections.ref",
)

GIVEN: Mapping[str, tuple[str, ...]] = {
    "agents.action_logs.action_type": (),
    "agents.action_logs.result": (),
    "agents.agent_run_steps.status": ("queued", "running", "completed", "failed", "blocked"),
    "agents.memories.scope": _choices(MemoryWrite, "scope"),
    "agents.memories.source": _choices(MemoryWrite, "source"),
    "agents.team_messages.kind": ("task_request", "task_response", "info"),
    "agents.team_runs.approval_status": (),
    "agents.team_runs.status": ("completed", "failed", "cancelled"),
    "audit.moderation_decisions.decision_type": ("flagged",),
    "automation.event_dispatches.status": ("dispatched", "failed", "skipped"),
    "battles.battle_execution_jobs.status": ("completed", "failed"),
    "battles.battles.battle_type": _choices(NewBattle, "battle_type"),
    "battles.battles.voter_eligibility": _choices(NewBattle, "voter_eligibility"),
    "battles.submissions.output_modality": ("text", "image", "video", "audio"),
    "battles.submissions.source_type": (),
    "battles.submissions.status": (),
    "execution.runs.billing_status": ("pending", "free"),
    "execution.runs.status": ("succeeded", "failed", "canceled"),
    "lenses.workflow_node_results.status": tuple(status for status in NodeStatus),
    "lenses.workflow_runs.status": tuple(status for status in RunStatus),
    "media.objects.media_type": ("image", "video", "audio"),
    "public.notifications.type": ("system",),
}
