"""What the producers say of the customer; phone, e-mail and name arrive masked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from msgspec import field

from state.fact import Fact
from state.tagging.base import DAY_MS, Dimension, Tag, Value

# Type, unit and meaning of each field of `schemas.event.Traits`.
_TRAITS: Final = (
    Dimension("gender", "str", "", "as the producer says"),
    Dimension("birth_year", "int", "a", "year of birth"),
    Dimension("city", "str", "", "home town"),
    Dimension("region", "str", "", "home region"),
    Dimension("country", "str", "", "home country"),
    Dimension("zone", "str", "IANA zone", "time zone the customer lives in"),
    Dimension("language", "str", "", "language the customer reads"),
    Dimension("member_level", "str", "", "level in the loyalty programme"),
    Dimension("member_until_ms", "int", "ms", "when the membership ends, UTC"),
    Dimension("payment_due_ms", "int", "ms", "when the next payment is overdue, UTC"),
    Dimension("income_band", "str", "", "as the producer says"),
    Dimension("signup_ms", "int", "ms", "when the customer signed up, UTC"),
    Dimension("phone", "str", "", "masked"),
    Dimension("email", "str", "", "masked"),
    Dimension("name", "str", "", "masked"),
)
# What the night concludes: no answer of anybody's, so not among what could be known either.
_CONCLUDED: Final = (
    Dimension("segment", "str", "", "segment of the last night"),
    Dimension("churn_risk", "float", "ratio", "likelihood that the customer is lost"),
    Dimension("best_hour", "int", "h", "hour of the customer's day at which they answer best"),
    Dimension("predicted_gender", "str", "", "gender as their behaviour suggests"),
    Dimension("gender_confidence", "float", "ratio", "how sure the predicted gender is"),
    Dimension("predicted_region", "str", "", "home region as their positions suggest"),
    Dimension("region_confidence", "float", "ratio", "how sure the predicted region is"),
    Dimension("spending_power", "str", "", "low, middle or high, by the monthly average"),
    Dimension("spending_confidence", "float", "ratio", "how sure the spending power is"),
    Dimension("clv", "float", "money", "expected of the customer in the next 90 days"),
    Dimension("interests", "str", "", "what they care about more than others do, by weight"),
    Dimension("picks", "str", "", "items picked for them, best first"),
)
CONCLUDED: Final = frozenset(trait.name for trait in _CONCLUDED)
_GONE: Final = ""
"""Stands for a conclusion that was taken back, with the time at which it was."""
NAMES: Final = tuple(trait.name for trait in (*_TRAITS, *_CONCLUDED))
_SAID: Final = frozenset(trait.name for trait in _TRAITS)
_DUE: Final = "payment_due_ms"
"""What a customer owes says nothing of who they are, so it is not among what could be known."""


class Traits(Tag):
    """The newest value of each trait by event time, with that time."""

    FIELD = "traits"

    known: dict[str, tuple[int, int | float | str]] = field(default_factory=dict)

    def apply(self, fact: Fact) -> None:
        """Take over what the fact says; what it leaves out stays."""
        said = fact.traits
        if said is None:
            return
        ts = fact.ts
        known = self.known
        for name in NAMES:
            value = getattr(said, name)
            if value is not None and (name not in known or known[name][0] <= ts):
                known[name] = (ts, value)
        if said.gone:
            for name in CONCLUDED.intersection(said.gone.split()):
                if name not in known or known[name][0] <= ts:
                    known[name] = (ts, _GONE)

    def get(self, name: str) -> int | float | str | None:
        """The newest value of a trait of `NAMES`; None if there is none, or it is gone."""
        known = self.known.get(name)
        if known is None or (known[1] == _GONE and name in CONCLUDED):
            return None
        return known[1]

    def dimensions(self, now_ms: int) -> dict[str, Value]:
        """Every trait, and what follows from time going on."""
        values: dict[str, Value] = {f"trait_{name}": self.get(name) for name in NAMES}
        born, until = self.get("birth_year"), self.get("member_until_ms")
        signup = self.get("signup_ms")
        values["trait_age_years"] = (
            datetime.fromtimestamp(now_ms / 1_000, UTC).year - born
            if isinstance(born, int)
            else None
        )
        values["trait_member_days_left"] = (
            (until - now_ms) / DAY_MS if isinstance(until, int) else None
        )
        values["trait_signup_days"] = (
            (now_ms - signup) / DAY_MS if isinstance(signup, int) else None
        )
        known = sum(1 for name in self.known if name in _SAID and name != _DUE)
        values["trait_known_ratio"] = known / (len(_TRAITS) - 1)
        return values

    @classmethod
    def catalogue(cls) -> tuple[Dimension, ...]:
        """The traits of the contract, and four derived."""
        return (
            *(
                Dimension(f"trait_{t.name}", t.type, t.unit, t.meaning)
                for t in (*_TRAITS, *_CONCLUDED)
            ),
            Dimension("trait_age_years", "int", "a", "this year less the year of birth"),
            Dimension("trait_member_days_left", "float", "d", "until the membership ends"),
            Dimension("trait_signup_days", "float", "d", "since the customer signed up"),
            Dimension("trait_known_ratio", "float", "ratio", "traits known of all there are"),
        )
