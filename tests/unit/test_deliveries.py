"""What a process holds and may take, as a state machine: any order of events keeps every promise."""

from __future__ import annotations

import threading
from collections import Counter

import dramatiq
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from app.broker.deliveries import MAX_TINY_AHEAD, Deliveries, Delivery, QueuePolicy

QUEUES = ["ai", "battles", "sweeps"]

policies = st.builds(
    QueuePolicy,
    max_in_flight=st.none() | st.integers(1, 100),
    leave_free=st.integers(0, 100),
    handicap_ms=st.integers(0, 100_000),
)


def delivery(queue_name: str, message_id: str, number: int = 1) -> Delivery:
    message: dramatiq.Message[object] = dramatiq.Message(
        queue_name=queue_name, actor_name="note", args=(), kwargs={}, options={}, message_id=message_id
    )
    return Delivery(message, number)


@given(policy=policies, threads=st.integers(1, 200))
def test_a_cap_leaves_at_least_one_thread_and_at_most_all(policy: QueuePolicy, threads: int) -> None:
    cap = policy.cap(threads)
    assert 1 <= cap <= threads
    assert policy.max_in_flight is None or cap <= policy.max_in_flight
    assert cap == 1 or cap <= threads - policy.leave_free


@given(threads=st.integers(1, 64), names=st.lists(st.text(min_size=1), unique=True))
def test_queues_come_in_the_order_of_their_handicap(threads: int, names: list[str]) -> None:
    given_policies = {name: QueuePolicy(handicap_ms=index % 3) for index, name in enumerate(names)}
    deliveries = Deliveries(threads, given_policies)
    for name in names:
        deliveries.open_inbox(name)
        deliveries.open_inbox(name)
    assert sorted(deliveries.queues) == sorted(names)
    handicaps = [deliveries.policy(name).handicap_ms for name in deliveries.queues]
    assert handicaps == sorted(handicaps)


class DeliveriesMachine(RuleBasedStateMachine):
    """Takes, hands out, and ends deliveries of jobs that take their time, next to a plain model of them."""

    held = Bundle("held")

    @initialize(threads=st.integers(1, 8), given=st.dictionaries(st.sampled_from(QUEUES), policies))
    def start(self, threads: int, given: dict[str, QueuePolicy]) -> None:
        self.threads = threads
        self.deliveries = Deliveries(threads, given)
        self.opened: set[str] = set()
        self.expected: dict[tuple[str, int], str] = {}
        self.waiting: Counter[str] = Counter()
        self.count = 0

    @rule(queue=st.sampled_from(QUEUES))
    def open(self, queue: str) -> None:
        self.deliveries.open_inbox(queue)
        self.opened.add(queue)

    @rule(target=held, data=st.data(), number=st.integers(1, 3))
    def take_what_there_is_room_for(self, data: st.DataObject, number: int) -> object:
        limit, rooms = self.deliveries.room()
        taken = []
        for queue in sorted(rooms):
            for _ in range(data.draw(st.integers(0, rooms[queue]), label=queue)):
                if len(taken) < limit:
                    self.count += 1
                    one = delivery(queue, str(self.count), number)
                    self.deliveries.begin([one])
                    self.expected[one.message_id, number] = queue
                    self.waiting[queue] += 1
                    taken.append(one)
        return multiple(*taken)

    @rule(target=held, first=held)
    def take_a_newer_delivery_of_the_same_message(self, first: Delivery) -> object:
        newer = (first.message_id, first.number + 3)
        if first.queue_name not in self.deliveries.room()[1] or newer in self.expected:
            return multiple()
        one = delivery(first.queue_name, *newer)
        self.deliveries.begin([one])
        self.expected[newer] = one.queue_name
        self.waiting[one.queue_name] += 1
        return one

    @rule(queue=st.sampled_from(QUEUES))
    def hand_one_to_its_consumer(self, queue: str) -> None:
        if queue not in self.opened:
            return
        handed = self.deliveries.next(queue, 0.001 if not self.waiting[queue] else 1)
        assert (handed is not None) == (self.waiting[queue] > 0)
        if handed is not None:
            assert handed.queue_name == queue
            self.waiting[queue] -= 1

    @rule(one=consumes(held), twice=st.booleans())
    def end_once_or_twice(self, one: Delivery, twice: bool) -> None:
        before = len(self.deliveries.held())
        # Never begun as far as the pace of jobs goes: this is about slots.
        self.deliveries.end(one)
        del self.expected[one.message_id, one.number]
        assert len(self.deliveries.held()) == before - 1
        if twice:
            self.deliveries.end(one)
            assert len(self.deliveries.held()) == before - 1

    @rule(queue=st.sampled_from(QUEUES))
    def end_what_was_never_held(self, queue: str) -> None:
        before = len(self.deliveries.held())
        self.deliveries.end(delivery(queue, "a stranger"))
        assert len(self.deliveries.held()) == before

    @invariant()
    def what_is_held_is_what_was_taken_and_did_not_end(self) -> None:
        held = {(one.message_id, one.number): one.queue_name for one in self.deliveries.held()}
        assert held == self.expected

    @invariant()
    def room_is_what_is_left(self) -> None:
        limit, rooms = self.deliveries.room()
        in_flight = Counter(self.expected.values())
        free = self.threads - len(self.expected)
        assert 0 <= limit <= max(free, 0)
        assert rooms.keys() <= self.opened
        modest = {queue for queue in self.opened if self.deliveries.policy(queue).leave_free}
        together = sum(in_flight[queue] for queue in modest)
        for queue in self.opened:
            policy = self.deliveries.policy(queue)
            cap = policy.cap(self.threads)
            assert in_flight[queue] <= cap
            left = max(1, self.threads - policy.leave_free) - together if queue in modest else free
            assert rooms.get(queue, 0) == max(0, min(cap - in_flight[queue], free, left))
        if modest & rooms.keys():
            assert limit == max(rooms[queue] for queue in modest & rooms.keys())
        assert all(room > 0 for room in rooms.values())
        assert 0 <= self.deliveries.load() <= 1

    @precondition(lambda self: not self.expected)
    @invariant()
    def an_idle_process_has_room_in_every_queue(self) -> None:
        _, rooms = self.deliveries.room()
        assert rooms.keys() == self.opened


TestDeliveries = DeliveriesMachine.TestCase
TestDeliveries.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@settings(deadline=None, max_examples=30)
@given(threads=st.integers(1, 8), jobs=st.integers(1, 40))
def test_what_is_taken_ahead_of_threads_is_bounded(threads: int, jobs: int) -> None:
    deliveries = Deliveries(threads, {})
    deliveries.open_inbox("ai")
    for number in range(jobs):
        one = delivery("ai", str(number))
        deliveries.begin([one])
        deliveries.began(one)
        deliveries.end(one)
    taken = 0
    while deliveries.room()[0]:
        deliveries.begin([delivery("ai", f"later {taken}")])
        taken += 1
    assert threads <= taken <= threads + max(threads, MAX_TINY_AHEAD)


def test_queues_that_leave_threads_free_do_so_together() -> None:
    policies = {"ai": QueuePolicy(leave_free=2), "battles": QueuePolicy(leave_free=2)}
    deliveries = Deliveries(8, policies)
    for name in ("ai", "battles", "sweeps"):
        deliveries.open_inbox(name)
    assert deliveries.room() == (6, {"ai": 6, "battles": 6, "sweeps": 8})
    deliveries.begin(
        [delivery("ai", "1"), delivery("ai", "2"), delivery("ai", "3"), delivery("battles", "4")]
    )
    assert deliveries.room() == (2, {"ai": 2, "battles": 2, "sweeps": 4})
    deliveries.begin([delivery("battles", "5"), delivery("ai", "6")])
    assert deliveries.room() == (2, {"sweeps": 2})


def test_many_threads_ending_at_once_free_every_slot_once() -> None:
    deliveries = Deliveries(8, {"ai": QueuePolicy(max_in_flight=8)})
    deliveries.open_inbox("ai")
    batch = [delivery("ai", str(number)) for number in range(8)]
    for one in batch:
        deliveries.begin([one])
    assert deliveries.room() == (0, {})
    barrier = threading.Barrier(16)

    def end(index: int) -> None:
        barrier.wait(10)
        deliveries.end(batch[index % 8])

    threads = [threading.Thread(target=end, args=(index,)) for index in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert deliveries.room() == (8, {"ai": 8})
    assert deliveries.held() == []
