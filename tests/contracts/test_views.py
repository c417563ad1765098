"""What every store of `STORES` does, on its real server, and the one in memory as well."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from uuid import uuid4

import pytest

from benchmarks.servers import free_settings
from jobs.views import URLS, open_view
from schemas.errors import StoreUnavailable
from schemas.wire import encode
from state.stores import STORES
from state.stores.base import Batch, View
from state.stores.learned import Learned, Lesson
from state.stores.memory import MemoryView
from tests.published import NOON_MS, batch, decision, fact, mix, posterior, profile, shadow, story

ON_SERVERS = [pytest.param(name, marks=pytest.mark.stack) for name in STORES]

AWKWARD = (
    "ann",
    "an",
    "anna",
    "ann:profile",
    "ann:behavior_tags",
    "ann:",
    ":ann",
    "{ann}",
    "user:ann",
    "ann*",
    "ann ",
    " ann",
    "Ann",
    "änn",
    "ann\u0301",
    "顾客",
    "😀" * 128,
    "'; FLUSHALL \\ %s",
)
"""Ids that resemble each other, or a key."""


@pytest.fixture(params=["memory", *ON_SERVERS])
def view(request: pytest.FixtureRequest) -> Iterator[View]:
    if request.param == "memory":
        yield MemoryView()
        return
    opened = open_view(request.getfixturevalue("stores"), request.param)
    yield opened
    opened.close()


@pytest.fixture
def user() -> str:
    """A customer whom no other test knows."""
    return f"user-{uuid4().hex}"


def test_a_customer_is_shown_as_the_reference_shows_them(view: View, user: str) -> None:
    reference = MemoryView()
    records = story(user, 30)
    for each in (view, reference):
        each.write(batch(each, *records))
    shown = view.read(user)
    assert shown == reference.read(user)
    assert shown is not None
    assert len(shown.dimensions) >= 200
    assert shown.dimensions["view_count_total"] == 10


def test_a_customer_who_never_came_is_not_shown(view: View, user: str) -> None:
    assert view.read(user) is None
    assert view.history(user, 10) == []


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_newest_version_stays_whatever_the_order(
    view: View, user: str, order: tuple[int, ...]
) -> None:
    late = [fact(1), fact(2), fact(3, ts=NOON_MS)]  # the third does not move the event time
    versions = [
        profile(user, late[:1]),
        profile(user, late[:2]),
        profile(user, late),
    ]
    assert versions[1].event_ms == versions[2].event_ms
    for place in order:
        view.write(batch(view, versions[place]))
    shown = view.read(user)
    assert shown is not None
    assert (shown.event_ms, shown.revision) == (versions[2].event_ms, 3)
    assert shown.dimensions["view_count_total"] == 1  # the late one


def test_a_customer_whose_stream_began_anew_is_shown_by_event_time(view: View, user: str) -> None:
    view.write(batch(view, *story(user, 5)))
    view.write(batch(view, profile(user, [fact(1, ts=NOON_MS + 10**9)])))
    shown = view.read(user)
    assert shown is not None
    assert shown.revision == 1


def test_the_same_batch_again_changes_nothing(view: View, user: str) -> None:
    records = (*story(user, 6), decision(user, 2))
    view.write(batch(view, *records))
    before = view.read(user), view.history(user, 100)
    view.write(batch(view, *records))
    assert (view.read(user), view.history(user, 100)) == before


def test_nobody_is_shown_another_customer(view: View, user: str) -> None:
    ids = [each.replace("ann", user) if "ann" in each else each for each in AWKWARD]
    for number, each in enumerate(ids, start=1):
        view.write(batch(view, profile(each, [fact(1, item=f"of-{number}")]), decision(each)))
    for number, each in enumerate(ids, start=1):
        shown = view.read(each)
        assert shown is not None
        assert (shown.user_id, shown.dimensions["last_item_1"]) == (each, f"of-{number}")
        if view.KEEPS_HISTORY:
            said, did = view.history(each, 10)
            assert said.body["user_id"] == each
            assert did.body["item"] == f"of-{number}"


def test_history_is_complete_newest_first_and_limited(view: View, user: str) -> None:
    if not view.KEEPS_HISTORY:
        pytest.skip("keeps no history")
    records = story(user, 20)
    reference = MemoryView()
    reference.write(batch(reference, *records, decision(user, 7)))
    view.write(batch(view, *records[10:], decision(user, 7)))
    view.write(batch(view, *records[:10]))
    entries = view.history(user, 100)
    assert [entry.ts for entry in entries] == sorted((e.ts for e in entries), reverse=True)
    assert [e.body["item"] for e in entries if e.kind == "fact"] == [
        f"item-{number % 7}" for number in range(20, 0, -1)
    ]
    assert [e.ts for e in entries if e.kind == "decision"] == [NOON_MS + 7_500]
    assert view.history(user, 3) == entries[:3]
    assert entries == reference.history(user, 100)


def test_an_erased_customer_is_gone_and_the_neighbours_are_not(view: View, user: str) -> None:
    neighbour = f"{user}x"
    for each in (user, neighbour):
        view.write(batch(view, *story(each, 3), decision(each)))
    view.write(Batch(erased={user}))
    assert view.read(user) is None
    assert view.history(user, 10) == []
    assert view.read(neighbour) is not None
    assert len(view.history(neighbour, 10)) == (4 if view.KEEPS_HISTORY else 0)


def test_an_erased_customer_who_comes_back_is_new(view: View, user: str) -> None:
    view.write(batch(view, *story(user, 9)))
    again = batch(view, profile(user, [fact(1, ts=NOON_MS)]))
    again.erased.add(user)
    view.write(again)
    shown = view.read(user)
    assert shown is not None
    assert shown.revision == 1
    assert len(view.history(user, 10)) == (1 if view.KEEPS_HISTORY else 0)


def test_a_batch_larger_than_one_request_is_taken_whole(view: View, user: str) -> None:
    view.write(batch(view, *(profile(f"{user}-{n}", [fact(1)]) for n in range(2_100))))
    assert all(view.read(f"{user}-{n}") is not None for n in range(0, 2_100, 99))


def test_what_was_learned_is_shown_as_the_reference_shows_it(view: View, user: str) -> None:
    if not view.SHOWS_LEARNED:
        assert view.learned() == Learned()
        pytest.skip("shows nothing of it")
    records = (
        posterior(user, 3, 40),
        posterior(user, 1, 30, channel="push", variant="e1/a"),
        mix(user, 0.7),
        mix(user, 0.5, variant="e1/a"),
        mix(user, 0.2, case=3),
        mix(user, 0.1, case=3, variant="e1/b"),
        shadow(500),
    )
    reference = MemoryView()
    for each in (view, reference):
        each.write(batch(each, *records))
    assert learned_of(view, user) == learned_of(reference, user)
    assert len(learned_of(view, user)) == 6
    told = view.learned().shadow
    assert told is not None
    assert (told.champion_log_loss, told.challenger_log_loss) == (0.3, 0.2)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_of_an_arm_the_newest_stays_whatever_the_order_and_repeats_add_nothing(
    view: View, user: str, order: tuple[int, ...]
) -> None:
    if not view.SHOWS_LEARNED:
        pytest.skip("shows nothing of it")
    versions = [(posterior(user, n, 10 * n), mix(user, n / 10, NOON_MS + n)) for n in (1, 2, 3)]
    for place in (*order, *order):
        view.write(batch(view, *versions[place]))
    assert learned_of(view, user) == {
        f"posterior/{user}/sms": posterior(user, 3, 30),
        f"mix/{user}": mix(user, 0.3, NOON_MS + 3),
    }


def test_an_arm_that_was_withdrawn_is_gone_and_may_begin_anew(view: View, user: str) -> None:
    if not view.SHOWS_LEARNED:
        pytest.skip("shows nothing of it")
    gone = f"posterior/{user}/sms"
    view.write(batch(view, posterior(user, 5, 50), posterior(f"{user}x", 4, 40)))
    view.write(Batch(withdrawn={gone}))
    assert not learned_of(view, user)
    assert learned_of(view, f"{user}x")
    view.write(Batch(withdrawn={gone}, lessons={gone: posterior(user, 0, 1)}))
    assert learned_of(view, user) == {gone: posterior(user, 0, 1)}


def learned_of(view: View, campaign: str) -> dict[str, Lesson]:
    """What is shown of one campaign."""
    found = view.learned().lessons
    return {key: each for key, each in found.items() if each.campaign_id == campaign}


@pytest.mark.parametrize("name", STORES)
def test_a_store_that_is_away_says_so_without_naming_a_customer(name: str, tmp_path: Path) -> None:
    away = open_view(free_settings(tmp_path), name)
    record = batch(away, *story("secret-customer", 2), decision("secret-customer"))
    for call in (
        lambda: away.write(record),
        lambda: away.read("secret-customer"),
    ):
        with pytest.raises(StoreUnavailable) as told:
            call()
        assert "secret" not in str(told.value)
    away.close()


def test_every_store_has_an_address() -> None:
    assert URLS.keys() == STORES.keys()


def test_a_view_can_be_told_to_a_program(view: View, user: str) -> None:
    view.write(batch(view, *story(user, 3), decision(user)))
    assert user.encode() in encode(view.read(user))
    encode(view.history(user, 10))
