"""Limits that all processes share, kept in Postgres: calls a minute, tokens a minute, calls at once.

A job asks before it is claimed (`worker.take_passage`) and is put back with a due time where it must wait,
so it holds no thread and doesn't show as running. What its calls came to is told afterwards: tokens to the
bucket, failures to the breaker, a Retry-After and a refused key to everybody.
"""

from app.limits.passages import Quota, is_bound, passage, passage_of
from app.limits.watching import LimitKeeper

__all__ = ["LimitKeeper", "Quota", "is_bound", "passage", "passage_of"]
