"""Workflow runs in the demo: one of a schedule with its live events, the other way, and no way at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from psycopg2.extensions import connection

from app.cli.demo.scenario import Tally
from app.cli.demo.workflow_runs import Event, RunCase, disorder
from app.local.provider_server import ProviderServer
from app.local.workflows import NodeSeed

#: What switches the executor of workflow runs on.
WORKFLOW_ENVIRONMENT = {"PLATFORM_API_SCHEDULED_WORKFLOW_WORKER_ENABLED": "true"}

_GIVEN = {"language": "English", "text": "All that is to be said."}


class Workflows:
    """Both ways of a branch, and a graph that can't be run; the scheduled run's events are said at once."""

    kind = "workflow_run"
    title = "A workflow with a branch"
    story = "A schedule is due; its run decides between two ways. Its events, live:"

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._said = 0
        self._scheduled = RunCase(
            "the scheduled run, for Ada",
            "greeted, by one way only",
            {"name": "Ada", **_GIVEN},
            ways=("greet", "summarise"),
            is_scheduled=True,
        )
        self._others = [
            RunCase(
                "a run of the API, for Grace",
                "summarised, by the other way",
                {"name": "Grace", **_GIVEN},
                ways=("summarise", "greet"),
            ),
            RunCase(
                "a node of a type nobody knows",
                "refused: workflow.invalid",
                {},
                "workflow.invalid",
                nodes={"rocket": NodeSeed({"nodeType": "launch_rocket"})},
            ),
        ]

    def queue(self, session: connection, _providers: ProviderServer) -> None:
        """Make a workflow for each case, and have it run."""
        for case in (self._scheduled, *self._others):
            case.queue(session)

    def poll(self, session: connection) -> Sequence[Tally]:
        """How far each run is; says each event of the scheduled one when it is there."""
        seen = self._scheduled.look(session)
        for event in seen.events[self._said :]:
            self._say(_line(event))
        self._said = len(seen.events)
        wrong = disorder(seen.events) if seen.has_ended else None
        return [
            self._scheduled.tally(seen, [wrong] if wrong else []),
            *(case.tally(case.look(session)) for case in self._others),
        ]


def _line(event: Event) -> str:
    return f"{event.at_ms:6.0f} ms  {event.number:2}  {event.type:<18}  {event.node}".rstrip()
