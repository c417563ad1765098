"""One step of one customer: an input (or the passing of time) in, an end and emits out.

Pure: no clock, no I/O, no randomness of its own. Time comes from the input or the shard's clock,
draws are seeded by the decision's id. The customer is changed in place; the world is only read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from schemas.audit import UNANSWERED
from schemas.errors import InvalidRecord
from schemas.event import BehaviorEvent, Consent
from schemas.outcome import CHANNELS, ORDER_KINDS, Outcome
from schemas.wire import YEAR_2000_MS, instant_ms
from scoring.attribution import drop_touch, give_back, is_organic, take_order
from scoring.campaigns.base import Seen, Watch, trigger_of
from scoring.campaigns.index import Index
from scoring.decide import Wish, cancelled, decide
from scoring.emit import Emit, Step
from scoring.rewards import expiry, reward
from scoring.world import World
from state.book import ARRIVED, Book, Order
from state.customer import Customer
from state.fact import Fact, fact_of_event, fact_of_outcome, id64

if TYPE_CHECKING:
    from state.purse import Purse

_UPDATED = Step("updated", "", [])
_LATE = Step("late", "", [])
_DUPLICATE = Step("duplicate", "", [])

_REWARDED: Final = frozenset({"clicked", "unsubscribed", "complained"})


def event_time(ts: int | str, ingested_ms: int, world: World) -> int:
    """UTC ms of an input's ``ts``.

    Raises:
        InvalidRecord: bad_timestamp; or future_timestamp, further ahead of the broker's clock
            than the policy tolerates.
    """
    moment = ts if type(ts) is int and ts >= YEAR_2000_MS else instant_ms(ts)
    ahead = moment - ingested_ms
    if ahead > world.policy.future_tolerance_ms:
        raise InvalidRecord(
            "future_timestamp",
            f"{ts!r} is {ahead} ms ahead of the broker; "
            f"{world.policy.future_tolerance_ms} ms are tolerated",
        )
    return moment


def on_event(
    customer: Customer,
    event: BehaviorEvent,
    ts: int,
    ingested_ms: int,
    world: World,
    purse: Purse | None = None,
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
    if book.bounced and event.consent is not None:
        _opt_in(book, event.consent)
    index = world.index
    if book.armed:
        _end_waits(fact, book, index)
    watches = index.wanting(fact, book, world)
    if late:
        if watches:
            seen = Seen(fact, event.event_id, ingested_ms, customer, world)
            for watch in watches:
                watch.on_late_fact(seen)
        taken_back = _take_back(event.user_id, fact, customer, world) if book.deferred else []
        return Step("late", "", taken_back) if taken_back else _LATE
    wishes: list[Wish] = []
    if watches:
        seen = Seen(fact, event.event_id, ingested_ms, customer, world)
        for watch in watches:
            for spec, trigger in watch.on_fact(seen):
                wishes.append((spec, trigger, trigger.at_ms))
    taken_back = _take_back(event.user_id, fact, customer, world) if book.deferred else []
    if not wishes:
        return Step("updated", "", taken_back) if taken_back else _UPDATED
    if len(wishes) > 1:
        wishes.sort(key=_campaign)
    step = decide(event.user_id, customer, wishes, world, purse)
    return step._replace(emits=taken_back + step.emits) if taken_back else step


def on_outcome(
    customer: Customer, outcome: Outcome, ts: int, world: World, purse: Purse | None = None
) -> Step:
    """An outcome: remember it, and pay the reward if it answers an open exposure.

    What arrived is settled for caps and budget; what bounced is given back. Orders are credited,
    and credited no longer when they are given back, by `scoring.attribution`.
    """
    digest = id64(outcome.outcome_id)
    if customer.knows(digest):
        return _DUPLICATE
    book, policy = customer.book, world.policy
    order = _order(book, outcome) if outcome.kind in ORDER_KINDS else None
    if order is not None and _repeats(order, outcome, digest):
        return _DUPLICATE
    place, reason = _open_exposure(book, outcome, ts, policy.future_tolerance_ms)
    exposure = None if place is None else book.exposures[place]
    campaign = outcome.campaign_id if exposure is None else exposure.campaign
    channel = outcome.channel if exposure is None else exposure.channel
    customer.accept(fact_of_outcome(outcome, ts, digest, book.revision + 1, campaign, channel))
    if outcome.decision_id is not None:
        book.settle_send(id64(outcome.decision_id), outcome.kind, channel, ts)
    emits: list[Emit] = []
    if order is not None:
        if outcome.kind == "converted":
            emits = take_order(book, order, outcome, ts, exposure, policy)
            reason = reason or ("organic" if is_organic(order) else "")
        else:
            reason = "" if order.at_ms else "unknown_order"
            if order.at_ms and not order.stands:
                reason = "given_back"
            emits = give_back(order, outcome, digest, ts, policy)
    if place is None or exposure is None or exposure.holdout:
        return Step("unmatched" if reason in UNANSWERED else "updated", reason, emits)
    if outcome.kind == "bounced":
        del book.exposures[place]  # never seen, so it teaches nothing
        if purse is not None:
            purse.release(
                exposure.campaign,
                exposure.channel,  # type: ignore[arg-type]
                exposure.paid_day,
                exposure.cost_micros,
            )
        worth = float("clicked" in exposure.answered)
        bounced = reward(outcome.user_id, exposure, "bounced", worth, ts, outcome)
        return Step("updated", "", [*drop_touch(book, outcome, ts, policy), bounced])
    kind, answered = outcome.kind, exposure.answered
    if kind in _REWARDED and kind not in answered:
        answered = (*answered, kind)
        emits.append(reward(outcome.user_id, exposure, kind, float(kind == "clicked"), ts, outcome))
    paid_day = "" if kind in ARRIVED else exposure.paid_day
    if answered != exposure.answered or paid_day != exposure.paid_day:
        book.exposures[place] = replace(exposure, answered=answered, paid_day=paid_day)
    return Step("unmatched" if reason in UNANSWERED else "updated", reason, emits)


def on_due(
    user_id: str, customer: Customer, now_ms: int, world: World, purse: Purse | None = None
) -> list[Emit]:
    """Time has come to ``now_ms`` for this customer: do what has become due, in order of time."""
    book = customer.book
    emits: list[Emit] = []
    for exposure in [e for e in book.exposures if e.closes_ms <= now_ms]:
        book.exposures.remove(exposure)
        emits += expiry(user_id, exposure, exposure.closes_ms)
    while (moment_ms := book.next_moment_ms()) is not None and moment_ms <= now_ms:
        wishes, over = _waits_over(customer, moment_ms, world)
        if over and book.deferred:
            emits += _lost_reason(user_id, customer, moment_ms, over, world)
        emits += _resume(user_id, customer, moment_ms, wishes, world)
        if wishes:
            wishes.sort(key=_campaign)
            emits += decide(user_id, customer, wishes, world, purse, by_time=True).emits
    return emits


def _waits_over(customer: Customer, now_ms: int, world: World) -> tuple[list[Wish], list[Watch]]:
    """Who wants to speak as their wait ends at this very moment, and whose waits do."""
    armed, watches = customer.book.armed, world.index.watches
    wishes: list[Wish] = []
    over: list[Watch] = []
    for key in sorted(key for key, wait in armed.items() if wait.due_ms <= now_ms):
        wait, watch = armed.pop(key), watches.get(key)
        if watch is not None:
            over.append(watch)
            for spec, trigger in watch.on_due(wait, customer, world):
                wishes.append((spec, trigger, trigger.at_ms))
    return wishes, over


def _lost_reason(
    user_id: str, customer: Customer, now_ms: int, over: list[Watch], world: World
) -> list[Emit]:
    """Cancel what is deferred of the watches whose wait ended, where that ended its reason."""
    deferred = customer.book.deferred
    emits: list[Emit] = []
    for watch in over:
        for spec in watch.specs:
            waiting = deferred.get(spec.id)
            if waiting is None or watch.still(spec, waiting, now_ms, customer, world) is not None:
                continue
            del deferred[spec.id]
            emits.append(
                cancelled(user_id, spec.id, spec.version, waiting, now_ms, "reason_gone", world)
            )
    return emits


def _resume(
    user_id: str, customer: Customer, now_ms: int, wishes: list[Wish], world: World
) -> list[Emit]:
    """Ask again for what was deferred until this moment; tell what has lost its reason."""
    deferred = customer.book.deferred
    fresh = {spec.id for spec, _, _ in wishes}
    emits: list[Emit] = []
    for name in sorted(name for name, waiting in deferred.items() if waiting.due_ms <= now_ms):
        waiting = deferred.pop(name)
        spec = world.campaigns.get(name)
        if spec is None:
            emits.append(cancelled(user_id, name, 0, waiting, now_ms, "campaign_gone", world))
            continue
        watch = world.index.watch_of[name]
        if name in fresh:
            reason = "superseded"
        elif (left := watch.still(spec, waiting, now_ms, customer, world)) is None:
            reason = "reason_gone"
        else:
            wishes.append((spec, trigger_of(left, now_ms), left.event_ms))
            continue
        emits.append(cancelled(user_id, name, spec.version, waiting, now_ms, reason, world))
    return emits


def _end_waits(fact: Fact, book: Book, index: Index) -> None:
    """End the waits that a fact, perhaps a late one, ends."""
    ended, armed = index.ended_by(fact.action), book.armed
    if ended:
        over: list[str] | None = None
        for key, wait in armed.items():
            watch = ended.get(key)
            if watch is not None and watch.ends(fact, wait):
                if over is None:
                    over = [key]
                else:
                    over.append(key)
        for key in over or ():
            del armed[key]


def _take_back(user_id: str, fact: Fact, customer: Customer, world: World) -> list[Emit]:
    """Cancel the deferred messages whose reason a fact, perhaps a late one, has ended."""
    deferred = customer.book.deferred
    emits: list[Emit] = []
    for name, waiting in list(deferred.items()):
        watch = world.index.watch_of.get(name)
        if watch is None:
            continue
        spec = world.campaigns[name]
        if watch.takes_back(spec, fact, waiting, customer, world):
            del deferred[name]
            emits.append(
                cancelled(user_id, name, spec.version, waiting, fact.ts, "reason_gone", world)
            )
    return emits


def _campaign(wish: Wish) -> str:
    return wish[0].id


def _opt_in(book: Book, consent: Consent) -> None:
    for channel in CHANNELS:
        if getattr(consent, channel):
            book.opted_in(channel)


def _order(book: Book, outcome: Outcome) -> Order:
    """The order that an outcome speaks of; a new one, remembered, if none is known."""
    order_id = outcome.order_id or outcome.outcome_id
    order = book.order(order_id)
    if order is None:
        order = Order(order_id)
        book.remember_order(order)
    return order


def _repeats(order: Order, outcome: Outcome, digest: int) -> bool:
    """Whether an order already has what an outcome says of it, whenever that was heard."""
    return order.at_ms > 0 if outcome.kind == "converted" else digest in order.returns


def _open_exposure(
    book: Book, outcome: Outcome, ts: int, tolerance_ms: int
) -> tuple[int | None, str]:
    """The place of the exposure that an outcome answers by name, or why it answers none."""
    name = outcome.decision_id
    if name is None:
        return None, ""
    for place, exposure in enumerate(book.exposures):
        if exposure.decision_id == name:
            if ts < exposure.at_ms - tolerance_ms:
                return None, "before_decision"
            if ts > exposure.closes_ms:
                return None, "after_window"
            if exposure.holdout and outcome.kind not in ORDER_KINDS:
                return None, "held_out"
            return place, ""
    digest = id64(name)
    known = any(send.digest == digest for send in book.sends)
    return None, "after_window" if known else "unknown_decision"
