"""Each way from one stage to another, and each that there is not."""

import pytest
from msgspec.structs import replace

from jobs.models.guard import LEAST, Paired, Seen, Served
from jobs.models.rollout import (
    HOUR_MS,
    ROLLED_BACK,
    OutOfOrder,
    Rules,
    State,
    begin,
    force,
    promote,
    roll_back,
    step,
    told,
)

RULES = Rules()
REIGNS = State(champion="old")
SHADOW = begin(REIGNS, "new", 0, "won", "night")
CANARY = promote(SHADOW, "new", "canary", 0.1, 0, "fine", "guard")
ALL = promote(CANARY, "new", "all", 1.0, 0, "fine", "guard")


def paired(rows=RULES.rows, excess=0.0, **fields):
    """Rows of which a tenth was clicked, each with the same excess of loss, give or take."""
    found = Paired(
        rows, rows // 10, rows / 10, rows / 10, 0.3 * rows + excess * rows, 0.3 * rows,
        excess * rows, rows * (excess**2 + 0.01),
    )  # fmt: skip
    return replace(found, **fields)


def seen(trial=None, other=None, pairs=None):
    return Seen(trial or Served(), other or Served(), pairs or paired())


def served(answered=RULES.rows, rate=0.1, **fields):
    return replace(Served(answered, round(answered * rate), answered * rate), **fields)


def after(state, evidence, hours=2.0, rules=RULES):
    return step(state, evidence, rules, round(hours * HOUR_MS), "guard")


def test_a_winner_begins_in_shadow_and_scores_nobody():
    assert (SHADOW.champion, SHADOW.challenger, SHADOW.stage) == ("old", "new", "shadow")
    assert (SHADOW.share, SHADOW.on_trial, SHADOW.beside) == (0.0, "new", "new")


def test_from_shadow_to_a_small_canary_to_a_larger_one_to_all_to_settled():
    state, why = after(SHADOW, seen())
    assert (state.stage, state.share, state.champion) == ("canary", 0.1, "old")
    assert "log loss 0.3000 against 0.3000 on the same 1,000 rows" in why
    state, _ = after(state, seen(served(), served(9_000)), 4)
    assert (state.stage, state.share) == ("canary", 0.5)
    state, _ = after(state, seen(served(), served()), 6)
    assert (state.champion, state.challenger, state.stage) == ("new", "", "all")
    assert (state.beside, state.on_trial) == ("old", "new")
    state, _ = after(state, seen(served()), 8)
    assert (state.champion, state.stage, state.on_trial, state.beside) == ("new", "", "", "old")
    assert [move.stage for move in state.history] == [
        "shadow", "canary", "canary", "all", "settled",
    ]  # fmt: skip
    assert after(state, seen()) == (state, "no model is on trial")


@pytest.mark.parametrize("state", [SHADOW, CANARY, ALL], ids=lambda state: state.stage)
def test_a_stage_goes_on_while_rows_or_time_are_missing(state):
    few = seen(served(RULES.rows - 1), served(), paired(RULES.rows - 1))
    assert after(state, few)[0] == state
    assert after(state, seen(served(), served()), hours=0.9)[0] == state


@pytest.mark.parametrize(
    ("state", "evidence", "why"),
    [
        (SHADOW, seen(pairs=paired(excess=0.02)), "worse: log loss 0.3200 against 0.3000"),
        (SHADOW, seen(pairs=paired(failed=1)), "1 scores were no number"),
        (SHADOW, seen(pairs=paired(promised=400.0)), "promised 40.00% and 10.00% clicked"),
        (CANARY, seen(pairs=paired(excess=0.02)), "worse"),
        (CANARY, seen(served(rate=0.05), served()), "click-through 5.00% of 1000"),
        (CANARY, seen(served(left=40), served(left=2)), "40 of 1000 unsubscribed"),
        (CANARY, seen(served(promised=400.0), served(), Paired()), "promised 40.00%"),
        (CANARY, seen(served(failed=2), served()), "2 scores were no number"),
        (ALL, seen(served(), pairs=paired(excess=0.02)), "worse"),
        (ALL, seen(served(failed=1)), "no number"),
    ],
)
def test_a_broken_guardrail_rolls_back_at_once_whatever_the_stage(state, evidence, why):
    back, said = after(state, evidence, hours=0.0)
    assert why in said
    assert (back.champion, back.challenger, back.stage, back.share) == ("old", "", "", 0.0)
    assert back.history[-1].stage == ROLLED_BACK
    assert back.history[-1].version == "new"
    record = told(back)
    assert (record.version, record.stage, record.share) == ("new", ROLLED_BACK, 0.0)
    assert (record.champion, record.because, record.by) == ("old", said, "guard")


def test_nothing_is_concluded_from_a_few_rows():
    few = seen(served(LEAST - 1, 0.0), served(), paired(LEAST - 1, 0.5, promised=150.0))
    assert after(CANARY, few)[0] == CANARY


def test_a_market_that_changed_for_both_is_not_held_against_the_trial():
    drifted = paired(promised=400.0, other_promised=410.0)
    assert after(SHADOW, seen(pairs=drifted))[0].stage == "canary"


def test_a_better_model_is_never_rolled_back_for_being_different():
    state, _ = after(SHADOW, seen(pairs=paired(excess=-0.05)))
    assert state.stage == "canary"


def test_a_trial_that_nobody_can_judge_is_ended_but_a_champion_that_stood_its_canary_stays():
    nothing = seen(pairs=Paired())
    late = RULES.longest_ms / HOUR_MS + 2
    back, why = after(SHADOW, nothing, late)
    assert (back.challenger, why) == ("", "0 of 1,000 rows in 169 hours")
    settled, _ = after(ALL, nothing, late)
    assert (settled.champion, settled.stage) == ("new", "")


def test_stages_come_in_order_and_a_canary_may_grow():
    for state, stage in ((REIGNS, "canary"), (REIGNS, "all"), (SHADOW, "all"), (ALL, "canary")):
        with pytest.raises(OutOfOrder, match="before it goes to"):
            promote(state, "new", stage, 0.1, 1, "", "hand")
    with pytest.raises(OutOfOrder, match="champion already"):
        begin(REIGNS, "old", 1, "", "hand")
    assert promote(CANARY, "new", "canary", 0.3, 1, "", "hand").share == 0.3


def test_a_newer_model_makes_the_one_on_trial_give_way_and_says_so():
    state = begin(CANARY, "newer", 1, "won", "hand")
    assert (state.challenger, state.stage, state.share) == ("newer", "shadow", 0.0)
    assert state.history[-1].why == "won; new, which was in canary, makes room"


def test_the_first_model_of_all_has_nothing_to_be_watched_against():
    first = force(State(), "v1", "all", 1.0, 1, "forced", "hand")
    assert (first.champion, first.stage, first.beside) == ("v1", "", "")
    with pytest.raises(OutOfOrder, match="nothing to return to"):
        roll_back(first, 2, "why", "hand")


def test_rolling_back_twice_goes_two_champions_back():
    state = force(ALL, "newest", "all", 1.0, 1, "forced", "hand")
    assert (state.champion, state.before, state.beside) == ("newest", ("old", "new"), "new")
    state = roll_back(state, 2, "why", "hand")
    assert (state.champion, state.beside) == ("new", "old")
    assert roll_back(state, 3, "why", "hand").champion == "old"


def test_a_clock_that_went_back_makes_no_record_older_than_the_one_in_force():
    state = begin(REIGNS, "new", 1_000, "won", "hand")
    state = roll_back(state, 400, "why", "hand")
    assert (state.since_ms, state.history[-1].at_ms) == (1_001, 1_001)


def test_history_is_bounded():
    state = REIGNS
    for number in range(300):
        state = begin(state, f"v{number}", number, "", "hand")
    assert len(state.history) == 200
