"""What a customer does when spoken to, and how likely it truly was.

The click is logistic in who the customer is, the channel, the offer, what it is about and when.
The constants of each arm are solved so that its click-through over the active population is the
one stated, which is what a bandit can find out.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from jobs.market.catalogue import CATEGORIES, Catalogue
from jobs.market.customers import AFFINITY, Population, wakefulness
from schemas.decision import Decision
from schemas.outcome import CHANNELS, Channel, Outcome, OutcomeKind

BOUNCE_RATIO: Final[Mapping[str, float]] = {"sms": 0.03, "push": 0.05, "email": 0.02}
OPEN_RATIO: Final = 0.35
UNSUBSCRIBE_RATIO: Final = 0.002
COMPLAINT_RATIO: Final = 0.0003

_ENGAGED, _PREFERS, _LIKES, _THRIFTY, _TIMELY = 0.9, 0.4, 1.1, 2.5, 0.6
_USUAL_DISCOUNT: Final = 0.1
_DRAWS: Final = 8


class CampaignTruth(Struct, frozen=True):
    """The truth of a campaign: click-through of a delivered message by channel, and conversion.

    ``organic_ratio`` buy without being spoken to, ``conversion_ratio`` because they clicked.
    """

    click_ratio: Mapping[str, float]
    organic_ratio: float = 0.03
    conversion_ratio: float = 0.25


SHIPPED: Final[Mapping[str, CampaignTruth]] = {
    "viewed-again": CampaignTruth({"push": 0.14, "email": 0.06, "sms": 0.03}, 0.03, 0.20),
    "cart-reminder": CampaignTruth({"push": 0.06, "email": 0.03, "sms": 0.13}, 0.08, 0.30),
    "cart-abandonment": CampaignTruth({"push": 0.03, "email": 0.12, "sms": 0.06}, 0.06, 0.30),
    "win-back": CampaignTruth({"push": 0.02, "email": 0.04, "sms": 0.09}, 0.01, 0.15),
}
"""The campaigns that come with Beckon; any other has a truth drawn from its name."""


def invented(seed: int, campaign_id: str) -> CampaignTruth:
    """The truth of a campaign that nobody described: clearly different channels, in any order."""
    rng = np.random.default_rng([seed, 4, *campaign_id.encode()])
    level = rng.uniform(0.08, 0.14)
    ratios = (level * np.array([1.0, 0.5, 0.25]))[rng.permutation(len(CHANNELS))]
    return CampaignTruth(
        dict(zip(CHANNELS, ratios.tolist(), strict=True)),
        float(rng.uniform(0.01, 0.06)),
        float(rng.uniform(0.15, 0.35)),
    )


class Truth:
    """Answers what would truly happen, and draws what does."""

    def __init__(
        self,
        seed: int,
        population: Population,
        catalogue: Catalogue,
        campaigns: Mapping[str, CampaignTruth] = SHIPPED,
    ) -> None:
        self._seed = seed
        self._people = population
        self._catalogue = catalogue
        self._campaigns = dict(campaigns)
        self._constants: dict[tuple[str, str], float] = {}
        rng = np.random.default_rng((seed, 5))
        self._sample = population.visitors(rng, rng.integers(0, 24, 20_000))

    def campaign(self, campaign_id: str) -> CampaignTruth:
        """The truth of a campaign."""
        truth = self._campaigns.get(campaign_id)
        if truth is None:
            truth = self._campaigns[campaign_id] = invented(self._seed, campaign_id)
        return truth

    def true_click_probability(
        self,
        user_id: str,
        campaign_id: str,
        channel: Channel,
        *,
        item_category: str | None = None,
        discount_ratio: float = 0.0,
        at_ms: int | None = None,
    ) -> float:
        """P(clicked | sent); bots and strangers never click."""
        customer = self._people.index_of(user_id)
        if customer is None:
            return 0.0
        delivered = 1 - BOUNCE_RATIO[channel]
        return delivered * self._click(
            customer, campaign_id, channel, item_category, discount_ratio, at_ms
        )

    def true_conversion_probability(self, decision: Decision, sent: bool) -> float:
        """P(converted) of the decision's customer, had it been sent or not."""
        customer = self._people.index_of(decision.user_id)
        if customer is None:
            return 0.0
        organic = self._organic(customer, decision.campaign_id)
        if not sent:
            return organic
        by_click = self.click_probability(decision) * self._conversion(customer, decision)
        return 1 - (1 - organic) * (1 - by_click)

    def true_lift(self, decision: Decision) -> float:
        """By how much sending this decision raises the probability of a conversion."""
        return self.true_conversion_probability(decision, True) - self.true_conversion_probability(
            decision, False
        )

    def click_probability(self, decision: Decision, channel: Channel | None = None) -> float:
        """P(clicked | sent) of a decision, or of the same through another channel."""
        return self.true_click_probability(
            decision.user_id,
            decision.campaign_id,
            channel or decision.channel,
            item_category=decision.item_category,
            discount_ratio=decision.offer.discount_ratio,
            at_ms=decision.decided_at_ms,
        )

    def expected_ctr(self, campaign_id: str, channel: Channel) -> float:
        """P(clicked | sent) of an arm over active customers, about what they like best."""
        return (1 - BOUNCE_RATIO[channel]) * self.campaign(campaign_id).click_ratio[channel]

    def best_channel(self, campaign_id: str) -> Channel:
        """The arm that a bandit should find."""
        return max(CHANNELS, key=lambda channel: self.expected_ctr(campaign_id, channel))

    def respond(self, decision: Decision) -> list[Outcome]:
        """What becomes of a decision, in order of time; the same each time it is asked.

        A holdout's is never delivered, but its customer may buy all the same. A decision about a
        stranger is answered with a bounce.
        """
        draw = self._draws(decision.decision_id)
        customer = self._people.index_of(decision.user_id)
        if decision.status == "holdout":
            if customer is None or draw[3] >= self._organic(customer, decision.campaign_id):
                return []
            return [self._outcome(decision, "converted", _wait(draw[4], 900, 0.6), draw[6])]
        if customer is None or draw[0] < BOUNCE_RATIO[decision.channel]:
            return [self._outcome(decision, "bounced", 1_000)]
        delivered_s = 0.5 + 2 * draw[0]
        opened_s = delivered_s + _wait(draw[1], 40, 0.8)
        clicked = draw[2] < self._click(
            customer,
            decision.campaign_id,
            decision.channel,
            decision.item_category,
            decision.offer.discount_ratio,
            decision.decided_at_ms,
        )
        outcomes = [self._outcome(decision, "delivered", delivered_s)]
        if clicked or (draw[1] < OPEN_RATIO and not self._people.bot[customer]):
            outcomes.append(self._outcome(decision, "opened", opened_s))
        if clicked:
            clicked_s = opened_s + _wait(draw[5], 15, 0.5)
            outcomes.append(self._outcome(decision, "clicked", clicked_s))
            if draw[7] < self._conversion(customer, decision):
                bought_s = clicked_s + _wait(draw[4], 120, 0.6)
                outcomes.append(self._outcome(decision, "converted", bought_s, draw[6]))
                return outcomes
        if draw[3] < self._organic(customer, decision.campaign_id):
            outcomes.append(self._outcome(decision, "converted", _wait(draw[4], 900, 0.6), draw[6]))
        elif not clicked and draw[6] < UNSUBSCRIBE_RATIO:
            kind: OutcomeKind = "complained" if draw[6] < COMPLAINT_RATIO else "unsubscribed"
            outcomes.append(self._outcome(decision, kind, opened_s + 5))
        return sorted(outcomes, key=lambda outcome: int(outcome.ts))

    def _click(
        self,
        customer: int,
        campaign_id: str,
        channel: Channel,
        item_category: str | None,
        discount_ratio: float,
        at_ms: int | None,
    ) -> float:
        """P(clicked | delivered)."""
        people = self._people
        if people.bot[customer]:
            return 0.0
        timely = 0.0
        if at_ms is not None:
            hour = np.asarray(at_ms / 3_600_000 - people.peak_utc_hour[customer])
            timely = 2 * float(wakefulness(hour)) - 1
        logit = (
            self._constant(campaign_id, channel)
            + _ENGAGED * float(people.engagement[customer])
            + _PREFERS * float(people.preference[customer, CHANNELS.index(channel)])
            + _LIKES * (self._affinity(customer, item_category) - 1)
            + _THRIFTY * float(people.price_sensitivity[customer]) * discount_ratio
            + _TIMELY * timely
        )
        return 1 / (1 + math.exp(-logit))

    def _constant(self, campaign_id: str, channel: Channel) -> float:
        """The arm's constant, solved by bisection over a sample of active customers."""
        known = self._constants.get((campaign_id, channel))
        if known is not None:
            return known
        people, who = self._people, self._sample[~self._people.bot[self._sample]]
        others: NDArray[np.float64] = (
            _ENGAGED * people.engagement[who].astype(np.float64)
            + _PREFERS * people.preference[who, CHANNELS.index(channel)]
            + _THRIFTY * people.price_sensitivity[who] * _USUAL_DISCOUNT
        )
        wanted = self.campaign(campaign_id).click_ratio[channel]
        low, high = -15.0, 15.0
        for _ in range(40):
            constant = (low + high) / 2
            if float(np.mean(1 / (1 + np.exp(-constant - others)))) < wanted:
                low = constant
            else:
                high = constant
        self._constants[campaign_id, channel] = constant
        return constant

    def _affinity(self, customer: int, item_category: str | None) -> float:
        """How much the customer likes a category; with none given, the message fits them."""
        if item_category is None:
            return AFFINITY[0]
        for place, category in enumerate(self._people.favourites[customer]):
            if CATEGORIES[category] == item_category:
                return AFFINITY[place]
        return 0.0

    def _organic(self, customer: int, campaign_id: str) -> float:
        people = self._people
        if people.bot[customer]:
            return 0.0
        lean = math.exp(0.4 * float(people.engagement[customer]) - 0.08)
        return min(0.5, self.campaign(campaign_id).organic_ratio * lean)

    def _conversion(self, customer: int, decision: Decision) -> float:
        """P(converted because of the click | clicked)."""
        thrifty = float(self._people.price_sensitivity[customer])
        lean = 1 + thrifty * (4 * decision.offer.discount_ratio - 0.4)
        return min(0.9, self.campaign(decision.campaign_id).conversion_ratio * lean)

    def _outcome(
        self, decision: Decision, kind: OutcomeKind, after_s: float, luck: float | None = None
    ) -> Outcome:
        value = None
        if luck is not None:
            price = self._catalogue.price_of(decision.item_id) or 20 + 80 * luck
            value = round(price * (1 - decision.offer.discount_ratio), 2)
        return Outcome(
            outcome_id=f"{decision.decision_id}-{kind}",
            user_id=decision.user_id,
            kind=kind,
            ts=decision.decided_at_ms + int(after_s * 1_000),
            decision_id=decision.decision_id,
            campaign_id=decision.campaign_id,
            channel=None if decision.status == "holdout" else decision.channel,
            value=value,
        )

    def _draws(self, decision_id: str) -> list[float]:
        """Uniform draws that belong to a decision, whoever asks and however often."""
        digest = hashlib.blake2b(f"{self._seed}:{decision_id}".encode(), digest_size=8 * _DRAWS)
        bits: NDArray[np.uint64] = np.frombuffer(digest.digest(), "<u8")
        draws: list[float] = ((bits >> np.uint64(11)) / 2.0**53).tolist()
        return draws


def _wait(uniform: float, median_s: float, spread: float) -> float:
    """Seconds of a log-logistic wait, which has the long tail that people have."""
    odds = uniform / (1 - uniform) if uniform < 1 else 1e6
    return float(min(median_s * 60, median_s * math.pow(odds, spread)))
