"""Conditions that people write as text, such as `score >= 0.8 && tags.includes('new')`.

The language is the part of JavaScript that only compares: names with dots and brackets, literals,
`== != === !== < <= > >=`, `&& || !`, parentheses, and `.length`, `.includes()`, `.startsWith()`,
`.endsWith()` of texts and lists. It is parsed here and nothing is ever handed to an interpreter. Looking up
what isn't there gives null; comparing what can't be compared is false; evaluating never fails.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from pydantic import JsonValue

from app.workflow.language.tokens import ExpressionError, Token, tokens_of
from app.workflow.paths import Missing, walk
from app.workflow.values import JsonObject, as_number, is_truthy, stringify

__all__ = ["Expression", "ExpressionError", "parse_expression"]

#: Deepest nesting of parentheses and negations.
DEEPEST_LEVELS = 40

Evaluate: TypeAlias = Callable[[JsonObject], JsonValue]

_LITERALS: dict[str, JsonValue] = {"true": True, "false": False, "null": None, "undefined": None}


@dataclass(frozen=True)
class Expression:
    """A parsed expression; `is_path` tells that it only names a value."""

    source: str
    evaluate: Evaluate
    is_path: bool

    def holds(self, names: JsonObject) -> bool:
        """Whether the expression's value is true in JavaScript's sense."""
        return is_truthy(self.evaluate(names))


def parse_expression(source: str) -> Expression:
    """Parse an expression; raises `ExpressionError` that says where it is wrong."""
    parser = _Parser(list(tokens_of(source)))
    evaluate = parser.either()
    parser.expect_end()
    return Expression(source, evaluate, parser.only_a_path)


class _Parser:
    """Recursive descent; every method returns a function from names to a value."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._position = 0
        self._depth = 0
        self.only_a_path = tokens[0].kind == "name" and tokens[0].text not in _LITERALS

    def expect_end(self) -> None:
        token = self._tokens[self._position]
        if token.kind != "end":
            raise ExpressionError(f"column {token.column}: unexpected {token.text!r}")

    def either(self) -> Evaluate:
        parts = [self._both()]
        while self._take("||"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda names: any(is_truthy(part(names)) for part in parts)

    def _both(self) -> Evaluate:
        parts = [self._negation()]
        while self._take("&&"):
            parts.append(self._negation())
        return parts[0] if len(parts) == 1 else lambda names: all(is_truthy(part(names)) for part in parts)

    def _negation(self) -> Evaluate:
        if not self._take("!"):
            return self._comparison()
        inner = self._nested(self._negation)
        return lambda names: not is_truthy(inner(names))

    def _comparison(self) -> Evaluate:
        left = self._operand()
        sign = self._take(*_COMPARISONS)
        if sign is None:
            return left
        right, compare = self._operand(), _COMPARISONS[sign]
        return lambda names: compare(left(names), right(names))

    def _operand(self) -> Evaluate:
        token = self._next()
        if token.text == "(" and token.kind == "sign":
            self.only_a_path = False
            inner = self._nested(self.either)
            self._expect(")")
            return inner
        if token.kind == "name" and token.text not in _LITERALS:
            return self._path([] if token.text == "$" else [token.text])
        if token.kind in ("sign", "end"):
            raise ExpressionError(f"column {token.column}: a value is missing")
        literal = _literal(token)
        return lambda _: literal

    def _path(self, steps: list[str]) -> Evaluate:
        while sign := self._take(".", "["):
            token = self._next()
            if token.kind not in ("name", "number", "text") or (sign == "." and token.kind == "text"):
                raise ExpressionError(f"column {token.column}: a name is missing")
            if sign == "." and token.text in _METHODS and self._take("("):
                return self._call(steps, token.text)
            # `items.0.1` reads its two positions as one number
            steps += token.text.split(".") if token.kind == "number" else [token.text]
            if sign == "[":
                self._expect("]")
        return lambda names: _find(names, steps)

    def _call(self, steps: list[str], method: str) -> Evaluate:
        self.only_a_path = False
        argument, call = self._nested(self.either), _METHODS[method]
        self._expect(")")
        return lambda names: call(_find(names, steps), argument(names))

    def _nested(self, parse: Callable[[], Evaluate]) -> Evaluate:
        self._depth += 1
        if self._depth > DEEPEST_LEVELS:
            raise ExpressionError("the expression is nested too deeply")
        inner = parse()
        self._depth -= 1
        return inner

    def _next(self) -> Token:
        token = self._tokens[self._position]
        self._position += token.kind != "end"
        return token

    def _take(self, *signs: str) -> str | None:
        token = self._tokens[self._position]
        if token.kind != "sign" or token.text not in signs:
            return None
        self._position += 1
        if token.text not in (".", "["):
            self.only_a_path = False
        return token.text

    def _expect(self, sign: str) -> None:
        token = self._next()
        if token.kind != "sign" or token.text != sign:
            raise ExpressionError(f"column {token.column}: {sign!r} is missing")


def _literal(token: Token) -> JsonValue:
    if token.kind == "number":
        return float(token.text) if "." in token.text else int(token.text)
    return token.text if token.kind == "text" else _LITERALS[token.text]


def _find(names: JsonObject, steps: list[str]) -> JsonValue:
    found = walk(names, steps)
    if isinstance(found, Missing) and steps and steps[-1] == "length":
        whole = walk(names, steps[:-1])
        return len(whole) if isinstance(whole, str | list) else None
    return None if isinstance(found, Missing) else found


def _loosely_equal(left: JsonValue, right: JsonValue) -> bool:
    if isinstance(left, bool) or isinstance(right, bool) or left is None or right is None:
        return _strictly_equal(left, right) or (
            left is not None and right is not None and stringify(left) == stringify(right)
        )
    numbers = as_number(left), as_number(right)
    return numbers[0] == numbers[1] if None not in numbers else stringify(left) == stringify(right)


def _strictly_equal(left: JsonValue, right: JsonValue) -> bool:
    return isinstance(left, bool) is isinstance(right, bool) and left == right


def _ordered(compare: Callable[[float, float], bool]) -> Callable[[JsonValue, JsonValue], bool]:
    def compare_either(left: JsonValue, right: JsonValue) -> bool:
        numbers = as_number(left), as_number(right)
        if numbers[0] is not None and numbers[1] is not None:
            return compare(numbers[0], numbers[1])
        both_text = isinstance(left, str) and isinstance(right, str)
        return both_text and compare(left, right)  # type: ignore[arg-type] # the operators order texts too

    return compare_either


def _includes(whole: JsonValue, part: JsonValue) -> bool:
    if isinstance(whole, list):
        return any(_strictly_equal(item, part) for item in whole)
    return isinstance(whole, str) and stringify(part) in whole


_METHODS: dict[str, Callable[[JsonValue, JsonValue], bool]] = {
    "includes": _includes,
    "startsWith": lambda whole, part: isinstance(whole, str) and whole.startswith(stringify(part)),
    "endsWith": lambda whole, part: isinstance(whole, str) and whole.endswith(stringify(part)),
}
_COMPARISONS: dict[str, Callable[[JsonValue, JsonValue], bool]] = {
    "==": _loosely_equal,
    "!=": lambda left, right: not _loosely_equal(left, right),
    "===": _strictly_equal,
    "!==": lambda left, right: not _strictly_equal(left, right),
    "<": _ordered(operator.lt),
    "<=": _ordered(operator.le),
    ">": _ordered(operator.gt),
    ">=": _ordered(operator.ge),
}
