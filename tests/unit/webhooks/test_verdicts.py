"""What follows from an attempt, and when the next one is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.settings import Settings
from app.webhooks.attempt import Report
from app.webhooks.retrying import read_delays, retry_after_seconds
from app.webhooks.verdicts import DISABLED_AFTER_SECONDS, Delivered, GivenUp, TryAgain, Verdict, judge
from tests.unit.webhooks.examples import delivery

DELAYS = read_delays(Settings.model_fields["webhook_retry_delays_seconds"].default)


def verdict_on(status: int | None, *, attempts: int = 0, **report: object) -> Verdict:
    failed = status is None or not 200 <= status < 300
    sent = Report(status, 5, None, *(("x", "it failed") if failed else ()), **report)  # type: ignore[arg-type]
    return judge(delivery(attempts=attempts), sent, DELAYS)


@given(st.integers(100, 599))
def test_exactly_2xx_is_delivered(status: int) -> None:
    assert isinstance(verdict_on(status), Delivered) == (200 <= status < 300)


@given(st.integers(300, 399) | st.integers(500, 599) | st.sampled_from([408, 409, 425, 429]) | st.none())
def test_redirects_server_errors_and_broken_connections_are_tried_again(status: int | None) -> None:
    assert isinstance(verdict_on(status), TryAgain)


@pytest.mark.parametrize("status", [400, 402, 405, 406, 411, 413, 414, 415, 422, 431, 451])
def test_what_no_repetition_changes_is_given_up_at_once(status: int) -> None:
    assert isinstance(verdict_on(status), GivenUp)


def test_a_410_gives_up_the_endpoint_too() -> None:
    assert verdict_on(410) == GivenUp("webhook.gone", "the endpoint answered 410", disables=True)


def test_a_refused_address_is_given_up_but_an_unresolved_one_is_not() -> None:
    assert verdict_on(None, is_refused=True) == GivenUp("x", "it failed")
    assert isinstance(verdict_on(None), TryAgain)


@given(st.floats(0, 3 * DISABLED_AFTER_SECONDS))
def test_five_days_of_failure_disable_an_endpoint(failing_seconds: float) -> None:
    failing = delivery(failing_seconds=failing_seconds)
    verdict = judge(failing, Report(500, 1, None, "x", "y"), DELAYS)
    assert isinstance(verdict, GivenUp) == (failing_seconds >= DISABLED_AFTER_SECONDS)
    assert isinstance(judge(failing, Report(204, 1), DELAYS), Delivered)


def test_why_an_endpoint_or_a_delivery_is_given_up_is_told() -> None:
    failed = Report(500, 1, None, "webhook.http_500", "the endpoint answered 500")
    failing = delivery(failing_seconds=DISABLED_AFTER_SECONDS)
    assert judge(failing, failed, DELAYS) == GivenUp(
        "webhook.endpoint_failing", "failing for five days, lastly: the endpoint answered 500", disables=True
    )
    assert judge(delivery(attempts=2), failed, (1.0, 1.0)) == GivenUp(
        "webhook.exhausted", "given up after 3 attempts: the endpoint answered 500"
    )
    assert judge(delivery(), Report(400, 1), DELAYS) == GivenUp("webhook.failed", "the attempt failed")


def test_the_next_attempt_is_after_the_planned_wait_or_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.webhooks.retrying.random.uniform", lambda low, high: (low, high) == (0.8, 1.2))
    failed = Report(500, 1, None, "x", "y")
    assert judge(delivery(attempts=1), failed, (10.0, 70.0)) == TryAgain(70.0)
    asking = Report(429, 1, None, "x", "y", asked_seconds=200.0)
    assert judge(delivery(attempts=1), asking, (10.0, 70.0)) == TryAgain(200.0)
    assert retry_after_seconds(1, (5_000.0,), asked_seconds=1e9) == 10_000.0


def test_the_schedule_has_ten_attempts_in_about_three_days() -> None:
    verdicts = [verdict_on(500, attempts=attempts) for attempts in range(10)]
    assert all(isinstance(verdict, TryAgain) for verdict in verdicts[:9])
    assert isinstance(verdicts[9], GivenUp)
    assert 3 <= sum(DELAYS) / 86_400 <= 3.3


@given(st.integers(1, len(DELAYS)))
def test_waits_are_off_by_a_fifth_at_most(attempts: int) -> None:
    planned = DELAYS[attempts - 1]
    wait = retry_after_seconds(attempts, DELAYS)
    assert wait is not None
    assert 0.8 * planned <= wait <= 1.2 * planned


@given(st.integers(1, len(DELAYS)), st.floats(0, 1e9))
def test_a_retry_after_lengthens_a_wait_within_limits(attempts: int, asked: float) -> None:
    planned = DELAYS[attempts - 1]
    wait = retry_after_seconds(attempts, DELAYS, asked_seconds=asked)
    assert wait is not None
    assert wait >= min(asked, 3_600)
    assert 0.8 * planned <= wait <= max(2 * planned, 3_600)


@given(st.lists(st.floats(0, 1e6).map(lambda seconds: round(seconds, 3)), min_size=1, max_size=20))
def test_delays_are_read_as_they_are_written(delays: list[float]) -> None:
    assert read_delays(",".join(map(repr, delays))) == tuple(delays)
