"""Which offer to make: type and discount, within the campaign's limits, by expected margin.

Of a message that is clicked with probability c(d) at a discount d, and whose clicks become orders
with probability b(d), the shop expects c(d) × b(d) × (price × (margin - d) - the offer's cost).
Click and conversion are logistic in the discount, so for each type of offer this product is
log-concave where the margin is positive: it has one peak, and bisection finds it on the grid of
allowed discounts.

What follows, and is tested: the discount stays within the limits and leaves the least margin; a
stronger price response never lowers the expected margin; who is surer to buy anyway gets no larger
discount, and what earns more gets no smaller one.
"""

from __future__ import annotations

from math import exp, floor, isfinite, log
from typing import Final

from msgspec import Struct
from xxhash import xxh3_64_intdigest

from schemas.control import Campaign, CatalogueItem
from schemas.decision import Offer
from schemas.errors import RefusedControl
from schemas.pricing import OfferLimits, PriceResponse
from scoring.features import FEATURES
from scoring.model import LogisticModel

DISCOUNT: Final = FEATURES.index("discount_ratio")
DISCOUNT_FOR_BARGAINER: Final = FEATURES.index("discount_for_bargainer")
BARGAIN_SHARE: Final = FEATURES.index("bargain_share")

_SLACK: Final = 1e-12  # of a margin: below what a price in cents can show
_EXPLORES, _DRAWS = 0x6F666601, 0x6F666602  # seeds, apart from every other draw by the same id


class Moment(Struct, frozen=True):
    """What an offer is priced for.

    ``price`` and ``margin_ratio`` are the item's, None where unknown. ``click_logit`` is the
    log-odds of a click at the campaign's stated discount, ``click_slope`` how much a unit of
    discount adds to it.
    """

    click_logit: float
    click_slope: float
    bargain_share: float
    price: float | None = None
    margin_ratio: float | None = None


class Priced(Struct, frozen=True):
    """An offer with what is expected of it.

    ``click`` and ``conversion`` are probabilities, the latter of an order once it was clicked;
    ``margin`` is what the shop keeps of such an order, in money.
    """

    offer: Offer
    click: float
    conversion: float
    margin: float

    @property
    def expected_margin(self) -> float:
        """What a message with this offer earns, its own cost not deducted."""
        return self.click * self.conversion * self.margin


class PriceList:
    """The offers of one campaign, made ready to choose from; immutable, shared by customers."""

    __slots__ = ("_choices", "_fixed", "_least", "_pricing", "_response")

    def __init__(self, spec: Campaign, learned: PriceResponse | None = None) -> None:
        """Check the limits and keep them.

        Raises:
            RefusedControl: refused_campaign, with the limit that cannot be.
        """
        for fault in faults(spec):
            raise RefusedControl("refused_campaign", f"campaign {spec.id!r}: {fault}")
        pricing = spec.pricing
        self._fixed: Final = spec.offer
        self._pricing: Final = pricing
        self._choices: Final = pricing.choices
        self._least: Final = pricing.least_margin_ratio
        self._response: Final = pricing.response if learned is None else learned

    @property
    def chooses(self) -> bool:
        """Whether there is anything to choose; if not, the campaign's offer is made as it is."""
        return bool(self._choices)

    def choose(self, moment: Moment, decision_id: str = "") -> Priced | None:
        """The allowed offer of the highest expected margin; None when none is allowed.

        Of equals the smaller discount wins, then the type named first. For the campaign's share
        of decisions that explore, any allowed offer, drawn by the decision's id.
        """
        curve = _Curve(self._fixed, self._response, moment, *self._worth(moment))
        if not self._choices:
            discount = self._fixed.discount_ratio
            if discount and self._least and not curve.keeps(self._least, discount, 0.0):
                return None
            return curve.priced(self._fixed.type, discount, 0.0, 0.0)
        steps = [(limits, self._last_step(limits, curve)) for limits in self._choices]
        share = self._pricing.explore_ratio
        if share and _uniform(decision_id, _EXPLORES) < share:
            return self._drawn(steps, curve, decision_id)
        best: Priced | None = None
        for limits, last in steps:
            if last < 0:
                continue
            found = curve.at(limits, _peak(curve, limits, last))
            if best is None or _better(found, best):
                best = found
        return best

    def _worth(self, moment: Moment) -> tuple[float, float]:
        """Price and margin ratio: the item's, else the campaign's."""
        pricing = self._pricing
        price, margin = moment.price, moment.margin_ratio
        return price or pricing.order_value, pricing.margin_ratio if margin is None else margin

    def _last_step(self, limits: OfferLimits, curve: _Curve) -> int:
        """The largest discount, in steps, that leaves the least margin; -1 for none.

        What gives nothing away is always allowed: it is the shop's own price.
        """
        least, step = self._least, limits.step_ratio
        goods = 1 - curve.margin_ratio + limits.cost / curve.price
        most = min(limits.most_ratio, 1 - goods / (1 - least))
        last = floor(max(-1.0, (most - limits.least_ratio) / step + 1e-9))
        while last >= 0 and not curve.keeps(least, discount_at(limits, last), limits.cost):
            last -= 1  # rounding: at most once
        return 0 if last < 0 and not limits.least_ratio and not limits.cost else last

    def _drawn(
        self, steps: list[tuple[OfferLimits, int]], curve: _Curve, decision_id: str
    ) -> Priced | None:
        total = sum(last + 1 for _, last in steps)
        place = int(_uniform(decision_id, _DRAWS) * total)
        for limits, last in steps:
            if place <= last:
                return curve.at(limits, place)
            place -= last + 1
        return None


class _Curve:
    """Expected margin as a function of the discount, for one customer and item."""

    __slots__ = ("_base", "_click", "_click_slope", "_slope", "_stated", "margin_ratio", "price")

    def __init__(
        self,
        stated: Offer,
        response: PriceResponse,
        moment: Moment,
        price: float,
        margin_ratio: float,
    ) -> None:
        self.price = price
        self.margin_ratio = margin_ratio
        self._stated = stated
        self._click_slope = moment.click_slope
        self._click = moment.click_logit - moment.click_slope * stated.discount_ratio
        self._base = _logit(response.conversion_ratio)
        self._slope = response.per_discount + response.per_bargain * moment.bargain_share

    def margin(self, discount: float, cost: float) -> float:
        return self.price * (self.margin_ratio - discount) - cost

    def keeps(self, least_ratio: float, discount: float, cost: float) -> bool:
        """Whether an order leaves the least share of what the customer pays."""
        paid = self.price * (1 - discount)
        return self.margin(discount, cost) >= least_ratio * paid - _SLACK * self.price

    def value(self, discount: float, cost: float, appeal: float) -> float:
        return (
            _probability(self._click + self._click_slope * discount)
            * _probability(self._base + appeal + self._slope * discount)
            * self.margin(discount, cost)
        )

    def at(self, limits: OfferLimits, step: int) -> Priced:
        return self.priced(limits.type, discount_at(limits, step), limits.cost, limits.appeal)

    def priced(self, offer_type: str, discount: float, cost: float, appeal: float) -> Priced:
        return Priced(
            Offer(offer_type, discount, self._stated.valid_days),
            _probability(self._click + self._click_slope * discount),
            _probability(self._base + appeal + self._slope * discount),
            self.margin(discount, cost),
        )


def best_offer(
    prices: PriceList,
    model: LogisticModel,
    features: list[float],
    score: float,
    decision_id: str,
    price: float | None,
    item: CatalogueItem | None,
) -> Priced | None:
    """The offer of a decision about an item, which may be none; None when none is allowed.

    ``features`` are those of the campaign as it stands, and ``score`` is theirs; ``price`` is what
    the trigger says of the item's, which goes before the catalogue's.
    """
    margin_ratio = None
    if item is not None:
        margin_ratio = item.margin_ratio
        price = item.price if price is None else price
    bargain_share = features[BARGAIN_SHARE]
    weights = model.weights
    moment = Moment(
        _logit(score),
        weights[DISCOUNT] + weights[DISCOUNT_FOR_BARGAINER] * bargain_share,
        bargain_share,
        price,
        margin_ratio,
    )
    return prices.choose(moment, decision_id)


def with_offer(features: list[float], offer: Offer) -> list[float]:
    """The features with this offer's discount instead of the campaign's stated one."""
    changed = features.copy()
    changed[DISCOUNT] = offer.discount_ratio
    changed[DISCOUNT_FOR_BARGAINER] = offer.discount_ratio * features[BARGAIN_SHARE]
    return changed


def discount_at(limits: OfferLimits, step: int) -> float:
    """The discount of a step from the least one."""
    return round(limits.least_ratio + step * limits.step_ratio, 10)


def faults(spec: Campaign) -> list[str]:
    """What is wrong with a campaign's limits, a sentence for each."""
    pricing = spec.pricing
    found = []
    for limits in pricing.choices:
        least, most = limits.least_ratio, limits.most_ratio
        if least > most:
            found.append(
                f"offer {limits.type!r} has a least discount of {least:.1%}, above its most, "
                f"{most:.1%}; swap them"
            )
    names = [limits.type for limits in pricing.choices]
    twice = sorted({name for name in names if names.count(name) > 1})
    found += [f"offer {name!r} is named twice; join its limits" for name in twice]
    if pricing.explore_ratio and not pricing.choices:
        found.append("it explores offers, but names none to choose from")
    return found


def _peak(curve: _Curve, limits: OfferLimits, last: int) -> int:
    """The step of the highest value on the way up; of equals the smallest."""
    cost, appeal = limits.cost, limits.appeal
    low, high = 0, last
    while low < high:
        middle = (low + high) // 2
        here = curve.value(discount_at(limits, middle), cost, appeal)
        if here < curve.value(discount_at(limits, middle + 1), cost, appeal):
            low = middle + 1
        else:
            high = middle
    return low


def _better(found: Priced, best: Priced) -> bool:
    ours, theirs = found.expected_margin, best.expected_margin
    return ours > theirs or (
        ours == theirs and found.offer.discount_ratio < best.offer.discount_ratio
    )


def _probability(logit: float) -> float:
    if logit >= 0:
        return 1.0 / (1.0 + exp(-logit))
    odds = exp(logit)
    return odds / (1.0 + odds)


def _logit(probability: float) -> float:
    """Log-odds, kept within ± 30; that of an even chance for what is no number."""
    if not isfinite(probability):
        return 0.0
    if probability <= 1e-13:
        return -30.0
    return 30.0 if probability >= 1 - 1e-13 else log(probability / (1 - probability))


def _uniform(text: str, seed: int) -> float:
    """A number in [0, 1) that depends on nothing but the text and the seed."""
    return (xxh3_64_intdigest(text.encode(), seed) >> 11) * 2.0**-53
