"""What a workflow's nodes do: one module per family, one function with a model of its settings per type.

A node type is a function with the decorator `node_type`. It takes a `Task` and gives an `Output`, or raises
`NodeFailure`, or `GiveUp` and `RetryLater` with codes of the house. Its settings are parsed before a run
starts: `problems_of` names what is wrong with them. No node completes for something that it did not do.
"""

# Each family's types exist once it is imported.
from app.nodes import ai as ai
from app.nodes import battles as battles
from app.nodes import data as data
from app.nodes import logic as logic
from app.nodes import media as media
from app.nodes import messages as messages
from app.nodes import refused as refused
from app.nodes import services as services
from app.nodes import storage as storage
from app.nodes import triggers as triggers
from app.nodes import utility as utility
from app.nodes import waiting as waiting
from app.nodes import web as web
from app.nodes.checking import notes_of, problems_of
from app.nodes.models import Models, usage_of
from app.nodes.registry import Effect, NodeType, catching_types, field_kinds, node_type, node_types, refusals
from app.nodes.running import run_node
from app.nodes.settings import NodeSettings, spelled
from app.nodes.task import Task

__all__ = [
    "Effect",
    "Models",
    "NodeSettings",
    "NodeType",
    "Task",
    "catching_types",
    "field_kinds",
    "node_type",
    "node_types",
    "notes_of",
    "problems_of",
    "refusals",
    "run_node",
    "spelled",
    "usage_of",
]
