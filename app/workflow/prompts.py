"""Render the body of a lens inside a workflow.

Placeholders are looked for in the body only and replaced in one pass, so whatever a model or a person wrote
into a value is never read as a placeholder again. A body that uses more of Liquid than `{{label}}` is
rendered by `app.templates`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from app.errors import GiveUp
from app.templates import Limits, Parameter, render_liquid
from app.workflow.results import NodeFailure
from app.workflow.statuses import NodeStatus
from app.workflow.values import JsonObject, stringify

_LABEL = r"[A-Za-z0-9_\- ]+"
_PLACEHOLDER = re.compile(
    r"\[\[:(?P<id>[0-9a-fA-F-]{36})\]\]"
    rf"|\[\[(?P<square>{_LABEL})(?P<mark>!|:[A-Za-z_]+)?\]\]"
    rf"|\{{\{{(?P<curly>{_LABEL})\}}\}}"
    rf"|\[ +(?P<single>[A-Za-z0-9_\-](?:{_LABEL})?)(?<= )\]"
)
_PLAIN_CURLY = re.compile(rf"\{{\{{{_LABEL}\}}\}}")
_LIQUID = re.compile(r"\{\{|\{%")
_SPACES = re.compile(r"\s+")
_LONGEST_PROMPT_CHARACTERS = Limits().text_characters


def render_lens(
    body: str,
    labels: JsonObject,
    *,
    parameters: Sequence[Parameter] = (),
    optional: Collection[str] = (),
    preface: str = "",
) -> str:
    """The prompt of a lens node; `preface` goes before it as it is.

    `[[label]]` and `{{label}}` name a label exactly or in its normal form (`my_label` for "My label"),
    `[ my label ]` in any case, `[[:uuid]]` by a parameter's id. Placeholders marked `[[label!]]`, optional
    parameters and `optional` labels may go unfilled. Raises `NodeFailure`: status `blocked`,
    `placeholder_unbound`; or `template_resolution_failed: …`; or `context_too_large`.
    """
    if not body.strip():
        raise NodeFailure("template_resolution_failed: the lens has no text")
    names = _Names(labels, parameters, optional)
    if _LIQUID.search(_PLAIN_CURLY.sub("", body)):
        rendered = _render_liquid(body, names, parameters)
    else:
        rendered = _PLACEHOLDER.sub(names.replacement, body)
    if len(rendered) > _LONGEST_PROMPT_CHARACTERS:
        raise NodeFailure("context_too_large")
    return preface + rendered


class _Names:
    """What the placeholders of one body stand for."""

    def __init__(
        self, labels: JsonObject, parameters: Sequence[Parameter], optional: Collection[str]
    ) -> None:
        self.values: JsonObject = {**{_normal(key): value for key, value in labels.items()}, **labels}
        self._folded = {_normal(key): key for key in reversed(labels)}
        self._labels_by_id = {parameter.id.lower(): parameter.label for parameter in parameters}
        self._optional = {*optional, *(p.label for p in parameters if not p.required)}

    def replacement(self, found: re.Match[str]) -> str:
        """The text for one placeholder."""
        if found["id"]:
            label = self._labels_by_id.get(found["id"].lower())
            return found[0] if label is None else self._value(label, label)
        word = (found["square"] or found["curly"] or found["single"]).strip()
        label = self._folded.get(_normal(word), word) if found["single"] else word
        return self._value(label, word, may_miss=found["mark"] == "!")

    def _value(self, label: str, word: str, *, may_miss: bool = False) -> str:
        if label in self.values:
            return stringify(self.values[label])
        if may_miss or label in self._optional:
            return ""
        raise _unbound(word)


def _render_liquid(body: str, names: _Names, parameters: Sequence[Parameter]) -> str:
    try:
        return render_liquid(body, names.values, parameters=parameters)
    except GiveUp as error:
        if error.code == "template.missing_input":
            raise _unbound(error.message) from None
        raise NodeFailure(f"template_resolution_failed: {error.message}") from None


def _unbound(placeholder: str) -> NodeFailure:
    return NodeFailure(
        "placeholder_unbound", status=NodeStatus.BLOCKED, output_data={"placeholder": placeholder}
    )


def _normal(label: str) -> str:
    return _SPACES.sub("_", label.strip()).lower()
