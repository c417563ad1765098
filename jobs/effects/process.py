"""``beckon effects``: adds up what campaigns bring, and pauses one that breaks its guardrails.

One process of its own beside the stream. What it remembers is in one file with the offsets up to
which that goes (`jobs.effects.memory`); so a kill loses and repeats nothing. Without the file it is
made anew from what Kafka keeps of the topics. What it publishes is absolute.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
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
from jobs.archive.gone import Gone
from jobs.campaigns.changes import publish, switch
from jobs.effects.memory import alone, read_state, save_state, state_file
from jobs.metrics import Sample, exposed
from jobs.service import begin_service
from jobs.settings import Settings
from schemas import topics
from schemas.audit import Candidate
from schemas.decision import Decision
from schemas.effect import MISMATCH_P, EffectRecord
from schemas.errors import InvalidRecord, UserMistake
from schemas.learning import Example, Reward
from schemas.wire import decode_control, decode_event, decode_outcome, encode, instant_ms
from scoring.effect.tally import Tally

GROUP: Final = "beckon-effects"
AUTHOR: Final = "beckon effects"
EXPERIMENTS: Final = "effect-experiments"
READ: Final = (
    topics.DECISIONS,
    topics.EXAMPLES,
    topics.REWARDS,
    topics.OUTCOMES,
    topics.EVENTS,
    topics.CONTROL,
    topics.AUDIT,
)
BATCH: Final = 2_000
BATCH_S: Final = 0.2
STATUS_EVERY_S: Final = 30.0
_NAMES_A_SEGMENT: Final = b'"segment"'
_CONSIDERED, _NO_VARIANT = b'"considered":true', b'"variant":""'
_decision: Final = msgspec.json.Decoder(Decision).decode
_example: Final = msgspec.json.Decoder(Example).decode
_reward: Final = msgspec.json.Decoder(Reward).decode
_candidate: Final = msgspec.json.Decoder(Candidate).decode


def redis_key(campaign: str) -> str:
    """The hash of a campaign's figures: a field ``channel/segment/hour`` for each cell, as JSON.

    Those of an experiment are in the one field ``<id>`` of `EXPERIMENTS`.
    """
    return f"effect:{campaign}"


def redis_place(key: str) -> tuple[str, str]:
    """Hash and field of a record, by its key on the topic."""
    head, _, field = key.partition("/")
    return (redis_key(head) if field.count("/") else EXPERIMENTS), field


class Effects:
    """Folds records into the tally, and tells what changed."""

    def __init__(self, settings: Settings, *, every_s: float = 1.0, save_s: float = 10.0) -> None:
        self._settings = settings
        self._every_s = every_s
        self._save_s = save_s
        self._file = state_file(settings)
        self.tally = Tally()
        self._gone = Gone(settings.archive)
        self._redis: Any = Redis.from_url(
            settings.redis, socket_timeout=2.0, socket_connect_timeout=2.0
        )
        self._unshown: dict[str, EffectRecord | None] = {}
        self._log: Any = structlog.get_logger()
        self._refused = 0
        self._behind = 0
        self._mismatched: set[str] = set()

    def run(self, stop: Event) -> None:
        """Add up until told to stop; what was read is told and kept.

        Raises:
            UserMistake: another process adds up in the same folder.
        """
        with alone(self._file), exposed(self._settings, "effects", self.samples):
            self._run(stop)

    def samples(self) -> Iterator[Sample]:
        """What there is to show of it (`jobs.metrics`)."""
        tally, state = self.tally, self.tally.state
        followed = [*state.groups.values(), *(trial.groups for trial in [*state.trials.values()])]
        paused = [each for each in [*tally.campaigns.values()] if each.status == "paused"]
        for name, value in (
            ("cells", len(state.cells)),
            ("messages", len(state.shown)),
            ("customers", sum(len(groups.units) for groups in followed)),
            ("waiting", len(state.waiting)),
            ("unattributed_total", state.unattributed),
            ("refused_total", self._refused),
            ("paused_campaigns", len(paused)),
            ("mismatched_comparisons", len(self._mismatched)),
            ("behind_records", self._behind),
        ):
            yield Sample(f"beckon_effects_{name}", value)

    def _run(self, stop: Event) -> None:
        self.tally = Tally(read_state(self._file))
        self._forget_erased()
        kafka.ensure_topics(self._settings)
        for key, value in kafka.control_snapshot(self._settings):
            self._on_control(key, value)
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
                    self._behind = kafka.behind(consumer)
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
                self.tally.on_example(_example(value), came_ms)
            case topics.REWARDS:
                self.tally.on_reward(_reward(value), came_ms)
            case topics.OUTCOMES:
                outcome = decode_outcome(value)
                self.tally.on_outcome(outcome, instant_ms(outcome.ts), came_ms)
            case topics.EVENTS:
                if _NAMES_A_SEGMENT in value:
                    self._on_event(value)
            case topics.CONTROL:
                self._on_control((message.key() or b"").decode(), value)
            case topics.AUDIT:
                if _CONSIDERED in value and _NO_VARIANT not in value:
                    self.tally.on_candidate(_candidate(value), came_ms)

    def _on_event(self, value: bytes) -> None:
        event = decode_event(value)
        segment = getattr(event.traits, "segment", None)
        if segment:
            self.tally.on_segment(event.user_id, segment)

    def _on_control(self, key: str, value: bytes) -> None:
        if not value:
            self.tally.on_withdrawal(key)
            return
        try:
            self.tally.on_control(decode_control(value))
        except InvalidRecord:
            return

    def _tell(self, producer: Producer) -> None:
        for campaign, why in self.tally.over_limit().items():
            self._pause(campaign, why)
        told: dict[str, EffectRecord | None] = dict.fromkeys(self.tally.take_folded())
        told |= {each.key: each for each in self.tally.take_effects()}
        told |= {each.key: each for each in self.tally.take_trials()}
        for key, record in told.items():
            self._watch_sizes(key, record)
            producer.produce(topics.EFFECTS, None if record is None else encode(record), key)
        self._unshown |= told
        producer.flush(10)
        self._show()

    def _watch_sizes(self, key: str, record: EffectRecord | None) -> None:
        """Warn once of a comparison whose groups are not of the sizes they should be."""
        p = None if record is None else record.sample_ratio_p
        if p is None:
            return
        if p >= MISMATCH_P:
            self._mismatched.discard(key)
        elif key not in self._mismatched:
            self._mismatched.add(key)
            self._log.error("sample ratio mismatch", of=key, p=p)

    def _show(self) -> None:
        """Bring the view in Redis up to date; while it is away, what changed waits."""
        if not self._unshown:
            return
        pipeline = self._redis.pipeline(transaction=False)
        for key, record in self._unshown.items():
            if record is None:
                pipeline.hdel(*redis_place(key))
            else:
                pipeline.hset(*redis_place(key), encode(record))
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
        if not self._forget_erased():
            save_state(self._file, self.tally.state)

    def _forget_erased(self) -> bool:
        """Forget whoever was erased since this was last asked, and keep that; says if any were."""
        if not self._gone.refresh():
            return False
        places = self.tally.erase(self._gone)
        save_state(self._file, self.tally.state)
        self._log.info("forgotten", places=places)
        return True

    def _say(self) -> None:
        state = self.tally.state
        self._log.info(
            "status", cells=len(state.cells), messages=len(state.shown),
            customers=sum(len(groups.units) for groups in state.groups.values()),
            waiting=len(state.waiting),
            unattributed=state.unattributed, refused=self._refused,
        )  # fmt: skip


def read_effects(settings: Settings) -> list[EffectRecord]:
    """The newest figures of every cell and experiment, from the topic."""
    decode = msgspec.json.Decoder[EffectRecord](EffectRecord).decode
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
    and hour, and so does where each experiment stands. `beckon report` shows them. Who is erased
    from the archive (`beckon archive erase`) is forgotten here as well.
    """
    stop = begin_service()
    Effects(Settings(), every_s=every_s, save_s=save_s).run(stop)
