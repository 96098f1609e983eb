"""Nodes that have a medium made of words: images, videos, speech."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError

from app.nodes.ai.asking import Asking, material_of
from app.nodes.orders import order_medium, ordered_before
from app.nodes.registry import Effect, node_type
from app.nodes.settings import spelled
from app.nodes.task import Task
from app.providers import Model
from app.providers.media import Wishes
from app.workflow import NodeFailure, Output


def _blank_to_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


Word = Annotated[str | None, BeforeValidator(_blank_to_none)]
Whole = Annotated[int | None, BeforeValidator(_blank_to_none)]


class Making(Asking):
    """What every node reads that orders a medium; of one order comes one medium."""

    text: str = Field(default="", validation_alias=spelled("prompt", "text"))
    n: Literal[1] = 1


class Drawing(Making):
    """The settings of a node that makes an image; sizes in pixels."""

    width: Whole = None
    height: Whole = None
    quality: Word = None
    style: Word = None
    aspect_ratio: Word = None


class Filming(Making):
    """The settings of a node that makes a video."""

    aspect_ratio: Word = None
    duration_seconds: Whole = Field(
        default=None, validation_alias=spelled("durationSecs", "durationSeconds", "duration")
    )


class Speaking(Making):
    """The settings of a node that has a text spoken."""

    voice: Word = Field(default=None, validation_alias=spelled("voiceId", "voice"))
    audio_format: Word = Field(default=None, validation_alias=spelled("format", "audioFormat"))


def wishes_of(config: Making) -> Wishes:
    """The settings that say how the medium shall be; raises pydantic's `ValidationError`."""
    named = config.model_dump(include=set(Wishes.model_fields), exclude_none=True)
    return Wishes.model_validate(named)


def wrong_with(config: Making) -> str | None:
    """What is wrong with a size, a shape, or a voice, in words for the author."""
    try:
        wishes_of(config)
    except ValidationError as error:
        told = error.errors(include_input=False, include_url=False, include_context=False)
        return "; ".join(sorted(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in told))
    return None


@node_type(
    "text_to_image",
    config=Drawing,
    gives=("url", "mimeType", "width", "height"),
    effect=Effect.SPENDS,
    check=wrong_with,
    makes="image",
)
def draw(task: Task[Drawing]) -> Output:
    """Have an image made of a prompt: the node's lens, its own words, or the upstream's."""
    return make(task, "image")


@node_type(
    "text_to_video",
    config=Filming,
    gives=("url", "mimeType", "width", "height", "durationSeconds"),
    effect=Effect.SPENDS,
    check=wrong_with,
    makes="video",
)
def film(task: Task[Filming]) -> Output:
    """Have a video made of a prompt: the node's lens, its own words, or the upstream's."""
    return make(task, "video")


@node_type(
    "text_to_speech",
    config=Speaking,
    gives=("url", "mimeType", "durationSeconds"),
    effect=Effect.SPENDS,
    check=wrong_with,
    makes="audio",
)
def speak(task: Task[Speaking]) -> Output:
    """Have a text spoken: what the node's lens gives, its own, or the upstream's."""
    return make(task, "audio")


def make(task: Task[Making], kind: str) -> Output:
    """The medium, once it is made; raises `Park` until then."""
    return ordered_before(task) or order_medium(
        task, model_for(task, kind), prompt_of(task), wishes_of(task.config)
    )


def model_for(task: Task[Making], kind: str) -> Model:
    """The node's model, which must make that kind; the run's own is for text and often doesn't."""
    model = task.models.model_called(task.node.config.model_id or task.config.named_model, kind)
    made = "audio" if model.kind == "music" else model.kind
    if made != kind:
        raise NodeFailure(f"modality_not_allowed: {model.key} makes {model.kind}, not {kind}; name a modelId")
    return model


def prompt_of(task: Task[Making]) -> str:
    """The node's lens, rendered, or else its text; raises `NodeFailure`."""
    if task.node.lens_id:
        return task.models.lenses.prompt_of(task.work)
    material = material_of(task)
    if material.is_cut:
        raise NodeFailure("context_too_large")
    return material.text
