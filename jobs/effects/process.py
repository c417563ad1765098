"""``beckon effects``: adds up what campaigns bring, and pauses one that breaks its guardrails.

One process of its own beside the stream. It keeps what it remembers, with the offsets up to which
that goes, in one file that is replaced in one step; so a kill loses and repeats nothing. Without
the file it is made anew from what Kafka keeps of the topics. What it publishes is absolute.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from threading import Event
from typing import Annotated, Any, Final, cast

import msgspec
import structlog
import typer
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from msgspec.structs import replace
from redis import Redis
from redis.exceptions import RedisError

from jobs import kafka
from jobs.campaigns.changes import publish, switch
from jobs.service import begin_service
from jobs.settings import Settings
from schemas import topics
from schemas.decision import Decision
from schemas.effect import Effect
from schemas.errors import InvalidRecord, UserMistake
from schemas.learning import Example, Reward
from schemas.wire import decode_control, decode_event, decode_outcome, encode, instant_ms
from scoring.effect.tally import State, Tally

GROUP: Final = "beckon-effects"
AUTHOR: Final = "beckon effects"
READ: Final = (
    topics.DECISIONS,
    topics.EXAMPLES,
    topics.REWARDS,
    topics.OUTCOMES,
    topics.EVENTS,
    topics.CONTROL,
)
BATCH: Final = 2_000
BATCH_S: Final = 0.2
STATUS_EVERY_S: Final = 30.0
_NAMES_A_SEGMENT: Final = b'"segment"'
_decision: Final = msgspec.json.Decoder(Decision).decode
_example: Final = msgspec.json.Decoder(Example).decode
_reward: Final = msgspec.json.Decoder(Reward).decode
_state: Final = msgspec.msgpack.Decoder(State).decode


def state_file(settings: Settings) -> Path:
    """Where the process keeps what it remembers."""
    return settings.data_dir / "effects.state"


def read_state(path: Path) -> State | None:
    """What was remembered; None where nothing was.

    Raises:
        UserMistake: the file is of another release, or broken.
    """
    try:
        return _state(path.read_bytes())
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise UserMistake(
            f"{path} cannot be read ({error}); remove it, and it is made anew from the topics"
        ) from error


def redis_key(campaign: str) -> str:
    """The hash of a campaign's figures: a field ``channel/segment/hour`` for each cell, as JSON."""
    return f"effect:{campaign}"


class Effects:
    """Folds records into the tally, and tells what changed."""

    def __init__(self, settings: Settings, *, every_s: float = 1.0, save_s: float = 10.0) -> None:
        self._settings = settings
        self._every_s = every_s
        self._save_s = save_s
        self._file = state_file(settings)
        self.tally = Tally(read_state(self._file))
        self._redis: Any = Redis.from_url(
            settings.redis, socket_timeout=2.0, socket_connect_timeout=2.0
        )
        self._unshown: dict[str, Effect] = {}
        self._log: Any = structlog.get_logger()
        self._refused = 0

    def run(self, stop: Event) -> None:
        """Add up until told to stop; what was read is told and kept."""
        kafka.ensure_topics(self._settings)
        for _, value in kafka.control_snapshot(self._settings):
            self._on_control(value)
        marks = kafka.watermarks(self._settings, READ)
        offsets = self.tally.state.offsets
        consumer = kafka.consumer(self._settings, GROUP)
        producer = kafka.producer(self._settings)
        try:
            consumer.assign(
                [
                    TopicPartition(*place, max(low, offsets.get(f"{place[0]}/{place[1]}", low)))
                    for place, (low, _) in marks.items()
                ]
            )
            self._log.info("counting", resumed=bool(offsets))
            told_s = saved_s = said_s = time.monotonic()
            while not stop.is_set():
                self._take(consumer)
                now_s = time.monotonic()
                if now_s - told_s >= self._every_s:
                    self._tell(producer)
                    told_s = now_s
                if now_s - saved_s >= self._save_s:
                    self._save()
                    saved_s = now_s
                if now_s - said_s >= STATUS_EVERY_S:
                    self._say()
                    said_s = now_s
            self._tell(producer)
            self._save()
        finally:
            consumer.close()
            producer.flush(10)
            self._say()

    def _take(self, consumer: Consumer) -> None:
        for message in consumer.consume(BATCH, timeout=BATCH_S):
            error = message.error()
            if error is not None:
                if error.fatal():
                    raise KafkaException(error)
                self._log.warning("kafka", error=error.name())
                continue
            try:
                self.add(message)
            except (InvalidRecord, msgspec.DecodeError, UnicodeDecodeError):
                self._refused += 1  # an input that the stream made a dead letter of
            topic, partition = kafka.place_of(message)
            place, offset = f"{topic}/{partition}", cast(int, message.offset())
            self.tally.state.offsets[place] = offset + 1

    def add(self, message: Message) -> None:
        """Fold one record in."""
        topic, value, came_ms = message.topic(), message.value() or b"", message.timestamp()[1]
        match topic:
            case topics.DECISIONS:
                self.tally.on_decision(_decision(value), came_ms)
            case topics.EXAMPLES:
                self.tally.on_example(_example(value))
            case topics.REWARDS:
                self.tally.on_reward(_reward(value), came_ms)
            case topics.OUTCOMES:
                outcome = decode_outcome(value)
                self.tally.on_outcome(outcome, instant_ms(outcome.ts), came_ms)
            case topics.EVENTS:
                if _NAMES_A_SEGMENT in value:
                    self._on_event(value)
            case topics.CONTROL:
                self._on_control(value)

    def _on_event(self, value: bytes) -> None:
        event = decode_event(value)
        segment = getattr(event.traits, "segment", None)
        if segment:
            self.tally.on_segment(event.user_id, segment)

    def _on_control(self, value: bytes) -> None:
        try:
            self.tally.on_control(decode_control(value))
        except InvalidRecord:
            return

    def _tell(self, producer: Producer) -> None:
        for campaign, why in self.tally.over_limit().items():
            self._pause(campaign, why)
        found = self.tally.take_effects()
        for effect in found:
            producer.produce(topics.EFFECTS, encode(effect), effect.key)
            self._unshown[effect.key] = effect
        producer.flush(10)
        self._show()

    def _show(self) -> None:
        """Bring the view in Redis up to date; while it is away, what changed waits."""
        if not self._unshown:
            return
        pipeline = self._redis.pipeline(transaction=False)
        for key, effect in self._unshown.items():
            field = key.partition("/")[2]
            pipeline.hset(redis_key(effect.campaign_id), field, encode(effect))
        try:
            pipeline.execute()
        except RedisError as error:
            self._log.warning("redis away", error=type(error).__name__, waiting=len(self._unshown))
        else:
            self._unshown.clear()

    def _pause(self, campaign: str, why: str) -> None:
        """Pause a campaign as `beckon campaigns pause` does, with its author and reason."""
        try:
            changes = publish(
                self._settings,
                lambda in_force, _: [
                    replace(change, reason=why)
                    for change in switch(
                        [campaign], "paused", in_force, time.time_ns() // 1_000_000
                    )
                ],
                AUTHOR,
            )
        except UserMistake as error:  # somebody else publishes: it is tried again
            self._log.warning("not paused", campaign=campaign, error=str(error))
            return
        for change in changes:
            self._log.error("paused", campaign=campaign, reason=why, version=change.version)
            if change.after is not None:
                self.tally.on_control(change.after)

    def _save(self) -> None:
        self.tally.forget()
        save_state(self._file, self.tally.state)

    def _say(self) -> None:
        state = self.tally.state
        self._log.info(
            "status", cells=len(state.cells), messages=len(state.shown),
            customers=sum(map(len, state.units.values())), waiting=len(state.waiting),
            unattributed=state.unattributed, refused=self._refused,
        )  # fmt: skip


def save_state(path: Path, state: State) -> None:
    """Replace the file in one step."""
    import os

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as out:
        out.write(msgspec.msgpack.encode(state))
        out.flush()
        os.fsync(out.fileno())
    partial.replace(path)


def read_effects(settings: Settings) -> Iterable[Effect]:
    """The newest figures of every cell, from the topic."""
    decode = msgspec.json.Decoder(Effect).decode
    newest: dict[bytes, bytes] = {}
    for message in kafka.read_to_end(settings, [topics.EFFECTS]):
        key, value = message.key() or b"", message.value()
        if value is None:
            newest.pop(key, None)
        else:
            newest[key] = value
    return [decode(value) for value in newest.values()]


def effects(
    every_s: Annotated[float, typer.Option(min=0.1, help="Seconds between two tellings.")] = 1.0,
    save_s: Annotated[
        float, typer.Option(min=0.1, help="Seconds between two savings of what is remembered.")
    ] = 10.0,
) -> None:
    """Add up what campaigns bring, until SIGTERM; pause one that breaks its guardrails.

    Cost, revenue, margin, ROI, click-through, conversion and lift against the held-out customers
    go to the topic beckon.effects.v1 and to Redis (effect:CAMPAIGN), by campaign, channel, segment
    and hour. `beckon report` shows them.
    """
    stop = begin_service()
    Effects(Settings(), every_s=every_s, save_s=save_s).run(stop)
