"""Kafka, one KRaft node."""

from __future__ import annotations

import base64
import subprocess
import uuid

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from jobs.stack.errors import StackError
from jobs.stack.server import Server, Site, listens

HEAP = ("-Xms256m", "-Xmx512m", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20")


def kafka(site: Site) -> Server:
    """The broker."""
    settings = site.settings
    classpath = site.jars["kafka"]
    properties = site.config("kafka") / "server.properties"
    data = site.data("kafka")

    def prepare() -> None:
        site.render("kafka.properties", properties, data=data)
        if (data / "meta.properties").exists():
            return
        tool = ["kafka.tools.StorageTool", "format", "-t", _cluster_id(), "-c", str(properties)]
        command = site.java_command(["-Xmx128m", "-XX:TieredStopAtLevel=1"], classpath, *tool)
        done = subprocess.run(
            command, env=site.java_environment("kafka"), capture_output=True, text=True
        )
        if done.returncode:
            raise StackError(f"cannot format {data} for Kafka:\n{done.stdout}{done.stderr}")

    def ready() -> bool:
        if not listens(settings.host, settings.kafka_port):
            return False
        client = AdminClient(
            {"bootstrap.servers": f"{settings.host}:{settings.kafka_port}", "log_level": 0}
        )
        try:
            return bool(client.list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    return Server(
        name="kafka",
        command=site.java_command(HEAP, classpath, "kafka.Kafka", str(properties)),
        environment=site.java_environment("kafka"),
        ports={
            "kafka_port": settings.kafka_port,
            "kafka_controller_port": settings.kafka_controller_port,
        },
        prepare=prepare,
        ready=ready,
    )


def _cluster_id() -> str:
    """A random identity in Kafka's form, which must not look like an option."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "0")
