"""The parts of the library's syntax tree that behave differently here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from liquid import RenderContext, TokenStream
from liquid.builtin.content import ContentNode, Literal
from liquid.builtin.expressions import primitive
from liquid.builtin.output import Output, OutputNode
from liquid.builtin.tags.case_tag import CaseTag
from liquid.builtin.tags.cycle_tag import CycleNode, CycleTag
from liquid.builtin.tags.echo_tag import EchoNode, EchoTag
from liquid.expression import Expression
from liquid.stringify import to_liquid_string
from liquid.undefined import is_undefined

from app.templates.context import GuardedContext
from app.templates.limits import limit_exceeded
from app.templates.values import text_pieces


def printed_pieces(value: object) -> Iterator[str]:
    """Yield what a value looks like in the output: data as its JSON text, anything else as Liquid has it."""
    if not is_undefined(value) and isinstance(value, str | bool | int | float | dict | list | tuple | None):
        yield from text_pieces(value)
    else:
        yield to_liquid_string(value, autoescape=False)


def printed_text(value: object, context: RenderContext) -> str:
    """What a value looks like in the output, if it isn't longer than any output may be."""
    if isinstance(value, str):
        return value
    text = context.get_buffer()
    for piece in printed_pieces(value):
        text.write(piece)
    return text.getvalue()


class TemplateText(ContentNode):
    """Text of the template itself: the only place where tokens are replaced."""

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        """Write the text, with values in the place of tokens."""
        assert isinstance(context, GuardedContext)
        if "[[" not in self.text:
            return buffer.write(self.text)
        return sum(buffer.write(piece) for piece in context.tokens.fill(self.text))


class TemplateTextTag(Literal):
    """Parses text outside of delimiters and inside of `raw`."""

    node_class = TemplateText


class _PrintsJson(OutputNode):
    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        """Write the value of the expression."""
        return sum(buffer.write(piece) for piece in printed_pieces(self.expression.evaluate(context)))


class OutputTag(Output):
    """Parses `{{ … }}`."""

    node_class = _PrintsJson


class _EchoNode(_PrintsJson, EchoNode):
    pass


class JsonEchoTag(EchoTag):
    """Parses `{% echo … %}`."""

    node_class = _EchoNode


class _Printed(Expression):
    """An expression whose value is the printed text of another's."""

    def __init__(self, inner: Expression) -> None:
        super().__init__(inner.token)
        self._inner = inner

    def __str__(self) -> str:
        return str(self._inner)

    def evaluate(self, context: RenderContext) -> str:
        """The text of the inner value."""
        return printed_text(self._inner.evaluate(context), context)

    def children(self) -> list[Expression]:
        """The expression inside."""
        return [self._inner]


class JsonCycleTag(CycleTag):
    """Parses `{% cycle … %}`."""

    def parse(self, stream: TokenStream) -> CycleNode:
        """Parse the tag so that it writes what `{{ … }}` would."""
        node = super().parse(stream)
        node.args = [_Printed(arg) for arg in node.args]
        return node


class StrictCaseTag(CaseTag):
    """Parses `{% case … %}`."""

    def _parse_when_expression(self, stream: TokenStream) -> list[Expression]:
        """Parse the values of a `when`, and nothing after them: the library ignores what it can't read."""
        expressions = super()._parse_when_expression(stream)
        stream.expect_eos()
        return expressions


class CappedRange(primitive.RangeLiteral):
    """A range that can't be longer than a list may be: so much can be done to one in a single step."""

    def evaluate(self, context: RenderContext) -> range:
        """Evaluate both ends; raises `GiveUp` if they are too far apart."""
        found = super().evaluate(context)
        if isinstance(context, GuardedContext) and found.stop - found.start > context.limits.items:
            raise limit_exceeded(f"a range has more than {context.limits.items} items")
        return found


# The parser of expressions has no hook, but it looks the class up by this name whenever it meets a range.
primitive.RangeLiteral = CappedRange  # type: ignore[misc]
