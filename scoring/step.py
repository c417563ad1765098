"""One step of one customer: an input (or the passing of time) in, an end and emits out.

Pure: no clock, no I/O, no randomness of its own. Time comes from the input or the shard's clock,
draws are seeded by the decision's id. The customer is changed in place; the world is only read.
"""

from __future__ import annotations

from schemas.control import Campaign
from schemas.errors import InvalidRecord
from schemas.event import BehaviorEvent
from schemas.learning import Reward
from schemas.outcome import Outcome
from schemas.topics import REWARDS
from schemas.wire import instant_ms
from scoring.campaigns.base import Trigger
from scoring.decide import decide
from scoring.emit import Emit, Step
from scoring.world import World
from state.book import Exposure
from state.customer import Customer
from state.fact import fact_of_event, fact_of_outcome, id64

_UPDATED = Step("updated", "", [])
_LATE = Step("late", "", [])
_DUPLICATE = Step("duplicate", "", [])


def event_time(ts: int | str, ingested_ms: int, world: World) -> int:
    """UTC ms of an input's ``ts``.

    Raises:
        InvalidRecord: bad_timestamp; or future_timestamp, further ahead of the broker's clock
            than the policy tolerates.
    """
    moment = instant_ms(ts)
    ahead = moment - ingested_ms
    if ahead > world.policy.future_tolerance_ms:
        raise InvalidRecord(
            "future_timestamp",
            f"{ts!r} is {ahead} ms ahead of the broker; "
            f"{world.policy.future_tolerance_ms} ms are tolerated",
        )
    return moment


def on_event(
    customer: Customer, event: BehaviorEvent, ts: int, ingested_ms: int, world: World
) -> Step:
    """A behaviour event: remember it, and let the campaigns that listen to it speak.

    ``ts`` is the event's time as `event_time` gives it.
    """
    digest = id64(event.event_id)
    if customer.knows(digest):
        return _DUPLICATE
    late = customer.is_late(ts, world.policy.lateness_ms)
    book = customer.book
    fact = fact_of_event(event, ts, digest, book.revision + 1)
    customer.accept(fact)
    listeners = world.listeners(fact.action)
    if late:
        for kind in listeners:
            kind.on_late_fact(fact, book)
        return _LATE
    triggered: list[tuple[Campaign, Trigger]] = []
    for kind in listeners:
        trigger = kind.on_fact(fact, event.event_id, ingested_ms, customer)
        if trigger is not None:
            triggered.append((kind.spec, trigger))
    if not triggered:
        return _UPDATED
    return Step(*decide(event.user_id, customer, triggered, world))


def on_outcome(customer: Customer, outcome: Outcome, ts: int) -> Step:
    """An outcome: remember it, and pay the reward if it answers an open exposure."""
    digest = id64(outcome.outcome_id)
    if customer.knows(digest):
        return _DUPLICATE
    book = customer.book
    place = _open_exposure(book.exposures, outcome, ts)
    exposure = None if place is None else book.exposures[place]
    campaign = outcome.campaign_id if exposure is None else exposure.campaign
    channel = outcome.channel if exposure is None else exposure.channel
    customer.accept(fact_of_outcome(outcome, ts, digest, book.revision + 1, campaign, channel))
    if place is None or exposure is None:
        needs_one = outcome.kind not in ("unsubscribed", "complained")
        return Step("unmatched" if needs_one else "updated", "", [])
    emits: list[Emit] = []
    match outcome.kind:
        case "clicked" if not exposure.clicked:
            book.exposures[place] = Exposure(
                exposure.decision_id,
                exposure.campaign,
                exposure.channel,
                exposure.closes_ms,
                clicked=True,
            )
            emits.append(_reward(outcome.user_id, exposure, "clicked", 1.0, ts))
        case "converted":
            emits.append(
                _reward(outcome.user_id, exposure, "converted", 0.0, ts, outcome.value or 0.0)
            )
        case "bounced":
            del book.exposures[place]  # never seen, so it teaches nothing
    return Step("updated", "", emits)


def on_due(user_id: str, customer: Customer, now_ms: int, world: World) -> list[Emit]:
    """Time has come to ``now_ms`` for this customer: close what has run out, in order of time."""
    book = customer.book
    emits: list[Emit] = []
    for exposure in [e for e in book.exposures if e.closes_ms <= now_ms]:
        book.exposures.remove(exposure)
        if not exposure.clicked:
            emits.append(_reward(user_id, exposure, "expired", 0.0, exposure.closes_ms))
    due = sorted(
        (armed.due_ms, name) for name, armed in book.armed.items() if armed.due_ms <= now_ms
    )
    for _, name in due:
        armed = book.armed.pop(name)
        kind = world.campaigns.get(name)
        if kind is None:
            continue
        trigger = kind.on_due(armed)
        if trigger is not None:
            emits += decide(user_id, customer, [(kind.spec, trigger)], world)[2]
    return emits


def _open_exposure(exposures: list[Exposure], outcome: Outcome, ts: int) -> int | None:
    for place, exposure in enumerate(exposures):
        if exposure.decision_id == outcome.decision_id:
            return place if ts <= exposure.closes_ms else None
    return None


def _reward(
    user_id: str,
    exposure: Exposure,
    kind: str,
    reward: float,
    ts: int,
    value: float = 0.0,
) -> Emit:
    record = Reward(
        decision_id=exposure.decision_id,
        user_id=user_id,
        campaign_id=exposure.campaign,
        channel=exposure.channel,  # type: ignore[arg-type]
        kind=kind,  # type: ignore[arg-type]
        reward=reward,
        ts=ts,
        value=value,
    )
    return Emit(REWARDS, f"{exposure.campaign}/{exposure.channel}", record)
