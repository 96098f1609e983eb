"""Messages in the demo: a scheduled workflow that mails, chats and files what a model has written."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from psycopg2.extensions import connection

from app.cli.demo.post import GREETING, MODEL, Post
from app.cli.demo.scenario import Tally
from app.cli.demo.workflow_runs import RunCase
from app.local.provider_server import ProviderServer

NAME = "Ada"


class Messages:
    """One run of a schedule, whose messages are said as they arrive at the servers they were sent to."""

    kind = "workflow_messages"
    title = "A workflow that sends"
    story = "A schedule is due; a model writes a greeting, four nodes pass it on. Arrived:"

    def __init__(self, say: Callable[[str], None], post: Post) -> None:
        self._say = say
        self._said: set[tuple[str, str]] = set()
        self._post = post
        self._queued_at = 0.0
        self._case = RunCase(
            "mail, Slack, Discord and a file",
            "one of each, with the greeting",
            {"name": NAME, "language": "English"},
            nodes=post.nodes,
            edges=post.edges,
            is_scheduled=True,
        )

    def queue(self, session: connection, providers: ProviderServer) -> None:
        """Have the workflow run."""
        providers.say(MODEL, GREETING.format(NAME))
        self._queued_at = time.monotonic()
        self._case.queue(session)

    def poll(self, session: connection) -> Sequence[Tally]:
        """How far the run is; says what has arrived since."""
        # The run first: what has arrived by its end, was sent before it.
        seen = self._case.look(session)
        arrived = list(self._post.arrived())
        for place, text in arrived:
            if (place, text) not in self._said:
                self._said.add((place, text))
                passed_ms = (time.monotonic() - self._queued_at) * 1000
                self._say(f"{passed_ms:6.0f} ms  {place:<7}  {text}")
        return [self._case.tally(seen, list(self._post.surprises(NAME)))]
