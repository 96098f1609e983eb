"""Takes bodies in PL/pgSQL and in plain SQL apart."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from app.cli.doctor.plans.pieces import Body, Piece, Variable
from app.cli.doctor.plans.tokens import Token, find_outside, line_of, source_of, split_outside, tokens_of
from app.cli.doctor.plans.walker import Walker

_PLANNED = {"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "VALUES", "("}
#: Statements of PL/pgSQL with nothing in them to plan, and SQL that has no plan.
_SKIPPED = {
    *("NULL", "GET", "FETCH", "MOVE", "CLOSE", "COMMIT", "ROLLBACK", "ASSERT", "CALL", "DO", "SET", "RESET"),
    *(
        "LOCK",
        "CREATE",
        "DROP",
        "ALTER",
        "TRUNCATE",
        "NOTIFY",
        "REFRESH",
        "GRANT",
        "REVOKE",
        "COPY",
        "COMMENT",
    ),
}
_DIRECTIVE = re.compile(r"\s*(#[a-z_]+[ \t]+\w+)")
_RAISE_LEVELS = {"DEBUG", "LOG", "INFO", "NOTICE", "WARNING", "EXCEPTION"}


class UnreadableBodyError(Exception):
    """A body in PL/pgSQL that can't be taken apart."""


def read_sql(source: str) -> Body:
    """Take a body in plain SQL apart. Its columns win over arguments of the same name, as they do there."""
    tokens = tokens_of(source)
    body = Body(directives="#variable_conflict use_column\n")
    for statement in split_outside(tokens, ";"):
        if statement[0].word in _PLANNED:
            body.pieces.append(Piece(source_of(source, statement), line_of(source, statement[0])))
    return body


def read_plpgsql(source: str) -> Body:
    """Take a body in PL/pgSQL apart; raises UnreadableBodyError."""
    directive = _DIRECTIVE.match(source)
    body = Body()
    if directive is not None:
        body.directives = f"{directive[1]}\n"
        source = source[: directive.start(1)] + " " * len(directive[1]) + source[directive.end(1) :]
    try:
        return _Reader(source, body).read()
    except IndexError:
        raise UnreadableBodyError from None


class _Reader(Walker):
    """Walks over a body once, from one beginning of a statement to the next."""

    def __init__(self, source: str, body: Body) -> None:
        super().__init__(source, body)
        #: What END has to close: BEGIN, HANDLERS, IF, CASE or LOOP.
        self._open: list[str] = []
        #: How many pieces there were at each BEGIN that is open.
        self._begun: list[int] = []
        self._readers: dict[str, Callable[[], None]] = {
            "<<": self._label, "DECLARE": self._declare, "BEGIN": self._begin,
            "EXCEPTION": self._handlers, "END": self._end,
            "IF": self._if, "ELSIF": self._condition, "ELSEIF": self._condition, "ELSE": self._pass,
            "CASE": self._case, "WHEN": self._when,
            "LOOP": self._loop, "WHILE": self._while, "FOR": self._for, "FOREACH": self._foreach,
            "EXIT": self._leave, "CONTINUE": self._leave, "RETURN": self._return,
            "PERFORM": self._perform, "EXECUTE": self._execute, "RAISE": self._raise,
            "OPEN": self._open_cursor,
        }  # fmt: skip

    def read(self) -> Body:
        while self._at < len(self._tokens):
            word = self._tokens[self._at].word
            if word in self._readers:
                self._readers[word]()
            elif word in _PLANNED:
                self._statement(self._until(";"))
            elif word in _SKIPPED:
                self._until(";")
            else:
                self._assign()
        return self._body

    def _label(self) -> None:
        self._until(">>")

    def _declare(self) -> None:
        self._at += 1
        while self._at < len(self._tokens) and self._tokens[self._at].word != "BEGIN":
            self._declaration(self._until(";"))

    def _declaration(self, tokens: Sequence[Token]) -> None:
        name = tokens[0].text
        rest = [token for token in tokens[1:] if token.word != "CONSTANT"]
        words = [token.word for token in rest]
        if "CURSOR" in words:
            query = rest[find_outside(rest, {"FOR", "IS"}, 0) + 1 :]
            self._statement(query)
            self._body.variables.append(Variable(name, "refcursor"))
        elif words[0] == "ALIAS":
            self._body.variables.append(Variable(name, source_of(self._source, rest)))
        else:
            end = find_outside(rest, {":=", "=", "DEFAULT", "NOT", "COLLATE"}, 0)
            self._body.variables.append(Variable(name, source_of(self._source, rest[:end])))
            self._expression(rest[find_outside(rest, {":=", "=", "DEFAULT"}, 0) + 1 :])

    def _begin(self) -> None:
        self._open.append("BEGIN")
        self._begun.append(len(self._body.pieces))
        self._at += 1

    def _handlers(self) -> None:
        self._open[-1] = "HANDLERS"
        self._at += 1

    def _if(self) -> None:
        self._open.append("IF")
        self._condition()

    def _condition(self) -> None:
        self._at += 1
        self._expression(self._until("THEN"))

    def _case(self) -> None:
        self._open.append("CASE")
        self._at += 1
        self._expression(self._until("WHEN"))
        self._at -= 1

    def _when(self) -> None:
        self._at += 1
        tokens = self._until("THEN")
        if self._open[-1] == "CASE":
            self._expression(tokens)
        elif any(token.word == "CHECK_VIOLATION" for token in tokens):
            pieces = self._body.pieces
            pieces[self._begun[-1] :] = [replace(piece, is_tried=True) for piece in pieces[self._begun[-1] :]]

    def _while(self) -> None:
        self._at += 1
        self._expression(self._until("LOOP"))
        self._open.append("LOOP")

    def _loop(self) -> None:
        self._open.append("LOOP")
        self._at += 1

    def _for(self) -> None:
        self._at += 1
        target = self._until("IN")
        tokens = list(self._until("LOOP"))
        self._open.append("LOOP")
        into = tuple(source_of(self._source, part) for part in split_outside(target, ","))
        bounds = [part for part in split_outside(tokens, "..") if part]
        if len(bounds) == 2:
            self._body.variables.append(Variable(into[0], "integer"))
            for bound in bounds:
                first = bound[1:] if bound[0].word == "REVERSE" else bound
                self._expression(first[: find_outside(first, {"BY"}, 0)])
        elif tokens[0].word == "EXECUTE":
            self._dynamic(tokens[1:])
        elif tokens[0].word in _PLANNED:
            self._statement(tokens, into)

    def _foreach(self) -> None:
        self._until("ARRAY")
        self._expression(self._until("LOOP"))
        self._open.append("LOOP")

    def _end(self) -> None:
        if self._open.pop() in {"BEGIN", "HANDLERS"}:
            self._begun.pop()
        while self._at < len(self._tokens) and self._tokens[self._at].word != ";":
            self._at += 1  # END CASE opens none
        self._at += 1

    def _leave(self) -> None:
        tokens = self._until(";")
        self._expression(tokens[find_outside(tokens, {"WHEN"}, 0) + 1 :])

    def _return(self) -> None:
        self._at += 1
        tokens = self._until(";")
        words = [token.word for token in tokens[:2]]
        if words[:1] == ["QUERY"]:
            if words[1] == "EXECUTE":
                self._dynamic(tokens[2:])
            else:
                self._statement(tokens[1:])
        else:
            self._expression(tokens[1:] if words[:1] == ["NEXT"] else tokens)

    def _perform(self) -> None:
        self._at += 1
        tokens = self._until(";")
        line = line_of(self._source, tokens[0])
        self._body.pieces.append(Piece(f"SELECT {source_of(self._source, tokens)}", line))

    def _execute(self) -> None:
        self._at += 1
        self._dynamic(self._until(";"))

    def _raise(self) -> None:
        self._at += 1
        tokens = self._until(";")
        if tokens and tokens[0].word in _RAISE_LEVELS:
            tokens = tokens[1:]
        using = find_outside(tokens, {"USING"}, 0)
        if tokens and tokens[0].kind == "text":
            for part in list(split_outside(tokens[:using], ","))[1:]:
                self._expression(part)
        for option in split_outside(tokens[using + 1 :], ","):
            self._expression(option[2:])

    def _open_cursor(self) -> None:
        tokens = self._until(";")
        query = tokens[find_outside(tokens, {"FOR"}, 0) + 1 :]
        if query and query[0].word in _PLANNED:
            self._statement(query)

    def _assign(self) -> None:
        tokens = self._until(";")
        sign = find_outside(tokens, {":=", "="}, 0)
        value = tokens[sign + 1 :]
        if value:
            text = source_of(self._source, value)
            target = self._text(tokens[:sign])
            self._body.pieces.append(Piece(f"SELECT {text}", line_of(self._source, tokens[0]), target, text))
