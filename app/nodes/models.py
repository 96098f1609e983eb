"""The models that a run's nodes ask, who pays for it, and what was taken of them."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Protocol
from uuid import UUID, uuid5

from pydantic import SecretStr

from app import limits, providers
from app.database import Database
from app.errors import GiveUp
from app.memo import Memo
from app.nodes.lenses import Lenses
from app.platform.keys import Payer, for_payer
from app.platform.lens_nodes import fetch_model
from app.providers.catalog import split_brand
from app.providers.moderating import MODERATOR, moderate
from app.settings import settings
from app.together import Together
from app.workflow import Node, NodeFailure, NodeId, Usage

#: The model of a node where neither it nor its run names one; the platform's own default.
DEFAULT_MODEL = "claude-sonnet-4-6"


class Customer(Protocol):
    """The run, of a workflow or a team, for which models are asked."""

    @property
    def run_id(self) -> UUID:
        """Its id."""

    @property
    def owner_lenser_id(self) -> UUID | None:
        """Whom it belongs to."""

    @property
    def ai_lenser_id(self) -> UUID | None:
        """The agent that runs it, whose memory goes before the prompts of lenses."""

    @property
    def global_model_id(self) -> str | None:
        """The key of its own model, in spite of the name."""


class Models:
    """Asks models for the nodes of one run; safe to use from many threads."""

    def __init__(self, database: Database, run: Customer) -> None:
        self.lenses = Lenses(database, run.ai_lenser_id)
        #: Whose calls these are: what is counted by owner is counted for it.
        self.owner = str(run.owner_lenser_id or "")
        self._database = database
        self._run = run
        self._found = Memo(self._find)
        self._is_bound = Together(lambda: limits.is_bound(database, self.owner))
        self._usages: dict[NodeId, Usage] = {}
        self._guard = threading.Lock()

    def ask(self, node: Node, prompt: providers.Prompt, named: str | None = None) -> providers.Answer:
        """The answer of the model that the node names, its run, or the platform, within the node's time.

        `named` is the model that the settings of the node's type name. Raises `NodeFailure` where moderation
        says so, `GiveUp`, `RetryLater`, or `PutBack` where a limit or a breaker forbids the call yet.
        """
        self.moderate_input(node, _shown(prompt))
        answer = self.answer(node, prompt, node.config.model_id or named)
        self.moderate_output(node, answer.text)
        return answer

    def answer(self, node: Node, prompt: providers.Prompt, model_key: str | None) -> providers.Answer:
        """What answers a node's question, counted for it.

        A node that has asked before waits for its place under the provider's limits, since it would have to
        buy again what it has by now; any other raises `PutBack` and holds no thread.
        """
        before = self.usage_of(node)
        seconds = node.config.timeout_ms / 1000
        call = f"{node.id}, call {before.calls if before else 0}"
        answer = self.put(call, model_key, prompt, seconds, patience_seconds=seconds if before else 0.0)
        self.count(node, usage_of(answer))
        return answer

    def most_turns(self, _node: Node) -> int:
        """How many answers, each within the node's time limit, one try of a node may wait for."""
        return 1

    def put(
        self,
        call: str,
        model_key: str | None,
        prompt: providers.Prompt,
        deadline_seconds: float,
        *,
        patience_seconds: float = 0.0,
    ) -> providers.Answer:
        """The answer of this model, else of the run's own, else of the platform's default.

        `call` is the same when the run asks the same again. Raises `GiveUp`, `RetryLater`, or `PutBack` where
        the provider's limits have no place for the call within `patience_seconds`.
        """
        model = self.model_called(model_key)
        if model.kind != "text":
            raise GiveUp("provider.modality_unsupported", f"{model.key} makes {model.kind}, not text")
        key = self.key_for(model.provider)
        with self.place(call, model, key, deadline_seconds, patience_seconds=patience_seconds):
            return providers.ask(model, prompt, key=key, deadline_seconds=deadline_seconds)

    def place(
        self,
        call: str,
        model: providers.Model,
        key: SecretStr,
        deadline_seconds: float,
        *,
        patience_seconds: float = 0.0,
    ) -> AbstractContextManager[None]:
        """A place under the limits of a model's provider while it is called; see `limits.passage`.

        Mostly nothing is limited, and one question finds that out for all nodes that begin together.
        """
        if not self._is_bound():
            return nullcontext()
        return limits.passage(
            self._database,
            uuid5(self._run.run_id, call),
            limits.Quota(model.provider, model.key, providers.key_ref(key), self.owner),
            hold_seconds=deadline_seconds,
            patience_seconds=patience_seconds,
        )

    def model_called(self, key: str | None, makes: str | None = None) -> providers.Model:
        """The model of that key, else the run's own, else the platform's default, whatever it makes.

        `makes` is what models make of which nobody knows it. Raises `GiveUp`.
        """
        return self._found((key or self._run.global_model_id or DEFAULT_MODEL, makes))

    def key_for(self, provider: str) -> SecretStr:
        """The key that pays for the run's calls to a provider; raises `GiveUp` where there is none."""
        payer = Payer("platform_credit", None, self._run.owner_lenser_id)
        return for_payer(self._database, settings(), payer, provider)

    def moderate_input(self, node: Node, text: str) -> None:
        """Raise `NodeFailure` `moderation_blocked` for flagged input, where the node wants it judged."""
        if node.config.moderation in ("input", "both"):
            self._moderate(node, "input", text)

    def moderate_output(self, node: Node, text: str) -> None:
        """Raise `NodeFailure` `moderation_blocked` for flagged output, where the node wants it judged."""
        if node.config.moderation in ("output", "both"):
            self._moderate(node, "output", text)

    def _moderate(self, node: Node, policy: str, text: str) -> None:
        """Raise `NodeFailure` `moderation_blocked` for what nobody should be shown.

        Where nothing can be found out, the node fails: it asked not to go on without. What was asked for is
        bought by now, so it waits for its place under the provider's limits.
        """
        seconds = node.config.timeout_ms / 1000
        key = self.key_for(MODERATOR.provider)
        with self.place(f"{node.id}, {policy}", MODERATOR, key, seconds, patience_seconds=seconds):
            judged = moderate(text, key=key, deadline_seconds=seconds)
        if not judged.allowed:
            raise NodeFailure.moderated(policy, judged.categories)

    def count(self, node: Node, usage: Usage) -> None:
        """Add what one call for a node has taken."""
        with self._guard:
            before = self._usages.get(node.id)
            self._usages[node.id] = before + usage if before else usage

    def charge(self, node: Node, cost_credits: int) -> None:
        """Add credits to what a node has taken, if it has asked anybody."""
        with self._guard:
            before = self._usages.get(node.id)
            if before:
                self._usages[node.id] = replace(before, cost_credits=before.cost_credits + cost_credits)

    def usage_of(self, node: Node) -> Usage | None:
        """What all tries of a node have taken so far; None if it asked nobody."""
        with self._guard:
            return self._usages.get(node.id)

    def _find(self, wanted: tuple[str, str | None]) -> providers.Model:
        """The model of a node, which may be named with its provider before a colon."""
        key, makes = wanted
        known = fetch_model(self._database, key)
        if known is not None:
            return providers.find_model(key, known.provider, known.modality or makes)
        provider, name = split_brand(key)
        return providers.find_model(name, provider, makes)


def _shown(prompt: providers.Prompt) -> str:
    """Everything that a model would be told."""
    return "\n\n".join(filter(None, (prompt.system, *(turn.text for turn in prompt.earlier), prompt.text)))


def usage_of(answer: providers.Answer) -> Usage:
    """What one answer has taken."""
    return Usage(answer.provider, answer.model, answer.tokens_in, answer.tokens_out, answer.latency_ms)
