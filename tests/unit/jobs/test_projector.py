"""How the projector behaves when records, stores or Kafka are not as they should be."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import msgspec
import pytest
from confluent_kafka import OFFSET_END, KafkaError, KafkaException, TopicPartition
from structlog.testing import capture_logs

from jobs.projector import LONGEST_PAUSE_S, Projection
from jobs.view_batch import read_batch
from operators.names import CHALLENGER
from schemas.errors import StoreUnavailable
from schemas.topics import AUDIT, CONTROL, DECISIONS, PROFILES
from schemas.wire import encode
from state.stores.base import Batch
from state.stores.memory import MemoryView
from tests.published import (
    NOON_MS,
    Message,
    decision,
    fact,
    message,
    mix,
    posterior,
    profile,
    shadow,
    story,
)


@dataclass
class FakeConsumer:
    """One partition of a log, read from `position`; remembers what was marked."""

    log: list[Message]
    position: int = 0
    marked: int = 0
    closed: bool = False
    ours: bool = True
    topics: list[str] = field(default_factory=list)
    on_assign: Any = None
    places: list[TopicPartition] = field(default_factory=list)
    interruptions: deque[list[Message]] = field(default_factory=deque)

    def subscribe(self, topics: list[str], on_assign: Any = None) -> None:
        self.topics = topics
        self.on_assign = on_assign

    def assign(self, places: list[TopicPartition]) -> None:
        self.places = places

    def consume(self, limit: int, timeout: float) -> list[Message]:
        if self.interruptions:
            return self.interruptions.popleft()
        taken = self.log[self.position : self.position + limit]
        self.position += len(taken)
        return taken

    def seek(self, place: TopicPartition) -> None:
        self._require()
        self.position = place.offset

    def store_offsets(self, offsets: list[TopicPartition]) -> None:
        self._require()
        self.marked = max(self.marked, offsets[0].offset)

    def close(self) -> None:
        self.closed = True

    def _require(self) -> None:
        if not self.ours:
            raise KafkaException(KafkaError(KafkaError._STATE))


class AwayView(MemoryView):
    """A view whose store does not answer the next ``failures`` writes."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    def write(self, batch: Batch) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("Redis at nowhere")
        super().write(batch)


def log(*records: Any) -> list[Message]:
    messages = [each if isinstance(each, Message) else message(each) for each in records]
    for offset, each in enumerate(messages):
        each._offset = offset
    return messages


def projection(
    messages: list[Message], view: MemoryView | None = None
) -> tuple[Projection, FakeConsumer, MemoryView]:
    consumer = FakeConsumer(messages)
    view = MemoryView() if view is None else view
    return Projection("memory", view, consumer), consumer, view  # type: ignore[arg-type]


def altered(**fields: Any) -> Message:
    """A record that is right but for these fields."""
    return Message(encode(msgspec.structs.replace(RIGHT, **fields)))


RIGHT = profile("secret", [fact(1)])
BROKEN = {
    "no JSON": Message(b"{"),
    "another type": Message(b'{"user_id": 7}'),
    "another release": altered(schema_version=2),
    "no base64": Message(encode(RIGHT).replace(b'"snapshot":"', b'"snapshot":"?')),
    "no snapshot": altered(snapshot=b"ABC"),
    "a cut snapshot": altered(snapshot=RIGHT.snapshot[:-8]),
    "a nameless erasure": Message(None, b"\xff"),
    "no decision": Message(b"{}", topic=DECISIONS),
    "an empty decision": Message(None, topic=DECISIONS),
    "no posterior": Message(b"{", "posterior/c/sms", CONTROL),
    "a posterior under another's key": Message(
        encode(posterior("c", 1, 2)), "posterior/c/push", CONTROL
    ),
    "a nameless control record": Message(b"{}", b"\xff", CONTROL),
    "no shadow": Message(b"{", CHALLENGER, AUDIT),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_record_is_told_by_its_place_and_stops_nothing(broken: Message) -> None:
    projecting, consumer, view = projection(
        log(profile("ann", [fact(1)]), broken, *story("bob", 2))
    )
    with capture_logs() as logs:
        assert projecting.advance() == 0.0
    assert view.read("ann") is not None
    assert view.read("bob") is not None
    assert consumer.marked == 4
    assert projecting.counters["poison"] == 1
    [told] = [line for line in logs if line["event"] == "poison"]
    assert (told["topic"], told["partition"], told["offset"]) == (broken.topic(), 0, 1)
    assert "secret" not in str(told)


def test_a_batch_is_marked_only_once_it_is_written() -> None:
    projecting, consumer, view = projection(log(*story("ann", 5)), AwayView(failures=1))
    assert projecting.advance() > 0
    assert (consumer.marked, consumer.position) == (0, 0)
    assert projecting.advance() == 0.0
    assert consumer.marked == 5
    shown = view.read("ann")
    assert shown is not None
    assert shown.revision == 5


def test_a_store_that_stays_away_is_asked_ever_more_seldom_and_nothing_is_skipped() -> None:
    projecting, consumer, view = projection(log(*story("ann", 3)), AwayView(failures=40))
    with capture_logs() as logs:
        pauses = [projecting.advance() for _ in range(41)]
    assert pauses[0] < pauses[5] <= LONGEST_PAUSE_S
    assert max(pauses) <= LONGEST_PAUSE_S
    assert pauses[-1] == 0.0
    assert consumer.marked == 3
    assert len(view.history("ann", 10)) == 3
    assert [line["event"] for line in logs].count("store back") == 1


def test_partitions_that_went_to_another_process_are_left_to_it() -> None:
    projecting, consumer, _ = projection(log(*story("ann", 3)), AwayView(failures=1))
    consumer.ours = False
    projecting.advance()
    consumer.position = 0
    assert projecting.advance() == 0.0
    assert consumer.marked == 0


def test_a_passing_error_of_kafka_is_survived_and_a_fatal_one_is_not() -> None:
    projecting, consumer, view = projection(log(*story("ann", 1)))
    consumer.interruptions.append([Message(b"", error=KafkaError(KafkaError._ALL_BROKERS_DOWN))])
    projecting.advance()
    projecting.advance()
    assert view.read("ann") is not None
    fatal = KafkaError(KafkaError._FATAL, "gone", fatal=True)
    consumer.interruptions.append([Message(b"", error=fatal)])
    with pytest.raises(KafkaException):
        projecting.advance()


def test_a_stop_finishes_the_batch_and_closes_what_is_open() -> None:
    projecting, consumer, view = projection(log(*story("ann", 4)))
    stop = Event()

    class Stopping(MemoryView):
        def write(self, batch: Batch) -> None:
            stop.set()
            view.write(batch)

    projecting._view = Stopping()
    projecting.run(stop)
    assert consumer.topics == [PROFILES, DECISIONS, CONTROL, AUDIT]
    assert consumer.marked == 4
    assert consumer.closed
    assert view.read("ann") is not None


def test_of_several_records_of_a_customer_the_newest_is_unfolded_and_all_facts_are_kept() -> None:
    records = story("ann", 6)
    shuffled = [records[place] for place in (3, 0, 5, 1, 4, 2)]
    batch, _ = read_batch(log(*shuffled), MemoryView())  # type: ignore[arg-type]
    assert batch.updates["ann"].revision == 6
    assert sorted(each.seq for each in batch.facts["ann"]) == [1, 2, 3, 4, 5, 6]


def test_an_erasure_forgets_what_came_before_it_and_not_what_comes_after() -> None:
    records = log(
        *story("ann", 2),
        Message(None, "ann"),
        profile("ann", [fact(9)], since=0),
        Message(None, "bo"),
    )
    batch, poison = read_batch(records, MemoryView())  # type: ignore[arg-type]
    assert not poison
    assert batch.erased == {"ann", "bo"}
    assert batch.updates.keys() == {"ann"}
    assert [each.seq for each in batch.facts["ann"]] == [9]


def test_a_view_without_history_is_given_no_facts() -> None:
    class Hot(MemoryView):
        KEEPS_HISTORY = False
        SHOWS_LEARNED = False

    batch, _ = read_batch(log(*story("ann", 2)), Hot())  # type: ignore[arg-type]
    assert not batch.facts
    assert batch.updates["ann"].dimensions
    consumer = FakeConsumer([])
    stop = Event()
    stop.set()
    Projection("hot", Hot(), consumer).run(stop)  # type: ignore[arg-type]
    assert consumer.topics == [PROFILES]


def test_no_customer_is_named_in_a_log() -> None:
    projecting, _, _ = projection(
        log(*story("secret", 2), decision("secret"), Message(b'{"user_id": "secret"}', "secret")),
        AwayView(failures=1),
    )
    with capture_logs() as logs:
        projecting.advance()
        projecting.advance()
        projecting._tell_status()
    assert logs
    assert "secret" not in str(logs)


def test_of_what_was_learned_the_newest_is_kept_and_what_was_withdrawn_goes_first() -> None:
    records = log(
        posterior("c", 3, 30),
        posterior("c", 2, 20),
        Message(None, "posterior/old/sms", CONTROL),
        posterior("old", 0, 1),
        mix("c", 0.4, NOON_MS),
        mix("c", 0.6, NOON_MS - 1),
        shadow(20),
        shadow(10),
    )
    batch, poison = read_batch(records, MemoryView())  # type: ignore[arg-type]
    assert not poison
    assert batch.withdrawn == {"posterior/old/sms"}
    assert batch.lessons == {
        "posterior/c/sms": posterior("c", 3, 30),
        "posterior/old/sms": posterior("old", 0, 1),
        "mix/c": mix("c", 0.4, NOON_MS),
    }
    assert batch.shadow == shadow(20)


def test_what_else_steers_the_stream_or_is_audited_is_passed_over() -> None:
    others = [Message(b"{", "campaign/c", CONTROL), Message(b"{", "0", AUDIT)]
    batch, poison = read_batch(others, MemoryView())  # type: ignore[arg-type]
    assert (batch, poison) == (Batch(), [])


def test_the_audit_is_read_from_now_on_and_all_else_from_where_the_group_is() -> None:
    projecting, consumer, _ = projection([])
    stop = Event()
    stop.set()
    projecting.run(stop)
    places = [TopicPartition(PROFILES, 0, 7), TopicPartition(AUDIT, 0, 7)]
    consumer.on_assign(consumer, places)
    assert [place.offset for place in consumer.places] == [7, OFFSET_END]
