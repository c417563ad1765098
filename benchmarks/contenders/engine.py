"""This engine, as `beckon run` submits it."""

from __future__ import annotations

from benchmarks.contenders.cluster import OnCluster
from jobs.run import start_stream


class Engine(OnCluster):
    """`benchmarks.contenders.base.Contender`: the product, with its shipped settings."""

    name = "engine"
    describes = "this engine on one Flink TaskManager of one slot, shipped settings"

    def submit(self) -> str:
        """Submit the stream without state."""
        return start_stream(self._settings, fresh=True).job
