"""The claims that this process works on at the moment, by the thread that works on each."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import dramatiq
import structlog
from dramatiq.middleware import Middleware

from app.claims import Claim
from app.database import database
from app.endings import Kind
from app.handover import hand_back
from app.http.deadline import allow_calls, refuse_calls

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Held:
    """One attempt at work; `began` is on this process's monotonic clock, in seconds."""

    kind: Kind
    claim: Claim[Any]
    began: float = field(default_factory=time.monotonic)


class OpenClaims(Middleware):
    """Knows the open claims, and hands back those that a shutdown cuts off."""

    def __init__(self) -> None:
        self._held: dict[int, Held] = {}
        self._guard = threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    @contextmanager
    def track(self, kind: Kind, claim: Claim[Any]) -> Iterator[None]:
        """Count the claim as open during the block."""
        with self._guard:
            self._held[threading.get_ident()] = Held(kind, claim)
        try:
            yield
        finally:
            with self._guard:
                del self._held[threading.get_ident()]
                allow_calls(threading.get_ident())

    def refuse_calls(self, thread_id: int, claim: Claim[Any]) -> None:
        """Have a thread make no more calls for a claim that is lost, if it is still at that."""
        with self._guard:
            held = self._held.get(thread_id)
            if held is not None and held.claim is claim:
                refuse_calls(thread_id)

    def held(self) -> dict[int, Held]:
        """What each thread works on."""
        with self._guard:
            return dict(self._held)

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Hand back what the time given was too short for; runs before the broker gives messages back."""
        cut_off = [held.claim for held in self.held().values()]
        if cut_off:
            for claim in cut_off:
                claim.handed_back = True
            hand_back(database(), cut_off)
            log.info("handed back unfinished jobs", jobs=len(cut_off))


#: The process's open claims; one of the broker's middlewares.
open_claims = OpenClaims()
