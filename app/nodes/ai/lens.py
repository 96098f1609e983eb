"""Lens nodes: a lens, rendered with the node's labels, asked of a model."""

from __future__ import annotations

from dataclasses import replace

from app import providers
from app.nodes.orders import order_medium, ordered_before
from app.nodes.registry import Effect, node_type
from app.nodes.settings import NodeSettings
from app.nodes.task import Task
from app.workflow import LENS, Output, check_output, stored_output


@node_type(LENS, effect=Effect.SPENDS)
def ask_with_lens(task: Task[NodeSettings]) -> Output:
    """Ask a model with the node's lens and hold the answer against the lens's contract."""
    contract = task.models.lenses.contract_of(task.node)
    output = ordered_before(task) or _ask(task)
    if contract:
        output = replace(output, kind=contract.kind, artifact_kind=contract.artifact_kind)
    check_output(contract, stored_output(output), needs_output=True)
    return output


def _ask(task: Task[NodeSettings]) -> Output:
    models = task.models
    prompt = models.lenses.prompt_of(task.work)
    model = models.model_called(task.node.config.model_id)
    if model.kind != "text":
        order_medium(task, model, prompt)
    answer = models.ask(task.node, providers.Prompt(prompt))
    usage = models.usage_of(task.node)
    return Output(text=answer.text, metadata=usage.metadata if usage else {})
