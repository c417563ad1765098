"""Builds the stream's graph and hands it to a cluster, in a process of its own.

PyFlink plans through a JVM that lives as long as the Python process; here both end with the
submission. `submit` is for callers, ``python -m jobs.submit`` is the process.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from jobs.bundle import Bundle
from jobs.cluster import JobFailed
from jobs.settings import Settings
from jobs.stack.flink import flink_home, gather_jars, java_options
from jobs.stack.jars import JarCache, read_lock
from jobs.stack.java import find_java
from operators.control_log import Snapshot

_ANSWER: Final = "submitted "
# The planner runs once, for seconds: the quick compiler and the plain collector suit it best.
_JAVA_OPTIONS: Final = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto -Xmx768m"


class Submission(NamedTuple):
    """All that the process needs to know."""

    settings: Settings
    run: str
    control: Snapshot
    bundle: Bundle
    partitions: int
    restore: str | None = None
    saved_ms: int | None = None


def submit(submission: Submission) -> str:
    """Submit the stream; returns the job's id.

    Raises:
        JobFailed: planning or submission failed; the text ends with the root cause.
    """
    done = subprocess.run(
        [sys.executable, "-m", "jobs.submit"],
        input=pickle.dumps(submission),
        capture_output=True,
        env={**os.environ, **client_environment(submission.settings)},
        check=False,
    )
    for line in done.stdout.decode().splitlines():
        if line.startswith(_ANSWER):
            return line.removeprefix(_ANSWER)
    trouble = (done.stderr or done.stdout).decode(errors="replace")
    lines = [line for line in trouble.splitlines() if not line.startswith("\tat ")]
    causes = [line for line in lines if "Caused by: " in line] or lines[-12:]
    raise JobFailed("the stream was not submitted:\n" + "\n".join(causes[-3:] or ["no output"]))


def client_environment(settings: Settings) -> Mapping[str, str]:
    """Flink's client environment: its folders of jars and configuration, and a Java."""
    home = flink_home()
    root = settings.data_dir.resolve() / "client"
    lib, conf = root / "lib", root / "conf"
    conf.mkdir(parents=True, exist_ok=True)
    cache = JarCache(settings.cache / "jars", settings.maven_repository)
    gather_jars(home, lib, cache.fetch(read_lock(settings.infra / "stack" / "flink.lock.json")))
    options = java_options(home, _JAVA_OPTIONS)
    (conf / "config.yaml").write_text(json.dumps({"env": {"java": {"opts": {"all": options}}}}))
    (conf / "log4j-cli.properties").write_text("rootLogger.level = WARN\n")
    return {
        # Without FLINK_HOME PyFlink overrides the folders below.
        "FLINK_HOME": str(home),
        "FLINK_LIB_DIR": str(lib),
        "FLINK_CONF_DIR": str(conf),
        "FLINK_LOG_DIR": str(root),
        "JAVA_HOME": str(find_java(settings.java)),
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
    }


def job_options(submission: Submission) -> dict[str, str]:
    """Flink's configuration of the job; what a cluster decides is in the cluster's own."""
    from jobs.pipeline import MAX_PARALLELISM

    settings = submission.settings
    options = {
        "pipeline.max-parallelism": str(MAX_PARALLELISM),
        "parallelism.default": str(settings.task_managers),
        # Rows pass between chained steps without a copy; no step of ours keeps or changes one.
        "pipeline.object-reuse": "true",
        "python.execution-mode": "thread",
        "python.files": str(submission.bundle.path),
        "execution.buffer-timeout.interval": "1 ms",
        "execution.checkpointing.interval": f"{settings.checkpoint_interval_ms} ms",
        # Whatever the sinks promise: a state that had seen inputs from after its offsets would call
        # them duplicates when they are read again.
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "state.backend.type": settings.state_backend,
    }
    if settings.flink_rest_url is None:  # workers on this machine share our interpreter
        options["python.executable"] = sys.executable
        options["python.pythonpath"] = sysconfig.get_path("purelib")
    if submission.restore is not None:
        options["execution.state-recovery.path"] = submission.restore
    return options


def main() -> None:
    """Plan and submit what standard input describes."""
    from jobs.pipeline import define_pipeline, kafka_ends, pipeline_config
    from operators import layout

    submission: Submission = pickle.load(sys.stdin.buffer)
    settings = submission.settings
    at = urlsplit(settings.flink)
    environment = layout.remote_environment(
        at.hostname or settings.host, at.port or 80, job_options(submission)
    )
    config = pipeline_config(
        settings,
        submission.run,
        submission.control,
        partitions=submission.partitions,
        bundle=submission.bundle.marker,
        saved_ms=submission.saved_ms,
    )
    define_pipeline(environment, kafka_ends(settings), config)
    print(_ANSWER + layout.submit(environment), flush=True)
    # Nothing is left to do, and leaving in the regular way waits for the JVM's goodbye.
    os._exit(0)


if __name__ == "__main__":
    main()
