"""Replace `[[label]]` tokens by the inputs' values, in a single pass."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from app.templates.failures import giving_up_on_failure
from app.templates.limits import DEFAULT_LIMITS, BoundedText, Deadline, Limits
from app.templates.parameters import Parameter, check_inputs
from app.templates.values import jsonb_order, text_of, text_pieces


class Tokens:
    """The tokens a template may use, and the value of each.

    Without parameters every input names a token. With parameters only these do, by `[[label]]` and by
    `[[:uuid]]`, and one without an input is empty. Anything else between brackets is ordinary text, as in
    the two `fn_worker_render_template`: exact case, no inner spaces, no filters, no dotted paths.
    """

    def __init__(self, inputs: Mapping[str, JsonValue], parameters: Sequence[Parameter] = ()) -> None:
        if parameters:
            names = {name: p.label for p in parameters for name in (p.label, f":{p.id}")}
        else:
            names = {key: key for key in inputs}
        self._values = {f"[[{name}]]": inputs.get(label) for name, label in names.items()}
        # Where two labels fit at one place the shorter wins, as it does in the database.
        alternatives = "|".join(re.escape(name) for name in sorted(names, key=jsonb_order))
        self._pattern = re.compile(rf"\[\[(?:{alternatives})\]\]") if names else None

    def used_values(self, text: str) -> list[JsonValue]:
        """The values that the tokens in `text` stand for."""
        return [self._values[found.group()] for found in self._find(text)]

    def remainder(self, text: str) -> list[str]:
        """What lies before, between and after the tokens in `text`."""
        return self._pattern.split(text) if self._pattern else [text]

    def fill(self, text: str) -> Iterator[str]:
        """Yield `text` bit by bit with values in the place of tokens; values are not looked at again."""
        position = 0
        for found in self._find(text):
            yield text[position : found.start()]
            yield from text_pieces(self._values[found.group()])
            position = found.end()
        yield text[position:]

    def _find(self, text: str) -> Iterator[re.Match[str]]:
        return self._pattern.finditer(text) if self._pattern else iter(())


def render_tokens(
    body: str,
    inputs: Mapping[str, JsonValue],
    *,
    parameters: Sequence[Parameter] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> str:
    """Render a template that has tokens only; `Tokens` says which.

    Raises `GiveUp`: `template.missing_input` for required parameters without a value,
    `template.limit_exceeded` for an output that is too long.
    """
    check_inputs(inputs, parameters)
    output = BoundedText(limits.text_characters, Deadline(limits.seconds).check)
    with giving_up_on_failure(body):
        for piece in Tokens(inputs, parameters).fill(body):
            output.write(piece)
    return output.getvalue()


def values_are_inert(body: str, inputs: Mapping[str, JsonValue]) -> bool:
    """Whether `fn_worker_render_template(body, inputs)` inserts every value just as it is.

    That function replaces one key after another over the growing text, so a value may complete or contain
    a token that a later key then replaces. This can't happen where no label has a bracket and each `[[` at
    any stage is the opening of one of the body's own tokens: no other text and no inserted value holds
    `[[`, or ends in a `[` to which the next bracket would lend a second. True only if that is so; false
    means "render with `render_tokens`", not that harm is certain.
    """
    if any("[" in key or "]" in key for key in inputs):
        return False
    tokens = Tokens(inputs)
    try:
        texts = [*tokens.remainder(body), *map(text_of, tokens.used_values(body))]
    except (RecursionError, ValueError):
        return False  # nested too deeply, or a number too long to write
    return not any("[[" in text or text.endswith("[") for text in texts)
