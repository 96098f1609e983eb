"""Limits of providers, shared by all who ask, on a clock that the tests turn."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg2.errors import CheckViolation
from psycopg2.extras import Json

from tests.sql import Connection, call

#: A limit so low that a test is over before there is room again.
SLOW = 6

TAKE = "SELECT worker.take_passage(%s, 'openai', 'gpt-4o', %s, %s, 60)"


@pytest.fixture(autouse=True)
def database(connection: Connection) -> Connection:
    return connection


def limit(connection: Connection, **limits: float) -> None:
    call(connection, "SELECT worker.set_limits(%s)", Json([{"provider": "openai", "model": "*", **limits}]))


def take(
    connection: Connection, ticket: UUID | None = None, key: str = "platform", owner: str = "ada"
) -> int:
    return int(call(connection, TAKE, ticket or uuid4(), key, owner))


def pass_time(connection: Connection, seconds: float) -> None:
    """Move everything that has a time into the past."""
    moves = {
        "buckets": ["filled_at"],
        "passages": ["expires_at"],
        "waiters": ["called_at"],
        "provider_pauses": ["until"],
        "breakers": ["retry_at"],
        "call_counts": ["slot"],
    }
    for table, columns in moves.items():
        for column in columns:
            connection.cursor().execute(
                f"UPDATE worker.{table} SET {column} = {column} - %s * interval '1 second'", (seconds,)
            )


def record(
    connection: Connection, calls: int, failures: int, key: str = "platform", owner: str = "ada"
) -> None:
    told = {
        "provider": "openai",
        "model": "gpt-4o",
        "key": key,
        "owner": owner,
        "calls": calls,
        "failures": failures,
        "error_code": "provider.unavailable",
    }
    connection.cursor().execute("SELECT worker.record_calls(%s, 60, 10, 0.5, 15)", (Json([told]),))


def state(connection: Connection) -> Any:
    return call(connection, "SELECT max(state) FROM worker.breakers")


def test_without_a_limit_every_call_may_go(connection: Connection) -> None:
    assert [take(connection) for _ in range(50)] == [0] * 50


def test_no_minute_sees_more_calls_than_the_limit_and_most_of_it_is_used(connection: Connection) -> None:
    limit(connection, requests_per_minute=120)
    went: list[tuple[float, float]] = []
    began = time.monotonic()
    ticket = uuid4()
    for tick in range(720):
        while True:
            asked_at = tick / 4 + time.monotonic() - began
            if take(connection, ticket) > 0:
                break
            went.append((asked_at, tick / 4 + time.monotonic() - began))
            ticket = uuid4()
        fill = "UPDATE worker.buckets SET filled_at = filled_at - interval '0.25 s' RETURNING true"
        call(connection, fill)
    # Those that surely went within a minute: when, between the question and the answer, nobody knows.
    busiest = max(
        sum(answered_at < asked_at + 60 for _, answered_at in went[place:])
        for place, (asked_at, _) in enumerate(went)
    )
    assert busiest <= 120
    assert len(went) >= 0.95 * 120 * went[-1][1] / 60


def test_each_key_has_the_limit_for_itself(connection: Connection) -> None:
    limit(connection, requests_per_minute=1)
    assert take(connection) == 0
    assert take(connection) > 0
    assert take(connection, key=str(uuid4())) == 0


def test_a_call_must_pass_its_providers_limit_and_its_models(connection: Connection) -> None:
    rows = [
        {"provider": "openai", "model": "*", "requests_per_minute": 6000},
        {"provider": "openai", "model": "gpt-4o", "concurrency": 1},
    ]
    call(connection, "SELECT worker.set_limits(%s)", Json(rows))
    assert take(connection) == 0
    before = call(connection, "SELECT requests FROM worker.buckets WHERE model = '*'")
    assert take(connection) > 0
    assert call(connection, "SELECT requests FROM worker.buckets WHERE model = '*'") >= before


def test_who_has_its_turn_in_one_line_is_not_sent_behind_another(connection: Connection) -> None:
    """Else those of either line would send each other to the end of the other one for ever."""
    rows = [
        {"provider": "openai", "model": "*", "concurrency": 3},
        {"provider": "openai", "model": "gpt-4o", "concurrency": 2},
    ]
    call(connection, "SELECT worker.set_limits(%s)", Json(rows))
    under_way = [uuid4(), uuid4(), uuid4()]
    assert [take(connection, ticket) for ticket in under_way[:2]] == [0, 0]
    of_model = [stand(connection), stand(connection)]
    assert call(connection, TAKE.replace("gpt-4o", "o3"), under_way[2], "platform", "grace") == 0
    of_provider = [stand(connection), stand(connection)]
    places = "SELECT array_agg(model ORDER BY since) FROM worker.waiters"
    assert call(connection, places) == ["gpt-4o", "gpt-4o", "*", "*"]
    for ticket in under_way:
        call(connection, "SELECT worker.settle_passage(%s)::text", ticket)
    assert take(connection, of_model[1]) > 0
    assert [take(connection, of_model[0]), take(connection, of_provider[0])] == [0, 0]
    assert take(connection, of_provider[1]) > 0
    assert call(connection, places) == ["gpt-4o", "gpt-4o"]
    assert call(connection, "SELECT array_agg(under_way ORDER BY model) FROM worker.buckets") == [2, 2]


def test_no_more_calls_at_once_than_allowed_and_a_settled_one_makes_room(connection: Connection) -> None:
    limit(connection, concurrency=2)
    first, third = uuid4(), uuid4()
    assert [take(connection, first), take(connection)] == [0, 0]
    assert take(connection, third) > 0
    call(connection, "SELECT worker.settle_passage(%s)::text", first)
    assert take(connection, third) == 0


def test_the_place_of_a_worker_that_died_is_free_after_a_while_or_when_its_ticket_comes_again(
    connection: Connection,
) -> None:
    limit(connection, concurrency=1)
    ticket = uuid4()
    assert take(connection, ticket) == 0
    assert take(connection, ticket) == 0
    assert take(connection) > 0
    pass_time(connection, 61)
    assert take(connection) == 0


def test_who_comes_back_late_settles_only_what_it_took_itself(connection: Connection) -> None:
    limit(connection, concurrency=1)
    ticket = uuid4()
    assert [take(connection, ticket), take(connection, ticket)] == [0, 0]
    call(connection, "SELECT worker.settle_passage(%s, 1, 9, 0.1, 60)::text", ticket)
    assert take(connection) > 0
    call(connection, "UPDATE worker.passages SET taken_at = taken_at - interval '1 minute' RETURNING true")
    call(connection, "SELECT worker.settle_passage(%s, 1, 9, 0.1, 60)::text", ticket)
    assert call(connection, "SELECT sum(under_way) FROM worker.buckets") == 0


def test_tokens_that_were_not_used_are_given_back_and_those_over_are_owed(connection: Connection) -> None:
    limit(connection, tokens_per_minute=60_000)
    ticket = uuid4()
    assert take(connection, ticket) == 0
    call(connection, "SELECT worker.settle_passage(%s, 1, 9000)::text", ticket)
    assert take(connection) > 0
    assert call(connection, "SELECT tokens FROM worker.buckets") < 0
    pass_time(connection, 30)
    assert take(connection, ticket) == 0
    full = call(connection, "SELECT tokens FROM worker.buckets")
    call(connection, "SELECT worker.settle_passage(%s, 1, 100)::text", ticket)
    assert call(connection, "SELECT tokens FROM worker.buckets") > full


def test_a_debt_of_weeks_has_nobody_wait_longer_than_ten_minutes_before_it_looks(
    connection: Connection,
) -> None:
    limit(connection, tokens_per_minute=1)
    ticket = uuid4()
    take(connection, ticket)
    pass_time(connection, 60)
    assert take(connection, ticket) == 0
    call(connection, "SELECT worker.settle_passage(%s, 1, 100000)::text", ticket)
    assert [take(connection), take(connection)] == [600_000, 600_000]


def test_a_passage_without_a_call_is_given_back_whole(connection: Connection) -> None:
    limit(connection, requests_per_minute=1)
    ticket = uuid4()
    assert take(connection, ticket) == 0
    call(connection, "SELECT worker.settle_passage(%s, 0)::text", ticket)
    assert take(connection) == 0


def stand(connection: Connection, owner: str = "ada") -> UUID:
    """Take a place in line."""
    ticket = uuid4()
    assert take(connection, ticket, owner=owner) > 0
    call(connection, "UPDATE worker.waiters SET is_message = true RETURNING true")
    return ticket


def line(connection: Connection) -> list[UUID]:
    """Who waits, the next one first."""
    return [
        UUID(ticket)
        for ticket in call(connection, "SELECT array_agg(ticket::text ORDER BY tag) FROM worker.waiters")
    ]


def test_who_waits_passes_in_the_order_of_coming(connection: Connection) -> None:
    limit(connection, requests_per_minute=SLOW)
    assert take(connection) == 0
    first, second = stand(connection), stand(connection)
    pass_time(connection, 11)
    assert take(connection, second) > 0
    assert take(connection) > 0
    assert take(connection, first) == 0
    pass_time(connection, 11)
    assert take(connection, second) == 0


def test_the_first_comes_when_there_is_room_and_the_last_about_when_the_others_have_passed(
    connection: Connection,
) -> None:
    limit(connection, requests_per_minute=SLOW)
    assert take(connection) == 0
    assert 9_000 < take(connection) < 11_000
    assert 190_000 < max(take(connection) for _ in range(20)) < 250_000


def test_one_owners_many_do_not_keep_another_waiting(connection: Connection) -> None:
    limit(connection, requests_per_minute=SLOW)
    assert take(connection) == 0
    for _ in range(50):
        stand(connection, owner="ada")
    few = [stand(connection, owner="grace") for _ in range(3)]
    assert [line(connection).index(ticket) for ticket in few] <= [1, 3, 5]


def test_an_owner_of_more_weight_passes_more_often(connection: Connection) -> None:
    limit(connection, requests_per_minute=SLOW)
    call(connection, "SELECT worker.weigh_owner('grace', 4)::text")
    assert take(connection) == 0
    for _ in range(20):
        stand(connection, owner="ada")
    heavy = {stand(connection, owner="grace") for _ in range(20)}
    assert len(heavy.intersection(line(connection)[:20])) >= 15


def test_who_was_called_and_does_not_come_is_passed_over(connection: Connection) -> None:
    limit(connection, requests_per_minute=SLOW)
    assert take(connection) == 0
    gone, next_ = stand(connection), stand(connection)
    pass_time(connection, 11)
    assert take(connection, next_) > 0
    assert call(connection, "SELECT count(*) FROM worker.waiters WHERE called_at IS NOT NULL") == 1
    pass_time(connection, 3)
    assert take(connection, next_) == 0
    pass_time(connection, 11)
    assert take(connection, gone) == 0


def test_a_place_is_kept_for_a_node_that_was_called_and_whoever_is_behind_has_the_next_one(
    connection: Connection,
) -> None:
    limit(connection, concurrency=2)
    under_way = [uuid4(), uuid4()]
    assert [take(connection, ticket) for ticket in under_way] == [0, 0]
    node, behind = uuid4(), uuid4()
    assert take(connection, node) > 0
    assert take(connection, behind) > 0
    settle = "SELECT worker.settle_passage(%s)::text"
    call(connection, settle, under_way[0])
    assert take(connection, behind) > 0
    call(connection, settle, under_way[1])
    assert take(connection, behind) == 0
    assert take(connection) > 0
    assert take(connection, node) == 0


def test_a_node_that_was_called_and_does_not_come_loses_its_place_but_not_its_rank(
    connection: Connection,
) -> None:
    limit(connection, concurrency=1)
    under_way, node, behind = uuid4(), uuid4(), uuid4()
    assert take(connection, under_way) == 0
    assert take(connection, node) > 0
    assert take(connection, behind) > 0
    call(connection, "SELECT worker.settle_passage(%s)::text", under_way)
    assert take(connection, behind) > 0
    pass_time(connection, 2.1)
    assert take(connection, behind) == 0
    assert take(connection, node) > 0
    third = uuid4()
    assert take(connection, third) > 0
    call(connection, "SELECT worker.settle_passage(%s)::text", behind)
    assert take(connection, third) > 0
    assert take(connection, node) == 0


def test_as_many_nodes_are_called_as_there_is_room_for(connection: Connection) -> None:
    limit(connection, requests_per_minute=300)
    assert [take(connection) for _ in range(6)] == [0] * 6
    nodes = [uuid4() for _ in range(9)]
    assert min(take(connection, node) for node in nodes) > 0
    pass_time(connection, 0.9)
    call(connection, "UPDATE worker.waiters SET called_at = NULL RETURNING true")
    call(connection, "SELECT worker.fn_call_when_there_is_room('openai', '*', 'platform')::text")
    called = call(connection, "SELECT count(*) FROM worker.waiters WHERE called_at <= clock_timestamp()")
    assert 4 <= called <= 6
    assert sum(take(connection, node) == 0 for node in nodes) <= 6


def test_a_node_that_is_called_before_it_is_parked_has_its_turn_at_once(connection: Connection) -> None:
    limit(connection, concurrency=1)
    under_way, node, run = uuid4(), uuid4(), uuid4()
    assert take(connection, under_way) == 0
    assert take(connection, node) > 0
    call(connection, "SELECT worker.settle_passage(%s)::text", under_way)
    parked = {"reason": "timer", "after_ms": 600_000, "ticket": str(node)}
    park = "SELECT worker.fn_park_nodes(%s, %s)::text"
    call(connection, park, run, Json([{"node_id": str(uuid4()), "parked": parked}]))
    assert call(connection, "SELECT due_at <= clock_timestamp() FROM worker.parked_nodes")


def test_a_node_that_comes_when_all_calls_are_forbidden_waits_for_that_and_leaves_its_place(
    connection: Connection,
) -> None:
    limit(connection, concurrency=1)
    under_way, node, run = uuid4(), uuid4(), uuid4()
    assert take(connection, under_way) == 0
    assert take(connection, node) > 0
    call(connection, "SELECT worker.settle_passage(%s)::text", under_way)
    call(connection, "SELECT worker.pause_provider('openai', 'gpt-4o', 'platform', 30)::text")
    assert take(connection, node) >= 30_000
    parked = {"reason": "timer", "after_ms": 30_000, "ticket": str(node)}
    park = "SELECT worker.fn_park_nodes(%s, %s)::text"
    call(connection, park, run, Json([{"node_id": str(uuid4()), "parked": parked}]))
    assert call(connection, "SELECT due_at > clock_timestamp() FROM worker.parked_nodes")
    call(connection, "DELETE FROM worker.provider_pauses RETURNING true")
    assert take(connection) == 0


def test_a_node_that_is_parked_when_it_is_called_has_its_turn_at_once(connection: Connection) -> None:
    limit(connection, concurrency=1)
    under_way, node, run = uuid4(), uuid4(), uuid4()
    assert take(connection, under_way) == 0
    assert take(connection, node) > 0
    parked = {"reason": "timer", "after_ms": 600_000, "ticket": str(node)}
    park = "SELECT worker.fn_park_nodes(%s, %s)::text"
    call(connection, park, run, Json([{"node_id": str(uuid4()), "parked": parked}]))
    call(connection, "SELECT worker.settle_passage(%s)::text", under_way)
    assert call(connection, "SELECT due_at <= clock_timestamp() FROM worker.parked_nodes")


def test_who_passes_calls_the_next_ticket_by_its_message(connection: Connection) -> None:
    limit(connection, requests_per_minute=SLOW)
    waiting = UUID(call(connection, "SELECT worker.enqueue('nothing')::text"))
    assert take(connection) == 0
    assert take(connection, waiting) > 0
    delayed = "UPDATE dramatiq.queue SET mtime = now() + interval '1 hour' RETURNING true"
    call(connection, delayed)
    ahead = stand(connection)
    call(connection, "UPDATE worker.waiters SET tag = -1 WHERE ticket = %s RETURNING true", ahead)
    pass_time(connection, 11)
    assert take(connection, ahead) == 0
    wait = "SELECT extract(epoch FROM mtime - clock_timestamp()) FROM dramatiq.queue"
    assert 5 < call(connection, wait) < 11


def test_a_settled_call_brings_the_next_one_at_once(connection: Connection) -> None:
    limit(connection, concurrency=1)
    under_way, waiting = uuid4(), UUID(call(connection, "SELECT worker.enqueue('nothing')::text"))
    assert take(connection, under_way) == 0
    assert take(connection, waiting) > 0
    call(connection, "UPDATE dramatiq.queue SET mtime = now() + interval '1 hour' RETURNING true")
    call(connection, "SELECT worker.settle_passage(%s)::text", under_way)
    assert call(connection, "SELECT mtime <= clock_timestamp() FROM dramatiq.queue")
    assert take(connection, waiting) == 0


def test_who_is_called_goes_before_messages_that_have_yet_to_stand_in_line(connection: Connection) -> None:
    limit(connection, concurrency=1)
    under_way, waiting = uuid4(), UUID(call(connection, "SELECT worker.enqueue('nothing')::text"))
    assert take(connection, under_way) == 0
    assert take(connection, waiting) > 0
    call(connection, "UPDATE dramatiq.queue SET mtime = now() + interval '1 hour' RETURNING true")
    for _ in range(3):
        call(connection, "SELECT worker.enqueue('nothing')::text")
    call(connection, "UPDATE dramatiq.queue SET mtime = mtime - interval '1 minute' RETURNING true")
    call(connection, "SELECT worker.settle_passage(%s)::text", under_way)
    assert call(connection, "SELECT message_id FROM dramatiq.queue ORDER BY mtime LIMIT 1") == waiting


def test_one_that_was_passed_over_waits_for_some_time_and_not_for_less_than_none(
    connection: Connection,
) -> None:
    connection.cursor().execute(
        "INSERT INTO worker.waiters (ticket, provider, model, key, owner, tag, is_message)"
        " VALUES (gen_random_uuid(), 'openai', '*', 'platform', 'ada', 1, true)"
    )
    wait_ms = call(connection, "SELECT worker.fn_wait_in_line_ms('openai', '*', 'platform', 2, 1000, 0, 0.1)")
    assert 1_000 <= wait_ms <= 2_000


def test_a_retry_after_holds_for_all_calls_of_the_key_and_no_other(connection: Connection) -> None:
    call(connection, "SELECT worker.pause_provider('openai', 'gpt-4o', 'platform', 30)::text")
    assert 30_000 <= take(connection) <= 33_001
    assert take(connection, key=str(uuid4())) == 0
    pass_time(connection, 31)
    assert take(connection) == 0


def test_a_breaker_opens_on_failures_lets_one_try_and_closes_on_its_success(connection: Connection) -> None:
    record(connection, calls=9, failures=9)
    assert state(connection) is None
    record(connection, calls=1, failures=1)
    assert state(connection) == "open"
    assert 14_000 < take(connection) < 17_000
    pass_time(connection, 15)
    assert take(connection) == 0
    assert state(connection) == "half_open"
    assert take(connection) > 0
    record(connection, calls=1, failures=0)
    assert state(connection) == "closed"
    assert take(connection) == 0


def test_a_breaker_whose_try_fails_stays_open_for_twice_as_long(connection: Connection) -> None:
    record(connection, calls=10, failures=10)
    pass_time(connection, 15)
    take(connection)
    record(connection, calls=1, failures=1)
    assert 29_000 < take(connection) < 33_000


def test_a_try_that_is_never_heard_of_again_is_followed_by_another(connection: Connection) -> None:
    record(connection, calls=10, failures=10)
    pass_time(connection, 15)
    assert take(connection) == 0
    pass_time(connection, 60)
    assert take(connection) == 0


def test_failures_of_one_owner_stop_nobody_else(connection: Connection) -> None:
    record(connection, calls=40, failures=40)
    assert take(connection) > 0
    assert take(connection, owner="grace") == 0
    assert take(connection, key=str(uuid4())) == 0


def test_failures_with_a_persons_own_key_stop_that_key_only(connection: Connection) -> None:
    key = str(uuid4())
    record(connection, calls=40, failures=40, key=key)
    assert take(connection, key=key) > 0
    assert take(connection, key=str(uuid4())) == 0
    assert take(connection) == 0


def test_failures_of_several_owners_stop_everybody(connection: Connection) -> None:
    record(connection, calls=5, failures=5)
    record(connection, calls=4, failures=4, owner="grace")
    assert take(connection, owner="edsger") == 0
    record(connection, calls=1, failures=1, key=str(uuid4()), owner="barbara")
    assert take(connection, owner="edsger") > 0
    assert take(connection, key=str(uuid4())) > 0


def test_one_failure_beside_many_of_somebody_else_stops_nobody_but_that_one(connection: Connection) -> None:
    record(connection, calls=40, failures=40)
    record(connection, calls=1, failures=1, owner="grace")
    assert take(connection, owner="grace") == 0


def test_a_success_closes_the_breaker_of_everybody_and_leaves_that_of_another_person(
    connection: Connection,
) -> None:
    for owner in ("ada", "grace"):
        record(connection, calls=10, failures=10, owner=owner)
    pass_time(connection, 15)
    assert take(connection, owner="edsger") == 0
    record(connection, calls=1, failures=0, owner="edsger")
    assert take(connection, owner="barbara") == 0
    pass_time(connection, 1)
    assert take(connection, owner="ada") == 0
    record(connection, calls=1, failures=1, owner="ada")
    assert take(connection, owner="ada") > 0
    assert take(connection, owner="barbara") == 0


def test_as_many_successes_keep_a_breaker_closed(connection: Connection) -> None:
    record(connection, calls=30, failures=14)
    assert state(connection) is None


def test_learnt_limits_hold_beside_those_that_are_set(connection: Connection) -> None:
    call(connection, "SELECT worker.learn_limits('openai', 'gpt-4o', 'platform', 1, NULL)::text")
    assert take(connection) == 0
    assert take(connection) > 0
    assert take(connection, key=str(uuid4())) == 0


def test_limits_of_the_settings_replace_each_other_but_not_those_of_a_person(connection: Connection) -> None:
    call(
        connection,
        "INSERT INTO worker.provider_limits (provider, model, concurrency)"
        " VALUES ('openai', '*', 7) RETURNING model",
    )
    rows = [
        {"provider": "openai", "model": "*", "concurrency": 1},
        {"provider": "mistral", "model": "*", "concurrency": 2},
    ]
    call(connection, "SELECT worker.set_limits(%s)::text", Json(rows))
    call(connection, "SELECT worker.set_limits(%s)::text", Json(rows[:1]))
    assert call(connection, "SELECT array_agg(concurrency) FROM worker.provider_limits") == [7]


def test_the_settings_may_name_a_provider_by_any_of_its_names(connection: Connection) -> None:
    rows = [
        {"provider": "Gemini", "model": "*", "concurrency": 3},
        {"provider": "google", "model": "*", "concurrency": 2, "requests_per_minute": 9},
    ]
    for _ in range(2):
        call(connection, "SELECT worker.set_limits(%s)::text", Json(rows))
    row = "SELECT (provider, concurrency, requests_per_minute)::text FROM worker.provider_limits"
    assert call(connection, row) == "(google,2,9)"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "0", "-1"])
def test_no_limit_and_no_weight_is_a_number_that_none_can_be(connection: Connection, number: str) -> None:
    for statement in (
        "SELECT worker.set_limit('openai', '*', %s, NULL, NULL)::text",
        "SELECT worker.set_limit('openai', '*', NULL, %s, NULL)::text",
        "SELECT worker.weigh_owner('ada', %s)::text",
    ):
        with pytest.raises(CheckViolation):
            call(connection, statement, number)


def test_what_is_over_is_forgotten_and_what_is_not_is_kept(connection: Connection) -> None:
    limit(connection, requests_per_minute=SLOW)
    assert take(connection) == 0
    waiting = stand(connection)
    record(connection, calls=1, failures=0)
    call(connection, "SELECT worker.prune_limits()")
    assert line(connection) == [waiting]
    pass_time(connection, 2 * 86_400)
    call(connection, "UPDATE worker.waiters SET since = since - interval '2 days' RETURNING true")
    call(connection, "SELECT worker.prune_limits()")
    assert call(connection, "SELECT count(*) FROM worker.waiters") == 0
    call(connection, "SELECT worker.prune_limits()")
    for table in ("buckets", "passages", "call_counts"):
        assert call(connection, f"SELECT count(*) FROM worker.{table}") == 0
