"""A shared task: the team discusses it in turns, lanes at once, until a result is accepted."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import structlog

from app import providers
from app.answers import Hand
from app.calls import collect_calls
from app.database import Database
from app.engine.crew import Crew, News, ShutdownBegun, Trouble
from app.engine.pulse import pulse
from app.errors import GiveUp, JobError, PutBack, StaleClaim
from app.nodes import Models
from app.platform.team_holds import TeamHold
from app.platform.team_runs import TeamRun
from app.platform.workflows import RunLost, Verdict
from app.settings import settings
from app.shutdown import told_of_shutdown
from app.teams import (
    Accepted,
    PersonNeeded,
    Rejected,
    Speak,
    Turn,
    read_task,
    result_of,
    turn_prompt,
    visible_turns,
    what_next,
)
from app.teamwork.ending import PersonAsked, TeamEnding
from app.teamwork.minutes import Minutes
from app.teamwork.roster import everybody, gather_team
from app.teamwork.voices import Voices

log = structlog.get_logger(__name__)


def discuss(database: Database, run: TeamRun, hold: TeamHold, hand: Hand) -> TeamEnding | None:
    """Bring a shared task to its end, from where an earlier attempt left it; None if somebody else ended it.

    Raises `GiveUp` when the result was sent back too often or the time is up, `PersonAsked` when the owner
    must decide, `RetryLater` when a model can't be asked now, `PutBack` when the process is about to end, and
    `StaleClaim` when a newer attempt has the run.
    """
    crew = Crew[Turn, Spoke]()
    try:
        with ExitStack() as around:
            around.enter_context(pulse(database, hold, settings().workflow_heartbeat_ms / 1000, crew.tell))
            around.enter_context(told_of_shutdown(lambda: crew.tell(ShutdownBegun())))
            discussion = Discussion(database, run, hold, hand, crew)
            around.callback(discussion.leave)
            return discussion.go_on()
    except RunLost as lost:
        if lost.verdict is Verdict.STALE or not hold.close_ended(database):
            raise StaleClaim from None
        log.info("somebody else ended the run", verdict=lost.verdict.value)
        return None


@dataclass(frozen=True)
class Spoke:
    """A member has spoken."""

    turn: Turn
    answer: providers.Answer


class Discussion:
    """One attempt at a shared task; members speak on threads of their own, and only this one writes."""

    def __init__(
        self, database: Database, run: TeamRun, hold: TeamHold, hand: Hand, crew: Crew[Turn, Spoke]
    ) -> None:
        self._run = run
        self._task = read_task(run.inputs)
        self._team = gather_team(database, run)
        self._everybody = everybody(run)
        self._minutes = Minutes(database, hold, hand)
        models = Models(database, run)
        self._owner = models.owner
        self._voices = Voices(database, models, self._everybody)
        self._crew = crew
        self._deadline = time.monotonic() + settings().team_run_timeout_ms / 1000
        self._at_work: set[Turn] = set()
        #: Raised when all who speak have spoken and it is written: it may have been paid for.
        self._why_to_stop: BaseException | None = None

    def go_on(self) -> TeamEnding:
        """Have everybody speak who is next, until the end."""
        while True:
            if self._why_to_stop is None:
                following = what_next(
                    self._team,
                    self._minutes.said(),
                    approved=self._run.asked,
                    most_rounds=settings().team_max_rounds,
                )
                if not isinstance(following, Speak):
                    return self._end(following)
                self._start(following.turns)
            elif not self._at_work:
                raise self._why_to_stop
            for item in self._crew.await_news(self._deadline - time.monotonic()):
                if item is Verdict.KILLED:
                    return TeamEnding("cancelled", reason="kill_switch")
                self._hear(item)
            if time.monotonic() >= self._deadline:
                limit_ms = settings().team_run_timeout_ms
                raise GiveUp("team.timed_out", f"the run took longer than {limit_ms} ms")

    def _start(self, turns: tuple[Turn, ...]) -> None:
        room = settings().workflow_max_parallel_nodes - len(self._at_work)
        begun = [turn for turn in turns if turn not in self._at_work][:room]
        if not begun:
            return
        self._minutes.begin(begun)
        for turn in begun:
            self._at_work.add(turn)
            prompt = self._prompt(turn)
            self._crew.set_to(turn, partial(self._speak, turn, prompt))

    def _speak(self, turn: Turn, prompt: str) -> Spoke:
        seconds = settings().provider_timeout_ms / 1000
        with collect_calls(self._minutes.calls, self._owner):
            answer = self._voices.ask(turn.call, turn.member, providers.Prompt(prompt), seconds)
        return Spoke(turn, answer)

    def _hear(self, item: Spoke | News[Turn]) -> None:
        match item:
            case Spoke():
                self._at_work.remove(item.turn)
                heard = visible_turns(self._team, item.turn)
                self._minutes.keep(item.turn, item.answer, reply_to=heard[-1] if heard else None)
            case Trouble():
                self._at_work.remove(item.work)
                if isinstance(item.error, JobError):
                    self._minutes.give_up(item.work, item.error)
                self._why_to_stop = item.error
            case ShutdownBegun():
                self._why_to_stop = PutBack("worker.shutdown", "another process goes on with the run")
            case Verdict():
                raise RunLost(item)

    def leave(self) -> None:
        """The run is over for this attempt: write down what was bought, also of those who still speak."""
        self._crew.dismiss(lambda _: self._minutes.note_late_calls())
        self._minutes.note_late_calls()

    def _prompt(self, turn: Turn) -> str:
        said = self._minutes.said()
        heard = [(earlier, said[earlier.key]) for earlier in visible_turns(self._team, turn)]
        own = {f"{key.title}: {member.name}" for key in said for member in self._everybody}
        notes = {key: value for key, value in self._run.shared_scratchpad.items() if key not in own}
        return turn_prompt(turn, self._task, heard, notes)

    def _end(self, outcome: Accepted | Rejected | PersonNeeded) -> TeamEnding:
        match outcome:
            case Rejected():
                raise GiveUp("team.rejected", f"the reviewers sent the work back: {outcome.reason}")
            case PersonNeeded():
                raise PersonAsked(outcome.turn.title, outcome.reason)
            case Accepted():
                text = result_of(outcome.turns, self._minutes.said())
                by = [turn.member.name for turn in outcome.turns]
                return TeamEnding("completed", {"text": text, "by": [*by], "rounds": outcome.round})
