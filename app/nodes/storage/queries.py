"""Questions to the platform's database, in the rights of the workflow's owner."""

from __future__ import annotations

from pydantic import Field, JsonValue

from app.nodes.registry import Effect, node_type, refuse
from app.nodes.settings import NodeSettings, spelled
from app.nodes.task import Task
from app.platform.queries import ask_function
from app.platform.run_rights import owner_of
from app.settings import settings
from app.workflow import Output
from app.workflow.values import compact_json

refuse(
    "would run its author's SQL on the platform's own database; supabase_query asks functions of it",
    "sql_query",
)


class Query(NodeSettings):
    """The settings of `supabase_query`."""

    rpc_name: str = Field(min_length=1, validation_alias=spelled("rpcName", "functionName", "rpc"))
    params: dict[str, JsonValue] = Field(default_factory=dict, validation_alias=spelled("params", "args"))


def _is_listed(query: Query) -> str | None:
    listed = _listed()
    return None if query.rpc_name in listed else f"rpcName is none of {', '.join(listed)}"


@node_type("supabase_query", config=Query, gives=("rows", "count"), effect=Effect.READS, check=_is_listed)
def ask(task: Task[Query]) -> Output:
    """Ask a function of the platform's database, without the right to change anything."""
    owner = owner_of(task.database, task.run)
    rows = list(ask_function(task.database, owner, task.config.rpc_name, task.config.params))
    return Output(text=compact_json(rows), artifact_kind="json", data={"rows": rows, "count": len(rows)})


def _listed() -> list[str]:
    return [name.strip() for name in settings().workflow_query_functions.split(",") if name.strip()]
