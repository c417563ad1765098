"""Facts and decisions as rows of history: what is told of each, without what is unknown."""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec

from schemas.decision import Decision
from state.fact import Fact
from state.stores.base import Entry

_BOOKKEEPING: Final = frozenset({"ts", "id64", "seq"})


def fact_entry(fact: Fact) -> Entry:
    """A fact by the names of its fields; personal data in it is masked already."""
    return Entry(fact.ts, "fact", fact_body(fact))


def decision_entry(decision: Decision) -> Entry:
    """A decision as it was published."""
    return Entry(decision.decided_at_ms, "decision", decision_body(decision))


def fact_body(fact: Fact) -> dict[str, Any]:
    """What is known in a fact, as plain values."""
    return {
        name: _plain(value)
        for name in fact.__struct_fields__
        if name not in _BOOKKEEPING and (value := getattr(fact, name)) is not None
    }


def decision_body(decision: Decision) -> dict[str, Any]:
    """What is known in a decision, as plain values."""
    return _known(decision)


def _plain(value: Any) -> Any:
    return _known(value) if isinstance(value, msgspec.Struct) else value


def _known(record: msgspec.Struct) -> dict[str, Any]:
    fields = cast(dict[str, Any], msgspec.to_builtins(record))
    return {name: value for name, value in fields.items() if value is not None}
