"""Lens nodes: a lens, rendered with the node's labels, asked of a model."""

from __future__ import annotations

from app import providers
from app.nodes.registry import Effect, node_type
from app.nodes.settings import NodeSettings
from app.nodes.task import Task
from app.workflow import LENS, Output, check_output, stored_output


@node_type(LENS, effect=Effect.SPENDS)
def ask_with_lens(task: Task[NodeSettings]) -> Output:
    """Ask a model with the node's lens and hold the answer against the lens's contract."""
    models = task.models
    answer = models.ask(task.node, providers.Prompt(models.lenses.prompt_of(task.work)))
    contract = models.lenses.contract_of(task.node)
    usage = models.usage_of(task.node)
    output = Output(
        text=answer.text,
        kind=contract.kind if contract else None,
        artifact_kind=contract.artifact_kind if contract else None,
        metadata=usage.metadata if usage else {},
    )
    check_output(contract, stored_output(output), needs_output=True)
    return output
