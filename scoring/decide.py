"""From triggered campaigns to published decisions: the gates, arbitration, the channel.

A moment is all that wants to speak to one customer at one event, or at one time that has come. Of
marketing at most one message comes of it; what is owed to the customer goes besides.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from msgspec import Struct

from schemas.audit import Candidate as CandidateAudit
from schemas.control import Campaign
from schemas.decision import Decision, Loser
from schemas.learning import Example
from schemas.reasons import REASONS
from schemas.topics import AUDIT, DECISIONS, EXAMPLES
from scoring.campaigns.base import Trigger
from scoring.emit import Emit, Step
from scoring.features import FEATURE_HASH, customer_features, did_before
from scoring.gates import Candidate, first_refusal, in_order
from scoring.gates.arbitration import LOST, appraise, features_of, rank
from scoring.gates.base import decision_id, is_transactional
from scoring.gates.channel import Choice, choose
from scoring.model import PRIOR_VERSION
from scoring.overtaken import OVERTAKEN, is_overtaken
from scoring.rewards import expiry
from scoring.words import because
from scoring.world import World, is_audited
from state.book import EXPOSURES_LIMIT, Armed, Exposure, Send
from state.customer import Customer
from state.fact import id64
from state.purse import SPENT

if TYPE_CHECKING:
    from state.purse import Purse

Wish = tuple[Campaign, Trigger, int]
"""A campaign that wants to speak, what set it off, and when its reason arose."""


def decide(
    user_id: str,
    customer: Customer,
    wishes: Iterable[Wish],
    world: World,
    purse: Purse | None = None,
    *,
    by_time: bool = False,
) -> Step:
    """Take the wishes of one moment through the gates.

    Returns the end of the input that set them off, the reasons of those that came to nothing, and
    what to publish. The customer's book remembers what was decided, and what waits. ``by_time`` is
    for a moment that no input brought: then every refusal is audited.
    """
    moment = _Moment(user_id, customer, world, purse)
    for spec, trigger, since_ms in wishes:
        moment.admit(spec, trigger, since_ms)
    moment.settle()
    return moment.step(by_time=by_time)


def cancelled(
    user_id: str,
    campaign: str,
    version: int,
    waiting: Armed,
    at_ms: int,
    reason: str,
    world: World,
) -> Emit:
    """The audit of a deferred message that will not be sent; told for all customers."""
    record = CandidateAudit(
        decision_id=decision_id(user_id, campaign, waiting.event_id),
        user_id=user_id,
        campaign_id=campaign,
        campaign_version=version,
        trigger_event_id=waiting.event_id,
        ts=at_ms,
        end="cancelled",
        gate=REASONS[reason].gate,
        reason=reason,
        score=0.0,
        model_version=world.models.of(user_id).version,
        policy_version=world.policy.version,
        due_ms=waiting.due_ms,
    )
    return Emit(AUDIT, user_id, record)


class _Moment:
    """The candidates of one customer at one moment."""

    __slots__ = (
        "book", "emits", "head", "owed", "profile", "purse", "refused", "rivals",
        "spoke", "user_id", "winner", "world",
    )  # fmt: skip

    def __init__(self, user_id: str, customer: Customer, world: World, purse: Purse | None) -> None:
        self.user_id = user_id
        self.world = world
        self.purse = purse
        self.book = customer.book
        self.profile = customer.profile()
        self.head: list[float] | None = None
        self.emits: list[Emit] = []
        self.refused: list[tuple[Candidate, str]] = []
        self.rivals: list[Candidate] = []
        self.owed: list[Candidate] = []
        self.winner = ""
        self.spoke = False

    def admit(self, spec: Campaign, trigger: Trigger, since_ms: int) -> None:
        """Take a wish as far as it comes by itself."""
        world = self.world
        variant = ""
        if world.experiments:
            spec, variant = world.treatment(spec, self.user_id)
        candidate = Candidate(
            self.user_id,
            spec,
            trigger,
            trigger.at_ms,
            since_ms,
            self.profile,
            self.book,
            world.catalogue,
            self.purse,
            segmentation=world.segmentation,
            variant=variant,
        )
        sealed = world.sealed.get(candidate.decision_id) if world.sealed else None
        if sealed is not None:
            self._make_again(candidate, sealed)
            return
        reason = first_refusal(world.chain(spec).gates, candidate)
        if reason is None and world.standing and is_overtaken(candidate, world):
            reason = OVERTAKEN
        if reason is None:
            candidate.considered = not candidate.held_out
            reason = self._appraise(candidate)
        if reason is not None:
            self.refused.append((candidate, reason))
            if candidate.due_ms:
                self._defer(candidate)
        elif is_transactional(spec):
            self.owed.append(candidate)
        else:
            self.rivals.append(candidate)

    def settle(self) -> None:
        """Let the rivals compete, and publish what goes out."""
        for candidate in self.owed:
            self._speak(candidate)
        rank(self.rivals)
        for candidate in self.rivals:
            if self.winner:
                self.refused.append((candidate, LOST))
            else:
                self._speak(candidate)

    def step(self, *, by_time: bool) -> Step:
        """What came of the moment."""
        refused, emits = self.refused, self.emits
        if refused:
            whole = by_time or is_audited(self.user_id, self.world.audited_share)
            emits += [
                self._audit(candidate, reason)
                for candidate, reason in refused
                if whole or (candidate.variant and candidate.considered)
            ]
        reasons = in_order([reason for _, reason in refused]) if refused else ""
        if self.spoke:
            return Step("decided", reasons, emits)
        waits = any(candidate.due_ms for candidate, _ in refused)
        return Step("deferred" if waits else "suppressed", reasons, emits)

    def _appraise(self, candidate: Candidate) -> str | None:
        return appraise(candidate, self._head(candidate), self.world)

    def _head(self, candidate: Candidate) -> list[float]:
        if self.head is None:
            self.head = customer_features(self.profile, candidate.at_ms)
        return self.head

    def _speak(self, candidate: Candidate) -> None:
        """Publish a decision, if it can be paid for."""
        choice = choose(candidate, self.world)
        if choice is None:
            self.refused.append((candidate, SPENT))
            return
        rivals = () if is_transactional(candidate.spec) else self._losers(candidate)
        decision = _decision(candidate, choice, rivals, self.world)
        self._publish(candidate, decision)
        example = _example(decision, candidate, self.world)
        self.emits.append(Emit(EXAMPLES, decision.decision_id, example))

    def _publish(self, candidate: Candidate, decision: Decision) -> None:
        """Remember the decision in the book, and publish it."""
        book, spec, at_ms = self.book, candidate.spec, decision.decided_at_ms
        name, sends = decision.decision_id, decision.status == "send"
        book.record_spoken(spec.id, at_ms)
        if not is_transactional(spec):
            self.winner = name
            until_ms = at_ms + self.world.policy.reservation_ms if sends else 0
            book.record_send(Send(at_ms, until_ms, id64(name), decision.channel, spec.category))
        book.exposures.append(
            Exposure(
                name,
                spec.id,
                decision.channel,
                at_ms,
                at_ms + spec.attribution_window_ms,
                paid_day=decision.paid_day,
                cost_micros=decision.cost_micros,
                holdout=not sends,
                variant=decision.variant,
                case=decision.case,
            )
        )
        if len(book.exposures) > EXPOSURES_LIMIT:
            self.emits += expiry(self.user_id, book.exposures.pop(0), at_ms)
        self.spoke = True
        self.emits.append(Emit(DECISIONS, decision.user_id, decision))

    def _make_again(self, candidate: Candidate, sealed: Decision) -> None:
        """A decision that was published before a crash: at its own time, as it was."""
        if sealed.decided_at_ms > candidate.at_ms:
            candidate.due_ms = sealed.decided_at_ms
            self.refused.append((candidate, "deferred"))
            self._defer(candidate)
            return
        # The gates again, for the channels that were open; what they say now does not matter.
        first_refusal(self.world.chain(candidate.spec).gates, candidate)
        candidate.due_ms = 0
        candidate.features = features_of(candidate, self._head(candidate), sealed.offer, self.world)
        self._publish(candidate, sealed)  # the purse has paid for it since it was opened
        example = _example(sealed, candidate, self.world)
        self.emits.append(Emit(EXAMPLES, sealed.decision_id, example))

    def _defer(self, candidate: Candidate) -> None:
        """Let it wait for the morning, in the place of what the campaign has waiting already."""
        spec, deferred = candidate.spec, self.book.deferred
        before = deferred.get(spec.id)
        if before is not None:
            self.emits.append(
                cancelled(
                    self.user_id,
                    spec.id,
                    spec.version,
                    before,
                    candidate.at_ms,
                    "superseded",
                    self.world,
                )
            )
        deferred[spec.id] = _waiting(candidate)

    def _losers(self, winner: Candidate) -> tuple[Loser, ...]:
        """Everybody else of the moment, with what stopped them."""
        lost = [(candidate, LOST) for candidate in self.rivals if candidate is not winner]
        return tuple(
            [
                Loser(
                    candidate.spec.id,
                    REASONS[reason].gate,
                    reason,
                    candidate.score,
                    candidate.value,
                )
                for candidate, reason in (*lost, *self.refused)
            ]
        )

    def _audit(self, candidate: Candidate, code: str) -> Emit:
        reason, spec, world = REASONS[code], candidate.spec, self.world
        record = CandidateAudit(
            decision_id=candidate.decision_id,
            user_id=self.user_id,
            campaign_id=spec.id,
            campaign_version=spec.version,
            trigger_event_id=candidate.trigger.event_id,
            ts=candidate.at_ms,
            end=reason.end,
            gate=reason.gate,
            reason=code,
            score=candidate.score,
            model_version=world.models.of(self.user_id, candidate.variant).version,
            policy_version=world.policy.version,
            value=candidate.value,
            due_ms=candidate.due_ms,
            winner=self.winner if code == LOST else "",
            variant=candidate.variant,
            considered=candidate.considered,
            before=did_before(self._head(candidate)) if candidate.considered else (0.0, 0.0, 0.0),
        )
        return Emit(AUDIT, self.user_id, record)


@cache
def _kind(trigger: type[Struct]) -> str:
    """What a kind of trigger is called."""
    return str(trigger.__struct_config__.tag)


def _waiting(candidate: Candidate) -> Armed:
    """What the book keeps of a candidate until the quiet hours end."""
    trigger = candidate.trigger
    return Armed(
        candidate.due_ms,
        trigger.event_id,
        candidate.since_ms,
        trigger.ingested_ms,
        trigger.item,
        trigger.category,
        trigger.brand,
        trigger.price,
        trigger.place,
        trigger.items,
        trigger.until_ms,
    )


def _decision(
    candidate: Candidate, choice: Choice, losers: tuple[Loser, ...], world: World
) -> Decision:
    spec, trigger, at_ms = candidate.spec, candidate.trigger, candidate.at_ms
    model, policy = world.models.of(candidate.user_id, candidate.variant), world.policy
    degraded: tuple[str, ...] = ("no_model",) if model.version == PRIOR_VERSION else ()
    if candidate.score_failed:
        degraded = (*degraded, "score_failed")
    if candidate.variant and world.models.lacks(candidate.variant):
        degraded = (*degraded, "no_variant_model")
    expires_at_ms = candidate.lasts_until_ms
    quiet_hours = world.chain(spec).quiet_hours
    if quiet_hours is not None:
        expires_at_ms = min(expires_at_ms, quiet_hours.begin_ms(candidate))
    return Decision(
        decision_id=candidate.decision_id,
        status="holdout" if candidate.held_out else "send",
        user_id=candidate.user_id,
        campaign_id=spec.id,
        campaign_version=spec.version,
        trigger=_kind(type(spec.trigger)),
        trigger_event_id=trigger.event_id,
        channel=choice.channel,
        propensity=choice.propensity,
        score=candidate.score,
        decided_at_ms=at_ms,
        ingested_ms=trigger.ingested_ms,
        expires_at_ms=expires_at_ms,
        model_version=model.version,
        feature_hash=FEATURE_HASH,
        policy_version=policy.version,
        posterior_version=world.mixes.version(spec, choice.channel, candidate.variant),
        offer=candidate.offer,
        reason="held_out" if candidate.held_out else "sent",
        item_id=trigger.item,
        item_category=trigger.category,
        feature_age_ms=max(0, at_ms - candidate.book.newest_ms),
        degraded=degraded,
        value=candidate.value,
        because=because(model, candidate.features),
        losers=losers,
        deferred_ms=at_ms - candidate.since_ms,
        cost_micros=choice.cost_micros,
        paid_day=choice.paid.day,
        paid_number=choice.paid.number,
        variant=candidate.variant,
        case=candidate.case,
    )


def _example(decision: Decision, candidate: Candidate, world: World) -> Example:
    shadow = world.models.shadow_of(decision.model_version)
    return Example(
        decision_id=decision.decision_id,
        user_id=decision.user_id,
        campaign_id=decision.campaign_id,
        channel=decision.channel,
        features=candidate.features,
        feature_hash=decision.feature_hash,
        score=decision.score,
        propensity=decision.propensity,
        model_version=decision.model_version,
        decided_at_ms=decision.decided_at_ms,
        holdout=decision.status == "holdout",
        channels=tuple(candidate.channels),
        variant=decision.variant,
        case=decision.case,
        shadow_version="" if shadow is None else shadow.version,
        shadow_score=0.0 if shadow is None else shadow.score(candidate.features),
    )
