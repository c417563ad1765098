"""State that an earlier build wrote is read as it was meant; see `tests.goldens.customer`."""

from __future__ import annotations

import re

import msgspec
import pytest

from state.customer import VERSION, Customer
from tests.goldens.customer import FOLDER, NOW_MS, golden_customer, path

VERSIONS = sorted(
    int(found.group(1))
    for file in FOLDER.iterdir()
    if (found := re.fullmatch(r"customer\.v(\d+)\.bin", file.name))
)


def test_every_version_up_to_the_present_one_has_its_golden_file() -> None:
    assert list(range(1, VERSION + 1)) == VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
def test_a_golden_customer_still_has_the_dimensions_it_had(version: int) -> None:
    customer = Customer.decode(path("bin", version).read_bytes())
    found = customer.profile().dimensions(NOW_MS)
    for name, value in msgspec.json.decode(path("json", version).read_bytes()).items():
        assert found[name] == (pytest.approx(value) if isinstance(value, float) else value), name


def test_the_present_version_writes_the_golden_bytes() -> None:
    assert golden_customer().encode() == path("bin").read_bytes(), (
        "the persisted layout changed: raise VERSION and read the old one, or, before a release, "
        "run `python -m tests.goldens.customer`"
    )


def test_the_golden_customer_has_a_base_a_tail_and_a_book() -> None:
    customer = Customer.decode(path("bin").read_bytes())
    assert customer.base
    assert customer.tail
    assert customer.book.sends
