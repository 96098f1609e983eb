"""How conditions compare values, as Shopify Liquid does: `nil == blank`, `false == blank`, nothing else odd.

The library's parser of conditions has no hook, but it looks these classes up by name whenever it meets a
comparison.
"""

from __future__ import annotations

from liquid import RenderContext
from liquid.builtin.expressions import logical
from liquid.builtin.expressions.primitive import Blank, Empty
from liquid.builtin.tags import case_tag
from liquid.token import Token
from liquid.undefined import is_undefined

from app.templates.coercions import same
from app.templates.context import GuardedContext
from app.templates.no_result import NoResultError
from app.templates.nodes import printed_text


class _Equal(logical.EqExpression):
    def evaluate(self, context: RenderContext) -> bool:
        """Whether both sides are equal."""
        return _equal(self.left.evaluate(context), self.right.evaluate(context), context)


class _Unequal(logical.NeExpression):
    def evaluate(self, context: RenderContext) -> bool:
        """Whether the sides are different."""
        return not _equal(self.left.evaluate(context), self.right.evaluate(context), context)


class _Less(logical.LtExpression):
    def evaluate(self, context: RenderContext) -> bool:
        """Whether the left side comes before the right one."""
        return _less(self.token, self.left.evaluate(context), self.right.evaluate(context))


class _Greater(logical.GtExpression):
    def evaluate(self, context: RenderContext) -> bool:
        """Whether the left side comes after the right one."""
        return _less(self.token, self.right.evaluate(context), self.left.evaluate(context))


class _AtMost(logical.LeExpression):
    def evaluate(self, context: RenderContext) -> bool:
        """Whether the left side comes no later than the right one."""
        return _at_most(self.token, self.left.evaluate(context), self.right.evaluate(context))


class _AtLeast(logical.GeExpression):
    def evaluate(self, context: RenderContext) -> bool:
        """Whether the left side comes no earlier than the right one."""
        return _at_most(self.token, self.right.evaluate(context), self.left.evaluate(context))


class _Contains(logical.ContainsExpression):
    def evaluate(self, context: RenderContext) -> bool:
        """Whether a text has a part, a list an item or an object a key; false for anything else."""
        left, right = _present(self.left.evaluate(context)), _present(self.right.evaluate(context))
        if right is None or right is False:
            return False
        if isinstance(left, str):
            return printed_text(right, context) in left
        if isinstance(left, dict):
            return isinstance(right, str) and right in left
        if isinstance(left, range):
            return isinstance(right, int) and not isinstance(right, bool) and right in left
        return isinstance(left, list | tuple) and any(_equal(item, right, context) for item in left)


class _AnyOf(case_tag._AnyExpression):
    def evaluate(self, context: RenderContext) -> list[bool]:
        """For each value of a `when`, whether it is that of the `case`."""
        left = self.left.evaluate(context)
        return [_equal(left, right.evaluate(context), context) for right in self.expressions]


def install() -> None:
    """Put these classes in the place of the library's, for all templates of this process."""
    for name, replacement in {
        "EqExpression": _Equal,
        "NeExpression": _Unequal,
        "LtExpression": _Less,
        "GtExpression": _Greater,
        "LeExpression": _AtMost,
        "GeExpression": _AtLeast,
        "ContainsExpression": _Contains,
    }.items():
        setattr(logical, name, replacement)
    case_tag._AnyExpression = _AnyOf  # type: ignore[misc]


def _equal(left: object, right: object, context: RenderContext) -> bool:
    assert isinstance(context, GuardedContext)
    left, right = _present(left), _present(right)
    if isinstance(right, Blank | Empty):
        left, right = right, left
    if isinstance(left, Blank):
        return _is_blank(right)
    if isinstance(left, Empty):
        return isinstance(right, Empty) or _is_empty(right)
    return same(left, right, context.check_time)


def _present(value: object) -> object:
    return None if is_undefined(value) else value


def _is_empty(value: object) -> bool:
    return isinstance(value, str | list | dict) and not value


def _is_blank(value: object) -> bool:
    is_white = isinstance(value, str) and not value.strip()
    return value is None or value is False or is_white or _is_empty(value) or isinstance(value, Blank)


def _less(token: Token, left: object, right: object) -> bool:
    return _have_order(token, left, right) and left < right  # type: ignore[operator]


def _at_most(token: Token, left: object, right: object) -> bool:
    return _have_order(token, left, right) and left <= right  # type: ignore[operator]


def _have_order(token: Token, left: object, right: object) -> bool:
    """Whether both are texts or both are numbers; raises `NoResultError` for one of each."""
    texts = isinstance(left, str) + isinstance(right, str)
    numbers = sum(isinstance(side, int | float) and not isinstance(side, bool) for side in (left, right))
    if texts == numbers == 1:
        refused = NoResultError("a text and a number have no order")
        refused.token = token
        raise refused
    return 2 in (texts, numbers)
