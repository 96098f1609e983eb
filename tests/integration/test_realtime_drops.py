"""However the Realtime service fails, every vote is inspected."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from app.database import Database
from app.local.votes import Ballot, cast
from app.phoenix.channel import Timing
from app.phoenix.subscription import Endpoint
from app.phoenix.tokens import ServiceKey, Signed
from realtime.supabase_feed import SupabaseFeed
from tests.doubles.realtime_server import RealtimeServer
from tests.integration.conftest import running_worker
from tests.integration.realtime_process import serving
from tests.integration.vote_rows import voting_battle
from tests.sql import call
from tests.waiting import eventually

#: A patient client's times, divided by some hundred; but silence alone makes it do nothing.
FAST = Timing(
    connect=1.0,
    join=0.3,
    subscribe=0.3,
    heartbeat=0.05,
    deaf=0.25,
    quiet=3_600.0,
    min_pause=0.005,
    max_pause=0.05,
)

DROPS = 200
#: Each with a server of its own; together they wait as long as one does.
FORWARDERS = 5

Drop = Callable[[RealtimeServer], None]


@pytest.fixture
def server() -> Iterator[RealtimeServer]:
    with RealtimeServer() as running:
        yield running


@pytest.fixture
def battle(connection: Connection) -> UUID:
    return voting_battle(connection)


@pytest.fixture
def worker(broker: LeaseBroker, connection: Connection) -> Iterator[None]:
    with running_worker(broker, "actors.votes"):
        yield


def feed(server: RealtimeServer, timing: Timing = FAST) -> SupabaseFeed:
    return SupabaseFeed(Endpoint(server.url, server.key, ServiceKey(server.key)), timing)


def go_deaf_for_a_while(server: RealtimeServer) -> None:
    server.go_deaf()
    time.sleep(FAST.deaf * 1.2)
    server.behaviour.is_deaf = False


def stay_away(server: RealtimeServer) -> None:
    """Longer than any client's count of retries lasts: some hundred of the longest pauses would."""
    server.go_away()
    time.sleep(random.uniform(0.05, 0.3))
    server.come_back()


def refuse_joins_for_a_while(server: RealtimeServer) -> None:
    server.behaviour.refuse_joins = True
    server.close(1012)
    time.sleep(0.1)
    server.behaviour.refuse_joins = False


def be_slow_to_subscribe(server: RealtimeServer) -> None:
    server.behaviour.never_subscribe = True
    server.close(1001)
    time.sleep(0.1)
    server.behaviour.never_subscribe = False


DROP_KINDS: list[Drop] = [
    lambda server: server.close(1000),
    lambda server: server.close(1001),
    lambda server: server.close(1011),
    lambda server: server.close(1012),
    RealtimeServer.reset,
    go_deaf_for_a_while,
    RealtimeServer.expire_tokens,
    RealtimeServer.fail_channels,
    RealtimeServer.close_channels,
    RealtimeServer.fail_replication,
    RealtimeServer.send_garbage,
    stay_away,
    refuse_joins_for_a_while,
    be_slow_to_subscribe,
]


def vote(session: Connection, server: RealtimeServer, battle: UUID) -> None:
    """Cast a vote and have the server tell of it, as far as anybody listens."""
    cast(session, battle, [Ballot(known=False)])
    server.publish(
        "battles", "vote_aggregates", "UPDATE", {"battle_id": str(battle), "contender_id": str(battle)}
    )


def seen(session: Connection, battle: UUID) -> int:
    found = call(session, "SELECT votes_seen FROM worker.vote_inspections WHERE battle_id = %s", battle)
    return int(found or 0)


def test_no_vote_stays_unseen_through_two_hundred_drops_of_every_kind(
    worker: None, connection: Connection, jobs_database: Database
) -> None:
    battles = [voting_battle(connection) for _ in range(FORWARDERS)]

    def ride_out(battle: UUID, drops: list[Drop]) -> None:
        with RealtimeServer() as server, serving(feed(server), jobs_database):
            eventually(lambda: server.subscribed, what="the first subscription")
            for number, drop in enumerate(drops):
                subscriptions = server.seen.subscriptions
                drop(server)
                # During the gap: nobody is told of it.
                vote(connection, server, battle)
                eventually(lambda: server.seen.subscriptions > subscriptions, what=f"recovery {number}")  # noqa: B023
            eventually(lambda: seen(connection, battle) == len(drops), what="the last votes")

    drops = list(itertools.islice(itertools.cycle(DROP_KINDS), DROPS))
    with ThreadPoolExecutor(FORWARDERS) as pool:
        list(pool.map(ride_out, battles, [drops[first::FORWARDERS] for first in range(FORWARDERS)]))
    assert call(connection, "SELECT sum(votes_seen) FROM worker.vote_inspections") == DROPS


def test_votes_are_inspected_as_they_come_and_those_of_a_gap_as_soon_as_it_is_over(
    server: RealtimeServer, worker: None, connection: Connection, jobs_database: Database, battle: UUID
) -> None:
    with serving(feed(server), jobs_database):
        eventually(lambda: server.subscribed)
        for count in range(1, 10):
            if count % 3 == 0:
                server.go_away()
            vote(connection, server, battle)
            if count % 3 == 0:
                server.come_back()
            eventually(lambda: seen(connection, battle) == count)  # noqa: B023
        eventually(lambda: server.seen.subscriptions > 3, what="a subscription after each gap")
    inspected = "SELECT votes_seen = 9 AND inspections >= 9 FROM worker.vote_inspections WHERE battle_id = %s"
    assert call(connection, inspected, battle)


def test_a_token_is_renewed_before_it_expires(
    server: RealtimeServer, jobs_database: Database, connection: Connection
) -> None:
    tokens = Signed("a-secret-that-only-tests-know", lifetime_seconds=1.5)
    renewing = SupabaseFeed(Endpoint(server.url, server.key, tokens), Timing(heartbeat=0.2))
    with serving(renewing, jobs_database):
        eventually(lambda: server.seen.renewals >= 4)
        assert server.seen.joins == 1
        assert server.subscribed == 1


def test_a_wrong_key_is_tried_for_ever_and_never_logged(
    server: RealtimeServer, jobs_database: Database, battle: UUID, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = "sb_secret_planted_0123456789"
    with serving(SupabaseFeed(Endpoint(server.url, wrong, ServiceKey(wrong)), FAST), jobs_database):
        time.sleep(0.3)
        server.key = wrong
        eventually(lambda: server.subscribed)
    printed = capsys.readouterr()
    assert "401" in printed.out + printed.err
    assert wrong not in printed.out + printed.err


def test_a_server_that_forgets_the_channel_is_joined_anew(
    server: RealtimeServer, worker: None, connection: Connection, jobs_database: Database, battle: UUID
) -> None:
    quiet = Timing(heartbeat=0.05, deaf=60.0, quiet=0.3, min_pause=0.01, max_pause=0.05)
    with serving(feed(server, quiet), jobs_database):
        for count in (1, 2):
            eventually(lambda: server.subscribed)
            joins = server.seen.joins
            server.forget_channels()
            vote(connection, server, battle)
            eventually(lambda: server.seen.joins > joins, what="another join")  # noqa: B023
            eventually(lambda: seen(connection, battle) == count)  # noqa: B023
    assert server.seen.joins >= 3
    assert seen(connection, battle) == 2


def test_hundreds_of_votes_a_second_are_two_inspections_a_second(
    server: RealtimeServer, worker: None, connection: Connection, jobs_database: Database, battle: UUID
) -> None:
    inspections = "SELECT coalesce(sum(inspections), 0) FROM worker.vote_inspections"
    with serving(feed(server), jobs_database):
        eventually(lambda: server.subscribed)
        began = time.monotonic()
        count = 0
        while time.monotonic() < began + 3:
            cast(connection, battle, [Ballot(known=False)] * 50)
            for _ in range(50):
                server.publish("battles", "vote_aggregates", "UPDATE", {"battle_id": str(battle)})
            count += 50
            time.sleep(max(0.0, began + count / 500 - time.monotonic()))
        done = call(connection, inspections)
        assert done <= 2 * (time.monotonic() - began) + 1
        eventually(lambda: seen(connection, battle) == count, what="the trailing edge")


def test_a_second_process_does_no_harm(
    server: RealtimeServer, worker: None, connection: Connection, jobs_database: Database, battle: UUID
) -> None:
    with serving(feed(server), jobs_database), serving(feed(server), jobs_database):
        eventually(lambda: server.subscribed == 2)
        began = time.monotonic()
        for _ in range(20):
            vote(connection, server, battle)
        eventually(lambda: seen(connection, battle) == 20)
        inspections = call(connection, "SELECT inspections FROM worker.vote_inspections")
        assert inspections <= 2 * (time.monotonic() - began) + 1


def test_a_server_that_subscribes_and_shuts_at_once_is_joined_ever_more_seldom(
    server: RealtimeServer, jobs_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "uniform", lambda _least, most: most)
    server.behaviour.shuts_subscribed = True
    timing = Timing(min_pause=0.05, max_pause=10.0, lasting=30.0)
    with serving(feed(server, timing), jobs_database):
        began = time.monotonic()
        eventually(lambda: server.seen.subscriptions >= 5, what="the fifth join")
        # The pauses are 0.05, 0.1, 0.2 and 0.4 s.
        assert time.monotonic() - began >= 0.75


def test_a_channel_that_has_lasted_is_joined_again_at_once(
    server: RealtimeServer, jobs_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "uniform", lambda _least, most: most)
    timing = Timing(min_pause=0.05, max_pause=60.0, lasting=0.0)
    with serving(feed(server, timing), jobs_database):
        # Fifteen pauses that went on doubling would be half an hour.
        for number in range(15):
            eventually(lambda: server.subscribed, what=f"subscription {number}")
            joins = server.seen.joins
            server.close_channels()
            eventually(lambda: server.seen.joins > joins, what="another join")  # noqa: B023
