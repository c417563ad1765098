"""``python -m tests.goldens.contracts.write``: a record of each contract, as this version sends it.

A golden of a released version stays as it is for ever; a new version takes a new file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from schemas.audit import Candidate, Outcomes, PlanUpdate, RollOut, Shadow, TakenUp
from schemas.change import Change
from schemas.control import (
    AbsenceTrigger,
    Campaign,
    Cap,
    CatalogueItem,
    ChannelMix,
    EventTrigger,
    ItemSales,
    Policy,
    Posterior,
    QuietHours,
    ShareSpan,
)
from schemas.deadletter import DeadLetter
from schemas.decision import Decision, Loser, Offer
from schemas.effect import (
    Counted,
    Effect,
    EffectGap,
    EffectLift,
    ExperimentEffect,
    VariantEffect,
)
from schemas.event import Attribution, BehaviorEvent, Consent, Device, Location, Traits
from schemas.experiment import Experiment, Variant
from schemas.learning import Example, Reward
from schemas.learning_rules import Learning
from schemas.model import Challenger, Golden, LearnedDay, Model
from schemas.outcome import Outcome
from schemas.profile import Profile
from schemas.wire import encode

FOLDER: Final = Path(__file__).parent
TS: Final = 1_700_000_000_000

RECORDS: Final[dict[str, Any]] = {
    "behavior-event": BehaviorEvent(
        event_id="e-1",
        user_id="ann",
        action="purchase",
        ts="2023-11-14T22:13:20Z",
        item_id="shoe-7",
        item_category="shoes",
        brand="Ace",
        price=59.9,
        quantity=2,
        currency="EUR",
        query="røde sko",
        source="app",
        location=Location(59.9, 10.7, 20.0, "Oslo", "Oslo"),
        device=Device("phone", "android", "4.2"),
        attribution=Attribution("spring", "d-1", "push"),
        consent=Consent(marketing=True, sms=False),
        traits=Traits(gender="f", birth_year=1990, phone="13812345678", zone="Europe/Oslo"),
    ),
    "change": Change(
        key="campaign/spring",
        verb="withdrawn",
        version=3,
        at_ms=TS,
        after=None,
        author="ann",
    ),
    "outcome": Outcome("o-1", "ann", "converted", TS, 1, "d-1", "spring", "push", 119.8, "order-1"),
    "decision": Decision(
        decision_id="d-1",
        status="send",
        user_id="ann",
        campaign_id="spring",
        campaign_version=3,
        trigger="event",
        trigger_event_id="e-1",
        channel="push",
        propensity=0.75,
        score=0.0625,
        decided_at_ms=TS,
        ingested_ms=TS + 5,
        expires_at_ms=TS + 3_600_000,
        model_version="m-4",
        feature_hash="f00d",
        policy_version=2,
        posterior_version=17,
        offer=Offer("coupon", 0.125, 3),
        reason="sent",
        item_id="shoe-7",
        item_category="shoes",
        feature_age_ms=40,
        degraded=("no_model",),
        value=0.25,
        because=("discount of the offer: odds x 1.5",),
        losers=(Loser("left", "arbitration", "lost_arbitration", 0.5, 0.125),),
        deferred_ms=3_600_000,
        cost_micros=2_000,
        paid_day="2023-11-14",
        paid_number=7,
    ),
    "campaign-event": Campaign(
        "spring",
        3,
        "Spring sale",
        EventTrigger(("view",), 3, 3_600_000, "category"),
        ("push", "email"),
        offer=Offer("coupon", 0.125, 3),
        holdout_ratio=0.05,
        updated_ms=TS,
    ),
    "campaign-absence": Campaign(
        "left", 1, "Left", AbsenceTrigger(("cart",), ("purchase",), 1_800_000), ("sms",), "paused"
    ),
    "model": Model(
        "ctr", "m-4", "AAEC", "0" * 64, "f00d", Golden([[0.0, 1.0]], [0.5]), 0.875, 1_000, TS
    ),
    "policy": Policy(
        version=2,
        caps=(Cap(3, 86_400_000), Cap(1, per="day", channel="sms", category="sale")),
        quiet_hours=QuietHours("21:30", "09:00"),
        default_zone="Asia/Shanghai",
        updated_ms=TS,
    ),
    "posterior": Posterior(
        "spring",
        "push",
        3.5,
        40.0,
        17,
        TS,
        variant="trial/b",
        newest_ms=TS,
        met=(23.5,),
        won=(2.5,),
    ),
    "mix": ChannelMix(
        "spring",
        ("push", "sms"),
        (0.75, 0.25),
        17,
        TS,
        "trial/b",
        3,
        (ShareSpan(TS - 300_000, (0.5, 0.25), (0.75, 0.5)),),
    ),
    "experiment": Experiment(
        "trial",
        (Variant("a", 0.5), Variant("b", 0.5, Learning("bayes-ucb"), Offer("coupon", 0.1), 0.02)),
        "salt",
        0.05,
        10_000,
        TS,
        campaigns=("spring",),
        version=2,
        description="which learns",
    ),
    "audit-plan": PlanUpdate(
        "spring",
        "trial/b",
        -1,
        TS,
        "beta-thompson",
        {"push": 0.5, "sms": 0.5},
        {"push": 0.7, "sms": 0.3},
        {"push": 0.9, "sms": 0.1},
        {"push": 40.0, "sms": 40.0},
        {"push": 4.0, "sms": 1.0},
        "speed",
        "push 50.0% to 70.0%",
    ),
    "audit-shadow": Shadow([("d-1", 1, 0.25, 0.5)], 1, 1, 1.386, 0.693, 0.693, TS),
    "audit-rollout": RollOut("m-5", "canary", 0.1, "m-4", "won in shadow", "guard", TS),
    "item": CatalogueItem("shoe-7", "shoes", "Ace", 59.9, 0.25, 12, TS),
    "challenger": Challenger(
        "ctr", "f" * 16, (LearnedDay(TS, 9, (0.5, -0.25), -2.0, Golden([[1.0, 2.0]], [0.125])),), TS
    ),
    "sales": ItemSales("shoe-7", 4.25, TS),
    "profile": Profile("ann", TS, 12, 9, b"BKC\x01"),
    "effect": Effect(
        campaign_id="spring",
        channel="push",
        segment=None,
        hour_ms=TS - TS % 3_600_000,
        counted=Counted(sends=10, held_out=1, clicked=2, conversions=0.5, revenue=30.0, cost=0.02),
        roi=1500.0,
        click_through=0.2,
        conversion=0.05,
        unsubscribe_ratio=0.0,
        complaint_ratio=0.0,
        lifts=(EffectLift("orders", 0.1, 0.12, 0.02, -0.01, 0.05, 0.2, 11),),
        sample_ratio_p=1.0,
        gap=EffectGap("revenue", 40.0, 30.0),
        updated_ms=TS,
    ),
    "effect-experiment": ExperimentEffect(
        "which",
        2,
        TS,
        ("spring",),
        0.05,
        (
            VariantEffect("a", 0.5, 100, Counted(sends=90, clicked=9), 0.09, 0.02, 1.5),
            VariantEffect(
                "b",
                0.5,
                104,
                Counted(sends=95, clicked=19),
                0.18,
                0.02,
                1.5,
                (EffectLift("clicks", 0.09, 0.18, 0.09, -0.01, 0.19, 1.0, 204),),
                {"loyal": (EffectLift("clicks", 0.1, 0.2, 0.1, -0.02, 0.22, 1.0, 80),)},
            ),
        ),
        0.9,
        TS,
    ),
    "example": Example(
        "d-1",
        "ann",
        "spring",
        "push",
        [0.5, 1.0],
        "f00d",
        0.0625,
        0.75,
        "m-4",
        TS,
        True,
        1,
        ("push",),
    ),
    "reward": Reward(
        "d-1",
        "ann",
        "spring",
        "push",
        "converted",
        0.0,
        TS,
        119.8,
        1,
        "o-1",
        "order-1",
        1.0,
        1,
        119.8,
    ),
    "dead-letter": DeadLetter(
        "broken_json", "not UTF-8", "beckon.events.v1", 3, 41, "0" * 64, 9, "//8=", TS
    ),
    "audit-outcomes": Outcomes(
        "a7",
        ["beckon.events.v1", "beckon.outcomes.v1"],
        [(0, 3, 41, "dead", "broken_json")],
        number=9,
        heard=52,
        ticks=[(TS, 3)],
        given=[(0, 3, 41), (1, 0, 6)],
        taken_up=TakenUp(40, 51, {0: (5, 6)}),
    ),
    "audit-candidate": Candidate(
        "d-1", "ann", "spring", 3, "e-1", TS, "suppressed", "consent", "no_opt_in", 0.0625, "m-4", 2
    ),
}


def path_of(name: str) -> Path:
    """Where the golden of a record lies."""
    return FOLDER / f"{name}.v1.json"


if __name__ == "__main__":
    for name, record in RECORDS.items():
        path_of(name).write_bytes(encode(record) + b"\n")
