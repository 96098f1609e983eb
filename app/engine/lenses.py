"""Lens nodes: render the lens with the node's labels and ask a model."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from app import providers, templates
from app.database import Database
from app.errors import GiveUp
from app.memo import Memo
from app.nodes import Models
from app.platform.lens_nodes import fetch_lens, fetch_memory
from app.platform.workflows import WorkflowRun
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


@dataclass(frozen=True)
class Lens:
    """The version of a lens that a node uses, read."""

    body: str
    parameters: tuple[templates.Parameter, ...]
    takes: InputContract | None
    gives: OutputContract | None


class Lenses:
    """Asks models for the lens nodes of one run; what those share is looked up once."""

    def __init__(self, database: Database, run: WorkflowRun, models: Models) -> None:
        self._database = database
        self._run = run
        self._models = models
        self._lens = Memo(self._load_lens)
        self._preface: Memo[UUID, str] = Memo(lambda agent: fetch_memory(database, agent))

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
        return self._models.ask(work.node, providers.Prompt(text=prompt))

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
