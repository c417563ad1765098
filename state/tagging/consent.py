"""What the customer agreed to. Whatever is not known to be agreed to is not."""

from __future__ import annotations

from typing import Final

from msgspec import field

from schemas.outcome import CHANNELS
from state.fact import Fact
from state.tagging.base import Dimension, Tag, Value, seconds_since

PURPOSES: Final = ("marketing", *CHANNELS)


class Consent(Tag):
    """The newest word on the purpose and on each channel by event time, with that time.

    Of two words of the same instant the refusal counts, in whatever order they come. An
    ``unsubscribed`` outcome withdraws its channel, or all when it names none; ``complained``
    withdraws the marketing purpose besides.
    """

    OUTCOMES = frozenset({"unsubscribed", "complained"})

    FIELD = "consent"

    known: dict[str, tuple[int, bool]] = field(default_factory=dict)
    withdrawals: int = 0

    def apply(self, fact: Fact) -> None:
        """Take over what the fact says; what it leaves out stays."""
        said = fact.consent
        if said is not None:
            for purpose in PURPOSES:
                agreed = getattr(said, purpose)
                if agreed is not None:
                    self._note(purpose, fact.ts, agreed)
        if fact.action in self.OUTCOMES:
            self.withdrawals += 1
            for channel in CHANNELS if fact.channel is None else (fact.channel,):
                self._note(channel, fact.ts, False)
            if fact.action == "complained":
                self._note("marketing", fact.ts, False)

    def _note(self, purpose: str, ts: int, agreed: bool) -> None:
        known = self.known.get(purpose)
        if known is None or known[0] < ts:
            self.known[purpose] = (ts, agreed)
        elif known[0] == ts and not agreed:
            self.known[purpose] = (ts, False)

    def agreed(self, purpose: str) -> bool | None:
        """The newest word on one of `PURPOSES`; None when there was none."""
        known = self.known.get(purpose)
        return None if known is None else known[1]

    def allows(self, channel: str) -> bool:
        """Whether the customer agreed to marketing and to this channel."""
        known = self.known
        marketing = known.get("marketing")
        if marketing is None or not marketing[1]:
            return False
        word = known.get(channel)
        return word is not None and word[1]

    def dimensions(self, now_ms: int) -> dict[str, Value]:
        """The newest words, what they allow, and how old they are."""
        values: dict[str, Value] = {
            f"consent_{purpose}": self.agreed(purpose) for purpose in PURPOSES
        }
        for channel in CHANNELS:
            values[f"consent_allows_{channel}"] = self.allows(channel)
        newest = max((ts for ts, _ in self.known.values()), default=0)
        values["consent_age_s"] = seconds_since(newest, now_ms)
        values["consent_withdrawals_total"] = self.withdrawals
        return values

    @classmethod
    def catalogue(cls) -> tuple[Dimension, ...]:
        """The words on four purposes, three permissions, two figures."""
        return (
            Dimension("consent_marketing", "bool", "", "newest word on marketing as a purpose"),
            *(
                Dimension(f"consent_{channel}", "bool", "", f"newest word on {channel}")
                for channel in CHANNELS
            ),
            *(
                Dimension(f"consent_allows_{channel}", "bool", "", f"marketing by {channel} agreed")
                for channel in CHANNELS
            ),
            Dimension("consent_age_s", "float", "s", "time since the newest word on any of them"),
            Dimension("consent_withdrawals_total", "int", "outcomes", "unsubscribed or complained"),
        )
