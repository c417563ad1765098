"""How events cross between Flink's JVM and Python: many at a time.

A crossing costs as much as several decisions whatever it carries, so the JVM gathers what arrived
for a shard within a few milliseconds and hands it over as one array of strings; Python answers with
one array of outputs, which the JVM takes apart and routes::

    Kafka ─ bytes ─▶ customer ─▶ shard ─▶ micro-batch by shard ─▶ keyed by shard ─▶ Python
    Kafka ◀─ bytes ◀─ routed by topic ◀─ un-nested ◀─ arrays of outputs ◀─────────────┘

An input record is ``topic␟partition␟offset␟timestamp_ms␟payload`` (␟ is U+001F). Payloads are
ISO-8859-1 text, a character for each byte of the wire, so that any payload, broken or not, arrives
as it was sent. Outputs go out as bytes, which are copied and never read on their way into Kafka's
buffer, where strings would be recoded three times and split once a column.

All that leans on PyFlink's internals is in this file and, for state, in `operators.store`;
`tests/operators` fails when what is used here moves, any test on a cluster when the state does.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, Final

from pyflink.common import Row, Types
from pyflink.common.typeinfo import TypeInformation
from pyflink.datastream import (
    DataStream,
    KeyedStream,
    RuntimeContext,
    StreamExecutionEnvironment,
)
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment, Table
from pyflink.util.java_utils import get_field_value

from operators import names
from operators.records import Output
from operators.shard import FOUR_SHARDS

SEPARATOR: Final = "\x1f"

STRINGS: Final[TypeInformation] = Types.OBJECT_ARRAY(Types.STRING())
BATCH: Final[TypeInformation] = Types.ROW([Types.STRING(), STRINGS])
"""(key, strings): what a Python operator receives."""
_PARTS: Final[TypeInformation] = Types.OBJECT_ARRAY(
    Types.OBJECT_ARRAY(Types.PRIMITIVE_ARRAY(Types.BYTE()))
)
OUTPUTS: Final[TypeInformation] = Types.ROW([_PARTS, _PARTS, STRINGS])
"""(prompt, bulk, inward): what an operator emits for a batch. Outputs, each an array of topic, key
and value, leave for the topics, without a value as tombstones: what somebody waits for at once, the
rest a little later. Asks, and rewards once more, go ``inward``, to `grant` and `learn`, as messages
``kind␟name␟value``."""
CONTROL: Final[TypeInformation] = Types.ROW([Types.STRING(), Types.STRING(), Types.LONG()])
"""(key, value or None for a tombstone, offset)."""

_SINKS: Final = (("", "1"), ("_bulk", "10"))
"""For each column of outputs the suffix of its sink and for how many ms the producer gathers."""
_GATHERED_BYTES: Final = 262_144
"""So much of a partition goes in one request. What is sent first must not be overtaken: of what is
more than one batch the rest waits for the next request."""
_TRANSACTIONS: Final = "sink.transactional-id-prefix"
_RAW: Final = "'value.format' = 'raw', 'value.raw.charset' = 'ISO-8859-1'"

_CONTROL_WAITS_MS: Final = 20
"""A control record may lie so long between two tasks."""

_CUSTOMER: Final = "COALESCE(JSON_VALUE(v, '$.user_id'), '-')"
"""Records without a customer (not JSON, no ``user_id``) share the shard of ``-``.

A regular expression over the head of the payload was measured to cost twice as much.
"""


def emitted(
    prompt: Sequence[Output], bulk: Sequence[Output] = (), inward: Sequence[str] = ()
) -> tuple[Row, ...]:
    """A row of `OUTPUTS`, or none when there is nothing to say."""
    if not prompt and not bulk and not inward:
        return ()
    return (Row(_parts(prompt), _parts(bulk), list(inward)),)


def _parts(outputs: Sequence[Output]) -> list[list[bytes | None]]:
    """As lists, because process mode refuses tuples."""
    return [[topic.encode(), key.encode(), value or None] for topic, key, value in outputs]


def read_records(
    tables: StreamTableEnvironment, topics: Sequence[str], kafka: Mapping[str, str], shards: int
) -> str:
    """Declare the input topics; returns a view of (shard, record, arrival)."""
    shard = f"SUBSTR(MD5({_CUSTOMER}), 1, {2 if shards == 256 else 1})"
    if shards == 4:
        shard = f"SUBSTR('{FOUR_SHARDS}', INSTR('0123456789abcdef', {shard}), 1)"
    tables.execute_sql(f"""
        CREATE TEMPORARY TABLE inputs (
            v STRING,
            topic_name STRING NOT NULL METADATA FROM 'topic' VIRTUAL,
            partition_id INT NOT NULL METADATA FROM 'partition' VIRTUAL,
            offset_id BIGINT NOT NULL METADATA FROM 'offset' VIRTUAL,
            ts TIMESTAMP_LTZ(3) NOT NULL METADATA FROM 'timestamp' VIRTUAL,
            arrival AS PROCTIME()
        ) WITH ({_options(topics, kafka)}, {_RAW}, 'scan.startup.mode' = 'earliest-offset')""")
    us = SEPARATOR
    tables.execute_sql(f"""
        CREATE TEMPORARY VIEW records AS
        SELECT
            {shard} AS shard,
            CONCAT(
                topic_name, '{us}', CAST(partition_id AS STRING), '{us}',
                CAST(offset_id AS STRING), '{us}',
                CAST(1000 * EXTRACT(EPOCH FROM ts) + EXTRACT(MILLISECOND FROM ts) AS STRING),
                '{us}', COALESCE(v, '')
            ) AS record,
            arrival
        FROM inputs""")
    return "records"


def read_control(
    tables: StreamTableEnvironment, topic: str, kafka: Mapping[str, str]
) -> DataStream:
    """The control topic from its beginning, as a stream of `CONTROL` rows."""
    tables.execute_sql(f"""
        CREATE TEMPORARY TABLE control (
            k STRING, v STRING, offset_id BIGINT METADATA FROM 'offset' VIRTUAL
        ) WITH (
            {_options([topic], kafka)}, {_RAW}, 'scan.startup.mode' = 'earliest-offset',
            'key.format' = 'raw', 'key.fields' = 'k', 'value.fields-include' = 'EXCEPT_KEY'
        )""")
    query = tables.sql_query("SELECT COALESCE(k, ''), v, offset_id FROM control")
    stream = tables.to_append_stream(query, CONTROL)
    _name_planned(stream, names.CONTROL)
    stream._j_data_stream.getTransformation().setBufferTimeout(_CONTROL_WAITS_MS)
    return stream


def micro_batches(
    tables: StreamTableEnvironment, view: str, columns: str, window_ms: int, uid: str
) -> KeyedStream:
    """Gather what arrives for a key within a window into one `BATCH`.

    ``columns`` names key, text and processing time of the view.
    """
    key, text, time = columns.split()
    query = tables.sql_query(f"""
        SELECT {key}, ROW({key}, texts) FROM (
            SELECT {key}, ARRAY_AGG({text}) AS texts
            FROM TABLE(TUMBLE(
                TABLE {view}, DESCRIPTOR({time}), INTERVAL '{window_ms / 1000:.3f}' SECOND))
            GROUP BY {key}, window_start, window_end
        )""")
    stream = tables.to_append_stream(query, Types.ROW([Types.STRING(), BATCH]))
    _name_planned(stream, uid)
    _pace(stream, window_ms)
    # What `DataStream.key_by` does, less the Python step that would compute the key.
    keyed = stream._j_data_stream.keyBy(
        get_gateway().jvm.KeyByKeySelector(), Types.ROW([Types.STRING()]).get_java_type_info()
    )
    return KeyedStream(keyed, BATCH, stream)


def read_inward(
    tables: StreamTableEnvironment, decided: DataStream, asks: str, learning: Sequence[str]
) -> None:
    """Un-nest what `decide` sends inward: views of (receiver, message, arrival).

    Of ``asks``, what stands where outputs name their topic, the receiver is the campaign and the
    message the value alone. Of ``learning``, the kinds that `learn` hears, the message is the whole
    output; the receiver is the campaign, and for what is no rule `names.CHALLENGER` once more.
    """
    tables.create_temporary_view("decided", tables.from_data_stream(decided))
    us = SEPARATOR
    unnested = f"""
            (SELECT o, SPLIT_INDEX(o, '{us}', 0) AS kind, SPLIT_INDEX(o, '{us}', 1) AS name
             FROM decided CROSS JOIN UNNEST(f2) AS u(o))"""
    tables.execute_sql(f"""
        CREATE TEMPORARY VIEW {names.ASKS} AS
        SELECT name AS receiver, SPLIT_INDEX(o, '{us}', 2) AS message, PROCTIME() AS arrival
        FROM {unnested} WHERE kind = '{asks}'""")
    kinds = ", ".join(f"'{kind}'" for kind in learning)
    tables.execute_sql(f"""
        CREATE TEMPORARY VIEW {names.REWARDS} AS
        SELECT receiver, o AS message, PROCTIME() AS arrival FROM (
            SELECT SPLIT_INDEX(name, '/', 0) AS receiver, o FROM {unnested}
            WHERE kind IN ({kinds})
            UNION ALL
            SELECT '{names.CHALLENGER}' AS receiver, o FROM {unnested}
            WHERE kind IN ({kinds}) AND kind <> '{names.RULES}'
        )""")


def write_outputs(
    tables: StreamTableEnvironment,
    streams: Mapping[str, DataStream],
    topics: Sequence[str],
    kafka: Mapping[str, str],
    with_bulk: Container[str] = (),
) -> None:
    """Send every output of each stream of `OUTPUTS` to the topic it names.

    Each stream, named by its key, has sinks of its own: chained to it, values stay where they are,
    where one sink for all would have them coded and copied on the way. One sink is for what is
    prompt, the other gathers what is bulk: a request to the broker costs as much as what is in it.
    A stream in ``with_bulk`` has both, any other the first.
    """
    statements = tables.create_statement_set()
    for name, stream in streams.items():
        tables.create_temporary_view(f"{name}_emitted", tables.from_data_stream(stream))
        for column, (suffix, linger_ms) in enumerate(_SINKS if name in with_bulk else _SINKS[:1]):
            sink = f"{name}{suffix}"
            options = {
                **kafka,
                "properties.linger.ms": linger_ms,
                "properties.batch.size": str(_GATHERED_BYTES),
            }
            if _TRANSACTIONS in options:
                options[_TRANSACTIONS] += f"-{sink}"
            tables.execute_sql(f"""
                CREATE TEMPORARY TABLE {sink}_outputs (
                    k BYTES, v BYTES, topic_name STRING NOT NULL METADATA FROM 'topic'
                ) WITH (
                    {_options(topics, options)}, 'value.format' = 'raw',
                    'key.format' = 'raw', 'key.fields' = 'k', 'value.fields-include' = 'EXCEPT_KEY'
                )""")
            statements.add_insert(f"{sink}_outputs", routed(tables, f"{name}_emitted", column))
    statements.attach_as_datastream()


def routed(tables: StreamTableEnvironment, view: str, column: int) -> Table:
    """The outputs in a column of a view of `OUTPUTS`, one a row: key, value, topic.

    Flink copies each column that is read, for every row: to take an output's parts from columns of
    the batch would copy all of it once for each output.
    """
    return tables.sql_query(f"""
        SELECT o[2], o[3], CAST(o[1] AS STRING)
        FROM {view} CROSS JOIN UNNEST(f{column}) AS u(o)""")


def remote_environment(
    host: str, port: int, options: Mapping[str, str]
) -> StreamExecutionEnvironment:
    """An environment whose jobs run on the cluster at ``host:port``."""
    jvm = get_gateway().jvm
    configuration = jvm.org.apache.flink.configuration.Configuration()
    for key, value in options.items():
        configuration.setString(key, value)
    java = jvm.org.apache.flink.streaming.api.environment.StreamExecutionEnvironment
    no_jars = get_gateway().new_array(jvm.String, 0)
    return StreamExecutionEnvironment(
        java.createRemoteEnvironment(host, port, configuration, no_jars)
    )


def submit(environment: StreamExecutionEnvironment) -> str:
    """Hand the job to the cluster; returns its id.

    Raises:
        RuntimeError: Flink would run a Python operator in a process of its own, at a crossing's
            cost for each event many times higher.
    """
    graph = environment._generate_stream_graph(clear_transformations=True, job_name=names.JOB)
    if strays := [name for name in python_operators(graph) if "EmbeddedPython" not in name]:
        raise RuntimeError(f"not in thread mode: {', '.join(strays)}; is pemja installed?")
    client = environment._j_stream_execution_environment.executeAsync(graph)
    return str(client.getJobID().toString())


def python_operators(graph: Any) -> list[str]:
    """Class names of the operators of a stream graph that run Python."""
    factories = [node.getOperatorFactory() for node in graph.getStreamNodes().toArray()]
    operators = [
        factory.getOperator().getClass().getName()
        for factory in factories
        if factory is not None and factory.getClass().getSimpleName() == "SimpleOperatorFactory"
    ]
    return [name for name in operators if ".python." in name]


def name_sinks(environment: StreamExecutionEnvironment) -> None:
    """Give the sinks their uids; the planner leaves them to the order of operators."""
    steps = get_field_value(environment._j_stream_execution_environment, "transformations")
    for step in steps:
        if step.getClass().getSimpleName() == "SinkTransformation":
            step.setUid(f"{step.getName().partition('_outputs[')[0]}-{names.SINK}")


def attempt_number(context: RuntimeContext) -> int:
    """How often the task was started before; PyFlink asks Java for what Flink 2 moved."""
    return int(context._runtime_context.getTaskInfo().getAttemptNumber())


def _name_planned(stream: DataStream, uid: str) -> None:
    """Give uids to the planner's steps that hold state and have none yet."""
    for step in stream._j_data_stream.getTransformation().getTransitivePredecessors():
        if step.getUid() is not None:
            continue
        if step.getClass().getSimpleName() == "SourceTransformation":
            step.setUid(f"{uid}-{names.SOURCE}")
        elif step.getName().startswith("WindowAggregate"):
            step.setUid(f"{uid}-{names.BATCH}")


def _pace(stream: DataStream, window_ms: int) -> None:
    """Let a batch leave as soon as it is made, and what goes into its window wait a fifth of it.

    Flink has a thread for each way between tasks that passes on what lies there, by default as
    often for a window of 200 ms as for one of 5. They took a tenth of what an event costs.
    """
    made = stream._j_data_stream.getTransformation()
    made.setBufferTimeout(0)
    for step in made.getTransitivePredecessors():
        if step.getClass().getSimpleName() == "PartitionTransformation":
            for feeds in _feeding(step):
                if feeds.getBufferTimeout() < 0:  # not yet told by those before us
                    feeds.setBufferTimeout(max(1, window_ms // 5))


def _feeding(step: Any) -> list[Any]:
    """The steps whose records a step takes; a union is no step of its own."""
    found: list[Any] = []
    for feeds in step.getInputs():
        union = feeds.getClass().getSimpleName() == "UnionTransformation"
        found += _feeding(feeds) if union else [feeds]
    return found


def _options(topics: Sequence[str], options: Mapping[str, str]) -> str:
    every = {"connector": "kafka", "topic": ";".join(topics), **options}
    return ", ".join(f"'{key}' = '{_quoted(value)}'" for key, value in every.items())


def _quoted(value: str) -> str:
    return value.replace("'", "''")
