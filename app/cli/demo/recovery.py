"""Recovery in the demo: a workflow run whose worker is killed in the middle, and what is not done again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from psycopg2.extensions import connection

from app.cli.demo.scenario import Tally
from app.local.provider_server import ProviderServer
from app.local.stack import Stack
from app.local.workflows import EdgeSeed, NodeSeed, enqueue_workflow_run, make_workflow

NODES = 5
#: The worker is killed once so many nodes are done and the next one is with its model.
KILLED_AFTER = 2
MODEL = "deepseek-v4-flash"

_LABEL = "killed in the middle"
_FIND = """
    SELECT r.status, (SELECT count(*) FROM lenses.workflow_node_results n
                      WHERE n.run_id = r.id AND n.status = 'completed'),
           (SELECT max(c.deaths) FROM worker.claims c WHERE c.job = r.id)
    FROM lenses.workflow_runs r WHERE r.id = %s
"""


class Recovery:
    """Kills the worker, with SIGKILL, while a chain of nodes is being done, and starts another one.

    Runs when everything else has ended, since it takes the worker from all of it. Until the lease of the dead
    one is over nothing happens; then the other goes on after the last node that was done.
    """

    kind = "recovery"

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._stack: Stack | None = None
        self._providers: ProviderServer | None = None
        self._run_id: UUID | None = None
        self._calls_before = 0
        self._is_killed = False
        self._is_told = False

    def meet(self, stack: Stack) -> None:
        """Learn which processes are running."""
        self._stack = stack

    def queue(self, session: connection, providers: ProviderServer) -> None:
        """Queue a chain of nodes whose models take a while."""
        nodes = {f"n{number}": NodeSeed({"modelId": MODEL}, lens="greeting") for number in range(NODES)}
        edges = [EdgeSeed(f"n{number}", f"n{number + 1}", "name") for number in range(NODES - 1)]
        self._providers = providers
        self._calls_before = len(providers.calls)
        providers.latency_seconds = 0.3
        workflow = make_workflow(session, nodes, edges)
        inputs = {"name": "Ada", "language": "English"}
        self._run_id = enqueue_workflow_run(session, workflow.workflow_id, inputs=inputs)

    def poll(self, session: connection) -> Sequence[Tally]:
        """How far the run is; kills its worker when the time has come."""
        with session.cursor() as row:
            row.execute(_FIND, (self._run_id,))
            status, done, deaths = row.fetchone() or ("gone", 0, 0)
        if not self._is_killed and done >= KILLED_AFTER and self._calls() > done:
            self._kill(done)
        if status in ("pending", "queued"):
            return [Tally(_LABEL, queued=1)]
        if status in ("running", "recovered"):
            return [Tally(_LABEL, running=1)]
        return [self._judge(status, deaths)]

    def _kill(self, done: int) -> None:
        assert self._stack is not None, "the demo's runner introduces the stack"
        self._is_killed = True
        self._stack.replace("worker")
        self._say(f"worker killed (kill -9) with {done} of {NODES} nodes done; another one is started")

    def _calls(self) -> int:
        assert self._providers is not None, "what is polled was queued"
        return sum(call.model == MODEL for call in self._providers.calls[self._calls_before :])

    def _judge(self, status: str, deaths: int | None) -> Tally:
        calls = self._calls()
        if not self._is_told:
            self._is_told = True
            self._say(f"run {status}: {NODES} nodes, {calls} calls to the model, {deaths} dead worker")
        surprises = []
        if status != "completed":
            surprises.append(f"ended as {status} instead of completed")
        if not self._is_killed or not deaths:
            surprises.append("its worker was not killed in time")
        if not NODES <= calls <= NODES + 1:
            surprises.append(f"{calls} calls for {NODES} nodes: finished ones were done again")
        is_well = status == "completed"
        return Tally(_LABEL, succeeded=int(is_well), failed=int(not is_well), surprises=tuple(surprises))
