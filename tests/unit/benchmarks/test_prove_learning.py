"""The proof of learning holds in small, and finds what is wrong where something is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks import prove_learning
from benchmarks.bandits import Market, chi_square, ips_gap, play
from benchmarks.learning import crashes
from scoring.policies.thompson import BetaThompson
from tests.harness import Harness


def test_every_promise_holds_in_small(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["prove_learning", "--quick", "--no-servers"])
    assert prove_learning.main() == 0, capsys.readouterr().err
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert line["crashes"] > 5
    assert line["clicks"] > 50
    for name, worse in (
        ("regret_ratio", 0.6),
        ("lift_coverage", 0.94),
        ("always_valid_error", 0.051),
        ("ips_gap_se", -2.1),
        ("ips_beyond_2_se", 11),
        ("chi_square_rejected", 40),
        ("posterior_differences", 1),
        ("parity_mismatches", 1),
        ("digest_equal", False),
        ("posteriors_unmoved", False),
        ("ftrl_accuracy", 0.89),
    ):
        assert len(prove_learning.broken_promises({**line, name: worse})) == 1


def test_a_posterior_that_a_crash_counted_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(stream: Harness, saved: Any) -> None:
        """Goes back in everything but what was learned."""
        arms = dict(stream.arms)
        whole(stream, saved)
        stream.arms = arms

    whole = Harness.crash
    monkeypatch.setattr(Harness, "crash", crash)
    assert crashes.crashed(0, 30).posterior_differences > 0


def test_propensities_that_are_not_those_drawn_from_are_found() -> None:
    log = play(Market(3), BetaThompson(), 4_000, 48)
    even = play(Market(3), None, 4_000, 48)
    assert abs(ips_gap(log, even).errors) < 3
    assert chi_square(log) > 0.001
    log.shares = [(0.6, 0.2, 0.2)] * len(log.shares)
    assert abs(ips_gap(log, even).errors) > 3
    assert chi_square(log) < 1e-6
