"""Gather what all steps conclude of customers into events with the action ``tags``.

A step that has something to say of customers writes ``tags.parquet``: ``user_id`` and columns named
like fields of `schemas.event.Traits`. Only what is new since the night before becomes an event. The
stream takes them like any other, so its state stays the truth; an event's id is made of night and
customer, so one that is sent twice does no harm.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import Any, Final

import msgspec

from jobs.nightly.base import Fact, StepReport, StepStopped, Table
from jobs.nightly.context import Context
from jobs.nightly.people import who_is_whom
from schemas.event import TAGS, BehaviorEvent, Traits
from schemas.topics import DAY_MS
from schemas.wire import decode_event

FILE: Final = "tags.parquet"
EVENTS: Final = "events.jsonl"
_WHOLE: Final = frozenset(
    {"best_hour", "birth_year", "member_until_ms", "payment_due_ms", "signup_ms"}
)


def run(context: Context) -> StepReport:
    """Write ``events.jsonl`` and, for the night after, all tags as they stand.

    Raises:
        StepStopped: a step wrote a column that is no trait, or nothing was written.
    """
    import pandas as pd

    from jobs.nightly import STEPS

    whole, told = None, []
    for name in STEPS:
        if name == context.step:
            continue
        path = context.file(context.work_dir / name / FILE)
        if not path.exists():
            continue
        table = pd.read_parquet(path).set_index("user_id")
        unknown = set(table.columns) - set(Traits.__struct_fields__)
        if unknown:
            raise StepStopped(f"{path}: {', '.join(sorted(unknown))} is no trait of a customer")
        told.append((name, ", ".join(table.columns), len(table)))
        whole = table if whole is None else whole.combine_first(table)
    if whole is None:
        raise StepStopped("no step of this night has said anything of customers; run them first")
    whole = whole[~whole.index.isin(who_is_whom(context).foreign())].sort_index()
    was = context.before(context.step, FILE)
    fresh = whole if was is None else _changed(whole, pd.read_parquet(was).set_index("user_id"))
    at_ms = (context.day.toordinal() - 719_163 + 1) * DAY_MS
    count = 0
    with context.output(EVENTS).open("wb") as file:
        for payload in payloads(fresh, context.day.isoformat(), at_ms):
            file.write(payload + b"\n")
            count += 1
    whole.reset_index().to_parquet(context.output(FILE), index=False)
    return StepReport(
        "Tags for the profiles",
        facts=(
            Fact("customers with tags", len(whole)),
            Fact("events", count, "customers of whom something is new"),
        ),
        tables=(Table("Who says what", ("step", "tags", "customers"), tuple(told)),),
    )


def payloads(table: Any, night: str, at_ms: int) -> Iterator[bytes]:
    """An event for each row (index: the customer), checked as the stream will check it.

    Raises:
        InvalidRecord: a value breaks the contract.
    """
    names = list(table.columns)
    for user, row in zip(table.index, table.itertuples(index=False, name=None), strict=True):
        known = {name: _plain(name, value) for name, value in zip(names, row, strict=True)}
        traits = Traits(**{name: value for name, value in known.items() if value is not None})
        payload = msgspec.json.encode(
            BehaviorEvent(f"night/{night}/{user}"[:128], str(user), TAGS, at_ms, source="night",
                          traits=traits)
        )  # fmt: skip
        decode_event(payload)
        yield payload


def _plain(name: str, value: Any) -> Any:
    """A value as JSON knows it; None for a gap."""
    if value is None or value != value:
        return None
    if isinstance(value, str):
        return value
    number = float(value)
    if not isfinite(number):
        return None
    return int(number) if name in _WHOLE else round(number, 6)


def _changed(table: Any, was: Any) -> Any:
    """The rows in which anything is not as it was."""
    before = was.reindex(index=table.index, columns=table.columns)
    same = (table == before) | (table.isna() & before.isna())
    return table[~same.all(axis=1)]
