"""The engine of workflows, without any input or output: it takes a graph and results, and says what is next.

How an executor drives it, and nothing else does:

    graph = load_graph(node_rows, edge_rows, known_types=…)        # or InvalidWorkflow with all problems
    inputs = clean_root_inputs(run.context_inputs)
    progress = Progress(graph, results_that_stand(result_rows, Resumption.RECOVERY))
    advance = progress.opening                                      # write .settled, do .ready
    while progress.standing is Standing.RUNNING:
        start = progress.begin(node_id)                             # for every ready node
        work = prepare(start, inputs)                               # on the node's own thread …
        result = NodeResult(NodeStatus.COMPLETED, stored_output(…)) # … or NodeFailure.result, or Park
        advance = progress.complete(node_id, result)                # write both in one transaction
    progress.run_status                                             # once FINISHED; PARKED ends the loop too

A node starts as soon as everything it waits for has ended, and sees only that, so how fast other nodes are
makes no difference to it. The one exception is a node that halts the workflow: it ends what hasn't started.
"""

from app.workflow.coercion import FieldKind, FieldKinds
from app.workflow.contracts import (
    InputContract,
    OutputContract,
    check_input,
    check_output,
    read_contract,
)
from app.workflow.ends import is_over_budget
from app.workflow.graph import Edge, Graph, Node, NodeId
from app.workflow.inputs import Work, clean_root_inputs, prepare
from app.workflow.outputs import Output, data_of, stored_output
from app.workflow.parking import Park, WaitingReason
from app.workflow.problems import InvalidWorkflow, Problem
from app.workflow.progress import Advance, Progress, Standing, Start
from app.workflow.prompts import render_lens
from app.workflow.results import HALT_KEY, NodeFailure, NodeResult
from app.workflow.resume import Resumption, results_that_stand
from app.workflow.retries import Cause, RetryPolicy
from app.workflow.rows import LENS
from app.workflow.statuses import NodeStatus, RunStatus, SkipReason, Stop
from app.workflow.usage import Usage
from app.workflow.validation import GraphLimits, load_graph

__all__ = [
    "HALT_KEY",
    "LENS",
    "Advance",
    "Cause",
    "Edge",
    "FieldKind",
    "FieldKinds",
    "Graph",
    "GraphLimits",
    "InputContract",
    "InvalidWorkflow",
    "Node",
    "NodeFailure",
    "NodeId",
    "NodeResult",
    "NodeStatus",
    "Output",
    "OutputContract",
    "Park",
    "Problem",
    "Progress",
    "Resumption",
    "RetryPolicy",
    "RunStatus",
    "SkipReason",
    "Standing",
    "Start",
    "Stop",
    "Usage",
    "WaitingReason",
    "Work",
    "check_input",
    "check_output",
    "clean_root_inputs",
    "data_of",
    "is_over_budget",
    "load_graph",
    "prepare",
    "read_contract",
    "render_lens",
    "results_that_stand",
    "stored_output",
]
