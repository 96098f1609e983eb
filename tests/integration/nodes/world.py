"""One node of a run that doesn't exist, tried on a real database and local messengers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from app.database import Database
from app.nodes import Models, field_kinds, node_types, problems_of, refusals, run_node
from app.platform.workflows import WorkflowRun
from app.workflow import (
    InvalidWorkflow,
    NodeResult,
    NodeStatus,
    Output,
    Progress,
    load_graph,
    prepare,
    stored_output,
)
from app.workflow.values import JsonObject


def a_run() -> WorkflowRun:
    return WorkflowRun(
        run_id=uuid4(),
        workflow_id=uuid4(),
        schedule_id=None,
        triggered_by=None,
        owner_lenser_id=uuid4(),
        workspace_id=None,
        context_inputs={},
        global_model_id=None,
        ai_lenser_id=None,
        trigger_mode="api",
        parent_run_id=None,
        recursion_depth=0,
        budget_credits=None,
        spent_credits=0,
        started_at=datetime.now(UTC),
    )


class Node:
    """A node behind one parent; `give` does its work again each time, like a run that is resumed."""

    def __init__(
        self,
        database: Database,
        node_type: str,
        *,
        parent: Output | str = "",
        inputs: JsonObject | None = None,
        run: WorkflowRun | None = None,
        **settings: Any,
    ) -> None:
        self.database = database
        self.parent_id, self.id = str(uuid4()), str(uuid4())
        self.run = run or a_run()
        self._inputs = inputs or {}
        self._parent = parent if isinstance(parent, Output) else Output(text=parent)
        # As the builder stores a form: every field is text, but for what only documents can hold.
        fields = {f"__{key}": value for key, value in settings.items()}
        self._rows: list[dict[str, Any]] = [
            {"id": self.parent_id, "ordinal": 0, "config": {"nodeType": "manual_trigger"}},
            {
                "id": self.id,
                "ordinal": 1,
                "label": "tried",
                "config": {"nodeType": node_type, "param_overrides": fields},
            },
        ]

    def change(self, **settings: Any) -> None:
        """Change the node's settings, as its author does before a retry."""
        self._rows[1]["config"]["param_overrides"] |= {f"__{key}": value for key, value in settings.items()}

    def refer_to_parent(self, setting: str) -> None:
        """Write the parent's id where a setting says PARENT."""
        fields = self._rows[1]["config"]["param_overrides"]
        text = json.dumps(fields[f"__{setting}"]).replace("PARENT", self.parent_id)
        fields[f"__{setting}"] = json.loads(text)

    def load(self) -> Progress:
        edge = {
            "id": "e",
            "source_node_id": self.parent_id,
            "target_node_id": self.id,
            "target_param_label": "input",
        }
        known = {*node_types(), *refusals()}
        graph = load_graph(self._rows, [edge], known_types=known, kinds=field_kinds(), check=problems_of)
        given = NodeResult(NodeStatus.COMPLETED, stored_output(self._parent))
        return Progress(graph, {self.parent_id: given})

    def give(self) -> JsonObject:
        """The stored output; raises `NodeFailure`."""
        work = prepare(self.load().begin(self.id), self._inputs)
        given = run_node(work, self.run, self.database, Models(self.database, self.run))
        return stored_output(given)

    @property
    def problems(self) -> str:
        """What is said against the node before its run starts; empty when nothing is."""
        try:
            self.load()
        except InvalidWorkflow as error:
            return str(error)
        return ""

    @property
    def key(self) -> str:
        return f"{self.run.run_id}:{self.id}"

    @property
    def node_id(self) -> UUID:
        return UUID(self.id)
