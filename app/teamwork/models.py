"""The models of a team's workflow: a node's questions go to one member and, where need be, to reviewers."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from uuid import UUID

from app import providers
from app.answers import Hand
from app.database import Database
from app.errors import JobError
from app.nodes import Effect, Models, node_types, usage_of
from app.nodes.lenses import Lenses
from app.platform.team_holds import TeamHold
from app.platform.team_runs import TeamRun, requires_review
from app.platform.workflows import WorkflowRun, fetch_graph
from app.settings import settings
from app.teams import (
    Accepted,
    Part,
    PersonNeeded,
    Rejected,
    Role,
    Speak,
    Team,
    Turn,
    TurnKind,
    assign,
    review_prompt,
    visible_turns,
    what_next,
    with_feedback,
)
from app.teamwork.ending import PersonAsked
from app.teamwork.minutes import Minutes
from app.teamwork.roster import everybody, gather_team, run_agent
from app.teamwork.steps import Topic
from app.teamwork.voices import Voices
from app.workflow import Node, NodeFailure
from app.workflow.rows import read_draft

#: Keys of a node's config that say who should do it; the value is an id, a name or a role.
WANTED_KEYS = ("member", "memberId", "member_id", "agentId", "agent_id", "role")


@dataclass(frozen=True)
class Question:
    """What a node asks, and of which model if it names one."""

    prompt: providers.Prompt
    model_key: str | None
    topic: Topic


class TeamModels(Models):
    """Has members answer what the nodes of one run ask; safe to use from many threads.

    A question that is asked again by a later attempt is answered from the minutes. One that a node asks again
    in the same attempt is a new one: the first answer was of no use to it.
    """

    def __init__(
        self, database: Database, run: TeamRun, hold: TeamHold, hand: Hand, workflow_run: WorkflowRun
    ) -> None:
        super().__init__(database, workflow_run)
        # It is the member's memory, not the run's agent's, that goes before a prompt.
        self.lenses = Lenses(database, None)
        self._database = database
        self._team_run = run
        self._minutes = Minutes(database, hold, hand)
        self._everybody = everybody(run)
        self._voices = Voices(database, self, self._everybody)
        parts = _read_parts(database, workflow_run.run_id)
        self._assigned = assign(parts, gather_team(database, run), self._everybody)
        #: How often a question of a node was answered in this attempt; a node asks one after the other.
        self._answered: Counter[tuple[str, str]] = Counter()

    def answer(self, node: Node, prompt: providers.Prompt, model_key: str | None) -> providers.Answer:
        """The answer that the node's member gave and its reviewers accepted.

        Raises `NodeFailure` `review_rejected` when it was sent back too often, `PersonAsked` when the owner
        must decide, and `GiveUp`, `RetryLater` or `PutBack`.
        """
        question = Question(prompt, model_key, self._topic(node, prompt))
        topic = question.topic
        team = self._team_of(node)
        approved = [asked.partition(" ")[2] for asked in self._team_run.asked if asked.startswith(node.id)]
        while True:
            said = self._minutes.said(topic)
            match what_next(team, said, approved=approved, most_rounds=settings().team_max_rounds):
                case Speak(turns):
                    for turn in turns:
                        self._take(turn, team, node, question)
                case Accepted(turns):
                    answers = self._minutes.answers(topic)
                    self._answered[node.id, topic.question] += 1
                    for answer in answers.values():
                        self.count(node, usage_of(answer))
                    return answers[turns[0].key]
                case Rejected(reason):
                    raise NodeFailure(f"review_rejected: {reason}")
                case PersonNeeded(turn, reason):
                    raise PersonAsked(f"{node.id} {turn.title}", f"{node.title}: {reason}")

    def most_turns(self, node: Node) -> int:
        """All rounds of work and review."""
        reviewers = self._team_of(node).reviewers
        return settings().team_max_rounds * (1 + len(reviewers)) if reviewers else 1

    def _topic(self, node: Node, prompt: providers.Prompt) -> Topic:
        question = _digest(prompt)
        return self._minutes.topic(UUID(node.id), question, self._answered[node.id, question])

    def _team_of(self, node: Node) -> Team:
        member = self._assigned.get(node.id) or run_agent(self._team_run)
        others = [m for m in self._everybody if m.role is Role.REVIEWER and m.agent_id != member.agent_id]
        run_id = self._team_run.team_run_id
        is_gated = bool(others) and requires_review(self._database, run_id, member.agent_id)
        return Team(lanes=((member,),), reviewers=tuple(others) if is_gated else ())

    def _take(self, turn: Turn, team: Team, node: Node, question: Question) -> None:
        prompt, topic = question.prompt, question.topic
        said = self._minutes.said(topic)
        heard = [(earlier, said[earlier.key]) for earlier in visible_turns(team, turn)]
        self._minutes.begin([turn], topic)
        try:
            if turn.kind is TurnKind.REVIEW:
                words, speaker = providers.Prompt(review_prompt(turn, prompt.text, heard)), turn.member
            else:
                words = replace(prompt, text=with_feedback(prompt.text, heard))
                speaker = replace(turn.member, model_key=question.model_key or turn.member.model_key)
            call = f"{node.id}, question {topic.number}, {turn.call}"
            answer = self._voices.ask(call, speaker, words, node.config.timeout_ms / 1000)
        except JobError as error:
            self._minutes.give_up(turn, error, topic)
            raise
        self._minutes.keep(turn, answer, reply_to=heard[-1][0] if heard else None, topic=topic)


def _read_parts(database: Database, workflow_run_id: UUID) -> list[Part]:
    """The nodes of a run in their order; none once the run has ended."""
    rows = fetch_graph(database, workflow_run_id)
    nodes = read_draft(rows.nodes, rows.edges).nodes if rows else []
    return [Part(node.id, node.config.model_id, _wanted(node)) for node in nodes if _asks(node)]


def _asks(node: Node) -> bool:
    kind = node_types().get(node.type)
    return kind is not None and kind.effect is Effect.SPENDS


def _wanted(node: Node) -> str | None:
    found = (node.config.settings.get(key) for key in WANTED_KEYS)
    return next((word for word in found if isinstance(word, str) and word.strip()), None)


def _digest(prompt: providers.Prompt) -> str:
    """What stands for a question, whoever asks it and when."""
    said = (f"{turn.role}: {turn.text}" for turn in prompt.earlier)
    parts = [prompt.system or "", *said, prompt.text, *(file.encoded for file in prompt.files)]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
