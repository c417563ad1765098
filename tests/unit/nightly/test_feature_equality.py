"""Stream and night compute the same features for the same row: every one of them.

Random lives go through the stream itself; what it puts into its examples is computed again from the
rows that the archive keeps of the same inputs, by way of a Parquet file.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.archive.tables import EVENTS, OUTCOMES, ArchiveTable
from jobs.nightly.rebuild import facts_of
from schemas.control import AbsenceTrigger, EventTrigger
from schemas.decision import Offer
from schemas.event import ACTIONS
from schemas.topics import DECISIONS, EXAMPLES
from schemas.wire import encode
from scoring.features import FEATURES, campaign_features, customer_features
from state.fact import Fact, id64
from state.profile import Profile
from tests.builders import DAY, HOUR, MINUTE, on_cart
from tests.harness import NOON_MS, Harness, consenting
from tests.kinds import day

USER = "ann"
CAMPAIGNS = {
    spec.id: spec
    for spec in (
        on_cart(id="on-all", trigger=EventTrigger(tuple(ACTIONS)), offer=Offer("coupon", 0.15)),
        on_cart(id="on-cart"),
        on_cart(
            id="left",
            trigger=AbsenceTrigger(after=("cart",), without=("purchase",), within_ms=2 * HOUR),
            offer=Offer("coupon", 0.3),
        ),
    )
}

steps = st.one_of(
    st.integers(1, 2 * MINUTE),
    st.sampled_from([1, 1_799_999, 1_800_000, HOUR, 2 * HOUR, DAY]),
    st.integers(1, 4 * DAY),
)
events = st.fixed_dictionaries(
    {"action": st.sampled_from([*ACTIONS, "view", "cart", "purchase", "wished_for"])},
    optional={
        "item_id": st.sampled_from(["i1", "i2", "i3"]),
        "item_category": st.sampled_from(["shoes", "books"]),
        "brand": st.sampled_from(["ace", "bolt"]),
        "price": st.integers(0, 400).map(lambda quarters: quarters / 4),
        "quantity": st.integers(0, 3),
        "traits": st.fixed_dictionaries(
            {},
            optional={
                "member_level": st.sampled_from(["gold", "silver", "level 3", "none"]),
                "gender": st.sampled_from(["f", "m"]),
            },
        ),
        "device": st.fixed_dictionaries({}, optional={"type": st.sampled_from(["phone", "tv"])}),
    },
)
answers = st.sampled_from(["delivered", "opened", "clicked", "converted", "bounced", None, None])


def live(
    life: list[tuple[int, dict[str, Any], str | None]],
) -> tuple[Harness, list[Any], list[Any]]:
    """Send a life through the stream, answering what it says; returns what was sent on each topic.

    Everything comes in the order of its time, no two in one instant: of two such the stream decides
    about the first before there is a second. ``seen`` says of each example up to when the stream
    had taken in what happened: a wait that ends is decided by what came before the event that moved
    the clock past it.
    """
    stream = Harness([day(), *CAMPAIGNS.values()])
    first = consenting(USER, ts=NOON_MS - HOUR)
    stream.send(first)
    sent, told, ts = [first], [], NOON_MS
    seen: list[int] = []

    def note() -> None:
        made = {d["decision_id"]: d["trigger_event_id"] for d in stream.outputs[DECISIONS]}
        for example in stream.outputs[EXAMPLES][len(seen) :]:
            at_once = made[example["decision_id"]] == sent[-1].get("event_id")
            seen.append(stream_ts[-1] if at_once else stream_ts[-1] - 1)

    stream_ts: list[int] = []
    for number, (step, about, answer) in enumerate(life):
        ts += step
        event = {"event_id": f"life-{number}", "user_id": USER, "ts": ts, **about}
        sent.append(event)
        stream_ts.append(ts)
        made = list(stream.send(event))
        note()
        if answer is not None and made:
            decision = made[-1]
            ts += 1
            outcome = {
                "outcome_id": f"o{number}", "user_id": USER, "ts": ts, "kind": answer,
                "decision_id": decision["decision_id"], "channel": decision["channel"],
                "campaign_id": decision["campaign_id"],
            }  # fmt: skip
            stream_ts.append(ts)
            stream.outcome(**outcome)
            note()
            told.append(outcome)
    return stream, sent, told, seen


def archived(folder: Path, table: ArchiveTable, records: list[Any]) -> list[Path]:
    """The records as a file of the archive."""
    place = {"topic_partition": 0, "topic_offset": 0, "ingested_ms": 0}
    rows = [place | table.row(encode(record), "") for record in records]
    path = folder / f"{table.name}.parquet"
    pq.write_table(pa.Table.from_pylist(rows, table.schema), path)
    return [path]


def again(facts: list[Fact], example: dict[str, Any], trigger: Fact, seen_ms: int) -> list[float]:
    """The features of an example, from the facts that the archive tells of."""
    at_ms = example["decided_at_ms"]
    known = Profile(b"", [fact for fact in facts if fact.ts <= seen_ms])
    return campaign_features(
        customer_features(known, at_ms), known, CAMPAIGNS[example["campaign_id"]],
        trigger.item, trigger.category, trigger.brand, trigger.price, at_ms,
    )  # fmt: skip


def compared(life: list[tuple[int, dict[str, Any], str | None]]) -> set[str]:
    """Compare a life's examples; returns which campaigns spoke."""
    stream, sent, told, seen = live(life)
    with TemporaryDirectory() as name:
        folder = Path(name)
        facts = facts_of(archived(folder, EVENTS, sent), archived(folder, OUTCOMES, told), [USER])[
            USER
        ]
    by_id = {fact.id64: fact for fact in facts}
    triggers = {d["decision_id"]: d["trigger_event_id"] for d in stream.outputs[DECISIONS]}
    for example, seen_ms in zip(stream.outputs[EXAMPLES], seen, strict=True):
        trigger = by_id[id64(triggers[example["decision_id"]])]
        ours = again(facts, example, trigger, seen_ms)
        wrong = {
            name: (mine, theirs)
            for name, mine, theirs in zip(FEATURES, ours, example["features"], strict=True)
            if abs(mine - theirs) > 1e-12
        }
        assert not wrong, example["campaign_id"]
    return {example["campaign_id"] for example in stream.outputs[EXAMPLES]}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(steps, events, answers), min_size=1, max_size=25))
def test_every_feature_of_every_example_is_the_same_by_night(life) -> None:
    compared(life)


def test_all_kinds_of_campaigns_are_compared() -> None:
    cart = {
        "action": "cart",
        "item_id": "i1",
        "item_category": "shoes",
        "brand": "ace",
        "price": 8.0,
    }
    life = [
        (MINUTE, {"action": "view", "item_id": "i1", "price": 10.0}, "clicked"),
        (MINUTE, cart, "delivered"),
        (5 * HOUR, {"action": "view"}, None),
    ]
    assert compared(life) == set(CAMPAIGNS)


@pytest.fixture(scope="module")
def vectors() -> list[list[float]]:
    return [example["features"] for life in LIVES for example in live(life)[0].outputs[EXAMPLES]]


@pytest.mark.parametrize("name", FEATURES)
def test_a_feature_that_the_night_computed_otherwise_would_be_seen(name: str, vectors) -> None:
    """No feature is compared by two constants that could not differ."""
    seen = {round(vector[FEATURES.index(name)], 9) for vector in vectors}
    if not name.startswith("campaign_bucket"):
        assert len(seen) > 1


_VIEW = {"action": "view", "item_id": "i1", "item_category": "shoes", "brand": "ace", "price": 10.0}
LIVES = (
    [
        (MINUTE, _VIEW, "clicked"),
        (MINUTE, {"action": "search", "query": "x", "traits": {"member_level": "gold"}}, "opened"),
        (MINUTE, {**_VIEW, "action": "cart", "price": 8.0}, "delivered"),
        (MINUTE, {**_VIEW, "action": "purchase", "price": 8.0}, "clicked"),
        (2 * DAY, {**_VIEW, "item_id": "i2", "item_category": "books", "brand": "bolt"}, None),
        (MINUTE, {**_VIEW, "action": "refund"}, None),
        (DAY, {**_VIEW, "action": "cart"}, "delivered"),
        (3 * HOUR, {"action": "login"}, None),
        (MINUTE, {**_VIEW, "action": "cart"}, None),
    ],
    [(day_ * DAY + 6 * HOUR * day_, _VIEW, "delivered") for day_ in range(5)],
)
