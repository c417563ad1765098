from math import log

import pytest

from jobs.models.served import seen
from schemas.learning import Example, Reward


def example(name, version, score=0.25, shadow="", shadow_score=0.0, *, holdout=False, at_ms=1):
    return Example(
        name, "u", "c", "sms", [], "h", score, 1.0, version, at_ms, holdout,
        shadow_version=shadow, shadow_score=shadow_score,
    )  # fmt: skip


def reward(name, kind):
    return Reward(name, "u", "c", "sms", kind, float(kind == "clicked"), 9)


def test_what_each_did_is_summed_and_repeats_and_the_held_out_change_nothing():
    records = [
        example("a", "old"), example("a", "old"), example("b", "new", 0.5),
        example("h", "new", holdout=True), example("open", "new"),
        reward("b", "expired"), reward("b", "clicked"), reward("h", "expired"),
        reward("a", "expired"), reward("a", "unsubscribed"), reward("a", "expired"),
    ]  # fmt: skip
    found = seen(records, "new")
    assert (found.trial.answered, found.trial.clicks, found.trial.promised) == (1, 1, 0.5)
    assert (found.other.answered, found.other.clicks, found.other.left) == (1, 0, 1)
    assert found.paired.rows == 0
    assert found.rows("canary") == 1


def test_both_are_compared_on_the_rows_of_either():
    records = [
        example("a", "old", 0.25, "new", 0.5), reward("a", "clicked"),
        example("b", "new", 0.5, "old", 0.25), reward("b", "expired"),
    ]  # fmt: skip
    paired = seen(records, "new").paired
    assert (paired.rows, paired.clicks, paired.promised, paired.other_promised) == (2, 1, 1.0, 0.5)
    assert paired.trial_loss == pytest.approx(-2 * log(0.5))
    assert paired.other_loss == pytest.approx(-log(0.25) - log(0.75))
    assert paired.excess == pytest.approx(paired.trial_loss - paired.other_loss)


def test_clicks_that_came_before_their_window_closed_do_not_count_yet():
    early = [example(f"c{n}", "old", 0.1, "new", 0.1, at_ms=n) for n in range(100)]
    clicks = [reward(f"c{n}", "clicked") for n in range(50)]
    assert seen([*early, *clicks], "new").paired.rows == 0
    closed = [*early, *clicks, reward("c60", "expired")]
    assert seen(closed, "new").paired.rows == 51


@pytest.mark.parametrize("score", [float("nan"), -0.1, 1.5])
def test_a_score_that_is_no_probability_is_counted_and_compared_with_nothing(score):
    records = [example("a", "old", 0.25, "new", score), reward("a", "expired")]
    found = seen(records, "new")
    assert (found.paired.failed, found.paired.rows, found.other.answered) == (1, 0, 1)
    found = seen([example("a", "new", score, "old", 0.5), reward("a", "expired")], "new")
    assert (found.trial.failed, found.paired.rows) == (1, 0)
