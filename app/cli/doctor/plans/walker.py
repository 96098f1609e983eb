"""Walks over a body's tokens and keeps the pieces that are to be planned."""

from __future__ import annotations

from collections.abc import Sequence

from app.cli.doctor.plans.pieces import Body, Piece
from app.cli.doctor.plans.targets import find_into
from app.cli.doctor.plans.tokens import Token, find_outside, line_of, source_of, tokens_of


class Walker:
    """A place in a body, and what was found up to it."""

    def __init__(self, source: str, body: Body) -> None:
        self._source = source
        self._tokens = tokens_of(source)
        self._at = 0
        self._body = body

    def _until(self, *words: str) -> Sequence[Token]:
        """What stands before the next of these words, which is passed by."""
        end = find_outside(self._tokens, set(words), self._at)
        taken = self._tokens[self._at : end]
        self._at = end + 1
        return taken

    def _pass(self) -> None:
        self._at += 1

    def _statement(self, tokens: Sequence[Token], into: Sequence[str] = ()) -> None:
        """A query; its INTO, which is PL/pgSQL's own, is cut out."""
        begin, end, found = find_into(tokens)
        text = self._text(tokens[:begin], tokens[end:])
        lock = find_outside(tokens, {"FOR"}, 0)
        rows = self._text(tokens[: min(begin, lock)], tokens[end:lock])
        takers = found or into
        taker = takers[0] if len(takers) == 1 else ""
        self._body.pieces.append(Piece(text, line_of(self._source, tokens[0]), taker, f"({rows}\n)"))

    def _text(self, *parts: Sequence[Token]) -> str:
        return "\n".join(source_of(self._source, part) for part in parts if part)

    def _expression(self, tokens: Sequence[Token]) -> None:
        if tokens:
            text = f"SELECT {source_of(self._source, tokens)}"
            self._body.pieces.append(Piece(text, line_of(self._source, tokens[0])))

    def _dynamic(self, tokens: Sequence[Token]) -> None:
        """EXECUTE: what makes the statement is an expression, and so is each of its arguments."""
        end = find_outside(tokens, {"INTO", "USING"}, 0)
        self._expression(tokens[:end])
        using = tokens[find_outside(tokens, {"USING"}, 0) + 1 :]
        self._expression(using[: find_outside(using, {"INTO"}, 0)])
