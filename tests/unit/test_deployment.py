"""Compose file and Kubernetes manifests are well-formed and say what the local stack says.

They cannot run here. So the core kinds are held against Kubernetes' own schemas, the operators'
kinds against what we know of them, and both against the settings, the topics and each other.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.cli import COMMANDS
from jobs.settings import Settings
from schemas.topics import TOPICS

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import kubernetes_validate

INFRA = Path(__file__).parents[2] / "infra"
FOLDER = INFRA / "kubernetes"
KUBERNETES = "1.31"
OPERATORS = {
    "kafka.strimzi.io/v1": {"Kafka", "KafkaNodePool", "KafkaTopic"},
    "flink.apache.org/v1beta1": {"FlinkDeployment"},
}

Manifest = dict[str, Any]


def manifests() -> Iterator[tuple[str, Manifest]]:
    for path in sorted(FOLDER.glob("*.yaml")):
        if path.name != "kustomization.yaml":
            for each in yaml.safe_load_all(path.read_text()):
                yield f"{path.name}: {each['kind']} {each['metadata']['name']}", each


ALL = dict(manifests())
CORE = {name: each for name, each in ALL.items() if each["apiVersion"] not in OPERATORS}
COMPOSE: Manifest = yaml.safe_load((INFRA / "compose.yaml").read_text())
DOCKERFILE = (INFRA / "images" / "Dockerfile").read_text()
TARGETS = set(re.findall(r"^FROM \S+ AS (\w+)$", DOCKERFILE, re.MULTILINE))


def of_kind(kind: str) -> list[Manifest]:
    return [each for each in ALL.values() if each["kind"] == kind]


def pod_of(manifest: Manifest) -> Manifest:
    spec: Manifest = manifest["spec"]
    if manifest["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    pod: Manifest = spec["template"]["spec"]
    return pod


def flink_options_of_compose() -> dict[str, str]:
    text = COMPOSE["services"]["jobmanager"]["environment"]["FLINK_PROPERTIES"]
    return dict(line.split(": ", 1) for line in text.splitlines())


def flat(tree: Manifest, prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = str(value)
    return found


@pytest.mark.parametrize("name", CORE)
def test_a_core_manifest_satisfies_kubernetes_own_schema(name: str) -> None:
    kubernetes_validate.validate(CORE[name], KUBERNETES, strict=True)


def test_the_schema_would_notice_a_mistake() -> None:
    wrong = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x", "nmespace": "y"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


def test_every_other_manifest_is_of_an_operator_that_we_name() -> None:
    for name, each in ALL.items():
        if name not in CORE:
            assert each["kind"] in OPERATORS[each["apiVersion"]], name


def test_every_manifest_is_applied_in_the_one_namespace() -> None:
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == files
    for name, each in ALL.items():
        if each["kind"] != "Namespace":
            assert each["metadata"]["namespace"] == kustomization["namespace"], name


def test_no_two_manifests_are_the_same_thing() -> None:
    things = [(each["kind"], each["metadata"]["name"]) for each in ALL.values()]
    assert len(things) == len(set(things))


def test_the_topics_are_those_of_the_contracts() -> None:
    partitions = int(of_kind("ConfigMap")[0]["data"]["BECKON_PARTITIONS"])
    wanted = {
        topic.name: {
            "partitions": 1 if topic.single_partition else partitions,
            "replicas": 3,
            "config": {
                "cleanup.policy": topic.cleanup,
                "retention.ms": -1 if topic.retention_ms is None else topic.retention_ms,
            },
        }
        for topic in TOPICS
    }
    assert {each["metadata"]["name"]: each["spec"] for each in of_kind("KafkaTopic")} == wanted


def test_topics_and_nodes_belong_to_the_kafka_that_is_there() -> None:
    [kafka] = of_kind("Kafka")
    for each in of_kind("KafkaTopic") + of_kind("KafkaNodePool"):
        assert each["metadata"]["labels"]["strimzi.io/cluster"] == kafka["metadata"]["name"]


def test_every_setting_given_to_a_process_exists() -> None:
    given = set(of_kind("ConfigMap")[0]["data"]) | set(COMPOSE["x-settings"])
    known = {f"BECKON_{field.upper()}" for field in Settings.model_fields}
    assert given <= known


def test_settings_point_at_services_that_are_there() -> None:
    data = of_kind("ConfigMap")[0]["data"]
    services = {each["metadata"]["name"] for each in of_kind("Service")}
    services |= {f"{each['metadata']['name']}-kafka-bootstrap" for each in of_kind("Kafka")}
    services |= {f"{each['metadata']['name']}-rest" for each in of_kind("FlinkDeployment")}
    for key, host in [
        ("BECKON_KAFKA_BOOTSTRAP", r"^([\w-]+):"),
        ("BECKON_REDIS_URL", r"//([\w-]+):"),
        ("BECKON_HBASE_THRIFT_HOST", r"^([\w-]+)$"),
        ("BECKON_FLINK_REST_URL", r"//([\w-]+):"),
    ]:
        found = re.search(host, data[key])
        assert found is not None, key
        assert found[1] in services, key


def test_each_service_selects_pods_and_a_port_that_exist() -> None:
    pods = [each["spec"]["template"] for each in of_kind("StatefulSet") + of_kind("Deployment")]
    for service in of_kind("Service"):
        selector = service["spec"]["selector"].items()
        [pod] = [pod for pod in pods if selector <= pod["metadata"]["labels"].items()]
        ports = {
            port["name"]: port["containerPort"]
            for container in pod["spec"]["containers"]
            for port in container.get("ports", [])
        }
        for port in service["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"]


def test_each_task_manager_of_the_cluster_serves_one_parallel_part() -> None:
    [cluster] = of_kind("FlinkDeployment")
    data = of_kind("ConfigMap")[0]["data"]
    assert str(cluster["spec"]["taskManager"]["replicas"]) == data["BECKON_TASK_MANAGERS"]
    assert cluster["spec"]["flinkConfiguration"]["taskmanager.numberOfTaskSlots"] == "1"


def test_every_container_runs_bounded_and_without_privileges() -> None:
    for name, each in ALL.items():
        if each["kind"] not in {"Deployment", "StatefulSet", "Job", "CronJob"}:
            continue
        pod = pod_of(each)
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["automountServiceAccountToken"] is False, name
        # Otherwise a service called beckon-… would put BECKON_… variables among the settings.
        assert pod["enableServiceLinks"] is False, name
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False, name
            assert container["resources"]["limits"]["memory"], name


def test_every_claim_that_a_pod_mounts_is_there() -> None:
    claims = {each["metadata"]["name"] for each in of_kind("PersistentVolumeClaim")}
    [cluster] = of_kind("FlinkDeployment")
    pods = [pod_of(each) for each in of_kind("Job") + of_kind("Deployment") + of_kind("CronJob")]
    for pod in (*pods, cluster["spec"]["podTemplate"]["spec"]):
        mounted = [each for each in pod.get("volumes", ()) if "persistentVolumeClaim" in each]
        assert {each["persistentVolumeClaim"]["claimName"] for each in mounted} <= claims


SERVICES = ("projector", "archive", "effects")


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_runs_in_both_places_and_shows_its_metrics(name: str) -> None:
    setting = f"BECKON_{name.upper()}_METRICS_PORT"
    [deployment] = [each for each in of_kind("Deployment") if each["metadata"]["name"] == name]
    [container] = pod_of(deployment)["containers"]
    compose = COMPOSE["services"][name]
    assert container["args"] == compose["command"] == [name]
    assert name in COMMANDS
    data, settings = of_kind("ConfigMap")[0]["data"], COMPOSE["x-settings"]
    assert data["BECKON_METRICS_HOST"] == settings["BECKON_METRICS_HOST"] == "0.0.0.0"
    port = int(data[setting])
    assert port == settings[setting]
    assert compose["ports"] == [f"127.0.0.1:{port}:{port}"]
    [shown] = container["ports"]
    assert (shown["name"], shown["containerPort"]) == ("metrics", port)
    assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "metrics"}
    template = deployment["spec"]["template"]["metadata"]
    assert template["annotations"]["prometheus.io/port"] == str(port)
    allowed = [
        rule
        for policy in of_kind("NetworkPolicy")
        if policy["spec"]["podSelector"].get("matchLabels", {}).items()
        <= template["labels"].items()
        for rule in policy["spec"]["ingress"]
        if {"port": port} in rule.get("ports", [])
    ]
    assert allowed
    assert (INFRA / "metrics.md").read_text().count(f"`beckon_{name}_") > 3


def test_whoever_shares_the_archives_volume_is_its_only_writer_or_runs_beside_it() -> None:
    sharing = {
        each["metadata"]["name"]: (each, pod_of(each))
        for each in of_kind("Deployment") + of_kind("CronJob")
        if {"persistentVolumeClaim": {"claimName": "nightly"}, "name": "state"}
        in pod_of(each)["volumes"]
    }
    assert set(sharing) == {"archive", "effects", "guard", "nightly"}
    for name, (each, pod) in sharing.items():
        if each["kind"] == "Deployment":
            assert each["spec"]["replicas"] == 1
            assert each["spec"]["strategy"] == {"type": "Recreate"}
        if name != "archive":
            [term] = pod["affinity"]["podAffinity"][
                "requiredDuringSchedulingIgnoredDuringExecution"
            ]
            wanted = term["labelSelector"]["matchLabels"].items()
            labels = sharing["archive"][0]["spec"]["template"]["metadata"]["labels"]
            assert wanted <= labels.items()
    volumes = {name: COMPOSE["services"][name]["volumes"] for name in ("archive", "effects")}
    assert volumes["archive"] == volumes["effects"]


def test_flink_is_told_the_same_in_all_three_places() -> None:
    template = (INFRA / "stack" / "flink.yaml").read_text()
    local = flat(yaml.safe_load(re.sub(r"\$\{(\w+)\}", r"<\1>", template)))
    fixed = {key: value for key, value in local.items() if "<" not in value}
    promises = {
        "cluster.registration.error-delay",
        "execution.buffer-timeout.interval",
        "execution.checkpointing.externalized-checkpoint-retention",
        "execution.checkpointing.num-retained",
        "heartbeat.interval",
        "heartbeat.timeout",
        "python.execution-mode",
        "restart-strategy.type",
        "taskmanager.numberOfTaskSlots",
        "web.submit.enable",
    }
    [cluster] = of_kind("FlinkDeployment")
    for options in (flink_options_of_compose(), cluster["spec"]["flinkConfiguration"]):
        assert promises <= set(options) & set(fixed)
        for key in set(options) & set(fixed):
            assert str(options[key]).lower() == fixed[key].lower(), key


def test_compose_listens_on_loopback_only() -> None:
    ports = [port for each in COMPOSE["services"].values() for port in each.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_services_wait_for_services_that_are_there() -> None:
    services = COMPOSE["services"]
    for name, each in services.items():
        waits = each.get("depends_on", [])
        assert set(waits) <= set(services), name
        if isinstance(waits, dict):
            for other, how in waits.items():
                if how["condition"] == "service_healthy":
                    assert "healthcheck" in services[other], f"{name} waits for {other}"


def test_compose_declares_the_volumes_that_it_mounts() -> None:
    mounted = {
        volume.split(":")[0]
        for each in COMPOSE["services"].values()
        for volume in each.get("volumes", [])
    }
    assert mounted == set(COMPOSE["volumes"])


def test_compose_builds_targets_that_the_dockerfile_has() -> None:
    builds = [each["build"] for each in COMPOSE["services"].values() if "build" in each]
    assert builds
    for build in builds:
        assert build["target"] in TARGETS
        assert (INFRA / build["context"] / build["dockerfile"]).is_file()


def test_no_image_floats() -> None:
    images = [each["image"] for each in COMPOSE["services"].values()]
    images += re.findall(r"^FROM (\S+:\S+)", DOCKERFILE, re.MULTILINE)
    assert all(re.search(r":[\d.]*\d", image) for image in images)


def test_the_dockerfile_copies_only_what_is_there_and_let_through() -> None:
    ignored = (INFRA / "images" / "Dockerfile.dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for source in sources.split():
            assert (INFRA.parent / source).exists(), source
            assert source in allowed, source


def test_the_night_shift_runs_after_midnight_and_never_twice_at_once() -> None:
    night = cron_job("nightly")
    minute, hour, *every = night["spec"]["schedule"].split()
    assert every == ["*", "*", "*"]
    assert night["spec"]["timeZone"] == "Etc/UTC"
    assert night["spec"]["concurrencyPolicy"] == "Forbid"
    claims = {each["metadata"]["name"] for each in of_kind("PersistentVolumeClaim")}
    volumes = pod_of(night)["volumes"]
    mounted = [v["persistentVolumeClaim"] for v in volumes if "persistentVolumeClaim" in v]
    assert {each["claimName"] for each in mounted} <= claims
    timer = unit("beckon-nightly.timer")
    assert timer["Timer"]["OnCalendar"] == f"*-*-* {int(hour):02}:{int(minute):02}:00 UTC"
    assert timer["Timer"]["Persistent"] == "true"


@pytest.mark.parametrize("name", ["nightly", "guard"])
def test_a_timer_starts_what_the_cluster_starts_and_it_is_a_command_of_ours(name: str) -> None:
    names = {path.stem for path in (INFRA / "systemd").glob("*.timer")}
    assert names == {path.stem for path in (INFRA / "systemd").glob("*.service")}
    service = unit(f"beckon-{name}.service")["Service"]
    [container] = pod_of(cron_job(name))["containers"]
    assert service["ExecStart"].split()[1:] == container["args"]
    assert container["args"][0] in COMMANDS
    assert service["MemoryMax"].rstrip("G") == container["resources"]["limits"]["memory"].rstrip(
        "Gi"
    )


def test_the_guard_looks_at_the_models_of_the_night_and_leaves_one_look_before_the_next() -> None:
    guard = cron_job("guard")
    assert guard["spec"]["schedule"] == "*/10 * * * *"
    assert unit("beckon-guard.timer")["Timer"]["OnCalendar"] == "*-*-* *:00/10:00 UTC"
    spec = guard["spec"]["jobTemplate"]["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"] < 600) == (0, True)
    assert pod_of(guard)["volumes"] == pod_of(cron_job("nightly"))["volumes"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("name", ["nightly", "guard"])
def test_systemd_reads_the_timer(name: str) -> None:
    when = unit(f"beckon-{name}.timer")["Timer"]["OnCalendar"]
    done = subprocess.run(["systemd-analyze", "calendar", when], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def cron_job(name: str) -> Manifest:
    [found] = [each for each in of_kind("CronJob") if each["metadata"]["name"] == name]
    return found


def unit(name: str) -> dict[str, dict[str, str]]:
    parser = ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read_string((INFRA / "systemd" / name).read_text())
    return {section: dict(parser[section]) for section in parser.sections()}
