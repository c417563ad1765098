"""How a campaign's channels are chosen by what was learned of them, and how fast that may move."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.outcome import Channel
from schemas.units import DurationOrNone, Percent, duration_ms, ratio

PolicyKind = Literal["beta-thompson", "linear-thompson", "epsilon-greedy", "bayes-ucb"]


class Learning(Struct, frozen=True):
    """The policy of a campaign's channels, and its limits.

    ``floor_ratio`` is the least share of each channel, ``per_hour_ratio`` by how much a share may
    move in an hour of event time, both of all messages. With a half-life an exposure counts half as
    much once it is so old; 0 forgets nothing. Channels that are ``off`` get nothing from now on,
    though what is known of them is kept. ``fixed`` is the kill switch: a weight for each channel
    instead of what was learned, none for one that it leaves out.
    """

    policy: PolicyKind = "beta-thompson"
    floor_ratio: Annotated[float, Meta(ge=0, le=0.33)] = 0.02
    per_hour_ratio: Annotated[float, Meta(gt=0, le=1)] = 0.2
    half_life_ms: Annotated[int, Meta(ge=0, le=366 * 86_400_000)] = 0
    off: Annotated[tuple[Channel, ...], Meta(max_length=3)] = ()
    fixed: dict[Channel, Annotated[float, Meta(ge=0)]] | None = None


class LearningForm(Struct, frozen=True, forbid_unknown_fields=True):
    """`Learning` as people write it."""

    policy: Annotated[PolicyKind, Meta(description="how a channel is chosen")] = "beta-thompson"
    floor: Annotated[Percent, Meta(description="the least share of each channel")] = "2%"
    per_hour: Annotated[
        Percent, Meta(description="by how much a channel's share may move in an hour")
    ] = "20%"
    half_life: Annotated[
        DurationOrNone, Meta(description="after which an exposure counts half; 0 for never")
    ] = 0
    off: Annotated[
        tuple[Channel, ...], Meta(max_length=3, description="channels that get nothing for now")
    ] = ()
    fixed: Annotated[
        dict[Channel, Annotated[float, Meta(ge=0)]] | None,
        Meta(description="kill switch: a weight for each channel instead of what was learned"),
    ] = None

    def learning(self) -> Learning:
        """The rules as the stream reads them."""
        return Learning(
            self.policy,
            ratio(self.floor),
            ratio(self.per_hour),
            duration_ms(self.half_life),
            self.off,
            self.fixed,
        )


def learning_faults(rules: Learning | None, channels: tuple[str, ...]) -> list[tuple[str, str]]:
    """What contradicts itself, for a campaign's channels: the field, and what to do about it."""
    if rules is None:
        return []
    found = []
    if set(channels) <= set(rules.off):
        found.append(("off", "every channel is off; pause the campaign instead"))
    fixed = rules.fixed
    if fixed is not None and sum(fixed.get(each, 0.0) for each in channels) <= 0:  # type: ignore[call-overload]
        names = ", ".join(channels)
        found.append(("fixed", f"gives none of the channels a weight; name one of: {names}"))
    if rules.floor_ratio * len(channels) > 1:
        found.append(("floor", f"{len(channels)} channels cannot all have so much; lower it"))
    return found


class CampaignRules(Struct, frozen=True):
    """What `learn` must know of a campaign; it travels within the stream, from `decide`.

    ``rules`` are those of each variant in force by its name (`schemas.learning.Example.variant`);
    the empty name is the campaign outside of experiments, and always there.
    """

    campaign_id: str
    channels: tuple[Channel, ...]
    prior_alpha: float
    prior_beta: float
    rules: dict[str, Learning]
