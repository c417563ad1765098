"""What the tally remembers is bounded, by a stated rule, and nothing that was counted is lost."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from schemas.control import Target
from schemas.effect import Effect
from schemas.outcome import Outcome
from scoring.effect.groups import MEASURED_MS, Groups
from scoring.effect.memory import HORIZON_MS, HOUR_MS, HOURS_MS, State
from scoring.effect.passed import BITS, holds, put
from scoring.effect.tally import Tally
from scoring.experiments.readout import Cell
from tests.unit.scoring.effect.test_tally import AT, decision, example, fresh, reward, told

DAY = 86_400_000


def bought(tally: Tally, name: str, user: str, at_ms: int, came_ms: int, orders: int = 1) -> None:
    made = decision(name, at_ms, user_id=user)
    tally.on_decision(made, came_ms)
    tally.on_example(example(made), came_ms)
    entry = {"orders": orders, "order_value": 10.0 * orders, "order_id": name}
    tally.on_reward(reward(made, "converted", at_ms, share=1.0, value=10.0, **entry), came_ms)


def test_a_customer_is_followed_for_a_month_and_then_forgotten_with_their_figures_kept() -> None:
    tally = fresh()
    bought(tally, "d1", "ann", AT, AT)
    bought(tally, "d2", "bob", AT, AT + MEASURED_MS)
    tally.forget()
    groups = tally.state.groups["on-cart"]
    assert set(groups.units) == {"ann", "bob"}
    bought(tally, "d3", "eve", AT, AT + MEASURED_MS + 1)
    tally.forget()
    assert set(groups.units) == {"bob", "eve"}
    assert groups.of(Cell("spoken-to", "orders")).y == 3.0
    assert groups.exposed == {"spoken-to": 3}
    bought(tally, "d4", "ann", AT, AT + MEASURED_MS + 2)
    assert set(groups.units) == {"bob", "eve"}
    assert groups.of(Cell("spoken-to", "orders")).n == 3
    assert told(tally)["on-cart/*/*/*"].counted.conversions == 4


def test_memory_does_not_grow_with_the_customers_of_a_year() -> None:
    tally, sizes = fresh(), []
    for day in range(365):
        for number in range(5):
            bought(tally, f"d{day}-{number}", f"u{day}-{number}", AT + day * DAY, AT + day * DAY)
        tally.forget()
        sizes.append(len(msgspec.msgpack.encode(tally.state)))
    assert sum(len(groups.units) for groups in tally.state.groups.values()) <= 31 * 5
    assert sizes[-1] < 1.02 * max(sizes[60:150])
    whole = told(tally)["on-cart/*/*/*"].counted
    assert (whole.sends, whole.conversions) == (365 * 5, 365 * 5)


def test_a_message_is_remembered_for_as_long_as_its_campaign_may_be_answered() -> None:
    tally = fresh(attribution_window_ms=20 * DAY)
    made = decision("d1", user_id="ann")
    tally.on_decision(made, AT)
    clicked = reward(made, "clicked", AT + 19 * DAY)
    for _ in range(2):
        tally.on_reward(clicked, AT + 20 * DAY)
        tally.forget()
    assert told(tally)["on-cart/*/*/*"].counted.clicked == 1
    tally.on_decision(decision("d2", user_id="bob"), AT + 22 * DAY + 1)
    tally.forget()
    assert len(tally.state.shown) == 1


def test_whoever_was_measured_is_known_again_and_few_others_are() -> None:
    passed = bytearray()
    assert not holds(passed, "u1")
    for number in range(200_000):
        put(passed, f"u{number}")
    assert len(passed) == BITS // 8
    assert all(holds(passed, f"u{number}") for number in range(0, 200_000, 7))
    taken = sum(holds(passed, f"other-{number}") for number in range(50_000))
    assert taken < 25  # (1 - exp(-4 · 200 000 / 2²³))⁴ is 7 in 100 000


def test_hours_that_are_long_gone_are_added_to_those_before_and_withdrawn() -> None:
    tally = fresh()
    tally.on_segment("ann", "loyal")
    for number, at_ms in enumerate((AT, AT + HOUR_MS, AT + HOURS_MS + 3 * HOUR_MS)):
        bought(tally, f"d{number}", "ann", at_ms, AT)
    before = told(tally)
    tally.forget()
    folded = tally.take_folded()
    after = told(tally)
    gone = {key: each for key, each in before.items() if each.hour_ms in (AT, AT + HOUR_MS)}
    assert set(folded) == set(gone)
    assert after.keys().isdisjoint(gone)
    for key in ("on-cart/*/*/*", "on-cart/sms/*/*", "on-cart/*/loyal/*"):
        assert after[key] == before[key]
    assert after["on-cart/*/*/0"].counted.sends == 2
    late = decision("late", AT + HOUR_MS, user_id="bob")
    tally.on_decision(late, AT)
    assert told(tally)["on-cart/*/*/0"].counted.sends == 3
    again = Tally(msgspec.msgpack.decode(msgspec.msgpack.encode(tally.state), type=State))
    assert told(again)["on-cart/*/*/0"].counted.sends == 3


def test_hours_that_a_target_is_about_are_kept_for_as_long_as_it_runs() -> None:
    tally = fresh(target=Target("sends", 10.0, AT, AT + 2 * HOURS_MS))
    bought(tally, "d1", "ann", AT, AT)
    bought(tally, "d2", "ann", AT + HOURS_MS + 2 * HOUR_MS, AT)
    tally.forget()
    assert tally.take_folded() == []
    gap = told(tally)["on-cart/*/*/*"].gap
    assert gap is not None
    assert gap.reached == 2.0
    bought(tally, "d3", "ann", AT + 3 * HOURS_MS, AT)
    tally.forget()
    assert len(tally.take_folded()) == 4


def test_an_erased_customer_is_nowhere_in_memory_and_does_not_come_back() -> None:
    tally = fresh()
    for user in ("zoe", "bob"):
        tally.on_segment(user, "loyal")
        bought(tally, f"d-{user}", user, AT, AT)
    early = reward(decision("d9", user_id="zoe"), "clicked")
    tally.on_reward(early, AT)  # before its decision
    before = told(tally)
    gone: Callable[[str], bool] = {"zoe"}.__contains__
    assert tally.erase(gone) == 2
    for _ in range(2):
        data = msgspec.msgpack.encode(tally.state)
        assert b"zoe" not in data
        assert b"bob" in data
        assert told(tally) == before
        tally = fresh(msgspec.msgpack.decode(data, type=State))
        tally.erase(gone)
        tally.on_segment("zoe", "loyal")
        tally.on_example(example(decision("d8", user_id="zoe")), AT)
        entry = {"orders": 1, "order_value": 3.0, "order_id": "x"}
        tally.on_reward(reward(decision("d8", user_id="zoe"), "converted", **entry), AT)


def test_segments_are_remembered_of_those_who_were_told_of_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("scoring.effect.tally.SEGMENTS_LIMIT", 3)
    tally = fresh()
    for user in ("a", "b", "c", "a", "d"):
        tally.on_segment(user, "loyal")
    assert list(tally.state.segments) == ["c", "a", "d"]


def test_an_answer_to_another_customers_message_counts_for_nobody() -> None:
    tally = fresh()
    tally.on_decision(decision("d1", user_id="ann"), AT)
    tally.on_outcome(Outcome("o1", "bob", "delivered", AT, decision_id="d1"), AT, AT)
    assert told(tally)["on-cart/*/*/*"].counted.delivered == 0
    tally.on_outcome(Outcome("o2", "ann", "delivered", AT, decision_id="d1"), AT, AT)
    assert told(tally)["on-cart/*/*/*"].counted.delivered == 1
    tally.on_decision(decision("d2", user_id="eve"), AT + HORIZON_MS + 1)
    tally.forget()
    assert tally.state.unattributed == 1


def test_an_answer_from_the_future_moves_no_hour() -> None:
    tally = fresh()
    tally.on_decision(decision("d1", user_id="ann"), AT)
    later = AT + 400 * DAY
    tally.on_outcome(Outcome("o1", "ann", "delivered", later, decision_id="d1"), later, AT)
    assert tally.state.newest_ms == AT
    found: Effect = told(tally)["on-cart/*/*/*"]
    assert found.counted.delivered == 0


def test_the_first_time_that_a_customer_is_met_says_what_was_before() -> None:
    groups = Groups(("orders",))
    groups.enter("ann", "a", (9, 1), "sms", "", (5.0,), AT)
    groups.did("ann", (2.0,), AT)
    assert groups.enter("ann", "a", (3, 7), "push", "", (1.0,), AT)
    assert not groups.enter("ann", "a", (4, 0), "sms", "", (8.0,), AT)
    found = groups.of(Cell("a", "orders"))
    assert (found.n, found.y, found.x) == (1, 2.0, 1.0)
    assert groups.of(Cell("a", "orders", "channel sms")).n == 0
    assert groups.of(Cell("a", "orders", "channel push")).n == 1
    assert groups.exposed == {"a": 1}
