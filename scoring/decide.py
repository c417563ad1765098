"""From triggered campaigns to published decisions: gates, score, channel."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite

from xxhash import xxh3_64_intdigest, xxh3_128_hexdigest

from schemas.audit import Candidate as CandidateAudit
from schemas.control import Campaign
from schemas.decision import Decision
from schemas.learning import Example
from schemas.topics import AUDIT, DECISIONS, EXAMPLES
from scoring.campaigns.base import Trigger
from scoring.emit import Emit
from scoring.features import FEATURE_HASH, campaign_features, customer_features
from scoring.gates import AFTER_SCORE, BEFORE_SCORE, Candidate, first_refusal, held_out
from scoring.model import PRIOR_VERSION
from scoring.world import World
from state.book import EXPOSURES_LIMIT, Exposure
from state.customer import Customer


def decision_id(user_id: str, campaign_id: str, event_id: str) -> str:
    """The id of the decision that an event triggers for a campaign: the same whenever made."""
    return "d" + xxh3_128_hexdigest(f"{user_id}\x1f{campaign_id}\x1f{event_id}".encode())[:24]


def decide(
    user_id: str, customer: Customer, triggered: Iterable[tuple[Campaign, Trigger]], world: World
) -> tuple[str, str, list[Emit]]:
    """Take each triggered campaign through gates, score and channel.

    Of several, the highest score comes first, so the caps cut the least promising. Returns the
    end of the input that triggered them, the reason, and what to publish. The customer's book
    remembers what was decided.
    """
    emits: list[Emit] = []
    open_candidates: list[tuple[Candidate, Trigger, str, list[float]]] = []
    refused = ""
    decided = False
    head: list[float] | None = None
    profile = customer.profile()
    for spec, trigger in triggered:
        name = decision_id(user_id, spec.id, trigger.event_id)
        sealed = world.sealed.get(name)
        if sealed is not None:
            _publish(customer, spec, sealed, emits)
            decided = True
            continue
        candidate = Candidate(user_id, spec, trigger.at_ms, profile, customer.book, world.policy)
        reason = first_refusal(BEFORE_SCORE, candidate)
        if reason is not None:
            refused = reason
            _audit_refusal(candidate, trigger, name, reason, world, emits)
            continue
        if head is None:
            head = customer_features(profile, trigger.at_ms)
        features = campaign_features(
            head,
            profile,
            spec,
            trigger.item,
            trigger.category,
            trigger.brand,
            trigger.price,
            trigger.at_ms,
        )
        candidate.score = world.model.score(features)
        open_candidates.append((candidate, trigger, name, features))
    open_candidates.sort(key=lambda row: (-row[0].score, row[0].spec.id))
    for candidate, trigger, name, features in open_candidates:
        reason = first_refusal(AFTER_SCORE, candidate)
        if reason is not None:
            refused = reason
            _audit_refusal(candidate, trigger, name, reason, world, emits)
            continue
        decision = _make(candidate, trigger, name, world)
        _publish(customer, candidate.spec, decision, emits)
        emits.append(Emit(EXAMPLES, name, _example(decision, features)))
        decided = True
    if decided:
        return "decided", "", emits
    return "suppressed", refused, emits


def _make(candidate: Candidate, trigger: Trigger, name: str, world: World) -> Decision:
    spec, model, policy = candidate.spec, world.model, world.policy
    arms = world.arms(spec, candidate.channels)
    chosen, propensity = world.channel_policy.choose(name, arms)
    channel = candidate.channels[chosen]
    score = candidate.score
    degraded: tuple[str, ...] = ()
    if model.version == PRIOR_VERSION:
        degraded = ("no_model",)
    if not isfinite(score):
        score = policy.prior_alpha / (policy.prior_alpha + policy.prior_beta)
        degraded = (*degraded, "score_failed")
    return Decision(
        decision_id=name,
        status="holdout" if held_out(candidate) else "send",
        user_id=candidate.user_id,
        campaign_id=spec.id,
        campaign_version=spec.version,
        trigger=str(type(spec.trigger).__struct_config__.tag),
        trigger_event_id=trigger.event_id,
        channel=channel,
        propensity=propensity,
        score=score,
        decided_at_ms=trigger.at_ms,
        ingested_ms=trigger.ingested_ms,
        expires_at_ms=trigger.at_ms + spec.expires_after_ms,
        model_version=model.version,
        feature_hash=FEATURE_HASH,
        policy_version=policy.version,
        posterior_version=world.posterior_version(spec.id, channel),
        offer=spec.offer,
        reason=f"triggered by {spec.id}",
        item_id=trigger.item,
        item_category=trigger.category,
        feature_age_ms=max(0, trigger.at_ms - candidate.book.newest_ms),
        degraded=degraded,
    )


def _publish(customer: Customer, spec: Campaign, decision: Decision, emits: list[Emit]) -> None:
    """Remember the decision in the book, and publish it."""
    book = customer.book
    book.record_send(spec.id, decision.decided_at_ms)
    if decision.status == "send":
        book.exposures.append(
            Exposure(
                decision.decision_id,
                spec.id,
                decision.channel,
                decision.decided_at_ms + spec.attribution_window_ms,
            )
        )
        if len(book.exposures) > EXPOSURES_LIMIT:
            del book.exposures[0]
    emits.append(Emit(DECISIONS, decision.user_id, decision))


def _example(decision: Decision, features: list[float]) -> Example:
    return Example(
        decision_id=decision.decision_id,
        user_id=decision.user_id,
        campaign_id=decision.campaign_id,
        channel=decision.channel,
        features=features,
        feature_hash=decision.feature_hash,
        score=decision.score,
        propensity=decision.propensity,
        model_version=decision.model_version,
        decided_at_ms=decision.decided_at_ms,
        holdout=decision.status == "holdout",
    )


def _audit_refusal(
    candidate: Candidate,
    trigger: Trigger,
    name: str,
    reason: str,
    world: World,
    emits: list[Emit],
) -> None:
    user = candidate.user_id
    if xxh3_64_intdigest(user.encode()) % world.audited_share:
        return
    record = CandidateAudit(
        decision_id=name,
        user_id=user,
        campaign_id=candidate.spec.id,
        campaign_version=candidate.spec.version,
        trigger_event_id=trigger.event_id,
        ts=trigger.at_ms,
        end="suppressed",
        gate=reason,
        score=candidate.score,
        model_version=world.model.version,
        policy_version=world.policy.version,
    )
    emits.append(Emit(AUDIT, user, record))
