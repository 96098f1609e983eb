"""OpenAI's moderation of texts: whether somebody should be shown them, and what is wrong with them if not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field, SecretStr

from app.calls import Call
from app.providers.attempts import call_once
from app.providers.base import BadReplyError, Model
from app.providers.media.wire import bearer, parse, post_json
from app.providers.wire import WirePart
from app.settings import settings

MODERATOR = Model("omni-moderation-latest", "openai", "omni-moderation-latest", "moderation")

#: Longest piece that is judged at once; the API takes some 32,000 tokens.
PIECE_CHARACTERS = 20_000


@dataclass(frozen=True)
class Judgement:
    """What moderation found; `categories` are the provider's names of what is wrong."""

    allowed: bool
    categories: tuple[str, ...] = ()


class _Result(WirePart):
    flagged: bool
    categories: dict[str, bool | None] = Field(default_factory=dict)


class _Results(WirePart):
    results: list[_Result] = Field(min_length=1)


def moderate(text: str, *, key: SecretStr, deadline_seconds: float) -> Judgement:
    """Judge a text of any length; raises `RetryLater` and `GiveUp`. The echo provider allows everything."""
    if settings().echo_provider or not text.strip():
        return Judgement(allowed=True)
    pieces = [text[start : start + PIECE_CHARACTERS] for start in range(0, len(text), PIECE_CHARACTERS)]

    def ask(secret: str, _call: Call) -> list[_Result]:
        url = f"{settings().openai_base_url.rstrip('/')}/moderations"
        body = {"model": MODERATOR.wire_model, "input": pieces}
        found = parse(_Results, post_json(url, body, bearer(secret), deadline_seconds)).results
        if len(found) != len(pieces):
            raise BadReplyError("it does not judge every piece")
        return found

    results, _ = call_once(MODERATOR.provider, MODERATOR.key, key, deadline_seconds, ask)
    return _judgement(results)


def _judgement(results: Sequence[_Result]) -> Judgement:
    flagged = {name for result in results for name, is_so in result.categories.items() if is_so}
    return Judgement(not any(result.flagged for result in results), tuple(sorted(flagged)))
