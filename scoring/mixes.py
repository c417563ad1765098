"""What the channels of each campaign share: the mix that `learn` put in force, or a plan's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from schemas.control import Campaign, ChannelMix, Policy, Posterior, control_key
from schemas.errors import RefusedControl
from schemas.learning_rules import Learning
from schemas.outcome import Channel
from scoring.learning import NO_CASE, limits_of, switched_off, wish_of
from scoring.policies.base import arm_of
from scoring.policies.steer import steered


class Sharing(NamedTuple):
    """Channels that are not switched off, their shares, and a message's mean cost, in money."""

    channels: tuple[Channel, ...]
    shares: tuple[float, ...]
    cost: float


class _Plan(NamedTuple):
    """The shares of all of a campaign's channels, and what was asked of them before."""

    shares: dict[str, float]
    sharings: dict[tuple[Channel, ...], Sharing]


class Mixes:
    """What was learned of the channels, and what they share because of it.

    ``posteriors`` are by campaign, channel and variant; ``mixes`` by campaign, variant and case.
    """

    def __init__(self, policy: Policy) -> None:
        self.posteriors: dict[tuple[str, str, str], Posterior] = {}
        self.mixes: dict[tuple[str, str, int], ChannelMix] = {}
        self._policy = policy
        self._plans: dict[tuple[str, str, int], _Plan] = {}

    def rules(self, spec: Campaign) -> Learning:
        """How a campaign's channels are chosen: as it says itself, else as the policy does."""
        return spec.learning or self._policy.learning

    def sharing(
        self, spec: Campaign, variant: str, case: int, channels: tuple[Channel, ...]
    ) -> Sharing:
        """What these channels share: of the mix that `learn` has put in force.

        Where there is none yet, of what the policy makes of what is known.
        """
        plan = self._plans.get((spec.id, variant, case))
        if plan is None:
            plan = self._plans[spec.id, variant, case] = _Plan(self._plan(spec, variant, case), {})
        found = plan.sharings.get(channels)
        if found is None:
            costs = self._policy.channel_cost
            found = plan.sharings[channels] = _sharing(plan.shares, channels, costs)
        return found

    def version(self, spec: Campaign, channel: str, variant: str = "") -> int:
        """How often the arm had changed; 0 where a fixed mix asks nobody."""
        if self.rules(spec).fixed is not None:
            return 0
        posterior = self.posteriors.get((spec.id, channel, variant))
        return 0 if posterior is None else posterior.version

    def follow(self, policy: Policy) -> None:
        """Put the house's policy in force."""
        self._policy = policy
        self.plan_anew()

    def plan_anew(self) -> None:
        """Forget the plans: what they were made of is another than it was."""
        self._plans.clear()

    def learn(self, posterior: Posterior) -> None:
        """Take note of an arm.

        Raises:
            RefusedControl: its sums do not fit each other.
        """
        size = len(posterior.won)
        if len(posterior.met) != size * (size + 1) // 2:
            raise RefusedControl(
                "refused_control",
                f"{control_key(posterior)}: {len(posterior.met)} and {size} sums",
            )
        self.posteriors[posterior.campaign_id, posterior.channel, posterior.variant] = posterior
        self._replan(posterior.campaign_id, posterior.variant)

    def forget(self, name: str) -> None:
        """Withdraw an arm, by what its key says after the kind."""
        campaign, channel, *variant = name.split("/", 2)
        self.posteriors.pop((campaign, channel, "".join(variant)), None)
        self._replan(campaign, "".join(variant))

    def mix(self, mix: ChannelMix) -> None:
        """Put a mix in force.

        Raises:
            RefusedControl: its shares are none.
        """
        if len(mix.shares) != len(mix.channels) or not 0.999 < sum(mix.shares) < 1.001:
            raise RefusedControl(
                "refused_control",
                f"mix of {mix.campaign_id}: shares {mix.shares} for {mix.channels}",
            )
        place = mix.campaign_id, mix.variant, mix.case
        self.mixes[place] = mix
        self._plans.pop(place, None)

    def unmix(self, name: str) -> None:
        """Withdraw a mix, by what its key says after the kind."""
        where, _, case = name.partition("#")
        campaign, _, variant = where.partition("/")
        place = campaign, variant, int(case or NO_CASE)
        self.mixes.pop(place, None)
        self._plans.pop(place, None)

    def _plan(self, spec: Campaign, variant: str, case: int) -> dict[str, float]:
        rules, channels = self.rules(spec), spec.channels
        if switched_off(rules, channels):
            return dict.fromkeys(channels, 0.0)
        mix = self.mixes.get((spec.id, variant, case))
        if rules.fixed is not None or mix is None or mix.channels != channels:
            prior = self._policy.prior_alpha, self._policy.prior_beta
            known = [self.posteriors.get((spec.id, each, variant)) for each in channels]
            arms = [arm_of(posterior, prior) for posterior in known]
            wish = wish_of(rules, channels, arms, prior, case)
            shares = steered(None, wish, 0, limits_of(rules, channels))
            found: dict[str, float] = dict(zip(channels, shares.shares, strict=True))
        else:
            found = dict(zip(channels, mix.shares, strict=True))
        return found | dict.fromkeys(rules.off, 0.0)

    def _replan(self, campaign: str, variant: str) -> None:
        """Plans that were made without a mix follow the posteriors."""
        for place in [each for each in self._plans if each[:2] == (campaign, variant)]:
            if place not in self.mixes:
                del self._plans[place]


def _sharing(
    shares: Mapping[str, float], channels: tuple[Channel, ...], costs: Mapping[str, float]
) -> Sharing:
    """What some channels share, without those that are switched off."""
    awake = tuple([channel for channel in channels if shares[channel] > 0])
    mine = tuple([shares[channel] for channel in awake])
    spent = sum(share * costs.get(channel, 0.0) for share, channel in zip(mine, awake, strict=True))
    return Sharing(awake, mine, spent / sum(mine) if mine else 0.0)
