"""An experiment between two models on real servers: each variant is scored by its own."""

from __future__ import annotations

import base64
from collections import Counter
from typing import Any

import pytest

from benchmarks.live import Live, eventually
from jobs.demo.services import beckon
from jobs.models.registry import Registry
from schemas import topics
from scoring.model import TOLERANCE
from scoring.onnx_export import Graph
from tests.unit.models.made import artefact

pytestmark = [pytest.mark.flink, pytest.mark.stack]

CUSTOMERS = 200
BEFORE_MS = 1_509_500_000_000
"""In 2017, before the shop's events: no shard's clock passes what those may wait for."""
MODELS = {"one": 1, "two": 2}
"""Variant, which is also its model's version, and the seed of that one's weights."""
CAMPAIGN = """\
kind: campaign
id: on-search
name: On search
trigger: {kind: event, actions: [search]}
channels: [sms, push, email]
"""
EXPERIMENT = """\
kind: experiment
id: which-model
campaigns: [on-search]
variants:
  - {name: one, share: 50%, model: one}
  - {name: two, share: 50%, model: two}
"""


def search(stream: Live, prefix: str, count: int) -> list[dict[str, Any]]:
    """Customers look at things, one more than another, and search; the examples of that."""
    allowed = {"marketing": True, "sms": True, "push": True, "email": True}
    events = []
    for number in range(count):
        known = {"user_id": f"{prefix}-{number}", "ts": BEFORE_MS}
        for place, action in enumerate(("login", *["view"] * (number % 7), "search")):
            event = {**known, "event_id": f"{prefix}-{number}-{place}", "action": action}
            events.append({**event, "consent": allowed, "item_category": f"c{place}"})
    stream.ends(stream.send(*events))
    wanted = {event["user_id"] for event in events}
    found = {}

    def all_came() -> bool:
        for row in stream.records(topics.EXAMPLES):
            if row["user_id"] in wanted and row["campaign_id"] == "on-search":
                found[row["user_id"]] = row
        return found.keys() == wanted

    eventually(all_came, "examples are missing", 30)
    return list(found.values())


@pytest.fixture(scope="module")
def examples(stream: Live, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What was shown once the experiment was in force, to those who are spoken to at all."""
    registry = Registry(stream.settings.data_dir)
    for version, seed in MODELS.items():
        registry.add(artefact(version, seed=seed, spread=0.2))
    folder = tmp_path_factory.mktemp("which-model")
    (folder / "on-search.yaml").write_text(CAMPAIGN)
    (folder / "which-model.yaml").write_text(EXPERIMENT)
    assert "which-model" in beckon(stream.settings, "campaigns", "apply", str(folder))
    turns = iter(range(1_000))

    def in_force() -> bool:
        [row] = search(stream, f"early-{next(turns)}", 1)
        return bool(row.get("variant"))

    eventually(in_force, "the experiment did not come into force", 30)
    return [row for row in search(stream, "searcher", CUSTOMERS) if not row.get("holdout")]


def test_each_variant_is_scored_by_its_own_model(
    stream: Live, examples: list[dict[str, Any]]
) -> None:
    versions = {(row["variant"], row["model_version"]) for row in examples}
    assert versions == {("which-model/one", "one"), ("which-model/two", "two")}
    counts = Counter(row["variant"] for row in examples)
    assert min(counts.values()) > CUSTOMERS / 4
    decisions = {each["decision_id"]: each for each in stream.records(topics.DECISIONS)}
    for row in examples:
        decision = decisions[row["decision_id"]]
        same = ("model_version", "score", "variant")
        assert [decision[name] for name in same] == [row[name] for name in same]


def test_each_score_is_what_the_model_of_its_variant_gives_offline(
    stream: Live, examples: list[dict[str, Any]]
) -> None:
    registry = Registry(stream.settings.data_dir)
    graphs = {
        version: Graph(base64.b64decode(registry.artefact(version).model.onnx))
        for version in MODELS
    }
    for version, other in (("one", "two"), ("two", "one")):
        rows = [row for row in examples if row["variant"] == f"which-model/{version}"]
        features, scores = [row["features"] for row in rows], [row["score"] for row in rows]
        assert scores == pytest.approx(graphs[version].scores(features), abs=TOLERANCE)
        assert len({round(score, 6) for score in scores}) > 5
        others = graphs[other].scores(features)
        assert all(abs(a - b) > TOLERANCE for a, b in zip(scores, others, strict=True))
