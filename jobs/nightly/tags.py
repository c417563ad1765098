"""Gather what all steps conclude of customers into events with the action ``tags``.

A step that has something to say of customers writes ``tags.parquet``: ``user_id`` and columns named
like fields of `schemas.event.Traits`. Only what is new since the night before becomes an event, and
what that night said and this one does not is taken back: the step that says it has run and left the
customer out. What a step that was stopped had said stays. The
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
GONE: Final = "gone"
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

    whole, told, said = None, [], set()
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
        said |= set(table.columns)
        whole = table if whole is None else whole.combine_first(table)
    if whole is None:
        raise StepStopped("no step of this night has said anything of customers; run them first")
    whole = whole[~whole.index.isin(who_is_whom(context).foreign())].sort_index()
    was = context.before(context.step, FILE)
    fresh, gone = whole, 0
    if was is not None:
        before = pd.read_parquet(was).set_index("user_id")
        fresh = _changed(whole, before)
        taken_back = _taken_back(whole, before, said)
        gone = len(taken_back)
        fresh = fresh.join(taken_back, how="outer")
        whole = _kept(whole, before, said)
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
            Fact("taken back", gone, "customers of whom something was said that holds no more"),
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


def _taken_back(table: Any, was: Any, said: set[str]) -> Any:
    """A column ``gone`` for who had what is not said of them now, though its step has spoken."""
    asked = [name for name in was.columns if name in said]
    now = table.reindex(index=was.index, columns=asked)
    lost = was[asked].notna() & now.isna()
    names = lost.apply(lambda row: " ".join(name for name in asked if row[name]), axis=1)
    return names[lost.any(axis=1)].to_frame(GONE) if asked else was[[]].assign(**{GONE: ""})[:0]


def _kept(table: Any, was: Any, said: set[str]) -> Any:
    """The tags as they stand: this night's, and the last ones of steps that have said nothing."""
    silent = [name for name in was.columns if name not in said]
    if not silent:
        return table
    return table.join(was[silent].dropna(how="all"), how="outer").sort_index()


def _changed(table: Any, was: Any) -> Any:
    """The rows in which anything is not as it was."""
    before = was.reindex(index=table.index, columns=table.columns)
    same = (table == before) | (table.isna() & before.isna())
    return table[~same.all(axis=1)]
