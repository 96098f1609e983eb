"""The other sides: providers and webhook receivers that have bad spells, and remember what they answered."""

from __future__ import annotations

import math
import random
import re
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from app.local.http.manners import Client, Response
from app.local.provider_server import Call, ProviderServer
from app.local.provider_usage import Used
from app.local.receiver import SCENARIOS, Received, Receiver

#: A prompt with this word is answered after several seconds, so that there is always somebody in mid-call.
SLOWLY = "slowly"
SLOW_SECONDS = (6.0, 8.0)
QUICK_SECONDS = (0.02, 0.3)

#: How a provider fails in a bad spell; `hang` says nothing until the spells are over for good.
REFUSALS = ("500", "503")
SPOILS = (*REFUSALS, "cut-body", "reset", "bad-json", "hang")
SPOILED_SHARE = 0.6

#: The most that a provider is asked to say, in tokens; it takes some number up to that.
LONGEST_ANSWER_TOKENS = 40
#: How often it is looked whether who asked is still there.
LOOK_SECONDS = 0.1

_KEY = re.compile(r"sk-(worker-\d)-")
_NUMBER = re.compile(r"\(answer (\d+)\)")


@dataclass
class Asked:
    """One request for an answer or a medium; `worker` is the service that sent it, by its key.

    It ended when its answer began to go out, or when who had asked was last seen. `used` is what a provider
    bills for it, in tokens.
    """

    number: int
    worker: str
    provider: str
    model: str
    prompt: str
    system: str | None
    began_at: float
    ended_at: float | None = None
    spoiled: str | None = None
    used: Used | None = None

    def __str__(self) -> str:
        began_at = datetime.fromtimestamp(self.began_at, UTC)
        took_seconds = (self.ended_at or time.time()) - self.began_at
        return (
            f"{self.worker} at {began_at:%H:%M:%S.%f} for {took_seconds:.2f} s: {self.spoiled or 'answered'}"
        )

    @property
    def question(self) -> tuple[str, str, str | None]:
        """What is the same whenever the same job asks again."""
        return self.model, self.prompt, self.system


def number_of(answer: str) -> int | None:
    """Which request an answer was given to."""
    found = _NUMBER.search(answer)
    return int(found[1]) if found else None


class Spells:
    """Bad spells of one party; they end by themselves or, for good, with `clear`."""

    def __init__(self, seed: int) -> None:
        self.over = threading.Event()
        self._dice = random.Random(seed)
        self._guard = threading.Lock()
        self._until = 0.0

    def begin(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    def clear(self) -> None:
        self._until = 0.0
        self.over.set()

    def strikes(self, scenarios: tuple[str, ...]) -> str | None:
        """The scenario that the next request meets, or None."""
        with self._guard:
            if time.monotonic() >= self._until or self._dice.random() > SPOILED_SHARE:
                return None
            return self._dice.choice(scenarios)

    def between(self, bounds: tuple[float, float]) -> float:
        with self._guard:
            return self._dice.uniform(*bounds)

    def count(self, most: int) -> int:
        with self._guard:
            return self._dice.randint(1, most)


class Providers(ProviderServer):
    """All AI providers; every answer names the request that it was given to."""

    _here = threading.local()

    def __init__(self, spells: Spells) -> None:
        self.asked: list[Asked] = []
        self.spells = spells
        super().__init__()
        self.media.default_plan = ("pending", "pending", "done")

    @property
    def _now(self) -> Asked:
        now: Asked = self._here.asked
        return now

    def begin(self, call: Call, scenario: str | None) -> str | None:
        """Remember a request and say what it meets."""
        super().begin(call, scenario)
        key = _KEY.match(call.key)
        asked = Asked(
            number=len(self.asked),
            worker=key[1] if key else "?",
            provider=call.provider,
            model=call.model,
            prompt=call.prompt,
            system=call.system,
            began_at=time.time(),
            spoiled=self.spells.strikes(SPOILS),
        )
        with self._changed:
            asked.number = len(self.asked)
            self.asked.append(asked)
        self._here.asked = asked
        return "reset" if asked.spoiled == "hang" else asked.spoiled

    def wait_for_gate(self, client: Client) -> None:
        """Let a request take its time, or hang until the spells are over, unless its client goes before."""
        now = self._now
        took_seconds = self.spells.between(SLOW_SECONDS if SLOWLY in now.prompt else QUICK_SECONDS)
        over = self.spells.over if now.spoiled == "hang" else self.closing
        seconds_left = math.inf if now.spoiled == "hang" else took_seconds
        while seconds_left > 0:
            now.ended_at = time.time()
            if over.wait(min(seconds_left, LOOK_SECONDS)):
                break
            seconds_left -= LOOK_SECONDS
            if client.has_hung_up():
                return
        now.ended_at = time.time()

    def next_usage(self, model: str) -> Used | None:
        """What this takes, which is billed unless it was refused."""
        said = self.spells.count(LONGEST_ANSWER_TOKENS)
        used = Used(fresh=1 + len(self._now.prompt) // 4, said=said)
        self._now.used = None if self._now.spoiled in REFUSALS else used
        return used

    def next_line(self, model: str) -> str | None:
        """The answer, for requests that are not spoiled and those cut off in the middle alike."""
        return f"{model} says: {self._now.prompt} (answer {self._now.number})"


@dataclass(frozen=True)
class Posted:
    """One webhook as it came in; `taken` says that it was answered with success."""

    id: str
    began_at: float
    taken: bool


class Receivers(Receiver):
    """The endpoints of webhooks."""

    def __init__(self, spells: Spells) -> None:
        self.posted: list[Posted] = []
        self.spells = spells
        super().__init__()

    def begin(self, request: Received) -> Response:
        """Remember a request and say what it meets."""
        usual = super().begin(request)
        strikes = self.spells.strikes(("500", "503", "hang", "reset"))
        answer = SCENARIOS[strikes] if strikes else usual
        self.posted.append(Posted(request.id, request.received_at, taken=strikes is None))
        return answer
