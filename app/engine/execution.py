"""Execute a run that is held: get its graph and what is done of it, and go on to its end."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import structlog

from app.answers import Hand
from app.database import Database
from app.engine.budget import Budget
from app.engine.crew import Crew, ShutdownBegun
from app.engine.loop import RunLoop
from app.engine.page import refusal
from app.engine.pulse import pulse
from app.engine.summary import Ending
from app.engine.tries import Ended, Trier, Try
from app.engine.writing import write, write_kept, write_late
from app.errors import StaleClaim
from app.nodes import Models, catching_types, field_kinds, node_types, notes_of, problems_of, refusals
from app.platform.parked_nodes import fetch_parked
from app.platform.workflows import RunHold, RunLost, Verdict, WorkflowRun, fetch_graph, fetch_nodes
from app.settings import settings
from app.shutdown import told_of_shutdown
from app.workflow import (
    Graph,
    InvalidWorkflow,
    Progress,
    Resumption,
    clean_root_inputs,
    load_graph,
    results_that_stand,
)

log = structlog.get_logger(__name__)


def execute(
    database: Database, run: WorkflowRun, hold: RunHold, hand: Hand, *, models: Models | None = None
) -> Ending | None:
    """Bring a run to its end, from wherever an earlier attempt left it.

    None if there is nothing more to do for this attempt: somebody else ended the run, or all that is left of
    it waits. Then the run is put down and its claim released; its message comes again when a node has its
    turn, and counts neither as an error nor as a death.

    `hand` has what an earlier attempt could not write, and takes what this one can't. `models` is who the
    nodes ask; a team has its members answer. The nodes' rows are written; the run's own row is the caller's,
    in the transaction that ends the claim. Raises `InvalidWorkflow` before anything is started, when the rows
    of the nodes at fault say why; `PutBack` when the process is about to end; `StaleClaim` when a newer
    attempt has the run; `PlatformRefused` when a page can't be written; and any `RunStopped` of the `models`.
    """
    crew = Crew[Try, Ended]()
    try:
        with ExitStack() as around:
            around.enter_context(pulse(database, hold, settings().workflow_heartbeat_ms / 1000, crew.tell))
            around.enter_context(told_of_shutdown(lambda: crew.tell(ShutdownBegun())))
            write_kept(database, hold, hand)
            graph, worked_ms = _load(database, hold)
            stored = fetch_nodes(database, run.run_id)
            progress = Progress(
                graph, results_that_stand((row.model_dump() for row in stored), Resumption.RECOVERY)
            )
            trier = Trier(database, run, clean_root_inputs(run.context_inputs), models)
            loop = RunLoop(
                database, hold, hand, progress, trier, crew, budget=Budget(run), worked_ms=worked_ms
            )
            return loop.run_to_end(
                {str(row.node_id): row for row in stored}, fetch_parked(database, run.run_id)
            )
    except RunLost as lost:
        _let_go(database, hold, lost.verdict)
        return None
    finally:
        crew.dismiss(partial(write_late, database, hold))


def _load(database: Database, hold: RunHold) -> tuple[Graph, int]:
    """The graph, and how many milliseconds the run was at work before it was put down."""
    rows = fetch_graph(database, hold.run_id)
    if rows is None:
        raise RunLost(Verdict.ENDED)
    try:
        graph = load_graph(
            rows.nodes,
            rows.edges,
            known_types=node_types().keys() | refusals().keys(),
            kinds=field_kinds(),
            catching_types=catching_types(),
            check=problems_of,
        )
    except InvalidWorkflow as refused:
        write(database, hold, refusal(refused.reasons), Hand())
        raise
    passed_over = [note for node in graph.nodes.values() for note in notes_of(node)]
    graph = replace(graph, notes=[*passed_over, *graph.notes])
    if hold.attempt == 1:
        for note in graph.notes:
            log.warning(note.message, code=note.code, run_id=str(hold.run_id))
    return graph, rows.worked_ms


def _let_go(database: Database, hold: RunHold, verdict: Verdict) -> None:
    """Leave a run to whoever ended or took it."""
    if verdict is Verdict.STALE or not hold.close_ended(database):
        raise StaleClaim
    log.info("somebody else ended the run", verdict=verdict.value)
