"""The night joins what several parties know of a customer, and carries refusals to the stream."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import msgspec
import pandas as pd
import pytest

from jobs.nightly import reading
from jobs.nightly.context import Context
from schemas.wire import decode_event
from state.customer import Customer
from state.fact import fact_of_event, id64
from state.tagging.consent import Consent
from tests.unit.archive.test_imports import AT, PARTNER, SHOP, bring
from tests.unit.nightly.test_steps import Nights, fact

NIGHT = date(2026, 3, 2)
BOUGHT = f"7,purchase,{AT + 9},jen@a.example,,,\n"


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    nights = Nights(tmp_path)
    bring(nights.archive, "shop", SHOP, "first")
    bring(nights.archive, "partner", PARTNER + BOUGHT, "second")
    return nights


def lines(nights: Nights, day: date) -> list[bytes]:
    return nights.path("people", "events.jsonl", day).read_bytes().splitlines()


def test_counters_of_joined_ids_add_up_in_the_nights_customers(nights: Nights) -> None:
    manifest, report = nights.run("customers", NIGHT)
    assert manifest.reason == ""
    assert fact(report, "ids joined into others") == 1
    table = pd.read_parquet(nights.path("customers", "customers.parquet", NIGHT))
    assert set(table.index) == {"u1", "u2", "partner:8"}
    assert (table.loc["u1", "events"], table.loc["u1", "orders"]) == (4, 2)


def test_a_refusal_given_elsewhere_reaches_the_stream_once(nights: Nights) -> None:
    _, report = nights.run("people", NIGHT)
    assert fact(report, "withdrawals") == 1
    [payload] = lines(nights, NIGHT)
    customer = Customer()
    agreed = {"event_id": "e", "user_id": "u1", "action": "view", "ts": AT,
              "consent": {"marketing": True, "sms": True, "push": True}}  # fmt: skip
    again = {**agreed, "event_id": "f", "ts": AT + 3 * 86_400_000}
    told = []
    for seq, event in enumerate(map(decode_event, (msgspec.json.encode(agreed), payload,
                                                    msgspec.json.encode(again)))):  # fmt: skip
        customer.accept(fact_of_event(event, int(event.ts), id64(event.event_id), seq))
        consent = customer.profile().tag(Consent)
        told.append((consent.allows("sms"), consent.allows("push")))
    assert told == [(True, True), (False, True), (True, True)]
    _, report = nights.run("people", NIGHT + timedelta(days=1))
    assert fact(report, "withdrawals") == 0
    assert lines(nights, NIGHT + timedelta(days=1)) == []


def test_what_steps_learn_from_stands_under_the_joined_ids(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.nightly.quality.LEAST_ROWS", 1)  # an import of a few rows
    context = Context("x", archive_dir=nights.archive, data_dir=nights.data, day=NIGHT)
    events = reading.events(context, ("item_id", "price"))
    assert set(events["user_id"].cat.categories) == {"u1", "u2", "partner:8"}
    assert (events["user_id"] == "u1").sum() == 4
    assert events["ts"].is_monotonic_increasing
    manifest, _ = nights.run("told", NIGHT)
    assert manifest.reason == ""
    known = pd.read_parquet(nights.path("told", "told.parquet", NIGHT))
    assert "partner:7" not in known.index


def test_ids_of_other_parties_get_no_tags_in_the_stream(nights: Nights) -> None:
    folder = nights.data / "nightly" / NIGHT.isoformat() / "segments"
    folder.mkdir(parents=True)
    table = pd.DataFrame({"user_id": ["u1", "partner:8"], "segment": ["loyal", "loyal"]})
    table.to_parquet(folder / "tags.parquet", index=False)
    manifest, _ = nights.run("tags", NIGHT)
    assert manifest.reason == ""
    events = nights.path("tags", "events.jsonl", NIGHT).read_bytes().splitlines()
    assert [msgspec.json.decode(event)["user_id"] for event in events] == ["u1"]


def test_without_imports_there_is_nobody_to_join_and_nothing_to_withdraw(tmp_path: Path) -> None:
    nights = Nights(tmp_path)
    manifest, report = nights.run("people", NIGHT)
    assert manifest.reason == ""
    assert {each.value for each in report.facts} == {0}
    assert lines(nights, NIGHT) == []
