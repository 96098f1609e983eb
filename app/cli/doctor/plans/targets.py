"""PL/pgSQL's own INTO in a statement, which is cut out before the server plans the statement."""

from __future__ import annotations

from collections.abc import Sequence

from app.cli.doctor.plans.tokens import Token, find_outside


def find_into(tokens: Sequence[Token]) -> tuple[int, int, tuple[str, ...]]:
    """Where PL/pgSQL's INTO begins and ends in a statement, and its targets; the end if there is none."""
    begin = 0
    while (begin := find_outside(tokens, {"INTO"}, begin)) < len(tokens):
        if begin and tokens[begin - 1].word not in {"INSERT", "MERGE"}:
            return begin, *_targets(tokens, begin + 1)
        begin += 1
    return len(tokens), len(tokens), ()


def _targets(tokens: Sequence[Token], at: int) -> tuple[int, tuple[str, ...]]:
    if at < len(tokens) and tokens[at].word == "STRICT":
        at += 1
    targets: list[str] = []
    while at < len(tokens) and tokens[at].is_name:
        name = tokens[at].text
        at += 1
        while at < len(tokens) and tokens[at].text in {".", "["}:
            closing = find_outside(tokens, {"]"}, at + 1) if tokens[at].text == "[" else at + 1
            name += "".join(token.text for token in tokens[at : closing + 1])
            at = closing + 1
        targets.append(name)
        if at >= len(tokens) or tokens[at].text != ",":
            break
        at += 1
    return at, tuple(targets)
