import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

import schemas
from jobs.yaml_file import Document
from schemas import generate
from schemas.control import Campaign, CatalogueItem, ChannelMix, ItemSales, Policy, Posterior
from schemas.experiment import Experiment
from schemas.model import Challenger, Model
from schemas.topics import CHANGES, EFFECTS, INPUTS, OUTPUTS, TOPICS
from schemas.wire import encode
from tests.goldens.contracts.write import RECORDS, path_of

FOLDER = Path(schemas.__file__).parent
INFRA = Path(__file__).resolve().parents[2] / "infra"
ASYNCAPI = yaml.safe_load((FOLDER / "asyncapi.yaml").read_text())
BINDING = "0.5.0"


@pytest.mark.parametrize("name", generate.CONTRACTS)
def test_the_json_schema_in_the_repository_is_the_contract(name):
    path = generate.FOLDER / f"{name}.schema.json"
    assert path.read_text() == generate.schema_of(name), "run `python -m schemas.generate`"
    Draft202012Validator.check_schema(json.loads(path.read_text()))


def test_there_is_a_schema_for_each_contract_and_no_other():
    names = {path.name.removesuffix(".schema.json") for path in generate.FOLDER.iterdir()}
    assert names == set(generate.CONTRACTS)


def test_the_generator_writes_every_schema(tmp_path, monkeypatch):
    monkeypatch.setattr(generate, "FOLDER", tmp_path / "json")
    generate.main()
    assert len(list((tmp_path / "json").iterdir())) == len(generate.CONTRACTS)


def test_the_contracts_need_msgspec_and_nothing_else():
    script = (
        "import sys; before = set(sys.modules)\n"
        "import schemas.generate, schemas.wire, schemas.topics\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    loaded = set(done.stdout.decode().split())
    own = {"schemas", "msgspec", "typing_extensions"}  # which msgspec takes where it is
    assert loaded - sys.stdlib_module_names - {"__mp_main__"} <= own


CAMPAIGN_FILES = [
    path
    for folder in (INFRA / "campaigns", INFRA / "campaigns" / "examples")
    for path in sorted(folder.glob("*.yaml"))
]


@pytest.mark.parametrize("path", CAMPAIGN_FILES, ids=lambda path: path.stem)
def test_the_shipped_campaign_files_fit_their_json_schema(path):
    validator = Draft202012Validator(json.loads(generate.schema_of("campaign-file")))
    content = Document(path).data
    validator.validate(content)
    with pytest.raises(ValidationError):
        validator.validate(content | {"cooldwon": "1d"})


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_of_version_1_is_read_and_written_as_ever(name):
    record, golden = RECORDS[name], path_of(name).read_bytes().rstrip(b"\n")
    assert msgspec.json.decode(golden, type=type(record)) == record
    assert encode(record) == golden


def test_every_contract_has_a_golden():
    control = {Campaign, CatalogueItem, Challenger, ChannelMix, Experiment, ItemSales, Model}
    control |= {Policy, Posterior}
    wanted = control | {
        each
        for name, contract in generate.CONTRACTS.items()
        if name not in ("campaign-file", "control")
        for each in getattr(contract, "__args__", (contract,))
    }
    assert {type(record) for record in RECORDS.values()} == wanted


def test_asyncapi_names_every_topic_with_key_partitions_and_retention():
    said = {}
    for channel in ASYNCAPI["channels"].values():
        kafka = channel["bindings"]["kafka"]
        config = kafka["topicConfiguration"]
        (message,) = (resolve(each["$ref"]) for each in channel["messages"].values())
        said[channel["address"]] = (
            message["bindings"]["kafka"]["key"]["description"],
            config["cleanup.policy"],
            config["retention.ms"],
            kafka["partitions"] == 1,
        )
    assert said == {
        topic.name: (
            topic.key,
            [topic.cleanup],
            -1 if topic.retention_ms is None else topic.retention_ms,
            topic.single_partition,
        )
        for topic in TOPICS
    }


def test_asyncapi_says_what_beckon_reads_and_writes():
    said = {"receive": set(), "send": set()}
    for operation in ASYNCAPI["operations"].values():
        said[operation["action"]].add(resolve(operation["channel"]["$ref"])["address"])
    assert said == {"receive": {*INPUTS, "beckon.control.v1"}, "send": {*OUTPUTS, CHANGES, EFFECTS}}


def test_asyncapi_is_well_formed():
    keys(ASYNCAPI, {"asyncapi", "info", "channels"},
         {"operations", "components", "defaultContentType"})  # fmt: skip
    assert ASYNCAPI["asyncapi"] == "3.0.0"
    keys(ASYNCAPI["info"], {"title", "version"}, {"description", "license"})
    keys(ASYNCAPI["components"], {"messages"})
    for channel in ASYNCAPI["channels"].values():
        keys(channel, {"address", "messages", "bindings"}, {"title", "description"})
        kafka = channel["bindings"]["kafka"]
        keys(kafka, {"partitions", "topicConfiguration", "bindingVersion"})
        keys(kafka["topicConfiguration"], {"cleanup.policy", "retention.ms"})
        assert kafka["bindingVersion"] == BINDING
    for operation in ASYNCAPI["operations"].values():
        keys(operation, {"action", "channel"})
    for message in ASYNCAPI["components"]["messages"].values():
        keys(message, {"payload", "bindings"})
        keys(message["payload"], {"schemaFormat", "schema"})
        assert message["payload"]["schemaFormat"].startswith("application/schema+json")
        keys(message["bindings"]["kafka"], {"key", "bindingVersion"})


def test_every_reference_of_asyncapi_leads_somewhere_and_every_message_is_used():
    references = set(found_references(ASYNCAPI))
    for reference in references:
        resolve(reference)
    used = {ref.rpartition("/")[2] for ref in references if "/components/messages/" in ref}
    assert used == set(ASYNCAPI["components"]["messages"])


def resolve(reference):
    if reference.startswith("./"):
        return json.loads((FOLDER / reference).read_text())
    found = ASYNCAPI
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def found_references(node):
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from found_references(value)
    elif isinstance(node, list):
        for value in node:
            yield from found_references(value)


def keys(node, needed, optional=frozenset()):
    assert needed <= node.keys() <= needed | optional
