"""What a run did, arm by arm, held against the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from msgspec import Struct

from jobs.market.market import Market
from schemas.decision import Decision
from schemas.outcome import CHANNELS, Channel, Outcome


class Arm(Struct):
    """One campaign through one channel; ``true_clicks`` is the sum of the true probabilities."""

    sends: int = 0
    clicks: int = 0
    true_clicks: float = 0.0


class Group(Struct):
    """Decisions that were sent, or that were held out, with their conversions."""

    decisions: int = 0
    conversions: int = 0
    true_conversions: float = 0.0

    @property
    def ratio(self) -> float:
        """Conversions per decision."""
        return self.conversions / self.decisions if self.decisions else 0.0


class Tally:
    """Counts decisions (each once) and what was answered to them.

    Regret is in expected clicks: what the best of the customer's arms would have brought, less
    what the chosen one did. ``regret_of_equal_split`` is that of choosing among them evenly. A
    customer's arms are the channels that the campaign was ever seen to use and that they first
    consented to, and the one chosen.
    """

    def __init__(self, market: Market) -> None:
        self._market = market
        self.arms: dict[tuple[str, Channel], Arm] = {}
        self.sent, self.held_out = Group(), Group()
        self.true_lift = 0.0
        self._choices: Counter[tuple[str, Channel, tuple[Channel, ...]]] = Counter()

    def add(self, decision: Decision, outcomes: Iterable[Outcome]) -> None:
        """Count a decision and its answers."""
        truth, told = self._market.truth, decision.status == "send"
        kinds = {outcome.kind for outcome in outcomes}
        group = self.sent if told else self.held_out
        group.decisions += 1
        group.conversions += "converted" in kinds
        group.true_conversions += truth.true_conversion_probability(decision, told)
        self.true_lift += truth.true_lift(decision)
        if not told:
            return
        arm = self.arms.setdefault((decision.campaign_id, decision.channel), Arm())
        arm.sends += 1
        arm.clicks += "clicked" in kinds
        arm.true_clicks += truth.click_probability(decision)
        self._choices[decision.campaign_id, decision.channel, self._consented(decision)] += 1

    @property
    def regret(self) -> float:
        """Clicks that were missed by not choosing the best arm."""
        return self._missed(lambda chosen, arms: chosen)

    @property
    def regret_of_equal_split(self) -> float:
        """Clicks that would have been missed by choosing evenly."""
        return self._missed(lambda chosen, arms: sum(arms) / len(arms))

    @property
    def lift(self) -> float:
        """Conversions per sent decision above those per held-out one, as measured."""
        return self.sent.ratio - self.held_out.ratio

    @property
    def lift_interval(self) -> tuple[float, float]:
        """95 % interval of `lift` (normal, unpooled)."""
        variance = sum(
            group.ratio * (1 - group.ratio) / max(1, group.decisions)
            for group in (self.sent, self.held_out)
        )
        return self.lift - 1.96 * variance**0.5, self.lift + 1.96 * variance**0.5

    @property
    def mean_true_lift(self) -> float:
        """By how much sending truly raised the probability of a conversion, on average."""
        return self.true_lift / max(1, self.sent.decisions + self.held_out.decisions)

    def _missed(self, got: Callable[[float, list[float]], float]) -> float:
        expected, missed = self._market.truth.expected_ctr, 0.0
        for (campaign, chosen, consented), times in list(self._choices.items()):
            arms = [
                expected(campaign, channel)
                for channel in CHANNELS
                if channel == chosen or (channel in consented and (campaign, channel) in self.arms)
            ]
            missed += times * (max(arms) - got(expected(campaign, chosen), arms))
        return missed

    def _consented(self, decision: Decision) -> tuple[Channel, ...]:
        customer = self._market.population.index_of(decision.user_id)
        consents = {} if customer is None else self._market.population.consents(customer)
        return tuple(channel for channel in CHANNELS if consents.get(channel))
