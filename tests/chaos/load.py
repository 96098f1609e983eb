"""The work: all kinds at once, as long as there is room, and the answers of the people who are asked."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from uuid import UUID

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extras import Json

from app.local.battles import Contender, enqueue_battle
from app.local.platform import enqueue_lens_run
from app.local.teams import MemberSeed, SeededTeam, enqueue_team_run, make_team
from app.local.votes import Ballot, cast, open_vote
from app.local.workflows import EdgeSeed, NodeSeed, SeededWorkflow, enqueue_workflow_run, make_workflow
from app.outages import passes
from tests.chaos.outside import SLOWLY
from tests.chaos.terms import THRIFTY
from tests.databases import connect_as_worker

#: Open jobs at which nothing is added: the backlog must not outgrow the time for draining.
MAX_OPEN = 120
PAUSE_SECONDS = 0.06

_OPEN = "SELECT count(*) FROM dramatiq.queue WHERE state IN ('queued', 'consumed')"
_ASKED = "SELECT run_id, node_id FROM worker.waiting_nodes WHERE reason = 'human_input'"
_RETRY = {"retry": {"attempts": 12, "backoffMs": 200, "maxBackoffMs": 1000}}


class Load:
    """Queues work on a thread of its own, through every outage of the database.

    `accepted` holds what was certainly committed, by kind. What was being committed when the connection broke
    may be there too.
    """

    def __init__(self, dsn: str, seed: int, *, receiver_url: str, discord_url: str) -> None:
        self.accepted: dict[str, list[UUID]] = {}
        self._dsn = dsn
        self._dice = random.Random(seed)
        self._receiver_url = receiver_url
        self._number = 0
        self._producing = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self.failure: BaseException | None = None
        with closing(connect_as_worker(dsn)) as session:
            self._workflow = _make_workflow(session, discord_url)
            self._team = _make_team(session)
            self._votes = [open_vote(session, f"vote {number}") for number in range(3)]

    def start(self) -> None:
        self._producing.set()
        self._thread.start()

    def stop_producing(self) -> None:
        """Add nothing more; who is asked still answers."""
        self._producing.clear()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    with closing(connect_as_worker(self._dsn)) as session:
                        self._work(session)
                except psycopg2.Error as error:
                    if not passes(error):
                        raise
                    time.sleep(0.1)
        except BaseException as error:
            self.failure = error
            raise

    def _work(self, session: Connection) -> None:
        while not self._stopping.wait(PAUSE_SECONDS):
            _answer_questions(session)
            if self._producing.is_set() and _count(session) < MAX_OPEN:
                make = self._dice.choices(list(KINDS), [share for share, _ in KINDS.values()])[0]
                self._number += 1
                job = KINDS[make][1](self, session, f"{make} {self._number}")
                self.accepted.setdefault(make, []).append(job)

    def _text(self, session: Connection, topic: str) -> UUID:
        return enqueue_lens_run(session, model="gpt-4o-mini", inputs={"prompt": f"Tell of {topic}."})

    def _slow_text(self, session: Connection, topic: str) -> UUID:
        return enqueue_lens_run(session, model="gpt-4o", inputs={"prompt": f"Tell {SLOWLY} of {topic}."})

    def _rationed_text(self, session: Connection, topic: str) -> UUID:
        return enqueue_lens_run(session, model="gpt-4.1-mini", inputs={"prompt": f"Tell of {topic}."})

    def _thrifty_text(self, session: Connection, topic: str) -> UUID:
        inputs = {"prompt": f"Tell of {topic}."}
        return enqueue_lens_run(session, model="gpt-4o-mini", inputs=inputs, requester=THRIFTY)

    def _image(self, session: Connection, topic: str) -> UUID:
        return enqueue_lens_run(session, model="gpt-image-1", inputs={"prompt": f"Draw {topic}."})

    def _video(self, session: Connection, topic: str) -> UUID:
        return enqueue_lens_run(session, model="sora-2.0", inputs={"prompt": f"Film {topic}."})

    def _battle(self, session: Connection, topic: str) -> UUID:
        contenders = Contender("gpt-4o-mini"), Contender("claude-haiku-4-5")
        return enqueue_battle(session, *contenders, task_prompt=f"Praise {topic}.")

    def _workflow_run(self, session: Connection, topic: str) -> UUID:
        inputs = {"name": topic, "language": "English", "text": f"all of {topic}"}
        with session:
            return enqueue_workflow_run(session, self._workflow.workflow_id, inputs=inputs)

    def _team_run(self, session: Connection, topic: str) -> UUID:
        inputs = {"task": f"Write of {topic}."}
        return enqueue_team_run(session, self._team.lead_id, team_id=self._team.team_id, inputs=inputs)

    def _vote(self, session: Connection, _topic: str) -> UUID:
        battle = self._dice.choice(self._votes)
        (voter,) = cast(session, battle, [Ballot(known=False)])
        return voter

    def _webhook(self, session: Connection, topic: str) -> UUID:
        with session.cursor() as row:
            row.execute(
                "INSERT INTO audit.webhook_outbox (event_type, payload, target_url, max_attempts)"
                " VALUES ('approval_pending', %s, %s, 50) RETURNING id",
                (Json({"topic": topic}), f"{self._receiver_url}/{self._dice.randrange(3)}"),
            )
            (webhook,) = row.fetchone() or (None,)
        assert webhook is not None
        return UUID(str(webhook))


Make = Callable[[Load, Connection, str], UUID]

#: Kind -> its share of all that is queued, and how one of it is made.
KINDS: Mapping[str, tuple[float, Make]] = {
    "text": (6, Load._text),
    "slow text": (2, Load._slow_text),
    "rationed text": (1.5, Load._rationed_text),
    "thrifty text": (1.5, Load._thrifty_text),
    "image": (1, Load._image),
    "video": (0.5, Load._video),
    "battle": (1.5, Load._battle),
    "workflow run": (1.5, Load._workflow_run),
    "team run": (0.7, Load._team_run),
    "vote": (2, Load._vote),
    "webhook": (4, Load._webhook),
}


def _make_workflow(session: Connection, discord_url: str) -> SeededWorkflow:
    """Two models in parallel, a rest, a person's word, and a message that must be sent once."""
    return make_workflow(
        session,
        {
            "start": NodeSeed({"nodeType": "manual_trigger"}),
            "greet": NodeSeed({"modelId": "gpt-4o-mini", **_RETRY}, lens="greeting"),
            "summarise": NodeSeed({"modelId": "claude-haiku-4-5", **_RETRY}, lens="summary"),
            "rest": NodeSeed({"nodeType": "delay", "delayMs": 700}),
            "ask": NodeSeed({"nodeType": "approval"}),
            "again": NodeSeed({"modelId": "gpt-4o", **_RETRY}, lens="summary"),
            "tell": NodeSeed(
                {
                    "nodeType": "discord_notify",
                    "webhookUrl": discord_url,
                    "text": "{{name}} is told",
                }
            ),
        },
        [
            EdgeSeed("start", "greet", "context"),
            EdgeSeed("start", "summarise", "context"),
            EdgeSeed("greet", "rest"),
            EdgeSeed("rest", "ask"),
            EdgeSeed("ask", "again", "tone"),
            EdgeSeed("again", "tell", "input"),
        ],
    )


def _make_team(session: Connection) -> SeededTeam:
    leader = MemberSeed("Lena", "leader", persona="You lead.")
    return make_team(session, [leader, MemberSeed("Emil", "executor", persona="You do the work.")])


def _answer_questions(session: Connection) -> None:
    with session.cursor() as row:
        row.execute(_ASKED)
        for run, node in row.fetchall():
            row.execute("SELECT worker.answer_node(%s, %s, 'true')", (run, node))


def _count(session: Connection) -> int:
    with session.cursor() as row:
        row.execute(_OPEN)
        (count,) = row.fetchone() or (0,)
    return int(count)
