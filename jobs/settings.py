"""Every setting of every Beckon process, in one place.

Read, weakest first, from the defaults below, the file ``beckon.env`` in the working directory and
the environment (``BECKON_KAFKA_PORT=29092``). ``beckon config`` prints what is in force.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Ports, places and pace; units are in the names, listeners are on loopback unless told."""

    model_config = SettingsConfigDict(
        env_prefix="BECKON_", env_file="beckon.env", extra="forbid", frozen=True
    )

    data_dir: Path = Field(
        default=Path(".beckon"), description="logs, server data, checkpoints, pid files"
    )
    cache_dir: Path | None = Field(
        default=None, description="jars; default: the user's cache directory"
    )
    archive_dir: Path | None = Field(
        default=None, description="what the stream saw, as Parquet; default: in data_dir"
    )
    nightly_outliers: Literal["winsorise", "drop"] = Field(
        default="winsorise",
        description="what the night does with money outside of Tukey's fences",
    )
    infra_dir: Path | None = Field(
        default=None, description="server configuration, campaigns, mappings"
    )
    host: str = Field(default="127.0.0.1", description="address that local servers listen on")

    java: Literal["auto", "machine", "wheel"] = Field(
        default="auto", description="auto: the machine's Java 17 or newer, else the one in a wheel"
    )
    maven_repository: str = Field(
        default="https://repo1.maven.org/maven2", description="where the servers' jars come from"
    )
    start_timeout_s: float = Field(
        default=90, gt=0, description="patience with a server that starts"
    )
    stop_timeout_s: float = Field(
        default=30, gt=0, description="patience before a server is killed"
    )

    kafka_port: int = 19092
    kafka_controller_port: int = 19093
    redis_port: int = 16379
    hbase_thrift_port: int = 19090
    hbase_master_port: int = 16000
    hbase_region_port: int = 16020
    hbase_zookeeper_port: int = 12181
    flink_rest_port: int = 18081
    flink_rpc_port: int = 16123
    flink_metrics: bool = Field(
        default=False, description="Flink's Prometheus reporter; it listens on every interface"
    )
    flink_metrics_port: int = Field(
        default=19249, description="the first of 21, one for each Flink process"
    )

    metrics_host: str = Field(
        default="127.0.0.1", description="address at which our services show metrics to Prometheus"
    )
    projector_metrics_port: int = Field(default=0, ge=0, le=65_535, description="0: no metrics")
    archive_metrics_port: int = Field(default=0, ge=0, le=65_535, description="0: no metrics")
    effects_metrics_port: int = Field(default=0, ge=0, le=65_535, description="0: no metrics")

    kafka_bootstrap: str | None = Field(
        default=None, description="default: the local stack's broker"
    )
    redis_url: str | None = Field(default=None, description="default: the local stack's Redis")
    hbase_thrift_host: str | None = Field(
        default=None, description="default: the local stack's host"
    )
    flink_rest_url: str | None = Field(
        default=None, description="default: the local stack's cluster"
    )

    partitions: int = Field(
        default=4, ge=1, description="partitions of each topic when Beckon creates it"
    )
    task_managers: int = Field(default=1, ge=1, description="Flink TaskManagers of one slot each")
    task_manager_memory_mb: int = Field(
        default=3072, ge=1536, description="of one TaskManager process"
    )
    shards: int = Field(
        default=4,
        description="Flink keys, 4, 16 or 256: more for many TaskManagers, less for large batches",
    )
    batch_window_ms: int = Field(default=5, ge=1, le=100, description="micro-batch of the crossing")
    checkpoint_interval_ms: int = Field(
        default=30_000,
        ge=500,
        description="longer: less often held up by one; shorter: less to do again after a crash",
    )
    state_backend: Literal["hashmap", "rocksdb"] = "hashmap"
    delivery: Literal["at-least-once", "exactly-once"] = "at-least-once"

    @field_validator("shards")
    @classmethod
    def _cut_by_a_digest(cls, shards: int) -> int:
        if shards not in (4, 16, 256):
            raise ValueError("Input should be 4, 16 or 256")
        return shards

    @cached_property
    def bootstrap(self) -> str:
        """Kafka address of every client."""
        return self.kafka_bootstrap or f"{self.host}:{self.kafka_port}"

    @cached_property
    def redis(self) -> str:
        """Redis URL of every client."""
        return self.redis_url or f"redis://{self.host}:{self.redis_port}/0"

    @cached_property
    def hbase_host(self) -> str:
        """Host of the HBase Thrift server."""
        return self.hbase_thrift_host or self.host

    @cached_property
    def flink(self) -> str:
        """URL of the JobManager's REST interface."""
        return self.flink_rest_url or f"http://{self.host}:{self.flink_rest_port}"

    @cached_property
    def cache(self) -> Path:
        """Where downloads are kept: configured, or the user's cache directory."""
        if self.cache_dir is not None:
            return self.cache_dir
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "beckon"

    @cached_property
    def archive(self) -> Path:
        """Where the archive lies: configured, or in ``data_dir``."""
        return self.archive_dir or self.data_dir / "archive"

    @cached_property
    def infra(self) -> Path:
        """The ``infra/`` folder: configured, or the one of the checkout we run in."""
        if self.infra_dir is not None:
            return self.infra_dir
        return Path(__file__).resolve().parent.parent / "infra"
