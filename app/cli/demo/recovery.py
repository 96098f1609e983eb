"""Recovery in the demo: a workflow run whose worker is killed in the middle, and what is not done again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from uuid import UUID

from psycopg2.extensions import connection

from app.cli.demo.scenario import Tally
from app.local.platform import ensure_model
from app.local.provider_server import ProviderServer
from app.local.stack import Stack
from app.local.workflows import EdgeSeed, NodeSeed, enqueue_workflow_run, make_workflow

NODES = 5
#: The worker is killed once so many nodes are done and the next one is with its model.
KILLED_AFTER = 2
#: A model that nobody else in the demo asks.
MODEL = "mistral-small"
PROVIDER = "mistral"

_LABEL = f"a chain of {NODES} nodes"
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
    title = "A worker killed in the middle"
    story = f"kill -9 while node {KILLED_AFTER + 1} of {NODES} waits for its model; another worker goes on:"

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._stack: Stack | None = None
        self._providers: ProviderServer | None = None
        self._run_id: UUID | None = None
        self._is_killed = False
        self._done = 0
        self._queued_at = 0.0

    def meet(self, stack: Stack) -> None:
        """Learn which processes are running."""
        self._stack = stack

    def queue(self, session: connection, providers: ProviderServer) -> None:
        """Queue a chain of nodes, one of which gets no answer as long as its worker lives."""
        self._queued_at = time.monotonic()
        ensure_model(session, MODEL, PROVIDER)
        providers.script(MODEL, ["ok"] * KILLED_AFTER + ["hang"])
        self._providers = providers
        nodes = {f"n{number}": NodeSeed({"modelId": MODEL}, lens="greeting") for number in range(NODES)}
        edges = [EdgeSeed(f"n{number}", f"n{number + 1}", "name") for number in range(NODES - 1)]
        workflow = make_workflow(session, nodes, edges)
        inputs = {"name": "Ada", "language": "English"}
        self._run_id = enqueue_workflow_run(session, workflow.workflow_id, inputs=inputs)

    def poll(self, session: connection) -> Sequence[Tally]:
        """How far the run is; kills its worker when the time has come."""
        with session.cursor() as row:
            row.execute(_FIND, (self._run_id,))
            status, done, deaths = row.fetchone() or ("gone", 0, 0)
        self._tell(done)
        if not self._is_killed and done == KILLED_AFTER and len(self._prompts()) > done:
            self._kill()
        if status in ("pending", "queued"):
            return [Tally(_LABEL, "waiting", queued=1)]
        if status in ("running", "recovered"):
            return [Tally(_LABEL, "at work", running=1)]
        is_well = status == "completed"
        return [
            Tally(
                _LABEL,
                "no finished node was done again",
                succeeded=int(is_well),
                failed=int(not is_well),
                surprises=tuple(self._surprises(status, deaths)),
            )
        ]

    def _tell(self, done: int) -> None:
        for number in range(self._done + 1, done + 1):
            self._say(f"{self._passed()}  node {number} is done")
        self._done = max(self._done, done)

    def _kill(self) -> None:
        assert self._stack is not None, "the demo's runner introduces the stack"
        self._is_killed = True
        self._stack.replace("worker")
        self._say(f"{self._passed()}  the worker is killed; its lease of 7 s runs out, another one starts")

    def _passed(self) -> str:
        return f"{time.monotonic() - self._queued_at:4.1f} s"

    def _prompts(self) -> list[str]:
        """What the model was asked, in order; each node asks something else."""
        assert self._providers is not None, "what is polled was queued"
        return [call.prompt for call in list(self._providers.calls) if call.model == MODEL]

    def _surprises(self, status: str, deaths: int | None) -> Iterator[str]:
        if status != "completed":
            yield f"ended as {status} instead of completed"
        if not self._is_killed or deaths != 1:
            yield f"{deaths or 0} workers died of it instead of one"
        asked = list(Counter(self._prompts()).values())
        expected = [1 + (number == KILLED_AFTER) for number in range(NODES)]
        if asked != expected:
            yield f"its nodes asked the model {asked} times instead of {expected}"
