"""The models that a run's nodes ask, who pays for it, and what was taken of them."""

from __future__ import annotations

import threading

from app import providers
from app.database import Database
from app.memo import Memo
from app.nodes.lenses import Lenses
from app.platform.keys import Payer, for_payer
from app.platform.lens_nodes import fetch_provider
from app.platform.workflows import WorkflowRun
from app.providers.catalog import TEXT_PROVIDERS
from app.settings import settings
from app.workflow import Node, NodeId, Usage

#: The model of a node where neither it nor its run names one; the platform's own default.
DEFAULT_MODEL = "claude-sonnet-4-6"


class Models:
    """Asks models for the nodes of one run; safe to use from many threads."""

    def __init__(self, database: Database, run: WorkflowRun) -> None:
        self.lenses = Lenses(database, run.ai_lenser_id)
        self._database = database
        self._run = run
        self._found = Memo(self._find)
        self._usages: dict[NodeId, Usage] = {}
        self._guard = threading.Lock()

    def ask(self, node: Node, prompt: providers.Prompt) -> providers.Answer:
        """The answer of the model that the node names, its run, or the platform, within the node's time.

        Raises `GiveUp` or `RetryLater`.
        """
        model = self._found(node.config.model_id or self._run.global_model_id or DEFAULT_MODEL)
        payer = Payer("platform_credit", None, self._run.owner_lenser_id)
        key = for_payer(self._database, settings(), payer, model.provider)
        answer = providers.ask(model, prompt, key=key, deadline_seconds=node.config.timeout_ms / 1000)
        self.count(
            node,
            Usage(answer.provider, answer.model, answer.tokens_in, answer.tokens_out, answer.latency_ms),
        )
        return answer

    def count(self, node: Node, usage: Usage) -> None:
        """Add what one call for a node has taken."""
        with self._guard:
            before = self._usages.get(node.id)
            self._usages[node.id] = before + usage if before else usage

    def usage_of(self, node: Node) -> Usage | None:
        """What all tries of a node have taken so far; None if it asked nobody."""
        with self._guard:
            return self._usages.get(node.id)

    def _find(self, key: str) -> providers.Model:
        """The model of a node, which may be named with its provider before a colon."""
        provider = fetch_provider(self._database, key)
        brand, colon, name = key.partition(":")
        if provider is None and colon and brand in TEXT_PROVIDERS:
            return providers.resolve_model(name, brand)
        return providers.resolve_model(key, provider)
