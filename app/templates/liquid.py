"""Render templates in Liquid, with python-liquid hardened against templates and inputs from strangers.

The library bounds neither time nor memory. What closes its holes: `delimiters` (before the lexer),
`context` (time, loops, variables), `nodes` (ranges, output) and `filters`. Tags that load other templates
are not there. Where the library differs from Shopify Liquid 5, `filters`, `comparisons` and `nodes` follow
Shopify's; docs/templates.md has the tags and filters, and what differs still.

As in strict Liquid a missing variable fails when it is printed or looped over; to a condition and to a
filter it is nil. A declared parameter that isn't required is nil when it is missing. Labels that are words
of Liquid (`limit`, `in`, …) can't be used as variables, tokens can. A list or object prints as JSON.
Comments need paired delimiters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache

from liquid import BoundTemplate, DictLoader, Environment, FalsyStrictUndefined, Mode
from liquid.builtin.illegal import Illegal
from liquid.builtin.tags import (
    assign_tag,
    capture_tag,
    comment_tag,
    decrement_tag,
    doc_tag,
    for_tag,
    if_tag,
    ifchanged_tag,
    increment_tag,
    inline_comment_tag,
    liquid_tag,
    tablerow_tag,
    unless_tag,
)
from liquid.exceptions import LiquidError, LiquidInterrupt
from liquid.token import Token
from pydantic import JsonValue

from app.errors import GiveUp
from app.templates import comparisons
from app.templates.context import GuardedContext
from app.templates.delimiters import check_source
from app.templates.failures import giving_up_on_failure, giving_up_on_syntax
from app.templates.filters import guarded_filters
from app.templates.limits import DEFAULT_LIMITS, Limits
from app.templates.nodes import JsonCycleTag, JsonEchoTag, OutputTag, StrictCaseTag, TemplateTextTag
from app.templates.parameters import Parameter, check_inputs
from app.templates.positions import place
from app.templates.tokens import Tokens

#: Every tag that there is, and what stands for text and for `{{ … }}`.
TAGS = (
    TemplateTextTag,
    OutputTag,
    Illegal,
    assign_tag.AssignTag,
    capture_tag.CaptureTag,
    StrictCaseTag,
    comment_tag.CommentTag,
    decrement_tag.DecrementTag,
    doc_tag.DocTag,
    inline_comment_tag.InlineCommentTag,
    JsonCycleTag,
    JsonEchoTag,
    for_tag.ForTag,
    for_tag.BreakTag,
    for_tag.ContinueTag,
    if_tag.IfTag,
    ifchanged_tag.IfChangedTag,
    increment_tag.IncrementTag,
    liquid_tag.LiquidTag,
    tablerow_tag.TablerowTag,
    unless_tag.UnlessTag,
)


class HardenedEnvironment(Environment):
    """Only the tags and filters that are safe."""

    string_first_and_last = True

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        """Register them; the library's own set is never registered."""
        assert not extra
        for tag in TAGS:
            self.add_tag(tag)
        self.filters.update(guarded_filters())

    def error(
        self, exc: type[LiquidError] | LiquidError, msg: str | None = None, token: Token | None = None
    ) -> None:
        """Raise an error; one at the end of an expression is placed where the parser is by then."""
        if isinstance(exc, LiquidError) and exc.token and exc.token.start_index < 0 and token:
            exc.token = token
        super().error(exc, msg, token)


def render_liquid(
    body: str,
    inputs: Mapping[str, JsonValue],
    *,
    parameters: Sequence[Parameter] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> str:
    """Render a template that uses Liquid, and tokens too if it likes.

    `inputs` is JSON data by label. Raises `GiveUp`: `template.syntax` with the place and the problem,
    `template.missing_input`, `template.too_large`, `template.limit_exceeded`, `template.failed`.
    """
    check_inputs(inputs, parameters)
    check_source(body, limits)
    template = _parse(body)
    with giving_up_on_failure(body):
        context = GuardedContext(
            template,
            data={**dict.fromkeys(p.label for p in parameters), **inputs},
            tokens=Tokens(inputs, parameters),
            limits=limits,
        )
        return _write(template, context, body)


def _write(template: BoundTemplate, context: GuardedContext, source: str) -> str:
    output = context.get_buffer()
    for node in template.nodes:
        try:
            node.render(context, output)
        except LiquidInterrupt as interrupt:
            where = place(source, node.token.start_index)
            raise GiveUp("template.syntax", f"{where}: '{interrupt}' outside of a loop") from None
    return output.getvalue()


@lru_cache(maxsize=64)  # a hostile source of 16 KB has a tree of some megabytes
def _parse(source: str) -> BoundTemplate:
    with giving_up_on_syntax(source):
        return _environment().from_string(source)


@cache
def _environment() -> Environment:
    comparisons.install()
    return HardenedEnvironment(
        tolerance=Mode.STRICT, undefined=FalsyStrictUndefined, loader=DictLoader({}), strict_filters=True
    )
