"""The rows of turns: what they are about, their steps, and what is told of them."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel, ConfigDict, JsonValue

from app.platform.team_runs import TeamStep
from app.teams import ReviewVerdict, Turn, TurnKind, read_review

#: Characters of what was said that stand in the step's summary.
SUMMARY_CHARACTERS = 280


class Topic(BaseModel):
    """What turns are about: one question that a node asks, or the shared task if it names none.

    `question` tells a node's questions apart, `part` is how often the same one was asked before, and `number`
    counts the node's questions from 0.
    """

    model_config = ConfigDict(frozen=True)

    node_id: UUID | None = None
    question: str = ""
    part: int = 0
    number: int = 0


#: What a shared task is about.
SHARED_TASK = Topic()


class Spoken(BaseModel):
    """What was said in a finished turn, as its step keeps it."""

    title: str
    agent_id: UUID
    topic: Topic
    message_id: UUID
    answer: dict[str, JsonValue]


def step_of(
    turn: Turn, topic: Topic, status: str, *, summary: str | None = None, blocker: str | None = None
) -> TeamStep:
    """The row of a turn's step."""
    return TeamStep(
        member_id=turn.member.member_id,
        node_id=topic.node_id,
        lane=turn.member.lane,
        title=_title(turn, topic),
        status=status,
        summary=summary,
        blocker=blocker,
        payload={"round": turn.round, "kind": turn.kind, "member": turn.member.name},
    )


def _title(turn: Turn, topic: Topic) -> str:
    """The step's name: questions of one node have steps of their own."""
    return f"{turn.title}, question {topic.number + 1}" if topic.number else turn.title


def event_of(turn: Turn, text: str) -> str:
    """The type of the event that tells of a finished turn."""
    if turn.kind is not TurnKind.REVIEW:
        return "turn_completed"
    events = {ReviewVerdict.ACCEPT: "review_accepted", ReviewVerdict.REJECT: "review_rejected"}
    return events.get(read_review(text).verdict, "review_undecided")


def node_of(topic: Topic) -> dict[str, JsonValue]:
    """The node that a topic belongs to, as messages and events name it; empty where it has none."""
    return {"node_id": str(topic.node_id)} if topic.node_id else {}


def summary_of(text: str) -> str:
    """The beginning of what was said, in one line."""
    flat = " ".join(text.split())
    return flat if len(flat) <= SUMMARY_CHARACTERS else f"{flat[: SUMMARY_CHARACTERS - 1]}…"
