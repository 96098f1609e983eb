"""What a member is told about itself and asked in its turn, and what a discussion results in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from app.teams.members import Member
from app.teams.tasks import SharedTask
from app.teams.turns import Turn, TurnKey, TurnKind

#: Of each earlier turn a member hears no more than this; all of it stands in the run's messages.
LONGEST_QUOTE_CHARACTERS = 20_000

_ASKED = {
    TurnKind.PLAN: "Say how the team should go about the task, and who should do what.",
    TurnKind.WORK: "Do your part of the task now. Build on what was said, and answer with the work itself.",
    TurnKind.CONCLUSION: "Make one result of what the team has done, and answer with it.",
    TurnKind.REVIEW: "Review the result against what was asked. Say briefly what is wrong, if anything is.",
}
_SENT_BACK = "The result of the last round was sent back: do better what the reviews ask for."
_VERDICTS = """End with one of these lines:
VERDICT: ASK, if only a person can decide
VERDICT: REJECT, and what must change
VERDICT: ACCEPT"""


def persona_of(member: Member, others: Sequence[Member] = ()) -> str:
    """The system message under which a member speaks."""
    team = ", ".join(f"{other.name} ({other.role})" for other in others if other != member)
    lines = [
        (member.persona or "").strip(),
        f"You are {member.name}, {member.role} of a team with {team}." if team else f"You are {member.name}.",
        f"You are responsible for: {member.responsibility}" if member.responsibility else "",
    ]
    return "\n".join(line for line in lines if line)


def turn_prompt(
    turn: Turn, task: SharedTask, heard: Sequence[tuple[Turn, str]], notes: Mapping[str, JsonValue]
) -> str:
    """What a member is asked in its turn: the task, what was given and noted, what it heard, and its part."""
    sections = [("Task", task.text)]
    sections += [(f"Given: {label}", _text(value)) for label, value in task.given.items()]
    sections += [(f"On the scratchpad: {label}", _text(value)) for label, value in notes.items()]
    sections += [(earlier.note, _quote(text)) for earlier, text in heard]
    sections.append(("Your turn", _asked(turn)))
    return "\n\n".join(f"## {title}\n{text}" for title, text in sections)


def review_prompt(turn: Turn, asked: str, work: Sequence[tuple[Turn, str]]) -> str:
    """What a reviewer of one node's work is asked: what was asked for there, and what came of it."""
    sections = [("What was asked", _quote(asked)), *((done.note, _quote(text)) for done, text in work)]
    sections.append(("Your turn", _asked(turn)))
    return "\n\n".join(f"## {title}\n{text}" for title, text in sections)


def with_feedback(asked: str, heard: Sequence[tuple[Turn, str]]) -> str:
    """A node's prompt once more, with the result that was sent back and the reviews of it."""
    if not heard:
        return asked
    sections = [(earlier.note, _quote(text)) for earlier, text in heard] + [("Your turn", _SENT_BACK)]
    return "\n\n".join([asked, *(f"## {title}\n{text}" for title, text in sections)])


def result_of(turns: Sequence[Turn], said: Mapping[TurnKey, str]) -> str:
    """The text of a result: that of its turn, or of several, each under its member's name."""
    if len(turns) == 1:
        return said[turns[0].key]
    return "\n\n".join(f"## {turn.member.name}\n{said[turn.key]}" for turn in turns)


def _asked(turn: Turn) -> str:
    lines = [_ASKED[turn.kind]]
    if turn.kind is TurnKind.REVIEW:
        lines.append(_VERDICTS)
    elif turn.round > 1:
        lines.insert(0, _SENT_BACK)
    return "\n".join(lines)


def _quote(text: str) -> str:
    if len(text) <= LONGEST_QUOTE_CHARACTERS:
        return text
    return f"{text[:LONGEST_QUOTE_CHARACTERS]}\n[… {len(text) - LONGEST_QUOTE_CHARACTERS} characters more]"


def _text(value: JsonValue) -> str:
    return _quote(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
