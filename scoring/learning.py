"""From what is known of a campaign's channels to the shares that they get; pure.

An exposure counts at once, as worth nothing: clicks come within minutes and the end of a window
after a day, so arms that waited for it would look the better the more they were tried of late. A
click takes the zero back and counts as one, at the time of the exposure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from schemas.audit import PlanUpdate
from schemas.learning import Example, Reward
from schemas.learning_rules import CampaignRules, Learning
from scoring.policies import POLICIES
from scoring.policies.base import ArmPolicy, Belief
from scoring.policies.context import CONTEXTS
from scoring.policies.steer import Limits, steered
from state.arm import Arm, Credit
from state.learned import Learned, Told, arm_key, mix_key, of_mix
from state.mix import HOUR_MS, Mix

NO_CASE: Final = -1
_EQUAL: Final = 1e-9


@lru_cache(maxsize=len(POLICIES))
def policy_of(kind: str) -> ArmPolicy:
    """The policy of a kind."""
    return POLICIES[kind]()


def wish_of(
    rules: Learning, channels: Sequence[str], arms: Iterable[Arm], prior: Belief, case: int
) -> dict[str, float]:
    """The probability of each channel by the policy alone, in a case."""
    policy = policy_of(rules.policy)
    beliefs = tuple(
        policy.belief(arm, prior, numbers_of(case, channel))
        for channel, arm in zip(channels, arms, strict=True)
    )
    return dict(zip(channels, policy.probabilities(beliefs), strict=True))


def numbers_of(case: int, channel: str) -> tuple[float, ...]:
    """What the arm of a channel is told of a case."""
    return () if case < 0 else CONTEXTS[case].numbers(channel)  # type: ignore[arg-type]


def limits_of(rules: Learning, channels: Sequence[str]) -> Limits:
    """How the mix of these channels may move; a fixed mix of others is none of theirs."""
    fixed = None if switched_off(rules, channels) else rules.fixed
    return Limits(rules.floor_ratio, rules.per_hour_ratio, fixed)  # type: ignore[arg-type]


def switched_off(rules: Learning, channels: Sequence[str]) -> bool:
    """Whether a fixed mix gives none of the channels anything."""
    fixed = rules.fixed
    return fixed is not None and not any(fixed.get(each) for each in channels)  # type: ignore[call-overload]


class Lesson:
    """One batch of what a campaign learns from: what it changed in ``memory``, which it changes.

    ``arms`` and ``cases`` are the keys of what changed, ``gone`` those that an experiment which
    ended took along.
    """

    def __init__(self, memory: Learned) -> None:
        self.memory = memory
        self.arms: set[str] = set()
        self.cases: set[str] = set()
        self.gone: list[str] = []
        self._newest_ms = 0

    def rule(self, rules: CampaignRules) -> None:
        """Rules come into force."""
        memory = self.memory
        memory.rules = rules
        for key in [key for key in memory.arms if key.partition("|")[2] not in rules.rules]:
            del memory.arms[key]
            self.gone.append(key)
        for key in list(memory.mixes):
            variant, case = of_mix(key)
            found = rules.rules.get(variant)
            if found is None or policy_of(found.policy).contextual != (case >= 0):
                del memory.mixes[key]
                memory.told.pop(key, None)
            else:
                self.cases.add(key)

    def expose(self, example: Example) -> None:
        """A message was sent: it is worth nothing until somebody says otherwise."""
        if example.holdout or not self._open(example.channel, example.variant):
            return
        half_life_ms = self._half_life_ms(example.variant)
        arm = self.memory.arm(example.channel, example.variant)
        arm.apply(_credit(example.channel, example.decided_at_ms, 0.0, example.case), half_life_ms)
        self._changed(example.channel, example.variant, example.case, example.decided_at_ms)

    def reward(self, reward: Reward) -> None:
        """A click, or a message that came back; nothing else moves an arm."""
        channel = reward.channel
        if channel is None or not self._open(channel, reward.variant):
            return
        if reward.kind in ("clicked", "bounced"):
            half_life_ms = self._half_life_ms(reward.variant)
            arm = self.memory.arm(channel, reward.variant)
            bounced = reward.kind == "bounced"
            worth = reward.reward if bounced else 0.0
            credit = _credit(channel, reward.exposed_ms, worth, reward.case)
            arm.reverse(credit, half_life_ms)
            if not bounced:
                arm.apply(credit._replace(reward=reward.reward), half_life_ms)
            self._changed(channel, reward.variant, reward.case, reward.ts)

    def plan(self) -> list[tuple[str, Mix, PlanUpdate | None]]:
        """Move the mixes of what changed: each with its key, and what is told of its last hour."""
        memory = self.memory
        if memory.rules is None:
            return []
        return [self._moved(memory.rules, key) for key in sorted(self.cases)]

    def _moved(self, campaign: CampaignRules, key: str) -> tuple[str, Mix, PlanUpdate | None]:
        memory = self.memory
        variant, case = of_mix(key)
        rules, channels = campaign.rules[variant], campaign.channels
        arms: dict[str, Arm] = {each: memory.arm(each, variant) for each in channels}
        prior = campaign.prior_alpha, campaign.prior_beta
        wish = wish_of(rules, channels, arms.values(), prior, case)
        before = memory.mixes.get(key)
        at_ms = max(self._newest_ms, 0 if before is None else before.at_ms)
        mix = memory.mixes[key] = steered(before, wish, at_ms, limits_of(rules, channels))
        hour, told = mix.at_ms // HOUR_MS, memory.told.get(key)
        if told is not None and (hour <= told.hour or len(told.shares) != len(mix.shares)):
            return key, mix, None
        memory.told[key] = Told(hour, mix.shares)
        if told is None:
            return key, mix, None
        return key, mix, _update(campaign, key, told, mix, wish, arms)

    def _open(self, channel: str, variant: str) -> bool:
        """Whether an arm is to learn: not one of an experiment that has ended."""
        rules = self.memory.rules
        known = rules is None or variant in rules.rules
        return known or arm_key(channel, variant) in self.memory.arms

    def _half_life_ms(self, variant: str) -> int:
        rules = self.memory.rules
        found = None if rules is None else rules.rules.get(variant)
        return 0 if found is None else found.half_life_ms

    def _changed(self, channel: str, variant: str, case: int, at_ms: int) -> None:
        self.arms.add(arm_key(channel, variant))
        self._newest_ms = max(self._newest_ms, at_ms)
        rules = self.memory.rules
        found = None if rules is None else rules.rules.get(variant)
        if found is None:
            return
        if not policy_of(found.policy).contextual:
            self.cases.add(mix_key(variant, NO_CASE))
        elif case >= 0:
            self.cases.add(mix_key(variant, case))


def _credit(channel: str, ts: int, reward: float, case: int) -> Credit:
    return Credit(ts, reward, numbers_of(case, channel))


def _update(
    campaign: CampaignRules,
    key: str,
    told: Told,
    mix: Mix,
    wish: Mapping[str, float],
    arms: Mapping[str, Arm],
) -> PlanUpdate:
    variant, case = of_mix(key)
    rules = campaign.rules[variant]
    before = dict(zip(mix.arms, told.shares, strict=True))
    after = dict(zip(mix.arms, mix.shares, strict=True))
    limited = _limited(rules, mix, wish)
    return PlanUpdate(
        campaign_id=campaign.campaign_id,
        variant=variant,
        case=case,
        ts=mix.at_ms,
        policy=rules.policy,
        before=before,
        after=after,
        wish=dict(wish),
        exposures={name: round(arm.exposures, 3) for name, arm in arms.items()},
        rewards={name: round(arm.rewards, 3) for name, arm in arms.items()},
        limited=limited,
        because=_because(before, after, arms, limited),
    )


def _limited(rules: Learning, mix: Mix, wish: Mapping[str, float]) -> str:
    """What kept the mix from being the wish."""
    if rules.fixed is not None:
        return "fixed"
    if _same(mix.shares, wish.values()):
        return ""
    floored = steered(None, wish, mix.at_ms, limits_of(rules, mix.arms)).shares
    return "floor" if _same(mix.shares, floored) else "speed"


def _same(some: Iterable[float], others: Iterable[float]) -> bool:
    return all(abs(one - other) < _EQUAL for one, other in zip(some, others, strict=True))


_HELD: Final = {
    "speed": "; as fast as the limit lets it",
    "floor": "; each channel keeps its least share",
    "fixed": "; by the kill switch, whatever was learned",
    "": "",
}


def _because(
    before: Mapping[str, float], after: Mapping[str, float], arms: Mapping[str, Arm], limited: str
) -> str:
    moves = ", ".join(f"{name} {before[name]:.1%} → {after[name]:.1%}" for name in after)
    seen = ", ".join(
        f"{name} {arm.rewards:.0f} of {arm.exposures:.0f}" for name, arm in arms.items()
    )
    return f"{moves}: clicked were {seen}{_HELD[limited]}"
