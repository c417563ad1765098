"""Consent fails closed, and the newest word by event time counts."""

from __future__ import annotations

from itertools import permutations

import pytest

from schemas.event import Consent as Said
from schemas.outcome import CHANNELS
from state.tagging.consent import Consent
from tests.facts import MONDAY, after, fact

ALL = Said(marketing=True, sms=True, push=True, email=True)


def allowed(consent: Consent) -> set[str]:
    return {channel for channel in CHANNELS if consent.allows(channel)}


def test_nothing_is_allowed_of_whom_nothing_was_said() -> None:
    assert allowed(Consent()) == set()
    assert not Consent().allows("pigeon")


@pytest.mark.parametrize(
    ("said", "channels"),
    [
        (ALL, {"sms", "push", "email"}),
        (Said(marketing=True), set()),
        (Said(sms=True, push=True, email=True), set()),
        (Said(marketing=False, sms=True), set()),
        (Said(marketing=True, sms=False, push=True), {"push"}),
    ],
)
def test_the_purpose_and_the_channel_must_both_be_agreed_to(said: Said, channels: set[str]) -> None:
    assert allowed(after(Consent(), [fact("login", consent=said)])) == channels


def test_what_a_later_word_leaves_out_stays() -> None:
    consent = after(
        Consent(), [fact("login", consent=ALL), fact("login", 1, consent=Said(sms=False))]
    )
    assert allowed(consent) == {"push", "email"}


def test_an_older_word_that_arrives_later_changes_nothing() -> None:
    consent = after(
        Consent(),
        [fact("login", 5, consent=Said(marketing=False)), fact("login", 1, consent=ALL)],
    )
    assert allowed(consent) == set()
    assert consent.agreed("marketing") is False


def test_of_two_words_of_one_instant_the_refusal_counts_in_either_order() -> None:
    words = [fact("login", consent=ALL), fact("login", consent=Said(sms=False))]
    for order in permutations(words):
        assert allowed(after(Consent(), order)) == {"push", "email"}


def test_unsubscribing_withdraws_the_channel_it_names() -> None:
    consent = after(
        Consent(), [fact("login", consent=ALL), fact("unsubscribed", 1, channel="push")]
    )
    assert allowed(consent) == {"sms", "email"}


def test_unsubscribing_from_no_channel_in_particular_withdraws_all() -> None:
    consent = after(Consent(), [fact("login", consent=ALL), fact("unsubscribed", 1)])
    assert allowed(consent) == set()
    assert consent.agreed("marketing") is True


def test_a_complaint_withdraws_the_purpose_besides() -> None:
    consent = after(Consent(), [fact("login", consent=ALL), fact("complained", 1, channel="email")])
    assert allowed(consent) == set()
    assert consent.agreed("marketing") is False
    assert consent.agreed("sms") is True
    assert consent.dimensions(MONDAY)["consent_withdrawals_total"] == 1


def test_agreeing_anew_after_unsubscribing_counts() -> None:
    consent = after(
        Consent(),
        [fact("login", consent=ALL), fact("unsubscribed", 1), fact("login", 2, consent=ALL)],
    )
    assert allowed(consent) == {"sms", "push", "email"}
