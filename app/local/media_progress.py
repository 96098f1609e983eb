"""How far a task is, in each provider's own words: what the local provider server answers to a poll."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from app.local.media_samples import SAMPLES
from app.local.provider_wire import Json

#: What a task can be found to be.
STATES = frozenset({"pending", "done", "failed", "refused", "odd"})


@dataclass(frozen=True)
class Item:
    """Something that was ordered: `reference` is the caller's own name for it, where the wire has one."""

    id: str
    model: str
    prompt: str
    kind: str
    file_url: str
    reference: str | None = None


def encoded(item: Item) -> str:
    """The sample of the item's kind, as base64."""
    return base64.b64encode(SAMPLES[item.kind][2]).decode()


def sora_progress(item: Item, state: str) -> Json:
    """OpenAI's video generation."""
    words = {"pending": "in_progress", "done": "completed", "refused": "failed"}
    body: Json = {"id": item.id, "status": words.get(state, state)}
    if state == "done":
        body |= {"data": [{"url": item.file_url}], "duration": 5}
    if state in {"failed", "refused"}:
        refused = {"code": "content_policy_violation", "message": "The prompt was rejected."}
        body["error"] = refused if state == "refused" else {"code": "server", "message": "no frames"}
    return body


def operation_progress(item: Item, state: str) -> Json:
    """A long-running operation of Google."""
    name = f"models/{item.model}/operations/{item.id}"
    if state in {"pending", "odd"}:
        return {"name": name}
    if state == "failed":
        return {"name": name, "done": True, "error": {"code": 13, "message": "no frames"}}
    if item.kind == "music":
        made: Json = {"audioContent": encoded(item)}
    elif state == "refused":
        made = {"generateVideoResponse": {"raiMediaFilteredReasons": ["violence"]}}
    else:
        made = {"generateVideoResponse": {"generatedSamples": [{"video": {"uri": item.file_url}}]}}
    if item.kind == "music" and state == "refused":
        return {"name": name, "done": True, "error": {"code": 3, "message": "x", "status": "SAFETY"}}
    return {"name": name, "done": True, "response": made}


def kling_progress(item: Item, state: str) -> Json:
    """Kling's task."""
    words = {"pending": "processing", "done": "succeed", "refused": "failed"}
    data: Json = {"task_id": item.id, "task_status": words.get(state, state)}
    if state == "done":
        data["task_result"] = {"videos": [{"id": "1", "url": item.file_url, "duration": "5.1"}]}
    if state in {"failed", "refused"}:
        data["task_status_msg"] = "content policy: risk control" if state == "refused" else "no frames"
    return {"code": 0, "message": "SUCCEED", "request_id": "r", "data": data}


def suno_progress(item: Item, state: str) -> Any:
    """Suno's clip, in either of its shapes."""
    words = {"pending": "queued", "done": "complete", "failed": "error", "refused": "error"}
    clip: Json = {"id": item.id, "status": words.get(state, state), "audio_url": ""}
    if state == "done":
        clip |= {"audio_url": item.file_url, "duration": 29.5}
    if state == "refused":
        clip["error_message"] = "blocked by content policy"
    return [clip] if item.model.endswith("bare") else {"clips": [clip]}


def fal_progress(item: Item, state: str) -> Json:
    """The status, and under `output` what the second question for the result answers."""
    output: Json = {"images": [{"url": item.file_url, "content_type": "image/png", "width": 1, "height": 1}]}
    if state in {"pending", "odd"}:
        # A status that the client's own parser can't read: it wants a position in the queue.
        return {"status": "IN_QUEUE" if state == "pending" else "MOVED"}
    if state == "failed":
        return {"status": "COMPLETED", "error": "no pixels", "error_type": "runner_error"}
    if state == "refused":
        detail = [{"loc": ["body", "prompt"], "msg": "flagged", "type": "content_policy_violation"}]
        return {"status": "COMPLETED", "output": {"detail": detail}}
    return {"status": "COMPLETED", "logs": None, "output": output}


def session_progress(item: Item, state: str) -> Json:
    """Chainabit's session."""
    words = {"pending": "awaiting_approval", "done": "completed", "refused": "failed", "odd": "paused"}
    body: Json = {"sessionId": item.id, "status": words.get(state, state)}
    if state == "done":
        body["result"] = {"outputText": f"{item.model} says: {item.prompt}"}
    if state in {"failed", "refused"}:
        body["error"] = "the agent gave up"
    return body
