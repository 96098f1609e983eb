"""`lf-worker workflows`: what waits in workflow runs, and answers for it."""

from __future__ import annotations

import json
from typing import Annotated, Any
from uuid import UUID

import typer
from psycopg2.extensions import connection
from psycopg2.extras import RealDictCursor
from rich.table import Table

from app.cli.consoles import plain_console
from app.cli.sessions import fetch, worker_session
from app.errors import SettingsError
from app.platform.parked_nodes import Answered, answer_node

app = typer.Typer(help="See what waits in workflow runs, and answer it.", no_args_is_help=True)

_REFUSALS = {
    Answered.ALREADY_ANSWERED: "somebody has answered it already; the first answer counts",
    Answered.TOO_LATE: "its time is up, or it is being worked on; `lf-worker workflows waiting` tells",
    Answered.NEEDS_NO_ANSWER: "it waits for a time, not for an answer",
    Answered.RUN_ENDED: "its run has ended",
    Answered.NOT_WAITING: "it doesn't wait; `lf-worker workflows waiting` lists what does",
}


@app.command()
def waiting(
    run: Annotated[str | None, typer.Option(help="Only of this run.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a node.")] = False,
) -> None:
    """List the nodes that wait for a time, a person or other work, the longest waiting first."""
    run_id = None if run is None else _id(run)
    with worker_session() as session:
        nodes = _waiting(session, run_id)
    if as_json:
        for node in nodes:
            print(json.dumps(node, default=str))
        return
    table = Table("run", "node", "workflow", "waits for", "since", "until", "question")
    for node in nodes:
        table.add_row(
            str(node["run_id"]),
            str(node["node"] or node["node_id"]),
            node["workflow"] or "",
            node["reason"],
            f"{node['parked_at']:%Y-%m-%d %H:%M:%S}",
            f"{node['due_at']:%Y-%m-%d %H:%M:%S}" if node["due_at"] else "",
            _question(node["ask"]),
        )
    plain_console().print(table)


@app.command()
def answer(
    run: Annotated[str, typer.Argument(help="Id of the run.")],
    node: Annotated[str, typer.Argument(help="Id or label of the node.")],
    approve: Annotated[bool | None, typer.Option("--approve/--reject", help="Say yes or no.")] = None,
    data: Annotated[str | None, typer.Option(help="The answer as JSON, or as plain text.")] = None,
    comment: Annotated[str | None, typer.Option(help="A word to go with a yes or no.")] = None,
    by: Annotated[str | None, typer.Option(help="Id of the profile that answers.")] = None,
) -> None:
    """Answer a node that waits; its run goes on at once. Only the first answer counts."""
    said = _said(approve, data, comment)
    run_id = _id(run)
    with worker_session() as session:
        node_id = _node_id(session, run_id, node)
        with session.cursor(cursor_factory=RealDictCursor) as tx:
            outcome = answer_node(tx, run_id, node_id, said, _id(by) if by else None)
    if outcome is not Answered.ANSWERED:
        raise SettingsError(f"node {node} of run {run_id} can't be answered: {_REFUSALS[outcome]}")
    print(f"answered; run {run_id} goes on")


def _said(approve: bool | None, data: str | None, comment: str | None) -> Any:
    if (approve is None) == (data is None):
        raise SettingsError("give an answer: --approve, --reject or --data")
    if data is None:
        return {"approved": approve} | ({"comment": comment} if comment else {})
    if comment:
        raise SettingsError("--comment goes with --approve and --reject; put it into --data")
    try:
        said = json.loads(data)
    except ValueError:
        said = data
    if said is None:
        raise SettingsError("null is no answer")
    return said


def _waiting(session: connection, run_id: UUID | None) -> list[dict[str, Any]]:
    return fetch(
        session,
        "SELECT * FROM worker.waiting_nodes WHERE %(run)s IS NULL OR run_id = %(run)s ORDER BY parked_at",
        {"run": run_id},
    )


def _node_id(session: connection, run_id: UUID, node: str) -> UUID:
    """The node's id, which may be named by its label among those that wait."""
    try:
        return UUID(node)
    except ValueError:
        found = [row["node_id"] for row in _waiting(session, run_id) if row["node"] == node]
    if len(found) != 1:
        what = "several nodes" if found else "no node"
        raise SettingsError(f"{what} of run {run_id} called {node!r} wait; name one by its id")
    return UUID(str(found[0]))


def _question(ask: dict[str, Any] | None) -> str:
    ask = ask or {}
    parts = [ask.get("prompt"), "|".join(ask.get("choices") or []), ask.get("problem")]
    return " · ".join(str(part) for part in parts if part)


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise SettingsError(f"{text!r} is not an id") from None
