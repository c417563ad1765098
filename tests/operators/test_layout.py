"""What we lean on inside PyFlink: an upgrade that moves any of it fails here, not in production."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import pytest

from jobs.settings import Settings
from jobs.submit import client_environment

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # PyFlink's own, of its own classes
    layout = pytest.importorskip("operators.layout")

pytestmark = pytest.mark.flink

GRAPH = """
    import json
    from jobs.pipeline import define_pipeline, kafka_ends, pipeline_config
    from jobs.settings import Settings
    from operators.control_log import Snapshot
    from operators import layout

    settings = Settings(data_dir={data_dir!r}, delivery={delivery!r})
    options = {{"python.execution-mode": {mode!r}}}
    environment = layout.remote_environment("127.0.0.1", 1, options)
    define_pipeline(environment, kafka_ends(settings), pipeline_config(settings, "run", Snapshot()))
    graph = environment._generate_stream_graph(clear_transformations=False)
    nodes = graph.getStreamNodes().toArray()
    print(json.dumps({{
        "python": layout.python_operators(graph),
        "uids": [str(node.getTransformationUID()) for node in nodes],
        "waits": [
            (
                node.getOperatorName().partition("[")[0],
                graph.getStreamNode(edge.getTargetId()).getTransformationUID(),
                edge.getBufferTimeout(),
            )
            for node in nodes
            for edge in node.getOutEdges()
        ],
    }}))
"""


OUT = """
    import sys
    from pyflink.common import Configuration, Types
    from pyflink.datastream import ProcessFunction, StreamExecutionEnvironment
    from pyflink.table import StreamTableEnvironment
    from operators import layout
    from operators.records import Output

    class Speak(ProcessFunction):
        def process_element(self, value, ctx):
            many = [Output(f"t{n}", f"{value}/{n}", bytes([value, n, 255])) for n in range(3)]
            return layout.emitted([*many, Output("gone", f"{value}")], many[:1], ["inward"])

    configuration = Configuration()
    for key in ("python.executable", "python.client.executable"):
        configuration.set_string(key, sys.executable)
    configuration.set_string("python.execution-mode", "thread")
    environment = StreamExecutionEnvironment.get_execution_environment(configuration)
    environment.set_parallelism(1)
    tables = StreamTableEnvironment.create(environment)
    spoken = environment.from_collection([1, 2], Types.INT()).process(Speak(), layout.OUTPUTS)
    tables.create_temporary_view("spoken", tables.from_data_stream(spoken))
    for column in range(2):
        with layout.routed(tables, "spoken", column).execute().collect() as rows:
            for key, value, topic in rows:
                print([topic, bytes(key).decode(), None if value is None else list(bytes(value))])
"""


def run(program: str, settings: Settings) -> list[str]:
    # Thread mode asks the `python` on the PATH where packages are, whatever the options say.
    found = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, **client_environment(settings), "PATH": found},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def planned(tmp_path: object, mode: str = "thread", delivery: str = "at-least-once") -> dict:  # type: ignore[type-arg]
    settings = Settings(data_dir=tmp_path)  # type: ignore[arg-type]
    program = GRAPH.format(data_dir=str(tmp_path), mode=mode, delivery=delivery)
    return json.loads(run(program, settings)[-1])  # type: ignore[no-any-return]


def test_outputs_leave_with_their_topic_key_and_bytes_and_without_a_value_as_tombstones(
    tmp_path: Path,
) -> None:
    lines = run(OUT, Settings(data_dir=tmp_path))
    assert [line for line in lines if line.startswith("[")] == [
        str(row)
        for value in (1, 2)
        for row in (
            *([f"t{n}", f"{value}/{n}", [value, n, 255]] for n in range(3)),
            ["gone", f"{value}", None],
        )
    ] + [str(["t0", f"{value}/0", [value, 0, 255]]) for value in (1, 2)]


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_the_planner_accepts_the_graph_in_thread_mode_with_our_uids(
    tmp_path: object, delivery: str
) -> None:
    graph = planned(tmp_path, delivery=delivery)

    assert [name.rsplit(".", 1)[-1] for name in graph["python"]] == [
        "EmbeddedPythonKeyedCoProcessOperator",
        "EmbeddedPythonKeyedProcessOperator",
        "EmbeddedPythonKeyedProcessOperator",
    ]
    assert set(graph["uids"]) >= {
        "inputs-source", "inputs-batch", "control-source", "decide", "rewards-batch", "learn",
        "decide-sink", "decide_bulk-sink", "learn-sink", "asks-batch", "grant", "grant-sink",
    }  # fmt: skip


def test_a_batch_leaves_at_once_and_what_a_window_gathers_may_wait(tmp_path: object) -> None:
    ways = {
        tuple(way) for way in planned(tmp_path)["waits"] if way[0] in ("Calc", "SinkConversion")
    }

    assert ways >= {
        ("Calc", "inputs-batch", 1), ("SinkConversion", "decide", 0),
        ("Calc", "rewards-batch", 50), ("SinkConversion", "learn", 0),
        ("Calc", "asks-batch", 10), ("SinkConversion", "grant", 0),
        ("SinkConversion", "decide", 20),  # control records
    }  # fmt: skip


def test_process_mode_would_be_noticed(tmp_path: object) -> None:
    graph = planned(tmp_path, mode="process")

    assert all("EmbeddedPython" not in name for name in graph["python"])
    assert len(graph["python"]) == 3


def test_the_names_we_call_exist_where_we_call_them() -> None:
    from pyflink.datastream import DataStream, KeyedStream, StreamExecutionEnvironment
    from pyflink.table import StreamTableEnvironment

    assert list(inspect.signature(KeyedStream.__init__).parameters) == [
        "self", "j_keyed_stream", "original_data_type_info", "origin_stream",
    ]  # fmt: skip
    assert "KeyByKeySelector" in inspect.getsource(DataStream.key_by)
    assert "to_append_stream" in dir(StreamTableEnvironment)
    parameters = inspect.signature(StreamExecutionEnvironment._generate_stream_graph).parameters
    assert {"clear_transformations", "job_name"} <= set(parameters)
    # A keyed element arrives as (key, value), and only the value is given to the function.
    # That code imports only inside a worker, so it is read.
    worker = Path(inspect.getfile(DataStream)).parents[1] / "fn_execution" / "datastream"
    operations = (worker / "embedded" / "operations.py").read_text()
    assert "process_element(value[1], read_only_broadcast_ctx)" in operations
    assert "yield from on_timer(timestamp, timer_context)" in operations
