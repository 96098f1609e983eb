"""The most that a call can take, which is known before it goes out: what a budget has to have left for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.providers.base import File, Prompt
from app.purse import Ceiling, open_purse

#: Tokens around a prompt, and around each of its messages: roles, separators, what a provider adds itself.
AROUND_A_PROMPT, AROUND_A_MESSAGE = 256, 32

#: No token is shorter than a byte, so text has no more tokens than UTF-8 bytes. An image is scaled down to
#: tiles, for which OpenAI's smallest models count the most; sound and film fill a context at most.
MOST_TOKENS_OF_AN_IMAGE, MOST_TOKENS_OF_A_FILM = 40_000, 1_048_576

#: The lowest bit rate of speech, and the most tokens that a second of it is heard or written down as.
FEWEST_BYTES_A_SECOND, MOST_TOKENS_A_SECOND = 1_000, 50


def bounded(prompt: Prompt) -> Prompt:
    """The prompt with a bound to its answer, where somebody counts what it costs."""
    purse = open_purse()
    if purse is None or prompt.max_tokens:
        return prompt
    return replace(prompt, max_tokens=purse.max_output_tokens)


def ceiling_of_prompt(prompt: Prompt) -> Ceiling:
    """The most that asking this can take; the prompt has a bound to its answer."""
    texts = [prompt.system or "", *(turn.text for turn in prompt.earlier), prompt.text]
    return Ceiling(tokens_in=most_tokens(texts, prompt.files), tokens_out=prompt.max_tokens or 0)


def ceiling_of_recording(recording: File) -> Ceiling:
    """The most that writing down a recording can take."""
    seconds = 1 + len(recording.content) // FEWEST_BYTES_A_SECOND
    tokens = AROUND_A_PROMPT + MOST_TOKENS_A_SECOND * seconds
    return Ceiling(tokens, tokens, units=1, seconds=seconds)


def most_tokens(texts: Sequence[str], files: Sequence[File] = ()) -> int:
    """The most tokens that a prompt of these texts and files can have."""
    said = sum(AROUND_A_MESSAGE + len(text.encode("utf-8", "surrogatepass")) for text in texts)
    shown = sum(MOST_TOKENS_OF_AN_IMAGE if f.kind == "image" else MOST_TOKENS_OF_A_FILM for f in files)
    return AROUND_A_PROMPT + said + shown
