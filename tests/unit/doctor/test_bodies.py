"""Bodies of functions are taken apart into all that the server has to plan."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.doctor.plans.pieces import Piece, Variable
from app.cli.doctor.plans.plpgsql import UnreadableBodyError, read_plpgsql, read_sql
from app.cli.doctor.plans.tokens import tokens_of
from app.cli.doctor.plans.written import Written, written_in


def pieces(body: str) -> list[tuple[int, str]]:
    return [(piece.line, " ".join(piece.sql.split())) for piece in read_plpgsql(body).pieces]


EVERY_STATEMENT = """
#variable_conflict use_column
DECLARE
    v_run lenses.workflow_runs;
    c_most CONSTANT integer NOT NULL := 3 + 4;
    v_row record;
BEGIN
    -- A comment; with a semicolon, and an 'apostrophe
    SELECT r.* INTO STRICT v_run FROM lenses.workflow_runs r WHERE r.id = p_id FOR UPDATE;
    IF v_run.id IS NULL OR CASE WHEN p_a THEN true ELSE false END THEN
        RAISE WARNING 'no run %; %', p_id, upper(p_name) USING ERRCODE = 'P0001', HINT = p_hint;
    ELSIF p_b THEN
        v_run.status := 'queued';
    ELSE
        PERFORM worker.a(p_id), worker.b($x$;$x$);
    END IF;
    FOR v_row IN SELECT 1 AS n UNION SELECT 2 LOOP
        CONTINUE WHEN v_row.n = 1;
        EXIT;
    END LOOP;
    FOR i IN 1..c_most LOOP
        CASE i WHEN 1, 2 THEN NULL; WHEN 3 THEN v_n := i; ELSE RETURN NEXT; END CASE;
    END LOOP;
    WHILE p_more LOOP
        INSERT INTO a.b (c) SELECT d FROM e RETURNING c INTO v_c;
    END LOOP;
    EXECUTE format('DELETE FROM %I', p_table) INTO v_x USING p_one, p_two;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN QUERY SELECT v_c, ';';
    RETURN;
EXCEPTION WHEN unique_violation OR OTHERS THEN
    RETURN QUERY EXECUTE p_sql USING p_three;
END
"""


def test_every_statement_and_expression_is_found_with_its_line() -> None:
    body = read_plpgsql(EVERY_STATEMENT)
    assert body.directives == "#variable_conflict use_column\n"
    assert body.variables == [
        Variable("v_run", "lenses.workflow_runs"),
        Variable("c_most", "integer"),
        Variable("v_row", "record"),
        Variable("i", "integer"),
    ]
    assert pieces(EVERY_STATEMENT) == [
        (5, "SELECT 3 + 4"),
        (9, "SELECT r.* FROM lenses.workflow_runs r WHERE r.id = p_id FOR UPDATE"),
        (10, "SELECT v_run.id IS NULL OR CASE WHEN p_a THEN true ELSE false END"),
        (11, "SELECT p_id"),
        (11, "SELECT upper(p_name)"),
        (11, "SELECT 'P0001'"),
        (11, "SELECT p_hint"),
        (12, "SELECT p_b"),
        (13, "SELECT 'queued'"),
        (15, "SELECT worker.a(p_id), worker.b($x$;$x$)"),
        (17, "SELECT 1 AS n UNION SELECT 2"),
        (18, "SELECT v_row.n = 1"),
        (21, "SELECT 1"),
        (21, "SELECT c_most"),
        (22, "SELECT i"),
        (22, "SELECT 1, 2"),
        (22, "SELECT 3"),
        (22, "SELECT i"),
        (24, "SELECT p_more"),
        (25, "INSERT INTO a.b (c) SELECT d FROM e RETURNING c"),
        (27, "SELECT format('DELETE FROM %I', p_table)"),
        (27, "SELECT p_one, p_two"),
        (29, "SELECT v_c, ';'"),
        (32, "SELECT p_sql"),
        (32, "SELECT p_three"),
    ]


def test_the_rows_of_a_record_are_those_of_the_query_without_its_lock() -> None:
    body = read_plpgsql(
        "DECLARE r record; BEGIN SELECT a, b INTO r FROM t WHERE a = 1 FOR SHARE OF t; r := f(2); END"
    )
    assert body.pieces == [
        Piece(
            "SELECT a, b\nFROM t WHERE a = 1 FOR SHARE OF t", 1, "r", "(SELECT a, b\nFROM t WHERE a = 1\n)"
        ),
        Piece("SELECT f(2)", 1, "r", "f(2)"),
    ]


def test_what_a_block_tries_is_told_from_what_stands_around_it() -> None:
    body = read_plpgsql(
        "BEGIN UPDATE a.b SET c = 'x'; BEGIN UPDATE a.b SET c = 'y'; EXCEPTION WHEN check_violation THEN"
        " UPDATE a.b SET c = 'z'; END; END"
    )
    assert [piece.is_tried for piece in body.pieces] == [False, True, False]


def test_a_body_in_sql_is_cut_at_its_semicolons_alone() -> None:
    body = read_sql("-- none; here\nSELECT ';' FROM a; SET x = 1;\nDELETE FROM b WHERE c IN (1, 2);")
    assert [(piece.line, piece.sql) for piece in body.pieces] == [
        (2, "SELECT ';' FROM a"),
        (3, "DELETE FROM b WHERE c IN (1, 2)"),
    ]


@given(st.text(alphabet="BEGIN ENDIFLOOPCASE;()'$:=.,\n<>\"ab1", max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    tokens = tokens_of(text)
    assert all(text[token.begin : token.end] == token.text for token in tokens)
    with suppress(UnreadableBodyError):
        read_plpgsql(text)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (
            'INSERT INTO a.b (x, y, "Z") VALUES'
            " ('one', CASE WHEN p = 'no' THEN 'two' ELSE 'it''s' END, DEFAULT), (1, p_y, NULL)",
            [
                Written("f", "a.b", "x", ("one",), is_given=False),
                Written("f", "a.b", "y", ("two", "it's"), is_given=True),
                Written("f", "a.b", "Z", (), is_given=False),
                Written("f", "a.b", "x", (), is_given=False),
                Written("f", "a.b", "y", (), is_given=True),
                Written("f", "a.b", "Z", (), is_given=False),
            ],
        ),
        (
            "WITH new AS (INSERT INTO a.b AS t (x) SELECT coalesce(p ->> 'key', 'none') FROM c WHERE d = 'no'"
            " ON CONFLICT (x) DO UPDATE SET x = 'again' WHERE t.y = 'no' RETURNING x)"
            " UPDATE ONLY a.c SET s = 'done', n = n || 'no' FROM new WHERE a.c.x = new.x",
            [
                Written("f", "a.b", "x", ("none",), is_given=True),
                Written("f", "a.b", "x", ("again",), is_given=False),
                Written("f", "a.c", "s", ("done",), is_given=False),
                Written("f", "a.c", "n", (), is_given=True),
            ],
        ),
        ("INSERT INTO worker.claims (state) VALUES ('open'); SELECT 1 FROM a.b FOR UPDATE", []),
    ],
    ids=["values", "inside others", "ours"],
)
def test_the_words_that_a_statement_writes_are_found(sql: str, expected: list[Written]) -> None:
    assert list(written_in(sql, "f")) == expected
