"""What a lens run asks the model: the prompt given with the run, or its lens version's template, rendered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from psycopg2.extras import Json
from pydantic import JsonValue

from app import templates
from app.database import Database
from app.errors import GiveUp
from app.platform.lens_runs import LensRun, LensVersion, fetch_version
from app.providers import Prompt

#: Inputs that are not parameters of a template: the prompt itself, and the system prompt beside it.
PROMPT, SYSTEM = "prompt", "system"


def for_run(database: Database, run: LensRun) -> Prompt:
    """Render a run's prompt; raises GiveUp with a `template.…` code when that can't be done.

    A prompt among the inputs is a person's own text, so only `[[label]]` is replaced in it. A lens
    version's template may also use Liquid.
    """
    given = run.input_snapshot.get(PROMPT)
    if isinstance(given, str) and given.strip():
        text = render_text(database, given, run.input_snapshot)
    elif run.version_id is not None:
        text = render_version(database, load_version(database, run.version_id), run.input_snapshot)
    else:
        raise GiveUp("template.missing", "the run has neither a prompt nor a lens version")
    if not text.strip():
        raise GiveUp("template.empty", "the rendered prompt is empty")
    system = run.input_snapshot.get(SYSTEM)
    return Prompt(text=text, system=system if isinstance(system, str) and system.strip() else None)


def load_version(database: Database, version_id: UUID) -> LensVersion:
    """The lens version; raises GiveUp with `template.missing` when it was deleted."""
    version = fetch_version(database, version_id)
    if version is None:
        raise GiveUp("template.missing", "the lens version was deleted")
    return version


def render_text(database: Database, text: str, inputs: Mapping[str, JsonValue]) -> str:
    """A person's own text with `[[label]]` replaced by the inputs; nothing else in it is a template."""
    return _render_tokens(database, text, inputs, ())


def render_version(database: Database, version: LensVersion, inputs: Mapping[str, JsonValue]) -> str:
    """A lens version's template, which may use Liquid, rendered with the inputs."""
    parameters = [templates.Parameter(str(p.id), p.label, p.required) for p in version.parameters]
    if templates.needs_liquid(version.template_body):
        return templates.render_liquid(version.template_body, inputs, parameters=parameters)
    return _render_tokens(database, version.template_body, inputs, parameters)


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
