"""Nodes that have a medium made of an image."""

from __future__ import annotations

from pydantic import Field

from app.nodes.media.making import Drawing, Making, model_for, wishes_of, wrong_with
from app.nodes.media.sources import url_of_parent
from app.nodes.orders import order_medium, ordered_before
from app.nodes.pasted import Url
from app.nodes.registry import Effect, node_type
from app.nodes.settings import spelled
from app.nodes.task import Task
from app.workflow import Output
from app.workflow.values import stringify


class Redrawing(Drawing):
    """The settings of a node that makes an image of another; without an address it is the first parent's."""

    source_url: Url = Field(default="", validation_alias=spelled("imageUrl", "sourceUrl", "url"))


class Sounding(Making):
    """The settings of a node that makes a sound of an image."""

    source_url: Url = Field(default="", validation_alias=spelled("imageUrl", "sourceUrl", "url"))


class Enlarging(Sounding):
    """The settings of a node that makes an image larger, that many times."""

    scale: float = Field(default=2.0, ge=1.0, le=16.0)


@node_type(
    "image_to_image",
    config=Redrawing,
    gives=("url", "mimeType", "width", "height"),
    effect=Effect.SPENDS,
    check=wrong_with,
    makes="image",
)
def redraw(task: Task[Redrawing]) -> Output:
    """Have an image made of an image and a prompt."""
    return _change(task, task.config.source_url, "image", _words(task))


@node_type(
    "image_upscale",
    config=Enlarging,
    gives=("url", "mimeType", "width", "height"),
    effect=Effect.SPENDS,
    check=wrong_with,
    makes="image",
)
def enlarge(task: Task[Enlarging]) -> Output:
    """Have an image made larger."""
    return _change(task, task.config.source_url, "image", task.config.text)


@node_type(
    "image_to_audio",
    config=Sounding,
    gives=("url", "mimeType", "durationSeconds"),
    effect=Effect.SPENDS,
    makes="audio",
)
def sound(task: Task[Sounding]) -> Output:
    """Have a sound made of an image."""
    return _change(task, task.config.source_url, "audio", _words(task))


def _change(task: Task[Making], source_url: str, kind: str, prompt: str) -> Output:
    before = ordered_before(task)
    if before is not None:
        return before
    return order_medium(
        task,
        model_for(task, kind),
        prompt,
        wishes_of(task.config),
        source_url.strip() or url_of_parent(task, {"image"}),
    )


def _words(task: Task[Making]) -> str:
    """What shall become of it: the node's lens or words, or the run's. A parent's text is only an address."""
    if task.node.lens_id:
        return task.models.lenses.prompt_of(task.work)
    labels = task.work.labels
    return task.config.text.strip() or stringify(labels.get("prompt")) or stringify(labels.get("text"))
