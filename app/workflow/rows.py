"""Read the rows of a graph as the database holds them; what can't be read becomes a problem, not an error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
)

from app.texts.json_text import DEEPEST_LEVELS, is_shallow
from app.workflow.coercion import FieldKinds
from app.workflow.conditions import Condition
from app.workflow.config import read_config
from app.workflow.graph import Edge, Node, title_of
from app.workflow.merges import MergeStrategy
from app.workflow.paths import DEFAULT_KEY
from app.workflow.problems import Problem
from app.workflow.values import JsonObject, json_length

#: Longest config of one node, as characters of its JSON.
LONGEST_CONFIG_CHARACTERS = 262_144
#: The type of a node that asks a model with its lens.
LENS = "lens"
#: Other names of the same: all that a node of these types has to say is its lens.
_LENS_TYPES = {
    *("lens", "lens_execute", "text", "image", "video", "audio", "multimodal_chain", "delegate", "condition")
}


def _uuid_to_text(value: object) -> object:
    return str(value) if isinstance(value, UUID) else value


def _check_depth(config: Any) -> Any:
    if not is_shallow(config):
        raise ValueError(f"nested more than {DEEPEST_LEVELS} levels deep")
    return {} if config is None else config


def _check_length(config: JsonObject) -> JsonObject:
    if json_length(config) > LONGEST_CONFIG_CHARACTERS:
        raise ValueError(f"longer than {LONGEST_CONFIG_CHARACTERS} characters")
    return config


Id = Annotated[
    str, BeforeValidator(_uuid_to_text), StringConstraints(pattern=r"\A[A-Za-z0-9_-]{1,64}\z", to_lower=True)
]


class NodeRow(BaseModel):
    """One row of `lenses.workflow_nodes`; of the columns only `id` is sure to be there."""

    id: Id
    lens_id: Id | None = None
    version_id: Id | None = None
    label: str | None = None
    ordinal: int = 0
    config: Annotated[dict[str, JsonValue], BeforeValidator(_check_depth), AfterValidator(_check_length)] = (
        Field(default_factory=dict)
    )


class EdgeRow(BaseModel):
    """One row of `lenses.workflow_edges`."""

    id: Id
    source_node_id: Id
    target_node_id: Id
    source_output_key: str = DEFAULT_KEY
    target_param_label: str
    merge_strategy: MergeStrategy | None = None
    condition: Condition | None = None

    @property
    def edge(self) -> Edge:
        """The edge that the row describes."""
        return Edge(
            id=self.id,
            source=self.source_node_id,
            target=self.target_node_id,
            output_key=self.source_output_key,
            target_label=self.target_param_label,
            merge=self.merge_strategy,
            condition=self.condition,
        )


@dataclass
class Draft:
    """A graph as read: what is readable, and what isn't. Nothing is known yet about how it fits together."""

    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    #: What to call nodes that exist but can't be read: edges to them aren't told as a second problem.
    unreadable: dict[str, str] = field(default_factory=dict)


def read_draft(
    node_rows: Iterable[Mapping[str, Any]],
    edge_rows: Iterable[Mapping[str, Any]],
    kinds: FieldKinds | None = None,
) -> Draft:
    """Parse all rows of a graph; `kinds` tells the types of form fields where they are known."""
    draft = Draft()
    for row in node_rows:
        try:
            draft.nodes.append(_read_node(row, kinds or {}))
        except ValidationError as error:
            node_id, label = str(row.get("id")).lower(), row.get("label")
            title = title_of(node_id, label if isinstance(label, str) else None)
            draft.unreadable[node_id] = title
            draft.problems.append(Problem("malformed_node", f"{title} {_complaint(error)}", (node_id,)))
    titles = {**draft.unreadable, **{node.id: node.title for node in draft.nodes}}
    for row in edge_rows:
        try:
            draft.edges.append(EdgeRow.model_validate(row).edge)
        except ValidationError as error:
            draft.problems.append(_malformed_edge(row, titles, _complaint(error)))
    return draft


def _malformed_edge(row: Mapping[str, Any], titles: Mapping[str, str], complaint: str) -> Problem:
    """What is wrong with an edge, which is told with the node that it leads to."""
    source, target = (str(row.get(key)).lower() for key in ("source_node_id", "target_node_id"))
    between = f" from {titles[source]} to {titles[target]}" if {source, target} <= titles.keys() else ""
    message = f"edge {str(row.get('id')).lower()}{between} {complaint}"
    return Problem("malformed_edge", message, (target,) if target in titles else ())


def _read_node(raw: Mapping[str, Any], kinds: FieldKinds) -> Node:
    row = NodeRow.model_validate(raw)
    config = read_config(row.config, kinds)
    named = config.node_type
    return Node(
        id=row.id,
        type=LENS if named in _LENS_TYPES or (named is None and row.lens_id) else named or "",
        config=config,
        lens_id=row.lens_id,
        version_id=row.version_id,
        label=row.label,
        ordinal=row.ordinal,
    )


def _complaint(error: ValidationError) -> str:
    """Which keys are wrong and why, without their values: a config may hold a secret."""
    reasons = {
        f"{'.'.join(str(step) for step in problem['loc']) or 'row'}: {problem['msg']}"
        for problem in error.errors(include_input=False, include_url=False, include_context=False)
    }
    return f"can't be read ({'; '.join(sorted(reasons))})"
