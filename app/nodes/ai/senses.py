"""Nodes that have a model look at an image or a video, or listen to a recording."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pydantic import Field

from app import media, providers
from app.nodes.ai.asking import Asking, answered, ask
from app.nodes.media.sources import url_of_parent
from app.nodes.pasted import Url
from app.nodes.registry import Effect, node_type
from app.nodes.settings import NodeSettings, spelled
from app.nodes.task import Task
from app.providers import File, Model
from app.providers.transcribing import DEFAULT_MODEL, transcribe
from app.workflow import NodeFailure, Output, Usage
from app.workflow.values import JsonObject

#: Largest medium that is shown to a model as part of a prompt; providers take no more at once.
LARGEST_SHOWN_BYTES = 20 * 1024 * 1024


class Looking(Asking):
    """What a node that looks is asked, and the medium where that isn't the first parent's."""

    text: str = Field(default="", validation_alias=spelled("prompt", "question", "text"))
    source_url: Url = Field(default="", validation_alias=spelled("imageUrl", "videoUrl", "sourceUrl", "url"))


@node_type("image_analyze", config=Looking, gives=("analysis",), effect=Effect.SPENDS)
def look_at_image(task: Task[Looking]) -> Output:
    """Have a model say what is to be seen in an image."""
    return _look(task, "image")


@node_type("video_analyze", config=Looking, gives=("analysis",), effect=Effect.SPENDS)
def look_at_video(task: Task[Looking]) -> Output:
    """Have a model say what happens in a video; of the providers, Google's models can."""
    return _look(task, "video")


class Listening(NodeSettings):
    """The settings of a node that listens; the language is an ISO 639-1 code, guessed if there is none."""

    source_url: Url = Field(default="", validation_alias=spelled("audioUrl", "sourceUrl", "url"))
    language: str = Field(default="", pattern="^([a-z]{2,3})?$")


@node_type(
    "audio_transcribe",
    "speech_to_text",
    config=Listening,
    gives=("transcript", "language", "durationSeconds"),
    effect=Effect.SPENDS,
)
def listen(task: Task[Listening]) -> Output:
    """Write down what is said in a recording, or in a video."""
    recording = _source(task, task.config.source_url, {"audio", "video"})
    key = task.node.config.model_id
    model = Model(key, "openai", key.removeprefix("openai:"), "text") if key else DEFAULT_MODEL
    api_key = task.models.key_for(model.provider)
    with task.models.place(f"{task.node.id}, listen", model, api_key, task.timeout_seconds):
        heard = transcribe(
            model,
            recording,
            key=api_key,
            deadline_seconds=task.timeout_seconds,
            language=task.config.language or None,
        )
    usage = Usage(model.provider, model.key, heard.tokens_in, heard.tokens_out, heard.latency_ms)
    task.models.count(task.node, usage)
    task.models.moderate_output(task.node, heard.text)
    data: JsonObject = {"transcript": heard.text}
    if heard.language:
        data["language"] = heard.language
    if heard.duration_seconds:
        data["durationSeconds"] = heard.duration_seconds
    return Output(text=heard.text, metadata=usage.metadata, data=data)


def _look(task: Task[Looking], kind: str) -> Output:
    shown = _source(task, task.config.source_url, {kind})
    question = task.config.text.strip() or f"Describe this {kind}."
    said = ask(task, providers.Prompt(question, files=(shown,)))
    return answered(task, said, {"analysis": said})


def _source(task: Task[Any], url: str, kinds: Collection[str]) -> File:
    owner = task.run.owner_lenser_id
    found = media.load(task.database, url.strip() or url_of_parent(task, kinds), owner, kinds)
    if len(found.content) > LARGEST_SHOWN_BYTES:
        raise NodeFailure(f"media_too_large: models are shown {LARGEST_SHOWN_BYTES} bytes at most")
    return found
