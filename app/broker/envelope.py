"""Messages as they stand in the table: Dramatiq's JSON, written by us, by triggers, or by anybody."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from dramatiq import Message
from dramatiq.broker import MessageProxy
from psycopg2.extras import Json

#: What JSON may hold and jsonb may not: NUL, and halves of surrogate pairs.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def decode(message_id: str, queue_name: str, text: str | None) -> Message[Any]:
    """Read a message; its id and queue are those of its row, whatever the JSON says.

    A worker looks its consumer up by the message's queue, and an acknowledgement names the row. An eta is
    dropped, since the row was due. Raises ValueError that names the fields at fault.
    """
    # By hand, not by a model: this runs for every message and takes a tenth of a busy process.
    try:
        found = json.loads(text) if text else None
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(found, dict):
        raise ValueError("not a message")
    actor_name, args = found.get("actor_name"), found.get("args", ())
    kwargs, options = found.get("kwargs", {}), found.get("options", {})
    timestamp = found.get("message_timestamp", 0)
    fits = {
        "actor_name": isinstance(actor_name, str),
        "args": isinstance(args, list | tuple),
        "kwargs": isinstance(kwargs, dict),
        "options": isinstance(options, dict),
        "message_timestamp": isinstance(timestamp, int) or _is_finite(timestamp),
    }
    if not all(fits.values()):
        raise ValueError(", ".join(name for name, fit in fits.items() if not fit))
    options.pop("eta", None)
    return Message(
        queue_name=queue_name,
        actor_name=str(actor_name),
        args=tuple(args),
        kwargs=kwargs,
        options=options,
        message_id=message_id,
        message_timestamp=int(timestamp),
    )


def _is_finite(number: object) -> bool:
    """Whether it is a float that has a value: jsonb holds numbers that none can."""
    return isinstance(number, float) and math.isfinite(number)


def encode(message: Message[Any] | MessageProxy) -> Json:
    """A message for a jsonb parameter.

    A traceback may quote anything, so what jsonb can't hold is replaced in it. The arguments are the
    sender's: they are refused by the database, as dramatiq-pg's are.
    """
    found = json.loads(message.encode())
    traceback = found["options"].get("traceback")
    if isinstance(traceback, str):
        found["options"]["traceback"] = _UNSTORABLE.sub("�", traceback)
    return Json(found)
