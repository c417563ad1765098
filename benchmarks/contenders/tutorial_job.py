"""The job of `tutorial`: what PyFlink's documentation leads to, with the engine's own core inside.

DataStream API, payloads as strings (through a table, because the stream's own Kafka source hides
partitions and offsets), the key computed by a Python lambda that parses the JSON, a
`KeyedProcessFunction` in process mode (the default) that reads and writes its state for each event
through pickling type information. What would make decisions differ is the engine's: the core, the
shard as key, the campaigns; and so is the sink, which is generous to the tutorial.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import Any, Final
from urllib.parse import urlsplit

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor
from pyflink.table import StreamTableEnvironment

from benchmarks.contenders.tutorial import ANSWER
from jobs.pipeline import kafka_ends
from jobs.settings import Settings
from operators import layout
from operators.routes import bulk, prompt
from operators.shard import SEPARATOR, Decider, DeciderConfig, shard_of
from schemas.topics import EVENTS

NAME: Final = "tutorial"
EVENT: Final = Types.ROW([Types.STRING(), Types.INT(), Types.LONG(), Types.SQL_TIMESTAMP()])


class MapStore:
    """A `ShardStore` over Flink's map state."""

    def __init__(self, state: Any) -> None:
        self.get = state.get
        self._state = state

    def put_all(self, dirty: Mapping[str, bytes | None]) -> None:
        """Write key by key."""
        for key, value in dirty.items():
            if value is None:
                self._state.remove(key)
            else:
                self._state.put(key, value)


class DecideOne(KeyedProcessFunction):  # type: ignore[misc]
    """One event in, its outputs out."""

    def __init__(self, control: tuple[tuple[str, bytes], ...], partitions: int) -> None:
        self._control = control
        self._partitions = partitions

    def open(self, runtime_context: RuntimeContext) -> None:
        """Take up state; the decider keeps no customers at hand, as a tutorial would not."""
        self._store = MapStore(
            runtime_context.get_map_state(
                MapStateDescriptor("customers", Types.STRING(), Types.PICKLED_BYTE_ARRAY())
            )
        )
        self._decider = Decider(
            DeciderConfig(cached_customers=1, unpublished_customers=0, partitions=self._partitions),
            self._control,
        )

    def process_element(self, value: Row, ctx: Any) -> Iterable[Row]:
        """Decide one event."""
        text, partition, offset, ts = value
        ingested_ms = round(ts.replace(tzinfo=UTC).timestamp() * 1_000)
        payload = text.encode().decode("latin-1")
        fields = (EVENTS, str(partition), str(offset), str(ingested_ms), payload)
        shard = ctx.get_current_key()
        outputs = self._decider.on_batch(shard, self._store, [SEPARATOR.join(fields)])
        yield from layout.emitted(prompt(outputs), bulk(outputs))


def main() -> None:
    """Plan and submit what standard input describes."""
    settings: Settings
    settings, control, bundle_ms = pickle.load(sys.stdin.buffer)
    at = urlsplit(settings.flink)
    options = {
        "pipeline.name": NAME,
        "parallelism.default": "1",
        "python.execution-mode": "process",
        "python.executable": sys.executable,
        "execution.checkpointing.interval": f"{settings.checkpoint_interval_ms} ms",
        "execution.checkpointing.mode": settings.delivery.replace("-", "_").upper(),
        "state.backend.type": settings.state_backend,
    }
    if bundle_ms is not None:
        options["python.fn-execution.bundle.time"] = str(bundle_ms)
    environment = layout.remote_environment(at.hostname or "", at.port or 80, options)
    tables = StreamTableEnvironment.create(environment)
    tables.execute_sql(f"""
        CREATE TEMPORARY TABLE events (
            v STRING,
            partition_id INT NOT NULL METADATA FROM 'partition' VIRTUAL,
            offset_id BIGINT NOT NULL METADATA FROM 'offset' VIRTUAL,
            ts TIMESTAMP(3) NOT NULL METADATA FROM 'timestamp' VIRTUAL
        ) WITH (
            'connector' = 'kafka', 'topic' = '{EVENTS}', 'format' = 'raw',
            'properties.bootstrap.servers' = '{settings.bootstrap}',
            'properties.group.id' = 'beckon-benchmark-{NAME}',
            'scan.startup.mode' = 'earliest-offset'
        )""")
    shards = settings.shards
    events = tables.to_append_stream(tables.from_path("events"), EVENT)
    decided = events.key_by(
        lambda event: shard_of(json.loads(event[0])["user_id"], shards), Types.STRING()
    ).process(DecideOne(control, settings.partitions), layout.OUTPUTS)
    ends = kafka_ends(settings)
    layout.write_outputs(tables, {NAME: decided}, ends.outputs, ends.sink, with_bulk=(NAME,))
    graph = environment._generate_stream_graph(clear_transformations=True, job_name=NAME)
    client = environment._j_stream_execution_environment.executeAsync(graph)
    print(ANSWER + client.getJobID().toString(), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
