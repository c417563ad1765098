"""The stream: what flows where, as one graph.

    events ──┐ customer, shard, micro-batch (JVM)
    outcomes ┴─────────── keyed by shard ──┐
    control ─────────────── broadcast ─────┤
                                           ▼
                                        decide ─┬ exposures, rewards ─ by campaign ▶ learn
                                           │    └ asks ─────────────── by campaign ▶ grant
                                           ▼                                        ▼
         audit, decisions │ profiles, dead-letters, examples, rewards    posteriors, mixes, leases
         └───────────────────────── sinks, routed by topic (JVM) ──────────────────────┘

`operators.layout` has how batches cross into Python, `operators.shard` what happens to them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from jobs.settings import Settings
from operators import layout, names
from operators.control_log import Snapshot
from operators.decide import CONTROL_LOG, Decide, DecideConfig
from operators.grant import Grant, GrantConfig
from operators.learn import Learn, LearnConfig
from operators.learning import published_in
from operators.sealing import Sealing, leases_in
from operators.shard import stream_config
from schemas import topics
from schemas.control import Policy, control_key
from schemas.errors import InvalidRecord
from schemas.wire import decode_control

MAX_PARALLELISM: Final = 128
"""Fixed for ever: Flink cannot change it for a job that has state."""

SAVING_MS: Final = 600_000
"""A state is complete so much later, at most, than it was begun."""
LEARN_WINDOW_MS: Final = 250
"""A batch costs `learn` as much whatever it carries, for the integrals that give the shares of the
channels, and holds up `decide` meanwhile, which has the same interpreter. At 3,000 events/s and ten
campaigns windows of 100 ms cost 7.3 µs an event, of 250 ms 4.1."""
GRANT_WINDOW_MS: Final = 50
_FETCH_BYTES: Final = 32_768
"""The broker gathers so much for a fetch, or what comes within a batch's window: at a low rate it
would otherwise answer for each event."""
_TRANSACTION_TIMEOUT_MS: Final = 600_000
"""Below the broker's maximum of 15 minutes, above any checkpoint interval one would set."""


class Endpoints(NamedTuple):
    """Topics and client options of the stream's ends."""

    inputs: tuple[str, ...]
    control: str
    outputs: tuple[str, ...]
    source: Mapping[str, str]
    fetch: Mapping[str, str]
    """How the inputs are fetched, besides ``source``."""
    sink: Mapping[str, str]


class PipelineConfig(NamedTuple):
    """What the graph is built of besides its ends."""

    decide: DecideConfig
    learn: LearnConfig
    grant: GrantConfig
    shards: int = 4
    window_ms: int = 5
    bundle: str = ""


def define_pipeline(
    environment: StreamExecutionEnvironment, ends: Endpoints, config: PipelineConfig
) -> None:
    """Add the stream to an environment."""
    tables = StreamTableEnvironment.create(environment)
    records = layout.read_records(tables, ends.inputs, {**ends.source, **ends.fetch}, config.shards)
    batches = layout.micro_batches(
        tables, records, "shard record arrival", config.window_ms, names.INPUTS
    )
    control = layout.read_control(tables, ends.control, ends.source)
    decided = (
        batches.connect(control.broadcast(CONTROL_LOG))
        .process(Decide(config.decide, config.bundle), layout.OUTPUTS)
        .uid(names.DECIDE)
        .name(names.DECIDE)
    )
    layout.read_inward(tables, decided, names.ASKS, (topics.REWARDS, names.EXPOSED, names.RULES))
    inward = "receiver message arrival"
    learned = (
        layout.micro_batches(tables, names.REWARDS, inward, LEARN_WINDOW_MS, names.REWARDS)
        .process(Learn(config.learn, config.bundle), layout.OUTPUTS)
        .uid(names.LEARN)
        .name(names.LEARN)
    )
    granted = (
        layout.micro_batches(tables, names.ASKS, inward, GRANT_WINDOW_MS, names.ASKS)
        .process(Grant(config.grant, config.bundle), layout.OUTPUTS)
        .uid(names.GRANT)
        .name(names.GRANT)
    )
    layout.write_outputs(
        tables,
        {names.DECIDE: decided, names.LEARN: learned, names.GRANT: granted},
        ends.outputs,
        ends.sink,
        with_bulk=(names.DECIDE,),
    )
    layout.name_sinks(environment)


def kafka_ends(settings: Settings) -> Endpoints:
    """The stream's ends on the Kafka of the settings."""
    client = {"properties.bootstrap.servers": settings.bootstrap}
    source = {
        **client,
        "properties.group.id": names.JOB,
        "scan.topic-partition-discovery.interval": "0",
    }
    fetch = {
        "properties.fetch.min.bytes": str(_FETCH_BYTES),
        "properties.fetch.max.wait.ms": str(settings.batch_window_ms),
    }
    sink = {**client, "sink.delivery-guarantee": settings.delivery}
    if settings.delivery == "exactly-once":
        sink["sink.transactional-id-prefix"] = names.JOB
        sink["properties.transaction.timeout.ms"] = str(_TRANSACTION_TIMEOUT_MS)
    return Endpoints(topics.INPUTS, topics.CONTROL, topics.OUTPUTS, source, fetch, sink)


def pipeline_config(
    settings: Settings,
    run: str,
    control: Snapshot,
    *,
    partitions: int = 0,
    bundle: str = "",
    saved_ms: int | None = None,
) -> PipelineConfig:
    """Operators' configuration for one submission.

    Args:
        settings: where Kafka is, how wide shards and batches are.
        run: a name that no other submission has.
        control: the control topic as it is now.
        partitions: how many the topic of events has.
        bundle: marker of the bundle whose code the workers must run.
        saved_ms: when the state to resume from was complete, 0 if that is unknown, None without.
    """
    since_ms = time.time_ns() // 1_000_000 if saved_ms is None else max(0, saved_ms - SAVING_MS)
    sealing = Sealing(settings.bootstrap, since_ms, resumed=saved_ms is not None)
    return PipelineConfig(
        DecideConfig(run, control, sealing, stream_config(settings.shards, partitions)),
        _arms(control.records),
        GrantConfig(leases_in(control.records), sealing),
        settings.shards,
        settings.batch_window_ms,
        bundle,
    )


def _arms(snapshot: Sequence[tuple[str, bytes]]) -> LearnConfig:
    policy = Policy()
    for key, value in snapshot:
        if key == control_key(policy):
            try:
                record = decode_control(value)
            except InvalidRecord:
                continue  # `decide` refuses it too, and says so
            if isinstance(record, Policy):
                policy = record
    return LearnConfig((policy.prior_alpha, policy.prior_beta), published_in(snapshot))
