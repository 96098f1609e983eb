"""Fill in a text: `prompt_template`."""

from __future__ import annotations

from pydantic import Field, JsonValue

from app.nodes.data.references import TOKEN, resolve
from app.nodes.registry import node_type
from app.nodes.settings import NodeSettings
from app.nodes.task import Task
from app.workflow import Output
from app.workflow.paths import Missing
from app.workflow.references import fill_text
from app.workflow.values import stringify

#: Longest template, in characters.
LONGEST_TEMPLATE = 50_000


class PromptTemplate(NodeSettings):
    """A text with `{{names}}`, and names that stand for paths; what isn't known is nothing."""

    template: str = Field(min_length=1, max_length=LONGEST_TEMPLATE)
    variables: dict[str, str] = Field(default_factory=dict)


@node_type("prompt_template", config=PromptTemplate, gives=())
def fill_template(task: Task[PromptTemplate]) -> Output:
    """Fill a template with values of the run and of earlier nodes."""
    # From the template as it is stored: what other nodes gave is put in once and never read as a template.
    pieces = TOKEN.split(stringify(task.node.config.settings["template"]))
    return Output(text="".join(_fill(task, place, piece) for place, piece in enumerate(pieces)))


def _fill(task: Task[PromptTemplate], place: int, piece: str) -> str:
    """A piece of a template: literal text, or every second time a name."""
    if place % 2 == 0:
        return fill_text(piece, task.work.outputs)
    found: JsonValue | Missing = resolve(task, task.config.variables.get(piece, piece))
    return "" if isinstance(found, Missing) else stringify(found)
