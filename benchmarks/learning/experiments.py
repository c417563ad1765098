"""Experiments whose truth is known: does the interval of a lift hold what it says?"""

from __future__ import annotations

from typing import Final

import numpy as np

from schemas.experiment import Experiment, Variant
from scoring.experiments.assignment import variant_of
from scoring.experiments.lift import LEAST, Plan, half_width, lift
from scoring.experiments.sums import Sums

PLAN: Final = Plan(0.05, 8_000)
MINUTES: Final = 1_440
A_MINUTE: Final = 10
"""Customers that come to each group in a minute."""
LIFT: Final = 0.2
ORDINARY: Final = 1.96


def covered(runs: int, customers: int = 6_000) -> tuple[int, int]:
    """In how many runs the interval of the difference, and of the lift, contains the truth.

    Customers are drawn to groups by the engine's own hash. Each has a rate of buying of their own,
    by which they bought before and buy now; the treated buy a fifth more.
    """
    contained = relative = 0
    for seed in range(runs):
        trial = Experiment(f"trial-{seed}", (Variant("control", 0.5), Variant("treated", 0.5)))
        rng = np.random.default_rng((seed, 21))
        rates = rng.gamma(0.5, 0.4, customers)
        before, luck = rng.poisson(rates), rng.random(customers)
        groups = {"control": Sums(), "treated": Sums()}
        names = [variant_of(trial, f"u{number}") for number in range(customers)]
        treated = np.array([name == "treated" for name in names])
        chance = 1 - np.exp(-0.3 * rates)  # of an order in the time of the experiment
        now = luck < np.minimum(1.0, chance * (1 + LIFT * treated))
        for name, y, x in zip(names, now.tolist(), before.tolist(), strict=True):
            groups[name].add(float(y), float(x))
        # E[1 - exp(-0.3 r)] of a Gamma(shape 0.5, scale 0.4); at most 1.2 of it is below 1 but
        # for rates that one customer in 10⁶ has.
        truth = 1 - (1 + 0.3 * 0.4) ** -0.5
        found = lift(groups["control"], groups["treated"], PLAN)
        if found is not None:
            contained += found.low <= LIFT * truth <= found.high
            relative += found.relative_low <= LIFT <= found.relative_high
    return contained, relative


def ever_wrong(runs: int) -> tuple[float, float]:
    """The share of runs in which the interval, looked at in every minute of a day, ever lied.

    The worst of three pairs of click-throughs; and how often an ordinary interval of 95 % lies
    when it is looked at as often.
    """
    rng = np.random.default_rng(22)
    n = np.arange(1, MINUTES + 1) * A_MINUTE
    wide = half_width(np.ones(MINUTES), n / 2, PLAN)
    worst = peeked = 0.0
    for ratios in ((0.05, 0.05), (0.02, 0.02), (0.05, 0.07)):
        control, treated = (
            rng.binomial(A_MINUTE, ratio, (runs, MINUTES)).cumsum(axis=1) / n for ratio in ratios
        )
        error = np.sqrt((control * (1 - control) + treated * (1 - treated)) / (n - 1))
        off = np.abs(treated - control - (ratios[1] - ratios[0]))
        told = (n >= LEAST) & (np.minimum(control, treated) > 0)
        worst = max(worst, float((told & (off > error * wide)).any(axis=1).mean()))
        peeked = max(peeked, float((told & (off > ORDINARY * error)).any(axis=1).mean()))
    return worst, peeked
