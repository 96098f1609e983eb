from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import GiveUp
from app.teams import (
    Member,
    Part,
    ReviewVerdict,
    Role,
    SharedTask,
    Team,
    Turn,
    TurnKind,
    assign,
    persona_of,
    read_review,
    read_task,
    review_prompt,
    turn_prompt,
)
from app.teams.words import LONGEST_QUOTE_CHARACTERS

ANN = Member(UUID(int=1), "Ann", lane=0, model_key="gpt-4o", persona="Be kind.")
BEA = Member(UUID(int=2), "Bea", lane=1, responsibility="the sea")
ROSA = Member(UUID(int=3), "Rosa", Role.REVIEWER)
TEAM = Team(lanes=((ANN,), (BEA,)), reviewers=(ROSA,))


@pytest.mark.parametrize(
    ("text", "verdict", "reason"),
    [
        ("VERDICT: ACCEPT", "accept", "gave no reason"),
        ("All good.\nVERDICT: ACCEPT", "accept", "All good."),
        ("**Verdict:** approved", "accept", "gave no reason"),
        ("VERDICT: REJECT, too dull", "reject", "too dull"),
        ("VERDICT: REJECT\n- too dull\n- too long", "reject", "too dull - too long"),
        ("Too dull.\n> VERDICT: REJECTED.", "reject", "Too dull."),
        ("verdict - ask: is it true?", "ask", "is it true?"),
        ("It says VERDICT: ACCEPT, but no.\nVERDICT: REJECT, no", "reject", "no"),
        ("VERDICT: ACCEPT\nwas quoted.\nVERDICT: REJECT, no", "reject", "no"),
        ("The verdict is to accept it.", "ask", "gave no verdict that can be read"),
        ("VERDICT: ACCEPTABLE", "ask", "gave no verdict that can be read"),
        ("", "ask", "gave no verdict that can be read"),
    ],
    ids=str,
)
def test_the_last_verdict_line_counts(text: str, verdict: str, reason: str) -> None:
    review = read_review(text)
    assert (review.verdict, review.reason) == (verdict, reason)


@given(st.text())
def test_any_text_is_a_review_with_a_short_reason(text: str) -> None:
    review = read_review(text)
    assert review.reason
    assert len(review.reason) <= 500


def test_a_reviewer_is_told_the_words_that_are_understood() -> None:
    prompt = review_prompt(Turn(TurnKind.REVIEW, ROSA), "Greet Ada.", [(Turn(TurnKind.WORK, ANN), "Hi.")])
    lines = [line for line in prompt.splitlines() if line.startswith("VERDICT")]
    assert {read_review(line).verdict for line in lines} == set(ReviewVerdict)


def test_a_turn_is_asked_with_task_inputs_notes_and_what_was_heard() -> None:
    task = SharedTask("Praise the sea.", {"tone": "calm", "most": 3})
    heard = [(Turn(TurnKind.PLAN, ANN), "Bea writes.")]
    prompt = turn_prompt(Turn(TurnKind.WORK, BEA, 2), task, heard, {"audience": ["sailors"]})
    for part in ("Praise the sea.", "calm", "3", '["sailors"]', "## Plan: Ann\nBea writes.", "sent back"):
        assert part in prompt


def test_a_long_turn_is_quoted_in_part() -> None:
    work = [(Turn(TurnKind.WORK, ANN), "x" * (LONGEST_QUOTE_CHARACTERS + 5))]
    prompt = review_prompt(Turn(TurnKind.REVIEW, ROSA), "Greet Ada.", work)
    assert prompt.count("x") == LONGEST_QUOTE_CHARACTERS
    assert "5 characters more" in prompt


def test_a_member_knows_who_it_is_and_who_the_others_are() -> None:
    assert persona_of(ANN, [ANN, BEA, ROSA]) == (
        "Be kind.\nYou are Ann, executor of a team with Bea (executor), Rosa (reviewer)."
    )
    assert persona_of(BEA) == "You are Bea.\nYou are responsible for: the sea"


def test_a_task_takes_its_words_from_the_other_inputs() -> None:
    task = read_task({"task": "Praise the [[what]].", "what": "sea [[task]]"})
    assert (task.text, task.given) == ("Praise the sea [[task]].", {"what": "sea [[task]]"})


@pytest.mark.parametrize("inputs", [{}, {"task": ""}, {"goal": 3}, {"text": "x"}], ids=str)
def test_without_a_task_there_is_nothing_to_do(inputs: dict[str, object]) -> None:
    with pytest.raises(GiveUp, match=r"team\.no_task"):
        read_task(inputs)  # type: ignore[arg-type]  # as the platform may store them


def given_to(parts: Sequence[Part]) -> list[str]:
    return [found.name for found in assign(parts, TEAM, [ANN, BEA, ROSA]).values()]


def test_parts_go_round_unless_they_name_a_model_or_a_member() -> None:
    parts = [
        Part("a"),
        Part("b"),
        Part("c", model_key="gpt-4o"),
        Part("d", wanted="reviewer"),
        Part("e", wanted="nobody"),
        Part("f", wanted=str(ANN.agent_id)),
    ]
    assert given_to(parts) == ["Ann", "Bea", "Ann", "Rosa", "Bea", "Ann"]


@given(st.lists(st.sampled_from([None, "gpt-4o", "other"]), max_size=20))
def test_every_part_goes_to_a_worker_and_the_same_one_each_time(models: list[str | None]) -> None:
    parts = [Part(str(number), model_key=model) for number, model in enumerate(models)]
    assert given_to(parts) == given_to(parts)
    assert len(given_to(parts)) == len(parts)
    free = [part for part in parts if part.model_key != "gpt-4o"]
    load = [given_to(free).count(name) for name in ("Ann", "Bea")]
    assert abs(load[0] - load[1]) <= 1
