"""The minutes of a run: what was said in which turn, read again by the next attempt."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from uuid import UUID

import psycopg2
import structlog
from psycopg2.extensions import cursor
from pydantic import TypeAdapter

from app import providers
from app.answers import Hand
from app.calls import Call
from app.database import Database
from app.errors import DatabaseError, JobError, PutBack
from app.patience import retry_on_disconnect
from app.platform.team_holds import TeamHold, current_scratchpad_version, fetch_spoken
from app.platform.team_runs import (
    TeamMessage,
    append_event,
    merge_scratchpad,
    save_step,
    send_message,
)
from app.refusals import refusal_of
from app.teams import ReviewVerdict, Turn, TurnKey, TurnKind, read_review
from app.teamwork.steps import SHARED_TASK, Spoken, Topic, event_of, node_of, step_of, summary_of

log = structlog.get_logger(__name__)

_ANSWER = TypeAdapter(providers.Answer)


@dataclass(frozen=True)
class Kept:
    """What a turn came to: the answer, and the message that told the others."""

    answer: providers.Answer
    message_id: UUID


@dataclass(frozen=True)
class UnwrittenTurn:
    """A finished turn, with the turn that it replies to."""

    turn: Turn
    answer: providers.Answer
    reply_to: Turn | None
    topic: Topic


class Minutes:
    """Keeps the turns of one run, each in one transaction with its message, note and event.

    Turns that an earlier attempt had in `hand` are written first. Safe to use from many threads.
    """

    def __init__(self, database: Database, hold: TeamHold, hand: Hand) -> None:
        self._database = database
        self._hold = hold
        self._hand = hand
        self._guard = threading.Lock()
        #: Calls to providers that are not written down yet.
        self.calls: list[Call] = []
        self._kept: dict[tuple[Topic, TurnKey], Kept] = {}
        for row in fetch_spoken(database, hold.team_run_id):
            spoken = Spoken.model_validate(row)
            key = spoken.topic, TurnKey(spoken.title, spoken.agent_id)
            self._kept[key] = Kept(_ANSWER.validate_python(spoken.answer), spoken.message_id)
        for unwritten in hand.take(UnwrittenTurn):
            if (unwritten.topic, unwritten.turn.key) not in self._kept:
                self._save(unwritten)
        hand.drop(UnwrittenTurn)

    def said(self, topic: Topic = SHARED_TASK) -> dict[TurnKey, str]:
        """What was said about a topic."""
        return {key: answer.text for key, answer in self.answers(topic).items()}

    def answers(self, topic: Topic) -> dict[TurnKey, providers.Answer]:
        """The answers of all finished turns about a topic."""
        with self._guard:
            return {key: kept.answer for (about, key), kept in self._kept.items() if about == topic}

    def topic(self, node_id: UUID, question: str, part: int) -> Topic:
        """The topic that a node's question is, as it is known already or new."""
        with self._guard:
            known = {topic for topic, _ in self._kept if topic.node_id == node_id}
        same = (topic for topic in known if (topic.question, topic.part) == (question, part))
        return next(same, None) or Topic(node_id=node_id, question=question, part=part, number=len(known))

    def begin(self, turns: Iterable[Turn], topic: Topic = SHARED_TASK) -> None:
        """These turns are at work from now on."""
        with self._hold.writing(self._database) as tx:
            for turn in turns:
                save_step(tx, self._hold.team_run_id, step_of(turn, topic, "running"))
                self._tell(tx, "turn_started", turn, topic)

    def keep(
        self, turn: Turn, answer: providers.Answer, reply_to: Turn | None = None, topic: Topic = SHARED_TASK
    ) -> None:
        """A turn is finished, and the others hear of it.

        It may have been paid for, so it is in hand until it is written, however long the database is away.
        Raises `PlatformRefused` where the database refuses it for good; it stays in hand then.
        """
        unwritten = UnwrittenTurn(turn, answer, reply_to, topic)
        with self._hand.holding(unwritten):
            self._save(unwritten)

    def _save(self, unwritten: UnwrittenTurn) -> None:
        tries = itertools.count()
        try:
            message_id = retry_on_disconnect(
                lambda: self._write(unwritten, again=next(tries) > 0), seconds=math.inf
            )
        except psycopg2.Error as refused:
            raise refusal_of(refused, self._hand.kept()) from None
        with self._guard:
            self._kept[unwritten.topic, unwritten.turn.key] = Kept(unwritten.answer, message_id)

    def _write(self, unwritten: UnwrittenTurn, *, again: bool) -> UUID:
        """One transaction with all that a finished turn leaves; gives the message's id.

        `again` looks first whether an earlier try was committed after all.
        """
        turn, answer, reply_to, topic = (
            unwritten.turn,
            unwritten.answer,
            unwritten.reply_to,
            unwritten.topic,
        )
        if again and (written := self._written(topic, turn.key)):
            return written
        with self._hold.writing(self._database) as tx:
            message_id = send_message(
                tx, self._hold.team_run_id, self._message(turn, answer.text, reply_to, topic)
            )
            spoken = Spoken(
                title=turn.title,
                agent_id=turn.member.agent_id,
                topic=topic,
                message_id=message_id,
                answer=asdict(answer),
            )
            step = step_of(turn, topic, "completed", summary=summary_of(answer.text))
            step.payload["spoken"] = spoken.model_dump(mode="json")
            save_step(tx, self._hold.team_run_id, step)
            if topic == SHARED_TASK:
                version = current_scratchpad_version(tx, self._hold.team_run_id)
                merge_scratchpad(tx, self._hold.team_run_id, {turn.note: answer.text}, version)
            self._tell(tx, event_of(turn, answer.text), turn, topic)
            noted = self._note_calls(tx)
        del self.calls[:noted]
        return message_id

    def _written(self, topic: Topic, key: TurnKey) -> UUID | None:
        found = map(Spoken.model_validate, fetch_spoken(self._database, self._hold.team_run_id))
        wanted = topic, key.title, key.agent_id
        return next((s.message_id for s in found if (s.topic, s.title, s.agent_id) == wanted), None)

    def give_up(self, turn: Turn, error: JobError, topic: Topic = SHARED_TASK) -> None:
        """A turn went wrong, or has to wait; it may be taken again."""
        status = "queued" if isinstance(error, PutBack) else "failed"
        with self._hold.writing(self._database) as tx:
            step = step_of(turn, topic, status, blocker=str(error))
            save_step(tx, self._hold.team_run_id, step)
            noted = self._note_calls(tx)
        del self.calls[:noted]

    def _note_calls(self, tx: cursor) -> int:
        """Write down the calls that turns of a shared task took; the engine does so for nodes.

        Gives how many, to be forgotten once the transaction has ended: others may be adding theirs.
        """
        calls = list(self.calls)
        if calls:
            self._hold.note_calls(tx, calls)
        return len(calls)

    def note_late_calls(self) -> None:
        """Write down the calls of turns that nobody waits for any more."""
        with self._guard:
            calls = list(self.calls)
            del self.calls[: len(calls)]
        if not calls:
            return
        try:
            retry_on_disconnect(lambda: self._hold.note_late_calls(self._database, calls))
        except (psycopg2.Error, DatabaseError) as error:
            log.warning("late calls were not written down", error=str(error).strip())

    def _message(self, turn: Turn, text: str, reply_to: Turn | None, topic: Topic) -> TeamMessage:
        kind = "task_request" if turn.kind is TurnKind.PLAN else "task_response"
        if turn.kind is TurnKind.REVIEW:
            sends_back = read_review(text).verdict is ReviewVerdict.REJECT
            kind = "task_request" if sends_back else "info"
        with self._guard:
            parent = self._kept.get((topic, reply_to.key)) if reply_to else None
        return TeamMessage(
            sender=turn.member.agent_id,
            to=reply_to.member.agent_id if reply_to and turn.kind is TurnKind.REVIEW else None,
            kind=kind,
            payload={"title": turn.title, "text": text, **node_of(topic)},
            parent_id=parent.message_id if parent else None,
        )

    def _tell(self, tx: cursor, event: str, turn: Turn, topic: Topic) -> None:
        told = {"title": turn.title, "member": turn.member.name, "role": turn.member.role, **node_of(topic)}
        append_event(tx, self._hold.team_run_id, event, told)
