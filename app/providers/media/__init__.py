"""Media of AI providers: images, video, audio and music, submitted once and polled until they are done.

`submit` hands a prompt to a provider, which answers with the medium or with the name of a task; `poll` asks
how far a task is. Neither waits, and neither tries anything twice: that is their callers' to decide.
"""

from app.providers.media.base import (
    NO_WISHES,
    Finished,
    Media,
    Order,
    Pending,
    Started,
    SubmissionUnknown,
    Task,
    Wishes,
)
from app.providers.media.calling import can_recover, check_order, poll, recover, submit

__all__ = [
    "NO_WISHES",
    "Finished",
    "Media",
    "Order",
    "Pending",
    "Started",
    "SubmissionUnknown",
    "Task",
    "Wishes",
    "can_recover",
    "check_order",
    "poll",
    "recover",
    "submit",
]
