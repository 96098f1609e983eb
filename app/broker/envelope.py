"""Messages as they stand in the table: Dramatiq's JSON, written by us, by triggers, or by anybody."""

from __future__ import annotations

from typing import Any

from dramatiq import Message
from pydantic import BaseModel, ValidationError


class _Envelope(BaseModel):
    """The fields that Dramatiq encodes; whatever else a producer adds is left out."""

    actor_name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    options: dict[str, Any] = {}
    message_timestamp: int = 0


def decode(message_id: str, queue_name: str, text: str | None) -> Message[Any]:
    """Read a message; its id and queue are those of its row, whatever the JSON says.

    A worker looks its consumer up by the message's queue, and an acknowledgement names the row. An eta is
    dropped, since the row was due. Raises ValueError that names the fields at fault.
    """
    try:
        envelope = _Envelope.model_validate_json(text or "null")
    except ValidationError as error:
        fields = sorted({str(problem["loc"][0]) for problem in error.errors() if problem["loc"]})
        raise ValueError(", ".join(fields) or "not a message") from None
    options = {name: value for name, value in envelope.options.items() if name != "eta"}
    return Message(
        queue_name=queue_name,
        actor_name=envelope.actor_name,
        args=envelope.args,
        kwargs=envelope.kwargs,
        options=options,
        message_id=message_id,
        message_timestamp=envelope.message_timestamp,
    )
