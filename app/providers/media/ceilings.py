"""The most that an order of a medium can take."""

from __future__ import annotations

from app.providers.ceilings import most_tokens
from app.providers.media.base import Order
from app.purse import Ceiling

#: Tokens that a made image is billed as, by providers that bill so.
MOST_TOKENS_OF_A_MADE_IMAGE = 8_192

#: The longest film and song that the providers make where the order doesn't say; speech takes this a letter.
LONGEST_FILM_SECONDS, LONGEST_SONG_SECONDS, SECONDS_A_LETTER = 60, 480, 0.5


def ceiling_of_order(order: Order) -> Ceiling:
    """The most that an order of one medium can take."""
    return Ceiling(
        tokens_in=most_tokens([order.prompt], [order.source] if order.source else []),
        tokens_out=MOST_TOKENS_OF_A_MADE_IMAGE,
        units=1,
        seconds=order.wishes.duration_seconds or _longest_seconds(order.model.kind, order.prompt),
    )


def _longest_seconds(kind: str, text: str) -> float:
    if kind == "music":
        return LONGEST_SONG_SECONDS
    return len(text) * SECONDS_A_LETTER if kind == "audio" else LONGEST_FILM_SECONDS
