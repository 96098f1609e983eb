"""Lens nodes: render the lens with the node's labels and ask a model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

from app import providers, templates
from app.database import Database
from app.errors import GiveUp
from app.platform.keys import Payer, for_payer
from app.platform.lens_nodes import fetch_lens, fetch_memory, fetch_provider
from app.platform.workflows import WorkflowRun
from app.providers.catalog import TEXT_PROVIDERS
from app.settings import settings
from app.workflow import (
    InputContract,
    Node,
    Output,
    OutputContract,
    Work,
    check_input,
    read_contract,
    render_lens,
)

#: The model of a node where neither it nor its run names one; the platform's own default.
DEFAULT_MODEL = "claude-sonnet-4-6"

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(frozen=True)
class Lens:
    """The version of a lens that a node uses, read."""

    body: str
    parameters: tuple[templates.Parameter, ...]
    takes: InputContract | None
    gives: OutputContract | None


class Lenses:
    """Asks models for the lens nodes of one run; what those share is looked up once."""

    def __init__(self, database: Database, run: WorkflowRun) -> None:
        self._database = database
        self._run = run
        self._lens = _Memo(self._load_lens)
        self._model = _Memo(self._find_model)
        self._preface: _Memo[UUID, str] = _Memo(lambda agent: fetch_memory(database, agent))

    def contract_of(self, node: Node) -> OutputContract | None:
        """What the node's output must look like."""
        return self._lens(_version_of(node)).gives

    def ask(self, work: Work) -> providers.Answer:
        """The model's answer, within the node's time limit.

        Raises `NodeFailure`, `GiveUp` or `RetryLater`.
        """
        lens = self._lens(_version_of(work.node))
        agent = self._run.ai_lenser_id
        prompt = render_lens(
            lens.body,
            dict(work.labels),
            parameters=lens.parameters,
            optional=lens.takes.optional_labels if lens.takes else (),
            preface=self._preface(agent) if agent else "",
        )
        if lens.takes:
            check_input(lens.takes, dict(work.labels), work.bound)
        model = self._model(work.node.config.model_id or self._run.global_model_id or DEFAULT_MODEL)
        payer = Payer("platform_credit", None, self._run.owner_lenser_id)
        key = for_payer(self._database, settings(), payer, model.provider)
        return providers.ask(
            model,
            providers.Prompt(text=prompt),
            key=key,
            deadline_seconds=work.node.config.timeout_ms / 1000,
        )

    def _load_lens(self, version: tuple[str, str | None]) -> Lens:
        found = fetch_lens(self._database, *version)
        if found is None:
            raise GiveUp("template.missing", "the lens, or its version, was deleted")
        return Lens(
            body=found.version.template_body,
            parameters=tuple(
                templates.Parameter(str(p.id), p.label, p.required) for p in found.version.parameters
            ),
            takes=read_contract(InputContract, found.input_contract),
            gives=read_contract(OutputContract, found.output_contract),
        )

    def _find_model(self, key: str) -> providers.Model:
        """The model of a node, which may be named with its provider before a colon."""
        provider = fetch_provider(self._database, key)
        brand, colon, name = key.partition(":")
        if provider is None and colon and brand in TEXT_PROVIDERS:
            return providers.resolve_model(name, brand)
        return providers.resolve_model(key, provider)


def to_output(answer: providers.Answer, contract: OutputContract | None) -> Output:
    """An answer as a node's output, with what readers look for."""
    return Output(
        text=answer.text,
        kind=contract.kind if contract else None,
        artifact_kind=contract.artifact_kind if contract else None,
        metadata={
            "modelId": answer.model,
            "inputTokens": answer.tokens_in,
            "outputTokens": answer.tokens_out,
            "durationMs": answer.latency_ms,
        },
    )


def _version_of(node: Node) -> tuple[str, str | None]:
    assert node.lens_id is not None, "a graph whose lens nodes have no lens is not loaded"
    return node.lens_id, node.version_id


class _Memo(Generic[Key, Value]):
    """What was loaded once is known from then on, to all threads; a failure isn't remembered."""

    def __init__(self, load: Callable[[Key], Value]) -> None:
        self._load = load
        self._known: dict[Key, Value] = {}
        self._guard = threading.Lock()

    def __call__(self, key: Key) -> Value:
        with self._guard:
            if key not in self._known:
                self._known[key] = self._load(key)
            return self._known[key]
