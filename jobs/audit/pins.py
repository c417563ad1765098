"""What was in force at a decision: a prefix of the control log, found by what the decision names.

The stream reads the control topic, one partition, in its order, so what is in force is at any
moment a prefix of it. When the stream read a record is not recorded, only when Kafka took it in.
But a decision names its campaign's version, the policy's, the model, and how often its arm had
changed, and its propensity comes of the mix; those leave few prefixes.

What people change, changes seldom: the log is put in force up to there (`ControlLog.ruling`). What
is learned changes many times a second, so for that each decision has a position of its own
(`ControlLog.learned`), at which it is looked up (`jobs.audit.moments`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from schemas.control import Campaign, ChannelMix, Policy, Posterior
from schemas.decision import Decision
from schemas.errors import InvalidRecord
from schemas.model import CANARY, VARIANT_MODEL, Model
from schemas.wire import decode_control
from scoring.model import PRIOR_VERSION
from scoring.policies.base import share_of

SLACK_MS: Final = 5_000
"""How long after Kafka took a record in the stream may still not have heard it."""
HEARD_MS: Final = 20
"""After so long it has, as a rule."""

Arm = tuple[str, str, str]
"""Campaign, channel, variant."""
Case = tuple[str, str, int]
"""Campaign, variant, case."""
RecordT = TypeVar("RecordT", Posterior, ChannelMix)


_MODELS: Final = "model/"
_FOR_SOME: Final = (f"{_MODELS}{CANARY}", f"{_MODELS}{VARIANT_MODEL}")


class Entry(NamedTuple):
    """A control record as it came; no value withdraws its key."""

    came_ms: int
    key: str
    value: bytes | None


class Timeline(Generic[RecordT]):
    """The records of one key that came into force, and from which position on."""

    def __init__(self) -> None:
        self.places: list[int] = []
        self.records: list[RecordT | None] = []

    def put(self, place: int, record: RecordT | None) -> None:
        """A record came; one that is older than what is in force changes nothing."""
        before = self.records[-1] if self.records else None
        if record is not None and before is not None and _age(record) < _age(before):
            return
        self.places.append(place)
        self.records.append(record)

    def at(self, position: int) -> RecordT | None:
        """What was in force at a position."""
        known = bisect_right(self.places, position)
        return self.records[known - 1] if known else None

    def spans(self, end: int) -> list[tuple[int, int, RecordT | None]]:
        """From where to where each was in force, in a log of ``end`` entries."""
        found: list[tuple[int, int, RecordT | None]] = []
        first, record = 0, None
        for place, following in zip(self.places, self.records, strict=True):
            if first < place:
                found.append((first, place - 1, record))
            first, record = place, following
        found.append((first, end, record))
        return found


class ControlLog:
    """The control log, and where in it each version begins and ends to be in force.

    A position p means that the first p entries are in force.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries: list[Entry] = list(entries)
        self.posteriors: dict[Arm, Timeline[Posterior]] = {}
        self.mixes: dict[Case, Timeline[ChannelMix]] = {}
        self._times: list[int] = []
        self._versions: dict[str, tuple[list[int], list[object]]] = {}
        learned: dict[str, Timeline[Posterior] | Timeline[ChannelMix]] = {}
        newest_ms = 0
        for place, (came_ms, key, value) in enumerate(self.entries, 1):
            newest_ms = max(newest_ms, came_ms)
            self._times.append(newest_ms)
            if value is None:
                if key in learned:
                    learned[key].put(place, None)
                if key.startswith(_MODELS):
                    self._note(key, place, None)
                continue
            try:
                record = decode_control(value)
            except InvalidRecord:
                continue
            match record:
                case Campaign() | Policy() | Model():
                    self._note(key, place, record.version)
                case Posterior():
                    arm = record.campaign_id, record.channel, record.variant
                    line = learned[key] = self.posteriors.setdefault(arm, Timeline())
                    line.put(place, record)
                case ChannelMix():
                    case = record.campaign_id, record.variant, record.case
                    mixes = learned[key] = self.mixes.setdefault(case, Timeline())
                    mixes.put(place, record)

    def at(self, moment_ms: int) -> int:
        """The position of what Kafka had taken in by then."""
        return bisect_right(self._times, moment_ms)

    def ruled(self, decision: Decision) -> tuple[int, int]:
        """The first and the last position at which campaign, policy and model were as it says."""
        low, high = self._span_of_model(decision.model_version)
        for key, version in (
            (f"campaign/{decision.campaign_id}", decision.campaign_version),
            ("policy/main", decision.policy_version),
        ):
            first, last = self._span(key, version)
            low, high = max(low, first), min(high, last)
        return low, high

    def ruling(self, decision: Decision, came_ms: int, least: int, most: int) -> int:
        """Up to where the log was surely in force at a decision, from ``least`` to ``most``."""
        low, high = self.ruled(decision)
        low, high = max(low, least), min(high, most)
        return max(low, min(high, self.at(came_ms - SLACK_MS)))

    def learned(self, decision: Decision, channels: Sequence[str], came_ms: int) -> list[int]:
        """Positions at which it can have been made by what was learned, the likeliest first.

        ``channels`` were open to the choice; unless they are known, the propensity tells nothing,
        nor does it before there was a mix: what is in force by then is in the versions.
        """
        low, high = self.ruled(decision)
        end, likely = len(self.entries), self.at(came_ms - HEARD_MS)
        arm = decision.campaign_id, decision.channel, decision.variant
        case = decision.campaign_id, decision.variant, decision.case
        versions = self.posteriors.get(arm, Timeline()).spans(end)
        mixes = self.mixes.get(case, Timeline()).spans(end)
        found: list[tuple[bool, int, int]] = []
        for first, last, posterior in versions:
            version = 0 if posterior is None else posterior.version
            other = version != decision.posterior_version
            if other and decision.posterior_version:
                continue  # 0 is also what a fixed mix names
            for begin, until, mix in mixes:
                least, most = max(low, first, begin), min(high, last, until)
                if least > most or not (mix is None or _gives(mix, decision, channels)):
                    continue
                spans = [(least, most)] if mix is not None else self._unmixed(arm, least, most)
                for begins, ends in spans:
                    place = max(begins, min(ends, likely))
                    found.append((other, _distance(begins, ends, likely), place))
        return [place for *_, place in sorted(found)] or [max(low, min(high, likely))]

    def _unmixed(self, arm: Arm, least: int, most: int) -> list[tuple[int, int]]:
        """Parts of a span without a mix, where shares are as the arms of the campaign make them."""
        campaign, _, variant = arm
        edges = {
            place
            for (other, _, its), line in self.posteriors.items()
            if (other, its) == (campaign, variant)
            for place in line.places
            if least < place <= most
        }
        begins = sorted({least, *edges})
        return list(zip(begins, [*(each - 1 for each in begins[1:]), most], strict=True))

    def _note(self, key: str, place: int, version: object) -> None:
        places, versions = self._versions.setdefault(key, ([], []))
        places.append(place)
        versions.append(version)

    def _span(self, key: str, version: object) -> tuple[int, int]:
        """The first and last positions at which a version was in force; anywhere if never."""
        places, versions = self._versions.get(key, ([], []))
        everywhere = 0, len(self.entries)
        if version == 0:
            return (0, places[0] - 1) if places else everywhere
        if version not in versions:
            return everywhere
        first = versions.index(version)
        last = first
        while last + 1 < len(versions) and versions[last + 1] == version:
            last += 1
        return places[first], places[last + 1] - 1 if last + 1 < len(places) else everywhere[1]

    def _span_of_model(self, version: str) -> tuple[int, int]:
        """The same of a model, which may be in force for all, for some, or for a variant's.

        It may come back as well, so this is from where it first was to where it last was.
        """
        end = len(self.entries)
        for_all = [
            key
            for key in self._versions
            if key.startswith(_MODELS) and not key.startswith(_FOR_SOME)
        ]
        if version == PRIOR_VERSION:
            gone = any(None in self._versions[key][1] for key in for_all)
            first = min((self._versions[key][0][0] for key in for_all), default=end + 1)
            return 0, end if gone else first - 1
        spans = []
        for key, (places, versions) in self._versions.items():
            if key.startswith(_MODELS):
                ends = [*(each - 1 for each in places[1:]), end]
                spans += [
                    (begin, last)
                    for begin, last, each in zip(places, ends, versions, strict=True)
                    if each == version
                ]
        if not spans:
            return 0, end
        return min(first for first, _ in spans), max(last for _, last in spans)


def _age(record: Posterior | ChannelMix) -> int:
    return record.version if isinstance(record, Posterior) else record.at_ms


def _distance(least: int, most: int, likely: int) -> int:
    """How far a span is from where it likely was; what the stream cannot have heard is farther."""
    if likely < least:
        return 2 * (least - likely)
    return max(0, likely - most)


def _gives(mix: ChannelMix, decision: Decision, channels: Sequence[str]) -> bool:
    """Whether a decision can have been made under a mix: by its propensity, if it tells one."""
    shares: dict[str, float] = dict(zip(mix.channels, mix.shares, strict=False))
    if decision.channel not in channels or len(channels) < 2 or not shares.keys() >= {*channels}:
        return True
    open_shares = [shares[each] for each in channels]
    return share_of(open_shares, channels.index(decision.channel)) == decision.propensity
