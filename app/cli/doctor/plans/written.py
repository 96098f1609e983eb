"""Which values our statements write into which columns of the platform, read off the statements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from app.cli.doctor.plans.bodies import Function
from app.cli.doctor.plans.tokens import Token, find_outside, split_outside, tokens_of

_CHOOSING = {"COALESCE", "NULLIF"}
_ENDS = {
    "FROM",
    "WHERE",
    "RETURNING",
    "ON",
    "ORDER",
    "GROUP",
    "LIMIT",
    "UNION",
    "WINDOW",
    "HAVING",
    "FOR",
    ")",
    ";",
}
_OURS = {"worker", "dramatiq"}


@dataclass(frozen=True)
class Written:
    """A column that a statement writes.

    `values`: its texts; `is_given`: whether it gets others, too; `is_tried`: a refusal is handled.
    """

    where: str
    table: str
    column: str
    values: tuple[str, ...]
    is_given: bool
    is_tried: bool = False


def written_by(function: Function) -> Iterator[Written]:
    """What a function writes into tables that are not ours."""
    for piece in function.body().pieces:
        for written in written_in(piece.sql, function.signature):
            yield replace(written, is_tried=piece.is_tried)


def written_in(sql: str, where: str) -> Iterator[Written]:
    """What a statement writes, those inside it included."""
    tokens = tokens_of(sql)
    words = [token.word for token in tokens]
    for place, word in enumerate(words):
        following = words[place + 1 : place + 2]
        if word == "INSERT" and following == ["INTO"]:
            yield from _inserted(tokens, place + 2, where)
        elif word == "UPDATE" and following != ["SET"] and not (place and words[place - 1] in {"FOR", "KEY"}):
            yield from _updated(tokens, place + 1, where)


def _inserted(tokens: Sequence[Token], at: int, where: str) -> Iterator[Written]:
    table, at = _table(tokens, at)
    opening = find_outside(tokens, {"(", "VALUES", "SELECT", "DEFAULT"}, at)
    if not table or opening >= len(tokens) or tokens[opening].text != "(":
        return
    closing = find_outside(tokens, {")"}, opening + 1)
    columns = [_plain(token) for token in tokens[opening + 1 : closing] if token.is_name]
    rest = tokens[closing + 1 :]
    rest = rest[: _end_of_statement(rest)]
    for row in _rows(rest):
        for column, value in zip(columns, row, strict=False):
            yield _written(where, table, column, value)
    conflict = find_outside(rest, {"CONFLICT"}, 0)
    setting = find_outside(rest, {"SET"}, conflict)
    yield from _set(rest, setting + 1, table, where)


def _rows(rest: Sequence[Token]) -> Iterator[list[Sequence[Token]]]:
    if not rest:
        return
    if rest[0].word == "VALUES":
        at = 1
        while at < len(rest) and rest[at].text == "(":
            closing = find_outside(rest, {")"}, at + 1)
            yield list(split_outside(rest[at + 1 : closing], ","))
            at = closing + 2 if closing + 1 < len(rest) and rest[closing + 1].text == "," else len(rest)
        return
    select = find_outside(rest, {"SELECT"}, 0)
    chosen = rest[select + 1 : find_outside(rest, _ENDS, select + 1)]
    yield list(split_outside(chosen, ","))


def _updated(tokens: Sequence[Token], at: int, where: str) -> Iterator[Written]:
    table, at = _table(tokens, at)
    if table:
        yield from _set(tokens, find_outside(tokens, {"SET"}, at) + 1, table, where)


def _set(tokens: Sequence[Token], at: int, table: str, where: str) -> Iterator[Written]:
    settings = tokens[at : find_outside(tokens, _ENDS, at)]
    for part in split_outside(settings, ","):
        sign = find_outside(part, {"="}, 0)
        if part[0].is_name and sign == 1:
            yield _written(where, table, _plain(part[0]), part[2:])


def _written(where: str, table: str, column: str, value: Sequence[Token]) -> Written:
    texts = tuple(
        token.text[1:-1].replace("''", "'")
        for place, token in enumerate(value)
        if token.kind == "text" and token.text.startswith("'") and _is_value(value, place)
    )
    plain = len(value) == 1 and (value[0].kind in {"text", "number"} or value[0].word in {"NULL", "DEFAULT"})
    return Written(where, table, column, texts, is_given=not plain)


def _is_value(tokens: Sequence[Token], place: int) -> bool:
    """Whether a text is what the column gets, in itself or by CASE or coalesce."""
    if place + 1 < len(tokens) and tokens[place + 1].word in {"||", "|", "THEN", "="}:
        return False
    if place == 0 or tokens[place - 1].word in {"THEN", "ELSE"}:
        return True
    return _caller(tokens, place) in _CHOOSING and tokens[place - 1].word in {"(", ","}


def _caller(tokens: Sequence[Token], place: int) -> str:
    """The function among whose arguments a token stands."""
    depth = 0
    for at in range(place - 1, 0, -1):
        depth += (tokens[at].word == ")") - (tokens[at].word == "(")
        if depth < 0:
            return tokens[at - 1].word
    return ""


def _table(tokens: Sequence[Token], at: int) -> tuple[str, int]:
    """The table named there, if a schema of others is named with it, and what comes after."""
    if at < len(tokens) and tokens[at].word == "ONLY":
        at += 1
    if at + 2 < len(tokens) and tokens[at].is_name and tokens[at + 1].text == ".":
        schema = _plain(tokens[at])
        return ("" if schema in _OURS else f"{schema}.{_plain(tokens[at + 2])}"), at + 3
    return "", at + 1


def _end_of_statement(tokens: Sequence[Token]) -> int:
    return find_outside(tokens, {")", ";"}, 0)


def _plain(token: Token) -> str:
    return token.text[1:-1].replace('""', '"') if token.kind == "name" else token.text.lower()
