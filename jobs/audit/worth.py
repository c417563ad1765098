"""What a changed set of campaigns would keep, give up and add, in clicks and money of the log.

What was sent and would be sent again is worth what came of it; so is, with the other sign, what
would fall away. What would be new was never tried, and the log cannot tell its worth: it is counted
and no more. So is what was sent for a reason from before the time that is tried. For another way of
choosing channels there is `scoring.evaluation`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from jobs.campaigns.trial import Trial
from schemas.decision import Decision
from schemas.learning import Reward


class Worth(Struct):
    """Messages, the clicks on them and the revenue that was credited to them."""

    sends: int = 0
    clicks: int = 0
    revenue: float = 0.0

    def add(self, clicked: bool, revenue: float) -> None:
        """Add a message."""
        self.sends += 1
        self.clicks += clicked
        self.revenue += revenue

    def join(self, other: Worth) -> None:
        """Add what others were worth."""
        self.sends += other.sends
        self.clicks += other.clicks
        self.revenue += other.revenue

    def __str__(self) -> str:
        return f"{self.sends:,} sends with {self.clicks:,} clicks and {self.revenue:,.2f} revenue"


class Change(Struct):
    """What becomes of a campaign's messages.

    ``added`` are new, and their worth is not known; of ``untold`` not even the set in force would
    have made them from what was tried.
    """

    stay: Worth
    fall_away: Worth
    added: int = 0
    untold: int = 0


def changes(trial: Trial, made: Iterable[Decision], rewards: Iterable[Reward]) -> dict[str, Change]:
    """By campaign, what the messages that were sent are to a changed set.

    ``made`` were published in the time that was tried; a repeat of one, or of a reward, changes
    nothing.
    """
    sent = {each.decision_id: each.campaign_id for each in made if each.status == "send"}
    clicked, revenue = _answers(rewards)
    found: dict[str, Change] = {}
    for name, campaign in sent.items():
        change = found.setdefault(campaign, Change(Worth(), Worth()))
        if name in trial.sent_after:
            change.stay.add(name in clicked, revenue.get(name, 0.0))
        elif name in trial.sent_before:
            change.fall_away.add(name in clicked, revenue.get(name, 0.0))
        else:
            change.untold += 1
    for name, campaign in trial.sent_after.items():
        if name not in sent and name not in trial.sent_before:
            found.setdefault(campaign, Change(Worth(), Worth())).added += 1
    return dict(sorted(found.items()))


def _answers(rewards: Iterable[Reward]) -> tuple[set[str], dict[str, float]]:
    clicked: set[str] = set()
    entries = {}
    for each in rewards:
        if each.kind == "clicked":
            clicked.add(each.decision_id)
        entries[each.decision_id, each.kind, each.outcome_id, each.order_id] = each.value
    revenue: dict[str, float] = {}
    for (name, *_), value in entries.items():
        revenue[name] = revenue.get(name, 0.0) + value
    return clicked, revenue


def sentences(found: Mapping[str, Change]) -> list[str]:
    """The changes in words: a line for each campaign that they touch, then those left alone."""
    lines, alone, untold = [], [], 0
    for name, change in found.items():
        untold += change.untold
        if change.fall_away.sends or change.added:
            lines.append(f"{name}: {_of(change)}")
        elif change.stay.sends:
            alone.append(name)
    if not lines:
        return ["nothing that was sent is touched", *_left_out(untold)]
    if alone:
        lines.append(f"untouched: {', '.join(alone)}")
    stay, lost = Worth(), Worth()
    for change in found.values():
        stay.join(change.stay)
        lost.join(change.fall_away)
    added = sum(change.added for change in found.values())
    lines.append(f"in all: {_of(Change(stay, lost, added))}")
    if added:
        lines.append(
            "what the gained ones would have brought no log can tell, for nobody got them; an "
            "experiment can"
        )
    return lines + _left_out(untold)


def _of(change: Change) -> str:
    said = []
    if change.stay.sends:
        said.append(f"keeps {change.stay}")
    if change.fall_away.sends:
        said.append(f"loses {change.fall_away}")
    if change.added:
        said.append(f"gains {change.added:,} sends")
    return ", ".join(said)


def _left_out(untold: int) -> list[str]:
    """What cannot be compared, because its reason was not in what was tried."""
    if not untold:
        return []
    return [
        f"left out are {untold:,} sends whose reason lies before the time that was tried; an "
        "earlier --from takes them in"
    ]
