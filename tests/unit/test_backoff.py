import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.backoff import RETRY_AFTER_LIMIT, ReconnectBackoff, backoff_ms

errors = st.integers(min_value=0, max_value=10_000)
min_ms = st.integers(min_value=1, max_value=10_000)
factor = st.integers(min_value=1, max_value=1_000)


@given(errors, min_ms, factor)
def test_jitter_stays_between_nothing_and_the_doubled_backoff(errors: int, min_ms: int, factor: int) -> None:
    max_ms = min_ms * factor
    waited = backoff_ms(errors, min_ms=min_ms, max_ms=max_ms)
    assert 0 <= waited <= min(max_ms, min_ms * 2 ** max(errors - 1, 0))


@given(errors, min_ms, factor, st.floats(allow_nan=False, allow_infinity=False))
def test_a_time_that_was_asked_for_is_honoured_up_to_the_limit(
    errors: int, min_ms: int, factor: int, after_seconds: float
) -> None:
    max_ms = min_ms * factor
    waited = backoff_ms(errors, min_ms=min_ms, max_ms=max_ms, after_seconds=after_seconds)
    asked_ms = max(0.0, after_seconds) * 1000
    assert waited >= min(asked_ms, max_ms * RETRY_AFTER_LIMIT) - 1
    assert waited <= max_ms * (RETRY_AFTER_LIMIT + 1)


def test_many_jobs_told_the_same_time_do_not_come_back_at_once() -> None:
    waits = {backoff_ms(3, min_ms=1_000, max_ms=60_000, after_seconds=5) for _ in range(50)}
    assert len(waits) > 25


def longest_wait(monkeypatch: pytest.MonkeyPatch, errors: int, **terms: float) -> tuple[float, int]:
    """The lower end of the jitter, and the wait at its upper end."""
    lows: list[float] = []

    def uniform(low: float, high: float) -> float:
        lows.append(low)
        return high

    monkeypatch.setattr("app.backoff.random.uniform", uniform)
    waited = backoff_ms(errors, **{"min_ms": 10, "max_ms": 10**15, **terms})  # type: ignore[arg-type]
    return lows[0], waited


@pytest.mark.parametrize(
    ("errors", "waited_ms"),
    [(0, 10), (1, 10), (2, 20), (3, 40), (5, 160), (31, 10 * 2**30), (32, 10 * 2**30), (9_999, 10 * 2**30)],
)
def test_the_longest_wait_doubles_with_every_error(
    errors: int, waited_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert longest_wait(monkeypatch, errors) == (0, waited_ms)


def test_a_time_that_was_asked_for_is_added_to_the_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    assert longest_wait(monkeypatch, 2, after_seconds=7.5) == (0, 7_520)
    assert longest_wait(monkeypatch, 2, after_seconds=7.5, max_ms=15) == (0, 15 * RETRY_AFTER_LIMIT + 15)


class Connections:
    """A backoff from 100 ms to 5 s whose connections must last for 30 s, at the upper end of its jitter."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("app.backoff.random.uniform", lambda _low, high: high)
        self.now = 1_000.0
        self.backoff = ReconnectBackoff(
            min_ms=100, max_ms=5_000, lasting_seconds=30.0, clock=lambda: self.now
        )

    def pause_after(self, *lasted_seconds: float) -> float:
        """The pause after connections that lasted so long, one after the other."""
        for seconds in lasted_seconds:
            self.backoff.connected()
            self.now += seconds
            pause = self.backoff.lost()
        return pause


def test_a_connection_that_ends_at_once_is_a_failure_like_one_that_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connections = Connections(monkeypatch)
    assert connections.pause_after(0.0) == 0.1
    assert connections.pause_after(29.9) == 0.2
    assert connections.backoff.lost() == 0.4
    assert connections.pause_after(0.0, 0.0, 0.0, 0.0) == 5.0
    assert connections.backoff.losses == 7


def test_after_a_connection_that_lasted_the_pauses_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    connections = Connections(monkeypatch)
    assert connections.pause_after(0.0, 0.0, 0.0) == 0.4
    assert connections.pause_after(30.0) == 0.1
    assert connections.pause_after(1.0) == 0.2


def test_a_connection_lasts_from_when_it_was_first_said_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    connections = Connections(monkeypatch)
    connections.pause_after(0.0, 0.0)
    connections.backoff.connected()
    connections.now += 29.0
    connections.backoff.connected()
    connections.now += 1.0
    assert connections.backoff.lost() == 0.1


def test_how_long_an_earlier_connection_lasted_does_not_count_for_a_later_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connections = Connections(monkeypatch)
    assert connections.pause_after(60.0) == 0.1
    connections.now += 60.0
    assert connections.backoff.lost() == 0.2
