"""What a lens run asks the model: the prompt given with the run, or its lens version's template, rendered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg2.extras import Json
from pydantic import JsonValue

from app import templates
from app.database import Database
from app.errors import GiveUp
from app.platform.lens_runs import LensRun, fetch_version
from app.providers import Prompt

#: Inputs that are not parameters of a template: the prompt itself, and the system prompt beside it.
PROMPT, SYSTEM = "prompt", "system"


def for_run(database: Database, run: LensRun) -> Prompt:
    """Render a run's prompt; raises GiveUp with a `template.…` code when that can't be done.

    A prompt among the inputs is a person's own text, so only `[[label]]` is replaced in it. A lens
    version's template may also use Liquid.
    """
    given = run.input_snapshot.get(PROMPT)
    text = _render_given(database, given, run) if _is_text(given) else _render_version(database, run)
    if not text.strip():
        raise GiveUp("template.empty", "the rendered prompt is empty")
    system = run.input_snapshot.get(SYSTEM)
    return Prompt(text=text, system=system if isinstance(system, str) and system.strip() else None)


def _is_text(value: JsonValue) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _render_given(database: Database, given: JsonValue, run: LensRun) -> str:
    return _render_tokens(database, str(given), run.input_snapshot, ())


def _render_version(database: Database, run: LensRun) -> str:
    if run.version_id is None:
        raise GiveUp("template.missing", "the run has neither a prompt nor a lens version")
    version = fetch_version(database, run.version_id)
    if version is None:
        raise GiveUp("template.missing", "the run's lens version was deleted")
    parameters = [templates.Parameter(str(p.id), p.label, p.required) for p in version.parameters]
    if templates.needs_liquid(version.template_body):
        return templates.render_liquid(version.template_body, run.input_snapshot, parameters=parameters)
    return _render_tokens(database, version.template_body, run.input_snapshot, parameters)


def _render_tokens(
    database: Database,
    body: str,
    inputs: Mapping[str, JsonValue],
    parameters: Sequence[templates.Parameter],
) -> str:
    """Replace tokens by the platform's own function, where it can't mistake a value for a template.

    That function replaces label after label in the growing text, so a value may be read again, and it does
    not know parameter ids; then the same rules run here in one pass.
    """
    templates.check_inputs(inputs, parameters)
    values = {p.label: inputs.get(p.label) for p in parameters} if parameters else dict(inputs)
    if "[[:" not in body and templates.values_are_inert(body, values):
        rows = database.call("SELECT fn_worker_render_template(%s::text, %s) AS text", (body, Json(values)))
        return str(rows[0]["text"])
    return templates.render_tokens(body, inputs, parameters=parameters)
