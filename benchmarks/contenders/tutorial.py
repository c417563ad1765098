"""PyFlink as its tutorials write it, around the same core; see `tutorial_job` for the job."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

from benchmarks.contenders.cluster import OnCluster
from jobs.kafka import control_snapshot
from jobs.settings import Settings
from jobs.stack.local import LocalStack
from jobs.submit import client_environment

ANSWER = "submitted "


class Tutorial(OnCluster):
    """`benchmarks.contenders.base.Contender`: one event a crossing, Python in its own process."""

    name = "tutorial"
    describes = (
        "PyFlink DataStream key_by(lambda) + KeyedProcessFunction, process mode, state read and "
        "written for each event; the same core, sink, checkpoints"
    )

    def __init__(self, settings: Settings, stack: LocalStack, bundle_ms: int | None = None) -> None:
        super().__init__(settings, stack)
        self._bundle_ms = bundle_ms

    def submit(self) -> str:
        """Plan and submit in a process of its own, as the engine does."""
        asked = (self._settings, tuple(control_snapshot(self._settings)), self._bundle_ms)
        root = str(Path(__file__).resolve().parents[2])
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.contenders.tutorial_job"],
            input=pickle.dumps(asked),
            capture_output=True,
            env={**os.environ, **client_environment(self._settings), "PYTHONPATH": root},
            check=False,
        )
        for line in done.stdout.decode().splitlines():
            if line.startswith(ANSWER):
                return line.removeprefix(ANSWER)
        raise RuntimeError(f"the tutorial job was not submitted:\n{done.stderr.decode()[-3000:]}")
