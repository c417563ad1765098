"""Attribution: which messages an order is credited to, and how that is taken back.

A touch is a message that was sent, did not bounce, and in whose attribution window (its campaign
sets it) the order lies by event time. The decision that an order names is the last touch, whatever
came after it. The models are the usual ones (Google Analytics' rule-based models; Dalessandro et
al., "Causally motivated attribution for online advertising", ADKDD 2012, says what none of them
is: a measure of effect, for which there are the held-out customers):

- ``last_touch``: all to the last;
- ``position``: two fifths each to the first and the last, the rest to those between;
- ``time_decay``: by 2^(-age / half-life).

Money is counted in micro-units, so that the credits of an order sum to its value exactly, and what
was given back leaves exactly nothing. An entry is made for each change of a touch's credit. So the
sums do not depend on whether an order, its refund or a bounce was heard of first.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from msgspec.structs import replace

from schemas.control import AttributionModel, Policy
from schemas.learning import ORGANIC, Reward
from schemas.outcome import Outcome
from schemas.topics import REWARDS
from scoring.emit import Emit
from state.book import Book, Exposure, Order, Touch

TOUCHES_LIMIT: Final = 8
"""Of more windows that hold an order, the last decisions' count."""
RETURNS_LIMIT: Final = 8
MICROS: Final = 1_000_000
_ENDS_SHARE: Final = 0.4


def shares(model: AttributionModel, ages_ms: Sequence[int], half_life_ms: int) -> tuple[float, ...]:
    """What each touch gets of an order, first touch first; together 1.

    ``ages_ms`` is how long before the order each touch was.
    """
    count = len(ages_ms)
    if model == "last_touch" or count < 2:
        return (0.0,) * (count - 1) + (1.0,) * (count > 0)
    if model == "position":
        if count == 2:
            return 0.5, 0.5
        between = (1 - 2 * _ENDS_SHARE) / (count - 2)
        return (_ENDS_SHARE, *(between,) * (count - 2), _ENDS_SHARE)
    youngest = min(ages_ms)
    weights = [2.0 ** ((youngest - age) / half_life_ms) for age in ages_ms]
    total = sum(weights)
    return tuple(weight / total for weight in weights)


def split(micros: int, parts: Sequence[float]) -> list[int]:
    """Cut an amount into parts that sum to it: each ends where its cumulated share does."""
    edges = [round(micros * edge) for edge in accumulate(parts)]
    if edges:
        edges[-1] = micros
    return [edge - before for before, edge in zip([0, *edges], edges, strict=False)]


def take_order(
    book: Book, order: Order, outcome: Outcome, ts: int, named: Exposure | None, policy: Policy
) -> list[Emit]:
    """Credit an order that has come; what was given back before it came is left out.

    ``named`` is the exposure that it answers by name.
    """
    order.at_ms = ts
    order.value_micros = round((outcome.value or 0.0) * MICROS)
    order.named = "" if named is None else named.decision_id
    found = [each for each in book.exposures if each is named or each.at_ms <= ts <= each.closes_ms]
    found.sort(key=lambda each: (each is named, each.at_ms, each.decision_id))
    touches = [
        Touch(each.decision_id, each.campaign, each.channel, each.at_ms, each.holdout)
        for each in found[-TOUCHES_LIMIT:]
    ]
    return _credit(order, touches, outcome, ts, policy)


def give_back(order: Order, outcome: Outcome, digest: int, ts: int, policy: Policy) -> list[Emit]:
    """Take back what a refund or a cancellation says; of an order still to come, remember it."""
    if outcome.kind == "cancelled" or outcome.value is None:
        order.void = True
    else:
        order.returned_micros += round(outcome.value * MICROS)
    order.returns = [*order.returns[1 - RETURNS_LIMIT :], digest]
    return _credit(order, order.touches, outcome, ts, policy) if order.at_ms else []


def drop_touch(book: Book, outcome: Outcome, ts: int, policy: Policy) -> list[Emit]:
    """A message bounced after all: what it was credited goes to the other touches, or nobody."""
    emits: list[Emit] = []
    for order in book.orders:
        kept = [each for each in order.touches if each.decision_id != outcome.decision_id]
        if len(kept) < len(order.touches):
            emits += _credit(order, kept, outcome, ts, policy)
    return emits


def is_organic(order: Order) -> bool:
    """Whether an order is credited to nobody."""
    return any(not touch.decision_id for touch in order.touches)


def _credit(
    order: Order, touches: list[Touch], outcome: Outcome, ts: int, policy: Policy
) -> list[Emit]:
    """Let an order have these touches; an entry for each whose account changes by that."""
    sent = [touch for touch in touches if not touch.holdout]
    if not sent:
        sent = [Touch("", "", "", order.at_ms)]
        touches = [*touches, *sent]
    named, at_ms = order.named, order.at_ms
    ages = [0 if each.decision_id == named else max(0, at_ms - each.at_ms) for each in sent]
    parts = shares(policy.attribution, ages, policy.attribution_half_life_ms)
    left, stands = order.left_micros, order.stands
    credited = {
        touch.decision_id: credit
        for touch, *credit in zip(sent, parts, split(left, parts), strict=True)
    }
    told = {touch.decision_id: touch for touch in order.touches}
    order.touches = []
    emits: list[Emit] = []
    for touch in touches:
        share, micros = credited.get(touch.decision_id, (0.0, 0))
        now = replace(
            touch,
            share=share if stands else 0.0,
            credit_micros=micros,
            orders=int(stands),
            order_micros=left,
        )
        order.touches.append(now)
        emits += _entry(order, told.pop(touch.decision_id, None), now, outcome, ts)
    for touch in told.values():
        gone = Touch(touch.decision_id, touch.campaign, touch.channel, touch.at_ms, touch.holdout)
        emits += _entry(order, touch, gone, outcome, ts)
    return emits


def _entry(order: Order, before: Touch | None, now: Touch, outcome: Outcome, ts: int) -> list[Emit]:
    """What is to be added to a decision's account, if anything is."""
    if before is None:
        before = Touch(now.decision_id, now.campaign, now.channel, now.at_ms, now.holdout)
    if before == now:
        return []
    share, micros = now.share - before.share, now.credit_micros - before.credit_micros
    orders, whole = now.orders - before.orders, now.order_micros - before.order_micros
    record = Reward(
        decision_id=now.decision_id,
        user_id=outcome.user_id,
        campaign_id=now.campaign,
        channel=now.channel or None,  # type: ignore[arg-type]
        kind="reversed" if min(share, micros, orders, whole) < 0 else "converted",
        reward=0.0,
        ts=ts,
        value=micros / MICROS,
        outcome_id=outcome.outcome_id,
        order_id=order.order_id,
        share=share,
        orders=orders,
        order_value=whole / MICROS,
        holdout=now.holdout,
    )
    key = f"{now.campaign}/{now.channel}" if now.decision_id else ORGANIC
    return [Emit(REWARDS, key, record)]
