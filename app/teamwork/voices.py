"""Ask a model in the name of a member."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from app import providers
from app.database import Database
from app.memo import Memo
from app.nodes import Models
from app.platform.lens_nodes import fetch_memory
from app.teams import Member, persona_of


class Voices:
    """Has members speak, each under its own persona and with its memory; safe to use from many threads."""

    def __init__(self, database: Database, models: Models, everybody: Sequence[Member]) -> None:
        self._models = models
        self._everybody = everybody
        self._memory: Memo[UUID, str] = Memo(lambda agent: fetch_memory(database, agent))

    def ask(
        self, call: str, member: Member, prompt: providers.Prompt, deadline_seconds: float
    ) -> providers.Answer:
        """What the member says to this; `call` is the same when it is asked the same again.

        Raises `GiveUp`, `RetryLater`, or `PutBack` where the provider takes no more calls yet.
        """
        persona = persona_of(member, self._everybody)
        words = replace(
            prompt,
            text=self._memory(member.agent_id) + prompt.text,
            system=f"{persona}\n\n{prompt.system}" if prompt.system else persona,
        )
        return self._models.put(call, member.model_key, words, deadline_seconds)
