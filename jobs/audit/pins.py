"""What was in force at a decision: a prefix of the control log, found by what the decision names.

The stream reads the control topic, one partition, in its order, so what is in force is at any
moment a prefix of it. When the stream read a record is not recorded, only when Kafka took it in.
But a decision names its campaign's version, the policy's, the model, and how often its arm had
changed; those leave few prefixes. Among them the mix may still differ:
the first is taken that gives the propensity that was logged.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from schemas.control import Campaign, ChannelMix, Model, Policy, Posterior, control_key
from schemas.decision import Decision
from schemas.errors import InvalidRecord
from schemas.wire import decode_control
from scoring.model import PRIOR_VERSION
from scoring.policies.base import share_of

SLACK_MS: Final = 5_000
"""How long after Kafka took a record in the stream may still not have heard it."""


class Entry(NamedTuple):
    """A control record as it came; no value withdraws its key."""

    came_ms: int
    key: str
    value: bytes | None


class ControlLog:
    """The control log, and where in it each version begins and ends to be in force.

    A position p means that the first p entries are in force.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries: list[Entry] = list(entries)
        self._times: list[int] = []
        self._versions: dict[str, tuple[list[int], list[object]]] = {}
        self._mixes: dict[str, tuple[list[int], list[ChannelMix | None]]] = {}
        newest_ms = 0
        for place, (came_ms, key, value) in enumerate(self.entries, 1):
            newest_ms = max(newest_ms, came_ms)
            self._times.append(newest_ms)
            if value is None:
                if key in self._mixes:
                    self._mix(key, place, None)
                continue
            try:
                record = decode_control(value)
            except InvalidRecord:
                continue
            match record:
                case Campaign() | Policy():
                    self._note(key, place, record.version)
                case Model():
                    self._note("model", place, record.version)
                case Posterior():
                    self._note(key, place, record.version)
                case ChannelMix():
                    self._mix(key, place, record)

    def at(self, moment_ms: int) -> int:
        """The position of what Kafka had taken in by then."""
        return bisect_right(self._times, moment_ms)

    def span(self, decision: Decision) -> tuple[int, int]:
        """The first and the last position at which a decision can have been made."""
        arm = control_key(
            Posterior(decision.campaign_id, decision.channel, 1.0, 1.0, 0, variant=decision.variant)
        )
        low, high = 0, len(self.entries)
        for key, version in (
            (f"campaign/{decision.campaign_id}", decision.campaign_version),
            ("policy/main", decision.policy_version),
            ("model", decision.model_version),
            (arm, decision.posterior_version),
        ):
            first, last = self._span(key, version)
            low, high = max(low, first), min(high, last)
        return low, high

    def of(
        self,
        decision: Decision,
        channels: Sequence[str],
        came_ms: int,
        least: int,
        most: int,
        later: int = 0,
    ) -> int:
        """The position at which a decision was made, from ``least`` to ``most``.

        ``later`` passes over so many mixes under which it may have been made too.

        ``channels`` were open to the choice; unless they are known, the propensity tells nothing,
        nor does it before there was a mix: what is in force by then is in the versions.
        """
        low, high = self.span(decision)
        low, high = max(low, least), min(high, most)
        floor = self.at(came_ms - SLACK_MS)
        mix = ChannelMix(
            decision.campaign_id, (), (), 0, 0, variant=decision.variant, case=decision.case
        )
        places, mixes = self._mixes.get(control_key(mix), ([], []))
        begins = [low, *(each for each in places if low < each <= high)]
        found = None
        for begin, end in zip(begins, [*(each - 1 for each in begins[1:]), high], strict=True):
            known = bisect_right(places, begin)
            in_force = mixes[known - 1] if known else None
            if in_force is None or _gives(in_force, decision, channels):
                found = max(begin, min(end, floor))
                if end >= floor:
                    later -= 1
                    if later < 0:
                        break
        return max(low, min(high, floor)) if found is None else found

    def _note(self, key: str, place: int, version: object) -> None:
        places, versions = self._versions.setdefault(key, ([], []))
        places.append(place)
        versions.append(version)

    def _span(self, key: str, version: object) -> tuple[int, int]:
        """The first and last positions at which a version was in force; anywhere if never."""
        places, versions = self._versions.get(key, ([], []))
        everywhere = 0, len(self.entries)
        if version in (0, PRIOR_VERSION):
            return (0, places[0] - 1) if places else everywhere
        if version not in versions:
            return everywhere
        first = versions.index(version)
        last = first
        while last + 1 < len(versions) and versions[last + 1] == version:
            last += 1
        return places[first], places[last + 1] - 1 if last + 1 < len(places) else everywhere[1]

    def _mix(self, key: str, place: int, mix: ChannelMix | None) -> None:
        places, mixes = self._mixes.setdefault(key, ([], []))
        places.append(place)
        mixes.append(mix)


def _gives(mix: ChannelMix, decision: Decision, channels: Sequence[str]) -> bool:
    """Whether a decision can have been made under a mix: by its propensity, if it tells one."""
    shares: dict[str, float] = dict(zip(mix.channels, mix.shares, strict=False))
    if decision.channel not in channels or len(channels) < 2 or not shares.keys() >= {*channels}:
        return True
    open_shares = [shares[each] for each in channels]
    return share_of(open_shares, channels.index(decision.channel)) == decision.propensity
