"""What a run did, arm by arm, held against the truth."""

from __future__ import annotations

from collections.abc import Iterable

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
    what the chosen one did. ``regret_of_equal_split`` is that of choosing among them evenly.
    """

    def __init__(self, market: Market) -> None:
        self._market = market
        self.arms: dict[tuple[str, Channel], Arm] = {}
        self.sent, self.held_out = Group(), Group()
        self.regret = 0.0
        self.regret_of_equal_split = 0.0
        self.true_lift = 0.0

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
        open_to = self._open_channels(decision)
        ratios = [truth.expected_ctr(decision.campaign_id, channel) for channel in open_to]
        best = max(ratios)
        self.regret += best - truth.expected_ctr(decision.campaign_id, decision.channel)
        self.regret_of_equal_split += best - sum(ratios) / len(ratios)

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

    def _open_channels(self, decision: Decision) -> list[Channel]:
        """The campaign's arms for this customer: those consented to, and the one chosen."""
        customer = self._market.population.index_of(decision.user_id)
        consents = {} if customer is None else self._market.population.consents(customer)
        return [name for name in CHANNELS if consents.get(name) or name == decision.channel]
