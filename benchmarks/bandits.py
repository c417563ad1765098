"""Bandits in a market whose truth is known, without servers: `python -m benchmarks.bandits`.

Ten campaigns with three channels each. Every policy decides, learns from rewards that come late
(a click after minutes; until then, and for ever if none comes, the exposure counts as 0), and has
its mixes steered as in the stream. The last line is JSON:

- ``regret_ratio``: clicks lost against the best arm, as a share of what an equal split loses
- ``drift_share``: the new best arm's mean share an hour after the market turned over, and before
- ``ips_gap_se``: an equal split's value estimated from the policy's log by inverse propensity, less
  what an equal split truly earned, in standard errors of one run
- ``chi_square_rejected``: of all seeds, those whose arms do not fit their propensities at 5 %
"""

from __future__ import annotations

import argparse
import heapq
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from schemas.outcome import CHANNELS
from scoring.policies import POLICIES
from scoring.policies.base import ArmPolicy, draw
from scoring.policies.context import CONTEXTS, Context
from scoring.policies.linear import LinearThompson
from scoring.policies.steer import Limits, steered
from state.arm import Arm, Credit
from state.mix import HOUR_MS, Mix

CAMPAIGNS: Final = 10
PRIOR: Final = (1.0, 19.0)
START_MS: Final = 1_700_000_000_000
MINUTE_MS: Final = 60_000
CLICK_MEDIAN_MS: Final = 2 * MINUTE_MS

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Market:
    """Click-through by campaign and channel; ``habit`` raises it on the channel of habit.

    At ``turns_ms`` after the start every campaign's best channel becomes its worst, and the worst
    its best.
    """

    seed: int
    habit: float = 0.0
    turns_ms: int | None = None

    def ratios(self) -> Vector:
        """Click-through before and after the turn, by campaign and channel."""
        rng = np.random.default_rng([self.seed, 1])
        levels = rng.uniform(0.08, 0.14, CAMPAIGNS)
        places = np.array([rng.permutation(3) for _ in range(CAMPAIGNS)])
        before = levels[:, None] * np.array([1.0, 0.5, 0.25])[places]
        after = levels[:, None] * np.array([0.25, 0.5, 1.0])[places]
        return np.stack((before, after))

    def truth(self, ratios: Vector, campaign: int, context: Context, after_ms: int) -> Vector:
        """P(click) of each channel."""
        turned = self.turns_ms is not None and after_ms >= self.turns_ms
        plain: Vector = ratios[int(turned), campaign]
        likes = np.array([channel == context.habit for channel in CHANNELS])
        return plain * (1 + self.habit * likes)


@dataclass
class Log:
    """What a run did: one entry a decision, and the mixes of each campaign in order."""

    shares: list[tuple[float, ...]] = field(default_factory=list)
    chosen: list[int] = field(default_factory=list)
    clicked: list[float] = field(default_factory=list)
    truth: list[Vector] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)
    lost_even: list[float] = field(default_factory=list)
    mixes: defaultdict[tuple[int, str], list[Mix]] = field(
        default_factory=lambda: defaultdict(list)
    )

    @property
    def regret_ratio(self) -> float:
        """Clicks lost, as a share of those that an equal split would have lost."""
        return sum(self.lost) / sum(self.lost_even)


class Bandit:
    """A policy with its arms and mixes; without a policy it splits evenly."""

    def __init__(self, policy: ArmPolicy | None, limits: Limits, half_life_ms: int) -> None:
        self._policy = policy
        self._limits = limits
        self._half_life_ms = half_life_ms
        self._sees = isinstance(policy, LinearThompson)
        self._arms: defaultdict[tuple[int, int], Arm] = defaultdict(Arm)
        self.mixes: dict[tuple[int, str], Mix] = {}

    def numbers(self, context: Context, place: int) -> tuple[float, ...]:
        """What the arm is told of the context."""
        return context.numbers(CHANNELS[place]) if self._sees else ()

    def mix(self, campaign: int, context: Context, at_ms: int) -> tuple[str, Mix]:
        """The mix in force, and the name of the case that it is for."""
        case = context.name if self._sees else ""
        wish = dict.fromkeys(CHANNELS, 1 / 3)
        if self._policy is not None:
            beliefs = tuple(
                self._policy.belief(
                    self._arms[campaign, place], PRIOR, self.numbers(context, place)
                )
                for place in range(3)
            )
            wish = dict(zip(CHANNELS, self._policy.probabilities(beliefs), strict=True))
        before = self.mixes.get((campaign, case))
        mix = self.mixes[campaign, case] = steered(before, wish, at_ms, self._limits)
        return case, mix

    def exposed(self, campaign: int, place: int, credit: Credit) -> None:
        """Count an exposure as worth nothing, for as long as nothing else is known."""
        self._arms[campaign, place].apply(credit, self._half_life_ms)

    def clicked(self, campaign: int, place: int, credit: Credit) -> None:
        """Count it as a click after all."""
        arm = self._arms[campaign, place]
        arm.reverse(credit, self._half_life_ms)
        arm.apply(credit._replace(reward=1.0), self._half_life_ms)


def play(
    market: Market,
    policy: ArmPolicy | None,
    decisions: int,
    hours: float,
    limits: Limits = Limits(),  # noqa: B008
    half_life_ms: int = 0,
) -> Log:
    """Make decisions at an even pace and learn from what comes of them."""
    bandit, log, ratios = Bandit(policy, limits, half_life_ms), Log(), market.ratios()
    rng = np.random.default_rng([market.seed, 2])
    campaigns = rng.integers(0, CAMPAIGNS, decisions)
    contexts = rng.integers(0, len(CONTEXTS), decisions)
    lucks = rng.random(decisions)
    waits = rng.lognormal(np.log(CLICK_MEDIAN_MS), 0.8, decisions)
    coming: list[tuple[int, int, int, int, Credit]] = []
    for number in range(decisions):
        after_ms = int(number * hours * HOUR_MS / decisions)
        at_ms = START_MS + after_ms
        while coming and coming[0][0] <= at_ms:
            _, _, *of = heapq.heappop(coming)
            bandit.clicked(*of)
        campaign, context = int(campaigns[number]), CONTEXTS[contexts[number]]
        case, mix = bandit.mix(campaign, context, at_ms)
        drawn = draw(f"{market.seed}-{number}", mix.shares)
        assert drawn is not None
        place, _ = drawn
        truth = market.truth(ratios, campaign, context, after_ms)
        clicked = bool(lucks[number] < truth[place])
        credit = Credit(at_ms, 0.0, bandit.numbers(context, place))
        bandit.exposed(campaign, place, credit)
        if clicked:
            comes_ms = at_ms + int(waits[number])
            heapq.heappush(coming, (comes_ms, number, campaign, place, credit))
        log.shares.append(mix.shares)
        log.chosen.append(place)
        log.clicked.append(float(clicked))
        log.truth.append(truth)
        log.lost.append(float(truth.max() - truth[place]))
        log.lost_even.append(float(truth.max() - truth.mean()))
        log.mixes[campaign, case].append(mix)
    return log


def speed_and_floor(log: Log) -> tuple[float, float]:
    """The most that any share moved within an hour, and the least that any was."""
    fastest, least = 0.0, 1.0
    for mixes in log.mixes.values():
        shares = np.array([mix.shares for mix in mixes])
        times = np.array([mix.at_ms for mix in mixes])
        least = min(least, float(shares.min()))
        for place in range(1, len(mixes)):
            # What was in force an hour ago was put in force before.
            first = max(0, int(np.searchsorted(times, times[place] - HOUR_MS, "right")) - 1)
            fastest = max(fastest, float(np.abs(shares[first:place] - shares[place]).max()))
    return fastest, least


def drift(
    policy: ArmPolicy, seed: int, an_hour: int = 2_000, half_life_ms: int = HOUR_MS
) -> dict[str, float]:
    """How a market that turns over after three hours is followed, by messages an hour each."""
    hours = 6
    market = Market(seed, turns_ms=3 * HOUR_MS)
    limits = Limits(floor=0.05)
    log = play(market, policy, CAMPAIGNS * an_hour * hours, hours, limits, half_life_ms)
    best = market.ratios()[1].argmax(axis=1)
    turned_ms = START_MS + 3 * HOUR_MS
    at = {0: turned_ms - 1, 1: turned_ms + HOUR_MS, 3: turned_ms + 3 * HOUR_MS - MINUTE_MS}
    found = {
        f"after_{hour}_h": float(
            np.mean(
                [
                    [mix for mix in mixes if mix.at_ms <= at_ms][-1].shares[best[campaign]]
                    for (campaign, _), mixes in log.mixes.items()
                ]
            )
        )
        for hour, at_ms in at.items()
    }
    fastest, least = speed_and_floor(log)
    return {name: round(value, 4) for name, value in found.items()} | {
        "most_moved_in_an_hour": round(fastest, 4),
        "least_share": round(least, 4),
    }


class Gap(NamedTuple):
    """What inverse propensity is off by, summed over decisions, and the variance of that sum."""

    off: float
    variance: float

    @property
    def errors(self) -> float:
        """In standard errors."""
        return self.off / self.variance**0.5


def ips_gap(log: Log, even: Log) -> Gap:
    """Equal split's value by inverse propensity (Horvitz & Thompson, 1952) less what it earned.

    Both met the same customers with the same luck and draws. The mix of a decision depends on what
    came before, so the terms are martingale differences: 0 in the mean whatever happened, each with
    the variance that the market's truth gives it. An error estimated from the terms themselves will
    not do: the few clicks of a rare arm, which weigh most, raise estimate and error together, so
    that their ratio is below 0 in the mean, and the more so the more runs are put together.
    """
    shares, chosen, truth = np.array(log.shares), np.array(log.chosen), np.array(log.truth)
    weights = (1 / 3) / shares
    taken = weights[np.arange(len(chosen)), chosen]
    off = taken * np.array(log.clicked) - np.array(even.clicked)
    # The same draw decides in both runs: an arm of each by where its parts of [0, 1) overlap.
    ends = [np.cumsum(each, axis=1) for each in (shares, np.array(even.shares))]
    (high, even_high), (low, even_low) = (
        ends,
        [end - each for end, each in zip(ends, (shares, np.array(even.shares)), strict=True)],
    )
    both = np.minimum(high[:, :, None], even_high[:, None, :])
    both = np.maximum(0.0, both - np.maximum(low[:, :, None], even_low[:, None, :]))
    ours, theirs = truth[:, :, None], truth[:, None, :]
    weight = weights[:, :, None]
    squares = weight**2 * ours + theirs - 2 * weight * np.minimum(ours, theirs)
    return Gap(float(off.sum()), float((both * squares).sum()))


def pooled(gaps: Sequence[Gap]) -> Gap:
    """Several runs as one."""
    return Gap(sum(gap.off for gap in gaps), sum(gap.variance for gap in gaps))


def chi_square(log: Log) -> float:
    """P-value of the chosen arms against propensities that differ from decision to decision."""
    shares = np.array(log.shares)
    expected = shares.sum(axis=0)
    counts = np.bincount(log.chosen, minlength=3)
    covariance = np.diag(expected) - shares.T @ shares
    off = (counts - expected)[:2]
    distance = float(off @ np.linalg.solve(covariance[:2, :2], off))
    return float(chi2.sf(distance, 2))


def main() -> None:
    """Play, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rewards", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=100, help="runs of the chi-square")
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()

    results: dict[str, dict[str, object]] = {}
    even = play(Market(asked.seed + 1), None, asked.rewards, 48)
    for name, kind in POLICIES.items():
        log = play(Market(asked.seed), kind(), asked.rewards, 48)
        again = play(Market(asked.seed + 1), kind(), asked.rewards, 48)
        habitual = play(Market(asked.seed, habit=3.0), kind(), asked.rewards, 48)
        rejected = sum(
            chi_square(play(Market(1_000 + seed), kind(), 300, 3)) < 0.05
            for seed in range(asked.seeds)
        )
        results[name] = {
            "regret_ratio": round(log.regret_ratio, 4),
            "regret_ratio_with_habits": round(habitual.regret_ratio, 4),
            "drift_share": drift(kind(), asked.seed) if name == "beta-thompson" else None,
            "ips_gap_se": round(ips_gap(again, even).errors, 3),
            "chi_square_rejected": rejected,
        }
        print(f"{name}: {results[name]}", flush=True)
    print(json.dumps({"rewards": asked.rewards, "seeds": asked.seeds, "policies": results}))


if __name__ == "__main__":
    main()
