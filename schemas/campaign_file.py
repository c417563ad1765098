"""A campaign as people write it: YAML with units that read aloud.

``within: 30m``, ``cooldown: 1d``, ``holdout: 5%``. Here it becomes the record that steers the
stream. A file is a `CampaignFile` or a `schemas.policy_file.PolicyFile`, told apart by ``kind``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from schemas.control import Campaign, Guardrails, Target
from schemas.learning_rules import LearningForm
from schemas.money_forms import BudgetForm, OfferForm, WorthForm
from schemas.outcome import Channel
from schemas.trigger_forms import TriggerForm
from schemas.triggers import Slug
from schemas.units import (
    Conditions,
    Duration,
    DurationOrNone,
    Form,
    Moment,
    Percent,
    Zone,
    all_of,
    duration_ms,
    moment_ms,
    ratio,
)


class PeriodForm(Struct, frozen=True, forbid_unknown_fields=True):
    """When the campaign runs, by the clock of ``zone``; a date alone in ``until`` still belongs."""

    from_: Moment | None = field(default=None, name="from")
    until: Moment | None = None
    zone: Zone = "UTC"

    def starts_ms(self) -> int | None:
        """The first moment of the campaign; raises as `moment_ms`."""
        return None if self.from_ is None else moment_ms(self.from_, self.zone)

    def ends_ms(self) -> int | None:
        """The first moment after the campaign; raises as `moment_ms`."""
        return None if self.until is None else moment_ms(self.until, self.zone, ends=True)


class TargetForm(Struct, frozen=True, forbid_unknown_fields=True):
    """How much to reach of what, and from when until when, by the clock of ``zone``."""

    metric: Literal["sends", "clicked", "conversions", "revenue", "margin"]
    amount: Annotated[float, Meta(gt=0, le=1e12)]
    from_: Moment = field(name="from")
    until: Moment
    zone: Zone = "UTC"

    def target(self) -> Target:
        """The target as the stream's observers read it; raises as `moment_ms`."""
        starts_ms = moment_ms(self.from_, self.zone)
        ends_ms = moment_ms(self.until, self.zone, ends=True)
        if ends_ms <= starts_ms:
            raise ValueError(f"the target ends at {self.until!r}, before it starts")
        return Target(self.metric, self.amount, starts_ms, ends_ms)


class GuardrailsForm(Struct, frozen=True, forbid_unknown_fields=True):
    """Shares of the messages above which the campaign is paused."""

    unsubscribed: Percent | None = None
    complained: Percent | None = None

    def guardrails(self) -> Guardrails:
        """The guardrails as the stream's observers read them."""
        return Guardrails(
            None if self.unsubscribed is None else ratio(self.unsubscribed),
            None if self.complained is None else ratio(self.complained),
        )


class CampaignFile(Form, frozen=True, tag="campaign"):
    """One campaign: when to speak, to whom, through what, with which offer, how often."""

    id: Slug
    name: Annotated[str, Meta(min_length=1, max_length=200, description="what people call it")]
    trigger: Annotated[TriggerForm, Meta(description="what sets the campaign off")]
    channels: Annotated[
        tuple[Channel, ...], Meta(min_length=1, max_length=3, description="sms, push, email")
    ]
    status: Annotated[
        Literal["active", "paused"] | None,
        Meta(description="left out, a paused campaign stays paused"),
    ] = None
    message: Annotated[
        Literal["marketing", "transactional"],
        Meta(description="transactional for what is owed to the customer, such as a receipt"),
    ] = "marketing"
    category: Annotated[Slug, Meta(description="what caps count together")] = "general"
    quiet_hours: Annotated[
        Literal["defer", "drop"], Meta(description="what becomes of a message at night")
    ] = "defer"
    audience: Annotated[Conditions, Meta(description="over the customer's profile")] = ""
    when: Annotated[Conditions, Meta(description="over the event that sets it off")] = ""
    period: PeriodForm = PeriodForm()
    description: str = ""
    author: str = ""
    offer: OfferForm = OfferForm()
    worth: WorthForm = WorthForm()
    budget: BudgetForm | None = None
    cooldown: DurationOrNone = "1d"
    attribution_window: Duration = "1d"
    expires_after: Duration = "1d"
    holdout: Percent = "0%"
    min_score: Percent = "0%"
    target: TargetForm | None = None
    guardrails: GuardrailsForm | None = None
    learning: Annotated[
        LearningForm | None, Meta(description="left out, the policy says how channels are learned")
    ] = None

    def record(self) -> Campaign:
        """The campaign as the stream reads it, of version 1 and no date.

        Raises:
            ValueError: the period names a date or a zone that does not exist.
        """
        return Campaign(
            id=self.id,
            version=1,
            name=self.name,
            trigger=self.trigger.trigger(),
            channels=self.channels,
            status=self.status or "active",
            message=self.message,
            category=self.category,
            quiet_hours=self.quiet_hours,
            audience=all_of(self.audience),
            when=all_of(self.when),
            starts_ms=self.period.starts_ms(),
            ends_ms=self.period.ends_ms(),
            offer=self.offer.offer(),
            pricing=self.worth.pricing(self.offer.choose, self.offer.explore),
            budget=None if self.budget is None else self.budget.budget(),
            cooldown_ms=duration_ms(self.cooldown),
            attribution_window_ms=duration_ms(self.attribution_window),
            expires_after_ms=duration_ms(self.expires_after),
            holdout_ratio=ratio(self.holdout),
            min_score=ratio(self.min_score),
            target=None if self.target is None else self.target.target(),
            guardrails=None if self.guardrails is None else self.guardrails.guardrails(),
            learning=None if self.learning is None else self.learning.learning(),
            description=self.description,
            author=self.author,
        )
