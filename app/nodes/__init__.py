"""What a workflow's nodes do: one module per family, one function with a model of its settings per type.

A node type is a function with the decorator `node_type`. It takes a `Task` and gives an `Output`, or raises
`NodeFailure`, or `GiveUp` and `RetryLater` with codes of the house. Its settings are parsed before a run
starts: `problems_of` names what is wrong with them. No node completes for something that it did not do.
"""

from app.nodes import (
    ai,
    battles,
    data,
    logic,
    media,
    messages,
    refused,
    services,
    storage,
    triggers,
    utility,
    waiting,
    web,
)
from app.nodes.checking import problems_of
from app.nodes.models import Models, usage_of
from app.nodes.registry import Effect, NodeType, catching_types, field_kinds, node_type, node_types, refusals
from app.nodes.running import run_node
from app.nodes.settings import NodeSettings, spelled
from app.nodes.task import Task

#: The modules whose types exist.
FAMILIES = (
    ai,
    battles,
    data,
    logic,
    media,
    messages,
    refused,
    services,
    storage,
    triggers,
    utility,
    waiting,
    web,
)

__all__ = [
    "FAMILIES",
    "Effect",
    "Models",
    "NodeSettings",
    "NodeType",
    "Task",
    "catching_types",
    "field_kinds",
    "node_type",
    "node_types",
    "problems_of",
    "refusals",
    "run_node",
    "spelled",
    "usage_of",
]
