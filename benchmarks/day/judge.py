"""Whether anything was sent that must not be: from the inputs and the published decisions alone.

The judge shares no code with the gates. It reads the events as a stranger would, keeps what each
customer said and did in plain lists, and asks of every message whether it was allowed: agreed to,
by day where the customer lives, under each cap, to nobody kept back, not after the purchase that
took its reason away, not twice, and within the money to the millionth. The policy's and campaigns'
figures are `benchmarks.day.rules`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from xxhash import xxh3_64_intdigest

from benchmarks.day.rules import COSTS, POLICY
from schemas.control import Campaign, Cap

KINDS: Final = (
    "without_consent",
    "in_quiet_hours",
    "lasts_into_quiet_hours",
    "over_a_cap",
    "over_budget_micros",
    "wrong_cost",
    "to_the_holdout",
    "held_out_by_mistake",
    "after_the_purchase",
    "too_early",
    "out_of_the_audience",
    "in_cooldown",
    "twice",
    "two_contents",
    "of_no_known_event",
)
"""What may be wrong with a message; all but the money are counted in messages."""

_WAIT_MS: Final = {"cart-left": 30 * 60_000}
_ENDED_BY_PURCHASE: Final = ("cart-left", "favourite")
_PURPOSES: Final = ("marketing", "sms", "push", "email")


class _Event(msgspec.Struct):
    event_id: str
    user_id: str
    action: str
    ts: int
    consent: dict[str, bool] = {}
    traits: dict[str, str] = {}


class _Answer(msgspec.Struct):
    user_id: str
    kind: str
    ts: int
    decision_id: str = ""
    channel: str = ""


_event: Final = msgspec.json.Decoder(_Event).decode
_answer: Final = msgspec.json.Decoder(_Answer).decode


@dataclass
class _Person:
    """What a customer said and did, each in order of event time."""

    words: dict[str, list[tuple[int, bool]]] = field(default_factory=lambda: defaultdict(list))
    purchases: list[int] = field(default_factory=list)
    traits: dict[str, str] = field(default_factory=dict)
    happened: dict[str, int] = field(default_factory=dict)


class Judge:
    """Hears what came in and what was decided, then gives its verdict."""

    def __init__(self, campaigns: Iterable[Campaign]) -> None:
        self._campaigns = {spec.id: spec for spec in campaigns}
        self._people: defaultdict[str, _Person] = defaultdict(_Person)
        self._bounced: dict[str, int] = {}
        self._contents: defaultdict[str, set[bytes]] = defaultdict(set)
        self.violations: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
        self.examples: list[str] = []
        self.sends = 0
        self.by_campaign: Counter[str] = Counter()
        self.deferred = 0
        self.spent: Counter[str] = Counter()

    def event(self, value: bytes) -> None:
        """An event came in, perhaps once more."""
        seen = _event(value)
        person = self._people[seen.user_id]
        if seen.event_id in person.happened:
            return
        person.happened[seen.event_id] = seen.ts
        person.traits.update(seen.traits)
        for purpose, agreed in seen.consent.items():
            person.words[purpose].append((seen.ts, agreed))
        if seen.action == "purchase":
            person.purchases.append(seen.ts)

    def answer(self, value: bytes) -> None:
        """An outcome came in."""
        seen = _answer(value)
        if seen.kind == "bounced":
            self._bounced[seen.decision_id] = seen.ts
        elif seen.kind in ("unsubscribed", "complained"):
            channels = (seen.channel,) if seen.channel else ("sms", "push", "email")
            stopped = [*channels, *(("marketing",) if seen.kind == "complained" else ())]
            for purpose in stopped:
                self._people[seen.user_id].words[purpose].append((seen.ts, False))

    def decision(self, value: bytes) -> None:
        """A decision was published, perhaps once more."""
        self._contents[str(msgspec.json.decode(value)["decision_id"])].add(value)

    def verdict(self) -> None:
        """Judge everything that was heard."""
        of_user: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for name, contents in self._contents.items():
            decision, *others = map(msgspec.json.decode, sorted(contents))
            if others:
                self._wrong("two_contents", f"{name} {_differing(decision, others[0])}")
            of_user[decision["user_id"]].append(decision)
        everything: list[dict[str, Any]] = []
        for person in self._people.values():
            person.purchases.sort()
            for words in person.words.values():
                words.sort(key=lambda word: word[0])
        for user, decisions in of_user.items():
            decisions.sort(key=lambda each: each["decided_at_ms"])
            everything += self._person(user, decisions)
        self._money(everything)

    def _person(self, user: str, decisions: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Judge one customer's decisions, in order of time; returns what was sent."""
        person = self._people[user]
        answered: set[tuple[str, str]] = set()
        spoke: dict[str, int] = {}
        moments: set[int] = set()
        marketing: list[dict[str, Any]] = []
        sent: list[dict[str, Any]] = []
        for each in decisions:
            name, at_ms = each["campaign_id"], each["decided_at_ms"]
            spec = self._campaigns[name]
            owed = spec.message == "transactional"
            trigger = (name, each["trigger_event_id"])
            if trigger in answered:
                self._wrong("twice", each["decision_id"])
            answered.add(trigger)
            if at_ms < spoke.get(name, -spec.cooldown_ms) + spec.cooldown_ms:
                self._wrong("in_cooldown", each["decision_id"])
            spoke[name] = at_ms
            self._reason(person, spec, each)
            if (each["status"] == "holdout") != (not owed and _held_out(user, spec)):
                kind = "to_the_holdout" if each["status"] == "send" else "held_out_by_mistake"
                self._wrong(kind, each["decision_id"])
            if each["status"] != "send":
                continue
            sent.append(each)
            self.sends += 1
            self.by_campaign[name] += 1
            self.deferred += each["deferred_ms"] > 0 and spec.id not in _WAIT_MS
            if each["cost_micros"] != round(COSTS[each["channel"]] * 1_000_000):
                self._wrong("wrong_cost", each["decision_id"])
            if owed:
                continue
            if at_ms in moments:
                self._wrong("twice", each["decision_id"])
            moments.add(at_ms)
            for purpose in ("marketing", each["channel"]):
                if not _agreed(person.words[purpose], at_ms):
                    self._wrong("without_consent", f"{each['decision_id']} {purpose}")
                    break
            self._night(person, each)
            marketing.append({**each, "category": spec.category})
            for cap in POLICY.caps:
                if self._counted(cap, marketing, person) > cap.most:
                    self._wrong("over_a_cap", f"{each['decision_id']} {cap}")
        return sent

    def _reason(self, person: _Person, spec: Campaign, each: dict[str, Any]) -> None:
        """Whether what set it off was there, and was there still."""
        since_ms, at_ms = person.happened.get(each["trigger_event_id"]), each["decided_at_ms"]
        if since_ms is None:
            self._wrong("of_no_known_event", each["decision_id"])
            return
        if at_ms < since_ms + _WAIT_MS.get(spec.id, 0):
            self._wrong("too_early", each["decision_id"])
        if spec.id in _ENDED_BY_PURCHASE:
            bought = bisect_right(person.purchases, at_ms)
            if bought and person.purchases[bought - 1] > since_ms:
                self._wrong("after_the_purchase", each["decision_id"])
        if spec.audience and person.traits.get("member_level") != "gold":
            self._wrong("out_of_the_audience", each["decision_id"])

    def _night(self, person: _Person, each: dict[str, Any]) -> None:
        """Quiet are 22:00 to 08:00 where they live."""
        where = _zone(person.traits.get("zone", ""))
        local = _local(each["decided_at_ms"], where)
        if local.hour >= 22 or local.hour < 8:
            self._wrong("in_quiet_hours", f"{each['decision_id']} {local}")
        elif each["expires_at_ms"] > _ten_in_the_evening_ms(local, where):
            self._wrong("lasts_into_quiet_hours", each["decision_id"])

    def _counted(self, cap: Cap, sent: list[dict[str, Any]], person: _Person) -> int:
        """How many messages a cap counts at the newest of them."""
        newest = sent[-1]
        at_ms, where = newest["decided_at_ms"], _zone(person.traits.get("zone", ""))
        if cap.channel not in (None, newest["channel"]):
            return 0
        if cap.category not in (None, newest["category"]):
            return 0
        count = 0
        for each in sent:
            then_ms = each["decided_at_ms"]
            if self._bounced.get(each["decision_id"], at_ms + 1) <= at_ms:
                continue
            if cap.channel not in (None, each["channel"]):
                continue
            if cap.category not in (None, each["category"]):
                continue
            if cap.within_ms is not None:
                count += then_ms > at_ms - cap.within_ms
            else:
                count += _local(then_ms, where).date() == _local(at_ms, where).date()
        return count

    def _money(self, sent: list[dict[str, Any]]) -> None:
        """Follow each purse through the day: what went out, less what bounced."""
        for spec in self._campaigns.values():
            budget = spec.budget
            if budget is None:
                continue
            mine = [each for each in sent if each["campaign_id"] == spec.id]
            self.spent[spec.id] = sum(each["cost_micros"] for each in mine)
            limits = [(mine, budget.total)]
            for day in {each["paid_day"] for each in mine}:
                limits.append(([each for each in mine if each["paid_day"] == day], budget.per_day))
            for channel, allowance in budget.channels.items():
                through = [each for each in mine if each["channel"] == channel]
                limits.append((through, allowance.total))
            for some, limit in limits:
                if limit is not None:
                    over = self._most(some) - round(limit * 1_000_000)
                    if over > 0:
                        self.violations["over_budget_micros"] += over
                        self._example("over_budget_micros", f"{spec.id} by {over}")

    def _most(self, sent: list[dict[str, Any]]) -> int:
        """The most that was out at any time."""
        moves = [(each["decided_at_ms"], each["cost_micros"]) for each in sent]
        for each in sent:
            bounced_ms = self._bounced.get(each["decision_id"])
            if bounced_ms is not None:
                moves.append((max(bounced_ms, each["decided_at_ms"]), -each["cost_micros"]))
        moves.sort()
        most = out = 0
        for _, move in moves:
            out += move
            most = max(most, out)
        return most

    def _wrong(self, kind: str, what: str) -> None:
        self.violations[kind] += 1
        self._example(kind, what)

    def _example(self, kind: str, what: str) -> None:
        if len(self.examples) < 40:
            self.examples.append(f"{kind}: {what}")


def _differing(one: dict[str, Any], other: dict[str, Any]) -> str:
    """The fields in which two contents of a decision differ."""
    names = [name for name in one if one[name] != other.get(name)]
    return ", ".join(f"{name}: {one[name]} or {other.get(name)}" for name in names)


def _agreed(words: list[tuple[int, bool]], at_ms: int) -> bool:
    """The newest word up to a moment; of two of one instant, the refusal."""
    place = bisect_right(words, at_ms, key=lambda word: word[0])
    if not place:
        return False
    newest_ms = words[place - 1][0]
    return all(agreed for said_ms, agreed in _newest(words[:place]) if said_ms == newest_ms)


def _newest(words: list[tuple[int, bool]]) -> Iterator[tuple[int, bool]]:
    """The last words first, as long as they are of one instant."""
    for word in reversed(words):
        if word[0] != words[-1][0]:
            return
        yield word


def _held_out(user: str, spec: Campaign) -> bool:
    """Kept back from everything, or from this campaign, by a hash that never changes."""
    everywhere = xxh3_64_intdigest(f"holdout\x1f{user}".encode()) / 2**64
    here = xxh3_64_intdigest(f"holdout\x1f{spec.id}\x1f{user}".encode()) / 2**64
    return everywhere < POLICY.holdout_ratio or here < spec.holdout_ratio


@lru_cache(maxsize=16)
def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def _local(at_ms: int, where: tzinfo) -> datetime:
    return datetime.fromtimestamp(at_ms / 1_000, where)


def _ten_in_the_evening_ms(local: datetime, where: tzinfo) -> int:
    evening = local.replace(hour=22, minute=0, second=0, microsecond=0, fold=0)
    if evening < local:
        evening += timedelta(days=1)
    return round(evening.timestamp() * 1_000)
