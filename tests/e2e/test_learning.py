"""What the stream learns on real servers, through kills, and what is shown of it."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.learning.live import Sizes, prove

pytestmark = [pytest.mark.flink, pytest.mark.stack]


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A part of what `make prove-learning` does, on servers of its own."""
    return prove(tmp_path_factory.mktemp("learning"), Sizes(small=True))


def test_after_kills_each_arm_is_what_decisions_and_answers_say(figures: dict[str, Any]) -> None:
    assert figures["kills"] == 2
    assert figures["clicks"] > 20
    assert figures["posterior_differences"] == 0


def test_no_reward_is_lost_made_up_or_counted_twice(figures: dict[str, Any]) -> None:
    for name in ("rewards_lost", "rewards_of_nothing", "rewards_changed", "labelled_twice"):
        assert figures[name] == 0, name
    assert figures["orders"] > 20
    assert figures["orders_wrong"] == 0


def test_no_example_is_lost_or_repeated(figures: dict[str, Any]) -> None:
    assert figures["decisions"] > 300
    for name in ("examples_lost", "examples_changed", "archive_lost", "archive_repeated"):
        assert figures[name] == 0, name


def test_clicks_are_known_to_later_decisions(figures: dict[str, Any]) -> None:
    assert figures["responses"] > 50


def test_scores_are_those_of_the_models_that_were_in_force(figures: dict[str, Any]) -> None:
    assert figures["parity_examples"] > 2_000
    assert figures["parity_mismatches"] == 0
    assert figures["parity_unknown"] == 0


def test_redis_shows_what_was_learned_and_the_challenger_which_decides_nothing(
    figures: dict[str, Any],
) -> None:
    assert figures["arms_in_redis"] > 5
    assert figures["arms_in_redis_wrong"] == 0
    assert figures["challenger_examples"] > 100
    assert figures["decided_by_others_than_the_champion"] == 0


@pytest.mark.parametrize("over", ["", "_over_kills"])
def test_what_was_decided_is_decided_again_to_the_byte(figures: dict[str, Any], over: str) -> None:
    assert figures[f"replayed{over}"] > 100
    for what in ("lost", "differing", "missing", "added"):
        assert figures[f"replay_{what}{over}"] == 0, what
    assert figures[f"digest_equal{over}"]


def test_deciding_again_sends_nothing_and_moves_nothing(figures: dict[str, Any]) -> None:
    assert figures["what_if_rounds"] > 50
    assert figures["replay_sends"] == 0
    assert figures["posteriors_unmoved"]
