"""Who gets which variant, and whether as many did as should."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from schemas.experiment import Experiment, Variant
from scoring.experiments.assignment import faults, variant_of
from scoring.experiments.ratio import ratio

GOLDEN = ["v1", "v0", None, "v1", "v0", "v0", None, None, "v0", "v1", "v0", None]
USERS = [f"user-{number}" for number in range(20_000)]


def experiment(*shares: float, salt: str = "", name: str = "spring") -> Experiment:
    return Experiment(name, tuple(Variant(f"v{n}", share) for n, share in enumerate(shares)), salt)


def test_these_customers_have_these_variants_for_ever() -> None:
    found = [variant_of(experiment(0.4, 0.4), f"golden-{number}") for number in range(12)]
    assert found == GOLDEN


def test_as_many_customers_get_a_variant_as_its_share_says() -> None:
    counts = Counter(variant_of(experiment(0.5, 0.2, 0.1), user) for user in USERS)
    expected = {"v0": 10_000, "v1": 4_000, "v2": 2_000, None: 4_000}
    assert stats.chisquare([counts[name] for name in expected], list(expected.values()))[1] > 1e-3


def test_another_salt_shuffles_everybody() -> None:
    one, other = experiment(0.5, 0.5), experiment(0.5, 0.5, salt="again")
    together = Counter((variant_of(one, user), variant_of(other, user)) for user in USERS)
    table = [
        [together["v0", "v0"], together["v0", "v1"]],
        [together["v1", "v0"], together["v1", "v1"]],
    ]
    assert stats.chi2_contingency(table).pvalue > 1e-3
    named = experiment(0.5, 0.5, salt="spring", name="autumn")
    assert [variant_of(named, user) for user in USERS] == [variant_of(one, user) for user in USERS]


def test_a_greater_share_of_the_last_variant_takes_customers_in_and_moves_nobody() -> None:
    for user in USERS:
        before = variant_of(experiment(0.3, 0.1), user)
        after = variant_of(experiment(0.3, 0.6), user)
        assert before == after or (before is None and after == "v1")


def test_what_is_wrong_with_an_experiment_is_said() -> None:
    assert faults(experiment(1 / 3, 1 / 3, 1 / 3)) == []
    twice = Experiment("spring", (Variant("a", 0.7), Variant("a", 0.7), Variant("b", 0.0)))
    assert [fault.split(";")[0] for fault in faults(twice)] == [
        "variant 'a' is named twice",
        "the shares add up to 140.0%",
        "variant 'b' has no customers",
    ]


def test_the_p_value_is_that_of_the_chi_square_test() -> None:
    counts, shares = [4_870, 5_130, 2_020], [0.4, 0.4, 0.2]
    expected = [share * sum(counts) for share in shares]
    assert ratio(counts, shares).p_value == pytest.approx(stats.chisquare(counts, expected).pvalue)


def test_a_planted_mismatch_is_found_and_looking_at_it_later_finds_it_more() -> None:
    rng = np.random.default_rng(8)
    planted = rng.binomial(40_000, 0.48, 200)
    found = [ratio([int(n), 40_000 - int(n)], [0.5, 0.5]) for n in planted]
    assert all(each.p_value < 0.001 for each in found)
    assert all(each.mismatched() for each in found)
    assert not ratio([48, 52], [0.5, 0.5]).mismatched()


def test_a_sound_split_is_refused_as_often_as_the_level_says() -> None:
    rng = np.random.default_rng(9)
    found = [
        ratio(row.tolist(), [0.5, 0.3, 0.2]).p_value
        for row in rng.multinomial(9_000, [0.5, 0.3, 0.2], 2_000)
    ]
    for level in (0.01, 0.05, 0.2):
        refused = sum(p < level for p in found)
        assert stats.binomtest(refused, len(found), level).pvalue > 1e-3


def test_looking_all_the_time_refuses_a_sound_split_no_more_often_than_stated() -> None:
    rng = np.random.default_rng(10)
    once, ever = 0, 0
    for _ in range(300):
        left = np.cumsum(rng.binomial(50, 0.5, 200))
        looks = [ratio([int(n), 50 * at - int(n)], [0.5, 0.5]) for at, n in enumerate(left, 1)]
        once += min(look.p_value for look in looks) < 0.05
        ever += min(look.always_valid_p for look in looks) < 0.05
    assert ever <= 0.05 * 300
    assert once > 0.2 * 300, "the ordinary test is why there is another"


def test_sizes_that_cannot_be_compared_are_an_error() -> None:
    assert ratio([0, 0], [0.5, 0.5]).p_value == 1.0
    for counts, shares in (([1], [1.0]), ([1, 2], [1.0]), ([1, 2], [1.0, 0.0])):
        with pytest.raises(ValueError, match="give two or more"):
            ratio(counts, shares)
