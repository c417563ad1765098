"""``make prove-learning``: each promise of the learning loop tried; ends with one JSON line.

First in the core, without servers: the same decider, learner, policies and intervals as on Flink,
in one process. Then, unless ``--no-servers``, on Kafka, Flink and Redis
(`benchmarks.learning.live`): an hour of a market decided again, ``kill -9`` of the TaskManager, the
time from an outcome to the posterior in use, scores computed again by the archive. Where both have
a figure, differences are added up, and what must hold must hold in both.

- ``regret_ratio``: clicks lost against the best arm, over those that an equal split loses, after
  20 000 rewards in a market of ten campaigns with three channels; the worst of the seeds
- ``lift_coverage``: of 100 seeded experiments, those whose interval holds the true difference
- ``always_valid_error``: how often an interval of 95 % lies at any minute of a day
- ``ips_gap_se``: an equal split's value by inverse propensity from the policy's log, less what an
  equal split earned, all runs together, in standard errors
- ``ips_beyond_2_se``: of 100 runs, those in which that is more than two standard errors on its own.
  Of right propensities 4.6 of 100 are so by chance; more than ``ips_beyond_most`` are wrong
- ``chi_square_rejected``: of the same runs, those whose arms do not fit their propensities at 5 %
- ``posterior_differences``: arms whose published posterior is not what examples and rewards say,
  after crashes at random points
- ``parity_mismatches``: examples of a played market whose score is not the model's own graph's
- ``digest_equal``: whether an hour of a market, decided again from its record, is the same
- ``posterior_p99_ms``: from an outcome on Kafka to a decision that knows of it, on real servers
- ``ftrl_accuracy``: of the learner in the stream, in one pass over the phishing data; null without

The runs of ``ips_…`` and ``chi_square_…`` have the seeds from `FIRST_RUN` on, a number that was
written down before any of them was played. If they fail, it is the propensities that are to be
looked at.

``--quick`` does the same on less, for CI. A promise that is broken makes the exit code 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any, Final

from scipy.stats import binom, norm

from benchmarks.bandits import MINUTE_MS, Market, chi_square, drift, ips_gap, play, pooled
from benchmarks.learning import crashes, experiments, live, online, parity, replay
from jobs.archive.parity import CHECKED, MISMATCHED
from scoring.policies.thompson import BetaThompson

SEED: Final = 7
HOURS: Final = 48
LEVEL: Final = 0.05
SURE: Final = 0.99
"""How sure a count that chance moves must be before it is called wrong."""
FIRST_RUN: Final = 20_261_127
RUN_REWARDS: Final = 3_000
ERRORS: Final = 2.0
HALF_LIFE_MS: Final = 10 * MINUTE_MS
"""Of what is learned, where the market is known to drift."""
PUBLISHED_ACCURACY: Final = 0.8928
LEAST_EXAMPLES: Final = 100_000
DIFFERENCES: Final = (
    "posterior_differences", "examples_lost", "examples_changed", "parity_mismatches", "exposures",
    "clicks",
)  # fmt: skip
HOLD: Final = ("digest_equal", "posteriors_unmoved")
REWARDS: Final = (
    "rewards_lost", "rewards_of_nothing", "rewards_changed", "labelled_twice", "orders_wrong",
)  # fmt: skip


def bandits(rewards: int, seeds: int) -> dict[str, Any]:
    """Regret against the best arm."""
    ratios = []
    for seed in range(SEED, SEED + seeds):
        ratios.append(play(Market(seed), BetaThompson(), rewards, HOURS).regret_ratio)
        tell(f"seed {seed}: regret {ratios[-1]:.3f} of an equal split's")
    return {"regret_ratio": round(max(ratios), 4)}


def propensities(runs: int, rewards: int) -> dict[str, Any]:
    """Whether inverse propensity is right, and arms are drawn as often as was logged."""
    gaps, rejected = [], 0
    for seed in range(FIRST_RUN, FIRST_RUN + runs):
        log = play(Market(seed), BetaThompson(), rewards, HOURS)
        gaps.append(ips_gap(log, play(Market(seed), None, rewards, HOURS)))
        rejected += chi_square(log) < LEVEL
    errors = [gap.errors for gap in gaps]
    tell(f"IPS is off by {min(errors):.2f} to {max(errors):.2f} SE in single runs")
    return {
        "ips_gap_se": round(pooled(gaps).errors, 3),
        "ips_beyond_2_se": sum(abs(error) > ERRORS for error in errors),
        "ips_beyond_most": int(binom.ppf(SURE, runs, 2 * norm.sf(ERRORS))),
        "chi_square_rejected": rejected,
        "chi_square_most": int(binom.ppf(SURE, runs, LEVEL)),
    }


def drifting(an_hour: int) -> dict[str, float]:
    """How the mix follows a market that turns over, and whether its limits hold."""
    found = drift(BetaThompson(), SEED, an_hour, HALF_LIFE_MS)
    moved = found["after_1_h"] - found["after_0_h"]
    return {
        "drift_moved_in_an_hour": round(moved, 4),
        "drift_share_after_3_h": found["after_3_h"],
        "most_moved_in_an_hour": found["most_moved_in_an_hour"],
        "least_share": found["least_share"],
    }


def intervals(runs: int, days: int) -> dict[str, Any]:
    """Coverage of a lift whose truth is known, and the error of looking all the time."""
    contained, relative = experiments.covered(runs)
    wrong, ordinary = experiments.ever_wrong(days)
    tell(f"an ordinary interval, looked at as often, lies in {ordinary:.1%} of days")
    return {
        "lift_coverage": round(contained / runs, 4),
        "relative_lift_coverage": round(relative / runs, 4),
        "always_valid_error": round(wrong, 4),
    }


def crashing(seeds: int, steps: int) -> dict[str, int]:
    """Posteriors and examples after crashes at random points, added up."""
    found = [crashes.crashed(seed, steps) for seed in range(seeds)]
    names = crashes.Found._fields
    return {name: sum(getattr(each, name) for each in found) for name in names}


def compared(least: int) -> dict[str, int]:
    """Scores in examples against the model's graph."""
    found = parity.scored(least)
    return {"parity_checked": found[CHECKED], "parity_mismatches": found[MISMATCHED]}


def tell(line: str) -> None:
    """Say how far it is, beside the figures."""
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Try everything, print, and say whether it held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a part of it, for CI")
    parser.add_argument("--no-servers", action="store_true", help="the core alone")
    options = parser.parse_args()
    quick = options.quick
    line: dict[str, Any] = {}
    for name, found in (
        ("bandits", lambda: bandits(*((4_000, 1) if quick else (20_000, 3)))),
        ("propensities", lambda: propensities(*((10, 800) if quick else (100, RUN_REWARDS)))),
        ("a drifting market", lambda: drifting(100 if quick else 2_000)),
        ("experiments", lambda: intervals(*((40, 1_000) if quick else (100, 2_000)))),
        ("crashes", lambda: crashing(*((2, 30) if quick else (20, 60)))),
        ("parity", lambda: compared(2_000 if quick else 100_000)),
        ("replay", lambda: replay.again(2_000 if quick else 10_000)._asdict()),
    ):
        line |= found()
        tell(f"{name}: done")
    accuracy = online.accuracy()
    if accuracy is None:
        tell(f"ftrl_accuracy is null: there is no {online.PHISHING}")
    line["ftrl_accuracy"] = accuracy
    line["measured_in"] = "the core, without servers"
    if not options.no_servers:
        line = joined(line, live.figures(small=quick))
    line["quick"] = quick
    broken = broken_promises(line)
    for promise in broken:
        tell(f"broken: {promise}")
    print(json.dumps(line))
    return 1 if broken else 0


def joined(core: Mapping[str, Any], real: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of both: differences are added up, and what must hold must hold in both."""
    both = {**core, **real, "measured_in": "the core, and real servers"}
    for name in DIFFERENCES:
        both[name] = core[name] + real[name]
    for name in HOLD:
        both[name] = core[name] and real[name]
    return both


def broken_promises(line: Mapping[str, Any]) -> list[str]:
    """What does not hold of the figures; a part of the rewards is held to a part of the regret."""
    quick = line["quick"]
    held = {
        "regret is at most a quarter of an equal split's": (
            line["regret_ratio"] <= (0.5 if quick else 0.25)
        ),
        "the interval holds the true lift in 95 of 100 runs": line["lift_coverage"] >= 0.95,
        "the interval lies no more often than it says": line["always_valid_error"] <= LEVEL,
        "IPS is within two standard errors": abs(line["ips_gap_se"]) <= ERRORS,
        "IPS is beyond two standard errors no more often than by chance": (
            line["ips_beyond_2_se"] <= line["ips_beyond_most"]
        ),
        "arms are drawn by their propensities": (
            line["chi_square_rejected"] <= line["chi_square_most"]
        ),
        "the mix follows a drift": line["drift_moved_in_an_hour"] >= (0.05 if quick else 0.1),
        "no share moves faster than the limit": line["most_moved_in_an_hour"] <= 0.2 + 1e-6,
        "no arm falls below its floor": line["least_share"] >= 0.05 - 1e-6,
        "posteriors are the oracle's": line["posterior_differences"] == 0,
        "no example is lost": line["examples_lost"] == line.get("archive_lost", 0) == 0,
        "no example is repeated": line.get("archive_repeated", 0) == 0,
        "no reward is lost, made up or counted twice": not any(line.get(n, 0) for n in REWARDS),
        "an outcome is used within two seconds": line.get("posterior_p99_ms", 0) < 2_000,
        "scores of the stream are computed again": (
            line.get("parity_examples", LEAST_EXAMPLES) >= (3_000 if quick else LEAST_EXAMPLES)
        ),
        "the model of every score is known": line.get("parity_unknown", 0) == 0,
        "Redis shows what was learned": line.get("arms_in_redis_wrong", 0) == 0,
        "a replay sends nothing": line.get("replay_sends", 0) == 0,
        "the challenger decides nothing": line.get("decided_by_others_than_the_champion", 0) == 0,
        "no example changes": line["examples_changed"] == 0,
        "scores are those of the model's graph": (
            line["parity_checked"] > 0 == line["parity_mismatches"]
        ),
        "a replay decides the same": line["digest_equal"] and line["replayed"] > 0,
        "a replay over kills decides the same": line.get("digest_equal_over_kills", True),
        "a replay moves no posterior": line["posteriors_unmoved"],
        "the learner is as accurate as is published": (
            line["ftrl_accuracy"] is None or line["ftrl_accuracy"] >= PUBLISHED_ACCURACY
        ),
    }
    return [promise for promise, holds in held.items() if not holds]


if __name__ == "__main__":
    raise SystemExit(main())
