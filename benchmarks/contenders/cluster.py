"""What contenders that run on the local Flink cluster have in common."""

from __future__ import annotations

from collections.abc import Sequence

import psutil

from jobs.cluster import Cluster
from jobs.settings import Settings
from jobs.stack.local import LocalStack


class OnCluster:
    """A contender that is a Flink job; the cluster stays up between the rounds, warm for all."""

    name = ""

    def __init__(self, settings: Settings, stack: LocalStack) -> None:
        self._settings = settings
        self._stack = stack
        self._cluster = Cluster(settings.flink)
        self._job: str | None = None

    def submit(self) -> str:
        """Hand the job to the cluster, with no state, reading from the start; returns its id."""
        raise NotImplementedError

    def start(self) -> None:
        """Submit the job and wait until it runs."""
        self._job = self.submit()
        self._cluster.wait_until_running(self._job, 120)

    def stop(self) -> None:
        """Cancel the job."""
        job, self._job = self._job, None
        if job is not None:
            self._cluster.cancel(job)

    def pids(self) -> Sequence[int]:
        """JobManager and TaskManagers; their children are the Python workers of process mode."""
        return [
            state.pid
            for state in self._stack.status()
            if state.name.startswith(("jobmanager", "taskmanager"))
        ]

    def worker_pids(self) -> Sequence[int]:
        """The TaskManagers with all their children."""
        roots = [s.pid for s in self._stack.status() if s.name.startswith("taskmanager")]
        return [
            process.pid
            for root in roots
            for process in (psutil.Process(root), *psutil.Process(root).children(recursive=True))
        ]

    def check(self) -> None:
        """Raise with the root cause when the job has failed, were it only to start again."""
        if self._job is None:
            return
        state = self._cluster.state(self._job)
        if cause := self._cluster.root_cause(self._job):
            raise RuntimeError(f"{self.name} failed, and is now {state}: {cause}")
