"""Personal data is masked before a fact is made of it."""

from __future__ import annotations

import msgspec
import pytest

from schemas.event import Traits
from state.customer import Customer
from state.fact import mask_email, mask_name, mask_phone, masked
from tests.strategies import fact_of

PHONE, EMAIL, NAME = "13812345678", "jen.doe@shop.example", "Jen Doe"


@pytest.mark.parametrize(
    ("clear", "hidden"),
    [
        (PHONE, "138****5678"),
        ("+86 138 1234 5678", "+86 138 **** 5678"),
        ("(0)20-7946-0958", "(0)20-****-0958"),
        ("12345678", "****5678"),
        ("1234567", "*******"),
        ("110", "***"),
        ("", ""),
        ("call me", "call me"),
    ],
)
def test_the_middle_four_digits_of_a_phone_number_are_hidden(clear: str, hidden: str) -> None:
    assert mask_phone(clear) == hidden


@pytest.mark.parametrize(
    ("clear", "hidden"),
    [(EMAIL, "j***@shop.example"), ("@x", "***@x"), ("no-address", "***"), ("", "***")],
)
def test_an_address_keeps_its_first_letter_and_domain(clear: str, hidden: str) -> None:
    assert mask_email(clear) == hidden


def test_a_name_keeps_its_first_letter() -> None:
    assert mask_name(NAME) == "J***"
    assert mask_name("") == "***"


def test_traits_without_contact_are_left_alone() -> None:
    traits = Traits(gender="f")
    assert masked(traits) is traits


def test_no_personal_data_reaches_a_customers_state_in_the_clear() -> None:
    contact = {"phone": PHONE, "email": EMAIL, "name": NAME, "city": "Oslo"}
    fact = fact_of(
        {"event_id": "e", "user_id": "u", "action": "login", "ts": 10**12, "traits": contact}
    )
    customer = Customer()
    customer.accept(fact)
    values = customer.profile().dimensions(10**12)
    assert values["trait_phone"] == "138****5678"
    assert values["trait_email"] == "j***@shop.example"
    assert values["trait_name"] == "J***"
    assert values["trait_city"] == "Oslo"
    stored = customer.encode() + customer.profile().encode() + msgspec.json.encode(values)
    for secret in (PHONE, EMAIL, NAME, "1234", "jen", "Doe"):
        assert secret.encode() not in stored
