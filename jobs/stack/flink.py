"""A Flink cluster out of the apache-flink wheel: a JobManager and TaskManagers of one slot."""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
import urllib.request
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import yaml

from jobs.stack.errors import StackError
from jobs.stack.server import Server, Site

Json = dict[str, object]

GARBAGE = "-XX:+UseG1GC -XX:MaxGCPauseMillis=10 -XX:+ExplicitGCInvokesConcurrent"
"""Left alone, G1 lets the young generation grow to half of the heap, and stands still 30 to 150 ms
every ten seconds to go through it; a collection that a library asks for takes longer still."""
MANAGED_MEMORY_MB = {"hashmap": 64, "rocksdb": 768}


def flink(site: Site) -> list[Server]:
    """The JobManager and the TaskManagers."""
    settings = site.settings
    home = flink_home()
    _configure(site, home)

    def workers() -> int:
        return registered_task_managers(settings.flink_rest_port, settings.host)

    job_manager = Server(
        name="jobmanager",
        command=[home / "bin" / "jobmanager.sh", "start-foreground"],
        environment=_environment(site, "jobmanager"),
        ports={
            "flink_rest_port": settings.flink_rest_port,
            "flink_rpc_port": settings.flink_rpc_port,
        },
        ready=lambda: workers() >= 0,
    )
    task_managers = [
        Server(
            name=f"taskmanager-{number}",
            command=[home / "bin" / "taskmanager.sh", "start-foreground"],
            environment=_environment(site, f"taskmanager-{number}"),
            ports={},
            ready=lambda: workers() >= settings.task_managers,
        )
        for number in range(1, settings.task_managers + 1)
    ]
    return [job_manager, *task_managers]


def flink_home() -> Path:
    """The Flink distribution inside the apache-flink wheel.

    Raises:
        StackError: the wheel is not installed.
    """
    spec = find_spec("pyflink")
    if spec is None or spec.origin is None:
        raise StackError("Flink is not installed: install `beckon[flink]`")
    return Path(spec.origin).parent


def java_options(home: Path, more: str) -> str:
    """What this Flink needs opened in a modern Java, which is its own knowledge, and ``more``."""
    shipped = yaml.safe_load((home / "conf" / "config.yaml").read_text())
    return f"{shipped['env']['java']['opts']['all']} {more}"


def gather_jars(home: Path, folder: Path, more: Iterable[Path]) -> None:
    """Make a folder hold links to the jars that the wheel keeps apart, to ``more``, and no other.

    Links that are right stay, so that a process which runs on them is not disturbed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    jars = [*(home / "lib").glob("*.jar"), *(home / "opt").glob("flink-python-*.jar"), *more]
    wanted = {jar.name: jar for jar in jars}
    for link in folder.iterdir():
        if link.name not in wanted or link.readlink() != wanted[link.name]:
            link.unlink()
    for name, jar in wanted.items():
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(jar)


def registered_task_managers(port: int, host: str) -> int:
    """How many TaskManagers the JobManager knows; -1 while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/overview", timeout=2) as answer:
            return int(json.load(answer)["taskmanagers"])
    except (OSError, ValueError, KeyError):
        return -1


def _environment(site: Site, name: str) -> dict[str, str]:
    """What Flink's scripts need to know."""
    return site.java_environment(
        name,
        FLINK_CONF_DIR=str(site.config("flink")),
        FLINK_LIB_DIR=str(site.data("flink") / "lib"),
        FLINK_LOG_DIR=str(site.logs),
        FLINK_PID_DIR=str(site.data("flink") / "pids"),
        # The interpreter embedded in a TaskManager takes its packages from the first python3 on
        # the PATH, whatever `python.executable` says, and must find Beckon's where we found them.
        PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        PYTHONPATH=os.pathsep.join(
            [str(Path(__file__).resolve().parents[2]), sysconfig.get_path("purelib")]
        ),
    )


def _configure(site: Site, home: Path) -> None:
    """Write the configuration and gather the jars that the wheel keeps apart."""
    settings = site.settings
    config, data = site.config("flink"), site.data("flink")
    site.render(
        "flink.yaml",
        config / "config.yaml",
        data=data,
        python=sys.executable,
        java_options=json.dumps(java_options(home, GARBAGE)),
        managed_memory_mb=MANAGED_MEMORY_MB[settings.state_backend],
        metrics=json.dumps(_metrics(settings.flink_metrics_port) if settings.flink_metrics else {}),
    )
    logging = settings.infra / "stack" / "log4j2.properties"
    shutil.copy(logging, config / "log4j-console.properties")

    for folder in ("pids", "tmp", "checkpoints", "savepoints"):
        (data / folder).mkdir(exist_ok=True)
    gather_jars(home, data / "lib", site.jars["flink"])


def _metrics(port: int) -> Json:
    factory = "org.apache.flink.metrics.prometheus.PrometheusReporterFactory"
    reporter = {"factory": {"class": factory}, "port": f"{port}-{port + 20}"}
    return {"reporters": "prom", "reporter": {"prom": reporter}}
