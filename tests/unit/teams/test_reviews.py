"""What a reviewer's words mean."""

from __future__ import annotations

import pytest

from app.teams.reviews import Review, ReviewVerdict, read_review

ACCEPT, REJECT, ASK = ReviewVerdict.ACCEPT, ReviewVerdict.REJECT, ReviewVerdict.ASK


@pytest.mark.parametrize(
    ("text", "review"),
    [
        ("Fine.\nVERDICT: ACCEPT", Review(ACCEPT, "Fine.")),
        ("**Verdict:** REJECT, the sum is wrong", Review(REJECT, "the sum is wrong")),
        ("My final verdict is: rejected - too long", Review(REJECT, "too long")),
        ("<think>VERDICT: ACCEPT</think>\nVERDICT: REJECT it is late", Review(REJECT, "it is late")),
        ("VERDICT: ACCEPT, I would say\n</think>\nVERDICT: ASK", Review(ASK, "gave no reason")),
        ("<think>VERDICT: ACCEPT", Review(ASK, "gave no verdict that can be read")),
        ('{"verdict": "reject", "reason": "Too long."}', Review(REJECT, "Too long.")),
        ('```json\n{"Verdict": "Accepted"}\n```', Review(ACCEPT, "gave no reason")),
        ("**ACCEPT**", Review(ACCEPT, "gave no reason")),
        ("Approved.", Review(ACCEPT, "gave no reason")),
        ("I can't accept this", Review(ASK, "gave no verdict that can be read")),
        ("VERDICT: NOT ACCEPTED", Review(ASK, "gave no verdict that can be read")),
        ('{"verdict": "maybe"}', Review(ASK, "gave no verdict that can be read")),
        ("", Review(ASK, "gave no verdict that can be read")),
    ],
)
def test_a_verdict_is_read_and_nothing_else_is_taken_for_one(text: str, review: Review) -> None:
    assert read_review(text) == review
