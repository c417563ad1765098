"""Where in the control log a decision can have been made, and the world as it was there."""

from __future__ import annotations

from typing import Any

from jobs.audit.moments import Moments, positions_of
from jobs.audit.pins import HEARD_MS, ControlLog, Entry
from schemas.control import ControlRecord, control_key
from schemas.decision import Decision, Loser
from schemas.wire import encode
from scoring.gates.base import decision_id
from scoring.world import World
from tests.builders import on_cart, policy
from tests.published import decision, mix, posterior

OPEN = ("sms", "push")


def log_of(*records: ControlRecord, every_ms: int = 1_000) -> ControlLog:
    """The policy and a campaign, then these, one a second."""
    return ControlLog(
        Entry(number * every_ms, control_key(each), encode(each))
        for number, each in enumerate((policy(), on_cart(), *records))
    )


def made(**fields: Any) -> Decision:
    known = {"campaign_id": "on-cart", "channel": "sms", "policy_version": 1, "propensity": 0.5}
    return decision("ann", **{**known, **fields})


def arm(version: int, **fields: Any) -> Any:
    return posterior("on-cart", 0, version, **fields)


def test_a_decision_was_made_while_its_arm_had_changed_as_often_as_it_says() -> None:
    log = log_of(arm(3), arm(5), arm(8))
    late_ms = 60_000
    assert log.learned(made(posterior_version=5), OPEN, late_ms) == [4]
    assert log.learned(made(posterior_version=8), OPEN, late_ms) == [5]
    assert 2 not in log.learned(made(posterior_version=3), OPEN, late_ms)


def test_among_what_the_versions_leave_the_mix_gave_its_propensity() -> None:
    log = log_of(
        arm(3), mix("on-cart", 0.5, 1), mix("on-cart", 0.4, 2), mix("on-cart", 0.5, 3), arm(9)
    )
    found = log.learned(made(posterior_version=3), OPEN, 6_000 + HEARD_MS)
    assert found == [6, 4, 3]  # the newest that it can have heard first; no mix yet, at last
    assert log.learned(made(posterior_version=3, propensity=0.4), OPEN, 9_000)[0] == 5


def test_what_came_after_it_was_published_is_the_last_to_be_tried() -> None:
    log = log_of(arm(3), mix("on-cart", 0.5, 1), mix("on-cart", 0.4, 2), mix("on-cart", 0.5, 3))
    assert log.learned(made(posterior_version=3), OPEN, 4_000) == [4, 3, 6]


def test_a_record_that_is_older_than_what_is_in_force_changes_nothing() -> None:
    """After a crash `learn` publishes again what it had published; `decide` does not go back."""
    log = log_of(arm(8), arm(5), arm(9))
    assert log.learned(made(posterior_version=8), OPEN, 3_500) == [4]
    assert log.posteriors["on-cart", "sms", ""].at(4) == arm(8)


def test_an_arm_that_was_withdrawn_begins_anew() -> None:
    entries = [*log_of(arm(8)).entries, Entry(9_000, "posterior/on-cart/sms", None)]
    log = ControlLog([*entries, Entry(9_500, *_pair(arm(2)))])
    assert log.posteriors["on-cart", "sms", ""].at(4) is None
    assert log.learned(made(posterior_version=2), OPEN, 60_000) == [5]


def test_the_world_is_as_it_was_at_the_moment_of_each_that_wanted_to_speak() -> None:
    log = log_of(arm(3), mix("on-cart", 0.7, 1), arm(5), mix("on-cart", 0.2, 2))
    other = decision_id("ann", "other", "e1")
    told = made(decision_id="d", trigger_event_id="e1", losers=(Loser("other", "g", "lost"),))
    world, spec = World(), on_cart(channels=OPEN)
    moments = Moments(world, log, positions_of(told, 4))
    moments.now = 6
    for name, version, share in (("d", 3, 0.7), ("unknown", 5, 0.2), (other, 3, 0.7)):
        assert world.sealed
        assert world.sealed.get(name) is None
        assert world.mixes.version(spec, "sms") == version
        assert world.mixes.sharing(spec, "", -1, OPEN).shares[0] == share


def _pair(record: ControlRecord) -> tuple[str, bytes]:
    return control_key(record), encode(record)


def test_before_there_is_a_mix_each_change_of_another_arm_is_a_place_of_its_own() -> None:
    log = log_of(arm(1, channel="push"), arm(4, channel="push"), mix("on-cart", 0.9, 1))
    assert log.learned(made(posterior_version=0), OPEN, 60_000) == [4, 3, 2]
