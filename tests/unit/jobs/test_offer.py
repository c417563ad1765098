"""What `beckon offer` says."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from jobs import offer as command
from schemas.decision import Offer
from tests.builders import on_cart, policy
from tests.harness import Harness, consenting, control

RECORDS = [policy(), on_cart(offer=Offer("coupon", 0.1, 7)), on_cart(id="dear", min_score=0.99)]


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Harness:
    """A stream that has published what it knows of ann."""
    made = Harness(RECORDS)
    made.send(consenting())
    monkeypatch.setattr(command, "control_snapshot", lambda _settings: control(*RECORDS))
    monkeypatch.setattr(
        command,
        "published",
        lambda _settings, user: (made.customer(user).encode() if user == "ann" else None, []),
    )
    return made


@pytest.mark.usefixtures("stream")
def test_the_offer_is_told_to_people_and_to_programs() -> None:
    said = CliRunner().invoke(command.app, ["ann", "on-cart"], env={"COLUMNS": "300"}).output
    assert "on-cart would offer ann coupon of 10 %, valid 7 days" in said
    told = json.loads(CliRunner().invoke(command.app, ["ann", "on-cart", "--json"]).output)
    assert (told["offer_type"], told["discount"], told["valid_period"]) == ("coupon", 0.1, 7)


@pytest.mark.usefixtures("stream")
def test_a_reason_why_nothing_is_offered_is_told_with_its_meaning() -> None:
    said = CliRunner().invoke(command.app, ["ann", "dear"], env={"COLUMNS": "300"}).output
    assert "nothing: low_score: the expected click-through is below" in said
