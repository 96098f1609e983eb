"""What a contender is asked: the battle's task, through its lens if it has one, in its persona's voice."""

from __future__ import annotations

from pydantic import JsonValue

from app import prompts
from app.database import Database
from app.errors import GiveUp
from app.platform.battles import PERSONA_MAX_CHARS, BattleJob
from app.platform.lens_runs import LensVersion
from app.providers import Prompt

#: The memory mode of battles in which every agent competes as its bare model.
CLEAN_ROOM = "clean_room"


def for_battle_job(database: Database, job: BattleJob) -> Prompt:
    """Render a contender's prompt; raises GiveUp with a `template.…` code when that can't be done."""
    text = _render_task(database, job)
    if not text.strip():
        raise GiveUp("template.empty", "the rendered prompt is empty")
    return Prompt(
        text=text,
        system=_render_persona(database, job),
        max_tokens=job.max_tokens,
        temperature=job.temperature,
    )


def _render_task(database: Database, job: BattleJob) -> str:
    """The task prompt, or the assigned lens version's template with the task prompt among its inputs."""
    if job.lens_id is None:
        return prompts.render_text(database, job.task_prompt, {**job.inputs, prompts.PROMPT: job.task_prompt})
    if job.version_id is None:
        raise GiveUp("template.missing", "the contender's lens has no version")
    version = prompts.load_version(database, job.version_id)
    return prompts.render_version(database, version, _inputs_for(version, job))


def _inputs_for(version: LensVersion, job: BattleJob) -> dict[str, JsonValue]:
    """A lens's inputs: the task prompt is `prompt`, and fills the one required parameter without a value."""
    inputs: dict[str, JsonValue] = {**job.inputs, prompts.PROMPT: job.task_prompt}
    missing = [p.label for p in version.parameters if p.required and p.label not in inputs]
    return {**inputs, missing[0]: job.task_prompt} if len(missing) == 1 else inputs


def _render_persona(database: Database, job: BattleJob) -> str | None:
    """The agent's note as a system message: rendered where a lens is bound to it, else as it is."""
    note = (job.personality_note or "").strip()[:PERSONA_MAX_CHARS]
    if not note or job.memory_mode == CLEAN_ROOM:
        return None
    if job.personality_version_id is None:
        return note
    try:
        return prompts.render_text(database, note, {prompts.PROMPT: job.task_prompt}).strip() or note
    except GiveUp:
        return note
