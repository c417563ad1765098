"""The engine on request: the offers and budgets of the stream, by the stream's own code.

The stream is asked by events; a web page or a clerk at a till asks for one customer and one
campaign. Both go through `scoring.gates.arbitration.appraise`, so they cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Final

from msgspec import Struct

from schemas.errors import UserMistake
from scoring.budget_plan import BudgetPlan, ChannelTerms, optimize_budget
from scoring.campaigns.base import Trigger
from scoring.features import customer_features
from scoring.gates import Candidate
from scoring.gates.arbitration import appraise
from scoring.world import World
from state.customer import Customer

_DAY_MS: Final = 86_400_000


class PersonalOffer(Struct, frozen=True):
    """What a campaign would offer a customer at a moment.

    ``discount`` is a ratio of the price and ``valid_period`` is in days, up to ``valid_until_ms``.
    ``click`` is the expected click-through, ``expected_value`` what the shop expects of the message
    less its mean cost, in money. ``reason`` is "" or of `schemas.reasons`, gate arbitration: then
    nothing is offered.
    """

    user_id: str
    campaign_id: str
    offer_type: str
    discount: float
    valid_period: int
    valid_until_ms: int
    click: float = 0.0
    expected_value: float = 0.0
    reason: str = ""
    campaign_version: int = 0
    model_version: str = ""


class MarketingEngine:
    """Offers on request, and plans of budgets. It has no effect: nothing is sent or remembered.

    Args:
        world: campaigns, model, posteriors and catalogue in force.
        customer_of: gives a customer as the stream knows them; None of whom nothing is known.
    """

    def __init__(self, world: World, customer_of: Callable[[str], Customer | None]) -> None:
        self._world = world
        self._customer_of = customer_of

    def generate_offer(
        self,
        user_id: str,
        campaign_id: str,
        at_ms: int | None = None,
        *,
        item_id: str | None = None,
        price: float | None = None,
        event_id: str = "",
    ) -> PersonalOffer:
        """The offer of the highest expected margin within the campaign's limits.

        ``at_ms`` is the moment, by default that of the newest fact known of the customer;
        ``item_id`` and ``price`` are of what it is about. ``event_id`` is that of the trigger: the
        campaign's exploring share draws by it.

        Raises:
            UserMistake: no such campaign is in force, or nothing is known of the customer.
        """
        world = self._world
        spec = world.campaigns.get(campaign_id)
        if spec is None:
            near = get_close_matches(campaign_id, world.campaigns, 1)
            there = ", ".join(sorted(world.campaigns)) or "none"
            hint = f"did you mean {near[0]!r}?" if near else f"in force are: {there}"
            raise UserMistake(f"no campaign {campaign_id!r} is in force; {hint}")
        customer = self._customer_of(user_id)
        if customer is None:
            raise UserMistake(f"nothing is known of customer {user_id!r}: check the id")
        spec, variant = world.treatment(spec, user_id)
        moment_ms = customer.book.newest_ms if at_ms is None else at_ms
        item = world.catalogue.get(item_id) if item_id is not None else None
        category = None if item is None else item.category
        brand = None if item is None else item.brand
        trigger = Trigger(event_id, moment_ms, moment_ms, item_id, category, brand, price)
        candidate = Candidate(
            user_id,
            spec,
            trigger,
            moment_ms,
            moment_ms,
            customer.profile(),
            customer.book,
            world.catalogue,
            channels=spec.channels,
            variant=variant,
        )
        head = customer_features(candidate.profile, moment_ms)
        reason = appraise(candidate, head, world) or ""
        offer = spec.offer if reason else candidate.offer
        return PersonalOffer(
            user_id=user_id,
            campaign_id=campaign_id,
            offer_type="none" if reason else offer.type,
            discount=0.0 if reason else offer.discount_ratio,
            valid_period=offer.valid_days,
            valid_until_ms=moment_ms + offer.valid_days * _DAY_MS,
            click=candidate.score,
            expected_value=candidate.value,
            reason=reason,
            campaign_version=spec.version,
            model_version=world.models.of(user_id, variant).version,
        )

    def optimize_budget(self, channels: Sequence[ChannelTerms], budget: float) -> BudgetPlan:
        """The plan of the greatest contribution within a budget (`scoring.budget_plan`)."""
        return optimize_budget(channels, budget)
