"""The last events answer how many of them fit, and what was touched last."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from state.fact import Fact
from state.tagging.recent import RING, Recent
from tests.facts import MINUTE, MONDAY, after, fact
from tests.strategies import lives


@given(
    lives(max_size=80),
    st.sampled_from([None, frozenset({"view"}), frozenset({"view", "cart"})]),
    st.sampled_from([None, "i1"]),
    st.sampled_from([None, "shoes"]),
    st.data(),
)
def test_matches_counts_what_a_plain_look_at_the_last_events_counts(
    facts: list[Fact],
    actions: frozenset[str] | None,
    item: str | None,
    category: str | None,
    data: st.DataObject,
) -> None:
    recent = after(Recent(), facts)
    moments = [each.ts for each in facts] or [MONDAY]
    since = data.draw(st.sampled_from(moments)) + data.draw(st.integers(-1, 1))
    until = data.draw(st.sampled_from(moments)) + data.draw(st.integers(-1, 1))
    plain = [
        each
        for each in facts[-RING:]
        if since < each.ts <= until
        and (actions is None or each.action in actions)
        and (item is None or each.item == item)
        and (category is None or each.category == category)
    ]
    assert recent.matches(actions, since, until, item, category) == len(plain)
    enough = data.draw(st.integers(1, RING))
    assert recent.matches(actions, since, until, item, category, enough) == min(enough, len(plain))


def test_only_the_last_events_are_counted_however_many_came() -> None:
    for number in range(RING, 3 * RING):
        recent = after(Recent(), [fact(at=n) for n in range(number)])
        assert recent.matches(None, 0, MONDAY + number) == RING


def test_a_late_event_stands_at_its_own_time() -> None:
    recent = after(
        Recent(), [fact(at=9 * MINUTE, item="new"), fact(at=MINUTE, item="old", action="cart")]
    )
    values = recent.dimensions(MONDAY + 10 * MINUTE)
    assert values["last_item_1"] == "new"
    assert values["last_item_2"] == "old"
    assert values["last_action"] == "view"
    assert recent.matches(None, MONDAY, MONDAY + 5 * MINUTE) == 1


def test_items_are_named_once_newest_first() -> None:
    recent = after(Recent(), [fact(at=n, item=item) for n, item in enumerate("abcab")])
    values = recent.dimensions(MONDAY)
    assert [values[f"last_item_{n}"] for n in (1, 2, 3, 4)] == ["b", "a", "c", None]
    assert values["recent_items_count"] == 3


def test_the_last_search_is_found_behind_other_events() -> None:
    recent = after(
        Recent(), [fact("search", category="shoes"), *(fact("view", n) for n in range(1, 9))]
    )
    values = recent.dimensions(MONDAY + 2_000)
    assert values["last_search_category"] == "shoes"
    assert values["last_search_age_s"] == 2.0
