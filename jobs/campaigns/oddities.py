"""What is accepted and seems odd: a sentence for each that says what will happen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

from jobs.campaigns.checks import Fault, phrases
from jobs.yaml_file import Document, Place
from schemas.budget import micros
from schemas.campaign_file import CampaignFile
from schemas.control import (
    Campaign,
    CatalogueItem,
    ControlRecord,
    Forecast,
    ItemList,
    Policy,
    Shop,
)
from schemas.event import ACTIONS
from schemas.experiment import Experiment
from schemas.experiment_file import ExperimentFile
from schemas.policy_file import PolicyFile
from schemas.triggers import (
    EventTrigger,
    FenceTrigger,
    HoursTrigger,
    SegmentTrigger,
    SlotTrigger,
    StockTrigger,
)
from scoring.conditions import Condition, audience, when
from scoring.conditions.meaning import everybody, nobody
from scoring.experiments.assignment import overlaps

DAY_MS: Final = 86_400_000
_OUR_OWN: Final = frozenset({*ACTIONS, "*"})


def oddities(
    document: Document, content: CampaignFile | PolicyFile | ExperimentFile, now_ms: int
) -> list[Fault]:
    """What is odd about one sound file."""
    if isinstance(content, ExperimentFile):
        return []
    if isinstance(content, PolicyFile):
        return list(_of_policy(content))
    return [
        *_of_actions(document),
        *_of_conditions(document, content),
        *_of_period(content.record(), now_ms),
        *_of_money(content),
        *_of_message(content),
    ]


def unpaid(campaign: Campaign, policy: Policy) -> Iterator[Fault]:
    """The channels of which the policy has no cost: such a campaign is refused."""
    for number, channel in enumerate(campaign.channels):
        if channel not in policy.channel_cost:
            known = ", ".join(policy.channel_cost) or "none"
            yield (
                ("channels", number),
                f"nobody says what a message by {channel} costs; add it to `channel_cost` of the "
                f"policy (which has: {known}), or leave the channel out",
            )


def stranded(policy: Policy, running: Iterable[ControlRecord]) -> Iterator[Fault]:
    """Campaigns in force that speak through what the policy has no cost of: it is refused."""
    for campaign in running:
        if isinstance(campaign, Campaign):
            for _ in unpaid(campaign, policy):
                channels = ", ".join(c for c in campaign.channels if c not in policy.channel_cost)
                yield (
                    ("channel_cost",),
                    f"{campaign.id} is in force and speaks by {channels}, of which no cost is "
                    "left; keep the cost, or withdraw the campaign",
                )
                break


def mixed_up(experiment: Experiment, around: Iterable[ControlRecord]) -> Iterator[Fault]:
    """Campaigns that two experiments are about at once: it is refused."""
    others = {
        each.id: each
        for each in around
        if isinstance(each, Experiment) and each.id != experiment.id
    }
    for what in overlaps(experiment, others.values()):
        yield ("campaigns",), what


def too_poor(campaign: Campaign, policy: Policy) -> Iterator[Fault]:
    """Limits of the budget that do not pay for one message."""
    budget = campaign.budget
    if budget is None:
        return
    costs = {name: policy.channel_cost.get(name, 0.0) for name in campaign.channels}
    cheapest = min(costs, key=lambda name: costs[name])
    for name, limit in (("total", budget.total), ("per_day", budget.per_day)):
        if limit is not None and micros(limit) < micros(costs[cheapest]):
            yield ("budget", name), _too_small(limit, cheapest, costs[cheapest], "the campaign")
    for channel, own in budget.channels.items():
        for name, limit in (("total", own.total), ("per_day", own.per_day)):
            cost = costs.get(channel)
            if limit is not None and cost is not None and micros(limit) < micros(cost):
                what = _too_small(limit, channel, cost, f"by {channel} it")
                yield ("budget", "channels", channel, name), what


def absent(campaign: Campaign, control: Iterable[ControlRecord]) -> Iterator[Fault]:
    """What the campaign needs and nobody has published: until then it says nothing."""
    trigger = campaign.trigger
    match trigger:
        case FenceTrigger(chain=str(chain)):
            there = any(isinstance(each, Shop) and each.chain == chain for each in control)
            field, what = "chain", f"no shop of the chain {chain!r}"
        case SlotTrigger():
            there = any(isinstance(each, ItemList) and each.id == trigger.list for each in control)
            field, what = "list", f"no list {trigger.list!r}"
        case HoursTrigger(forecast=str(name)):
            there = any(isinstance(each, Forecast) and each.id == name for each in control)
            field, what = "forecast", f"no forecast {name!r}"
        case StockTrigger():
            there = any(isinstance(each, CatalogueItem) for each in control)
            field, what = "kind", "no item of the catalogue"
        case _:
            return
    if not there:
        yield (
            ("trigger", field),
            f"{what} is published yet: the campaign will say nothing until there is",
        )


def _too_small(limit: float, channel: str, cost: float, who: str) -> str:
    return (
        f"{limit:g} does not pay for one message ({channel} costs {cost:g}): {who} will send "
        "nothing"
    )


def _of_policy(content: PolicyFile) -> Iterator[Fault]:
    for number, cap in enumerate(content.caps):
        if cap.most == 0:
            what = cap.channel or cap.category
            of = f"{what} message" if what else "marketing message at all"
            yield ("caps", number, "most"), f"0 lets no {of} through, ever"
    if not content.caps:
        yield ("caps",), "without caps a customer may hear from every campaign every day"


def _of_actions(document: Document) -> Iterator[Fault]:
    """Actions that nobody counts and that look like a misspelt one: such a campaign is mute."""
    trigger: Mapping[str, Any] = document.value(("trigger",))
    for name, actions in trigger.items():
        if name in (
            "actions",
            "after",
            "without",
            "unless",
            "redeemed_by",
            "settled_by",
            "bought_by",
        ):
            for number, action in enumerate(actions):
                near = get_close_matches(action, ACTIONS, 1, 0.7)
                if near and action not in _OUR_OWN:
                    what = f"{action!r} is none of ours; did you mean {near[0]!r}?"
                    yield ("trigger", name, number), what


def _of_conditions(document: Document, content: CampaignFile) -> Iterator[Fault]:
    record = content.record()
    yield from _meaning(
        document,
        ("audience",),
        audience(record.audience),
        "nobody is of this audience, so the campaign will say nothing",
        "everybody is of this audience; leave it out",
    )
    actions = getattr(content.trigger, "actions", ("*",))
    asked = record.when
    if (
        asked and "*" not in actions
    ):  # an action that does not set it off never comes as far as `when`
        asked = f"({asked}) and action in [{', '.join(actions)}]"
    never = "no event that sets the campaign off is like this, so it will say nothing"
    found = list(
        _meaning(document, ("when",), when(record.when), never, "every event is like this")
    )
    if not found and asked != record.when:
        found = list(_meaning(document, ("when",), when(asked), never, ""))
    yield from found
    if isinstance(record.trigger, SegmentTrigger):
        yield from _meaning(
            document,
            ("trigger", "segment"),
            audience(record.trigger.segment),
            "nobody is ever of this segment, so nobody enters or leaves it",
            "everybody is always of this segment, so nobody enters or leaves it",
        )


def _meaning(
    document: Document, place: Place, condition: Condition[Any] | None, never: str, always: str
) -> Iterator[Fault]:
    if condition is None:
        return
    reason = nobody(condition.tree)
    places = [at for at, _ in phrases(document, place)]
    if reason is not None:
        yield (places[0] if len(places) == 1 else place), f"{never}: {reason}"
    elif always and everybody(condition.tree):
        yield place, always


def _of_period(record: Campaign, now_ms: int) -> Iterator[Fault]:
    if record.ends_ms is not None and record.ends_ms <= now_ms:
        days = (now_ms - record.ends_ms) // DAY_MS
        ago = f"{days} days ago" if days > 1 else "already"
        yield (
            ("period", "until"),
            f"the campaign was over {ago}: it will say nothing until the date is changed",
        )


def _of_money(content: CampaignFile) -> Iterator[Fault]:
    offer, budget = content.offer, content.budget
    if not offer.choose and offer.type == "none" and offer.offer().discount_ratio:
        yield ("offer", "discount"), "is not given, because `type` is left out; say what it is"
    if offer.choose and offer.offer().discount_ratio:
        yield ("offer", "discount"), "is not used, because the offer is chosen by `choose`"
    if budget is None:
        return
    if budget.total is None and budget.per_day is None and not budget.channels:
        yield ("budget",), "limits nothing; say `total`, `per_day` or `channels`"
    if budget.total is not None and (budget.per_day or 0) > budget.total:
        yield ("budget", "per_day"), "is more than the total, so the total alone counts"
    for channel in budget.channels:
        if channel not in content.channels:
            what = f"the campaign does not speak by {channel}; this limit does nothing"
            yield ("budget", "channels", channel), what


def _of_message(content: CampaignFile) -> Iterator[Fault]:
    record = content.record()
    if content.message == "transactional" and record.holdout_ratio:
        yield ("holdout",), "nobody is kept back from a transactional message; leave it out"
    if record.min_score >= 0.5:
        what = (
            f"hardly any message is clicked {content.min_score} of the time: next to none goes out"
        )
        yield ("min_score",), what
    trigger = record.trigger
    if isinstance(trigger, EventTrigger) and trigger.at_least == 1 and not record.cooldown_ms:
        what = "every such event may bring a message; nothing but the policy's caps holds it back"
        yield ("cooldown",), what
    unless = set(getattr(content.trigger, "unless", ()))
    for action in getattr(content.trigger, "actions", ()):
        if action in unless:
            yield ("trigger", "unless"), f"{action} sets the campaign off and takes it back at once"
