"""What nodes that ask a model share: their material, one answer, and an answer of a given shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, Field, JsonValue, ValidationError

from app import providers
from app.nodes.settings import NodeSettings, spelled
from app.nodes.task import Task
from app.texts.answers import readings
from app.workflow import NodeFailure, Output
from app.workflow.paths import Missing
from app.workflow.values import JsonObject, stringify

#: Most characters of a text that a node shows to a model; the platform's limit.
LONGEST_TEXT = 20_000

#: How often a model is asked for an answer of a given shape.
ASKED_TIMES = 2

Shape = TypeVar("Shape", bound=BaseModel)


class Asking(NodeSettings):
    """What every node that asks a model reads: the model, where it isn't the node's, and the material."""

    model: str = ""
    provider: str = ""
    text: str = ""
    input_path: str = Field(default="", validation_alias=spelled("inputPath", "inputField"))

    @property
    def named_model(self) -> str | None:
        """The model, as nodes name one."""
        if not self.model.strip():
            return None
        return (
            f"{self.provider.strip()}:{self.model.strip()}" if self.provider.strip() else self.model.strip()
        )


class Material(BaseModel):
    """A text to work on; `is_cut` if it was longer than a node shows to a model."""

    text: str
    is_cut: bool


def material_of(task: Task[Asking], longest: int = LONGEST_TEXT) -> Material:
    """What a node works on: its own text, the upstream's, the label `text` or `data`, the upstream's data.

    Raises `NodeFailure` `missing_required` where there is none.
    """
    found = task.config.text if task.config.text.strip() else _given(task)
    if not found.strip():
        raise NodeFailure("missing_required: text")
    return Material(text=found[:longest], is_cut=len(found) > longest)


def _given(task: Task[Asking]) -> str:
    path = task.config.input_path.strip()
    if path:
        found = task.source.find(path)
        return "" if isinstance(found, Missing) else stringify(found)
    labels = task.work.labels
    said = task.text or stringify(labels.get("text")) or stringify(labels.get("data"))
    return said or (stringify(task.subject) if task.work.parents else "")


def ask(task: Task[Asking], prompt: providers.Prompt) -> str:
    """The model's words; raises `NodeFailure` if there are none, `GiveUp` or `RetryLater`."""
    answer = task.models.ask(task.node, prompt, task.config.named_model)
    if not answer.text.strip():
        raise NodeFailure("empty_answer: the model said nothing")
    return answer.text


def ask_for(
    task: Task[Asking],
    shape: type[Shape],
    prompt: providers.Prompt,
    bare: Callable[[str], Shape | None] = lambda _: None,
) -> Shape:
    """The model's answer, which has to be JSON of that shape; asked once more if it isn't.

    `bare` reads an answer that isn't JSON but says all that is needed. Raises `NodeFailure`
    `unreadable_answer`.
    """
    asked = prompt
    for _ in range(ASKED_TIMES):
        said = ask(task, asked)
        try:
            return _read(said, shape)
        except ValueError as error:
            wrong = str(error)
        found = bare(said)
        if found is not None:
            return found
        asked = providers.Prompt(
            text=f"That could not be read ({wrong}). Answer again, with the JSON object and nothing else.",
            system=prompt.system,
            earlier=(
                *prompt.earlier,
                providers.Turn("user", prompt.text),
                providers.Turn("assistant", said),
            ),
        )
    raise NodeFailure(f"unreadable_answer: {wrong}")


def _read(said: str, shape: type[Shape]) -> Shape:
    """The one value of that shape in an answer; raises ValueError where there is none, or are several."""
    wrong = "answer: it holds no JSON object"
    for group in readings(said):
        fitting: list[Shape] = []
        complaints: list[str] = []
        for value in group:
            try:
                fitting.append(shape.model_validate(_alone(value)))
            except ValidationError as error:
                complaints.append(_told(error))
        if any(each != fitting[0] for each in fitting):
            raise ValueError("answer: it holds several answers that differ")
        if fitting:
            return fitting[0]
        wrong = complaints[0]
    raise ValueError(wrong)


def _alone(value: JsonValue) -> JsonValue:
    """The only item of a list, which models put around an object now and then."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _told(error: ValidationError) -> str:
    told = error.errors(include_input=False, include_url=False)
    return "; ".join(
        sorted({f"{'.'.join(map(str, each['loc'])) or 'answer'}: {each['msg']}" for each in told})
    )


def answered(task: Task[Asking], text: str, data: JsonObject, artifact_kind: str | None = None) -> Output:
    """A node's output, with what was taken of models for it."""
    usage = task.models.usage_of(task.node)
    return Output(text=text, artifact_kind=artifact_kind, metadata=usage.metadata if usage else {}, data=data)
