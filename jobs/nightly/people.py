"""Join the customers whom several parties know; withdraw from ours what they refused elsewhere.

A withdrawal is an event of the night with a consent in it, which the stream takes like any other.
Each is sent once: who agrees anew afterwards, to us, has the last word.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from jobs.archive.identity import Identities, read_identities
from jobs.archive.people import merged, read_people, withdrawn
from jobs.nightly.base import Fact, StepReport
from jobs.nightly.context import Context
from jobs.nightly.stopping import stopping
from schemas.event import TAGS, BehaviorEvent, Consent
from schemas.topics import DAY_MS

PEOPLE: Final = "people.parquet"
SENT: Final = "withdrawn.parquet"
WITHDRAWALS: Final = "events.jsonl"
EVER: Final = 36_525
"""Days: who is whom is never too old."""


def who_is_whom(context: Context) -> Identities:
    """What was imported of identities; a step that asks runs again when there is more."""
    context.table("identity", EVER)
    with stopping():
        return read_identities(context.archive_dir)


def joined(events: Any, known: Identities) -> Any:
    """A data frame of events under the ids that stand for their customers."""
    if not known.customers:
        return events
    return events.assign(user_id=events["user_id"].map(known.customers).fillna(events["user_id"]))


def run(context: Context) -> StepReport:
    """Write ``people.parquet``, ``events.jsonl``, and what was withdrawn so far.

    Raises:
        StepStopped: a file of the archive cannot be read.
    """
    import pandas as pd

    known = who_is_whom(context)
    people = {}
    if known.customers:
        for name in ("events", "outcomes", "decisions"):
            context.table(name, EVER)
        with stopping():
            people = read_people(context.archive_dir, known, context.day)
    customers = merged(people, known.customers)
    was = context.before(context.step, SENT)
    earlier = {} if was is None else pd.read_parquet(was).set_index("user_id")["purposes"].to_dict()
    sent, lines = {}, []
    at_ms = (context.day.toordinal() - 719_163 + 1) * DAY_MS
    for user in sorted(known.ours & set(people)):
        purposes = set(str(earlier.get(user, "")).split())
        whole = customers[known.customers[user]].agreed
        fresh = withdrawn(people[user].agreed, whole) - purposes
        if purposes | fresh:
            sent[user] = " ".join(sorted(purposes | fresh))
        if fresh:
            lines.append(
                BehaviorEvent(f"joined/{context.day}/{user}"[:128], user, TAGS, at_ms,
                              source="night", consent=Consent(**dict.fromkeys(fresh, False)))
            )  # fmt: skip
    context.output(WITHDRAWALS).write_bytes(
        b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    )
    table = pd.DataFrame({"user_id": list(sent), "purposes": list(sent.values())}, dtype=str)
    table.to_parquet(context.output(SENT), index=False)
    rows = [
        (
            user,
            " ".join(sorted(person.ids)),
            sum(person.actions.values()),
            " ".join(sorted((person.agreed.yes or frozenset()) - person.agreed.no)),
            " ".join(f"{name}/{arm}" for name, (_, arm) in sorted(person.arms.items())),
        )
        for user, person in sorted(customers.items())
    ]
    columns = ["user_id", "ids", "events", "agreed", "arms"]
    pd.DataFrame(rows, columns=columns).to_parquet(context.output(PEOPLE), index=False)
    return StepReport(
        "Customers of several parties",
        facts=(
            Fact("customers under several ids", len(customers)),
            Fact("ids that they have", len(people)),
            Fact("ids of other parties", len(known.foreign())),
            Fact("withdrawals", len(lines), "refused elsewhere, agreed to here"),
        ),
    )
