"""What leaves a shard at once, what may wait, and what only goes inward."""

from __future__ import annotations

from operators import names
from operators.records import Output
from operators.routes import bulk, inward, prompt
from operators.shard import Decider, DeciderConfig, MemoryStore
from schemas.topics import AUDIT, DECISIONS, PROFILES, REWARDS
from schemas.wire import encode
from tests.builders import on_cart, policy
from tests.harness import NOON_MS, consenting, control, event


def test_the_audit_of_a_step_leaves_before_what_it_decided() -> None:
    decider = Decider(DeciderConfig(), control(policy(), on_cart()))
    payloads = [consenting("ann", NOON_MS), event("ann", "cart", NOON_MS + 1)]
    records = [
        "\x1f".join(("beckon.events.v1", "0", str(offset), str(NOON_MS), encode(each).decode()))
        for offset, each in enumerate(payloads)
    ]
    outputs = decider.on_batch("8888", MemoryStore(), records)
    assert [each.topic for each in prompt(outputs)] == [AUDIT, DECISIONS]
    assert {each.topic for each in bulk(outputs)}.isdisjoint({AUDIT, DECISIONS, names.EXPOSED})


def test_each_output_leaves_by_one_way_and_rewards_go_inward_as_well() -> None:
    kinds = (AUDIT, DECISIONS, PROFILES, REWARDS, names.ASKS, names.EXPOSED, names.RULES)
    outputs = [Output(kind, "key", b"value") for kind in kinds]
    out = [*prompt(outputs), *bulk(outputs)]
    assert sorted(out) == sorted(each for each in outputs if each.topic.startswith("beckon."))
    said = [message.partition("\x1f")[0] for message in inward(outputs)]
    assert said == [REWARDS, names.ASKS, names.EXPOSED, names.RULES]
