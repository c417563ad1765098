"""The tally of campaigns: decisions, examples, rewards and outcomes in, absolute figures out.

Topics arrive at different speeds, so a reward may be read before its decision: it waits for it, and
the figures do not depend on who was first. Each record counts once, however often it is read. What
is remembered of a message is forgotten `HORIZON_MS` of Kafka's time after it; a repeat or an
answer that comes later than that is not counted twice but not at all.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct, field

from schemas.control import Campaign, ControlRecord, Policy
from schemas.decision import Decision
from schemas.effect import Counted, Effect, EffectGap, EffectLift
from schemas.experiment import Experiment, Variant
from schemas.learning import Example, Reward
from schemas.outcome import Outcome
from scoring.effect.guard import exceeds, sentence
from scoring.experiments.gap import Target, gaps
from scoring.experiments.readout import Cell, Readout, readout
from scoring.experiments.sums import Sums
from scoring.features import FEATURE_HASH, FEATURES
from state.fact import id64

HOUR_MS: Final = 3_600_000
HORIZON_MS: Final = 9 * 86_400_000
ORGANIC: Final = "organic"
METRICS: Final = ("orders", "revenue")
HELD, SPOKEN_TO = "held-out", "spoken-to"
_SEP: Final = "\x1f"
_ORDERS: Final = FEATURES.index("orders_log")
_MEAN: Final = FEATURES.index("order_mean_log")
_TOLD: Final = frozenset({"delivered", "opened", "bounced"})


class Shown(Struct, array_like=True):
    """What must be known of a message when something becomes of it."""

    came_ms: int
    campaign: str
    channel: str
    segment: str
    kept_ratio: float


class Unit(Struct, array_like=True):
    """A customer in a campaign: what the groups are compared by.

    ``before`` is what they had done before the campaign first met them, for each metric.
    """

    group: str = ""
    channel: str = ""
    segment: str = ""
    did: tuple[float, float] = (0.0, 0.0)
    before: tuple[float, float] = (0.0, 0.0)


class State(Struct):
    """All that the tally remembers; with the offsets up to which it has read."""

    offsets: dict[str, int] = field(default_factory=dict)
    came_ms: int = 0
    newest_ms: int = 0
    cells: dict[str, Counted] = field(default_factory=dict)
    shown: dict[int, Shown] = field(default_factory=dict)
    seen: dict[int, int] = field(default_factory=dict)
    waiting: dict[int, list[tuple[int, Reward | None, Outcome | None]]] = field(
        default_factory=dict
    )
    segments: dict[str, str] = field(default_factory=dict)
    units: dict[str, dict[str, Unit]] = field(default_factory=dict)
    sums: dict[str, dict[str, Sums]] = field(default_factory=dict)
    exposed: dict[str, dict[str, int]] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    before_pause: dict[str, Counted] = field(default_factory=dict)
    unattributed: int = 0


class Tally:
    """The fold. ``touched`` has the cells and ``compared`` the campaigns to be told anew."""

    def __init__(self, state: State | None = None) -> None:
        self.state = State() if state is None else state
        self.policy = Policy()
        self.campaigns: dict[str, Campaign] = {}
        self.touched: set[str] = set(self.state.cells)
        self.compared: set[str] = set(self.state.units)

    def on_control(self, record: ControlRecord) -> None:
        """Take in a campaign or the policy; the rest is passed over."""
        if isinstance(record, Campaign):
            self.campaigns[record.id] = record
            self.compared.add(record.id)
            if record.status == "paused":
                self.state.paused.add(record.id)
            elif record.id in self.state.paused:  # somebody let it go on: it is judged anew
                self.state.paused.remove(record.id)
                self.state.before_pause[record.id] = self.whole(record.id)
        elif isinstance(record, Policy):
            self.policy = record

    def on_segment(self, user_id: str, segment: str) -> None:
        """A customer is of this segment from now on."""
        self.state.segments[user_id] = segment

    def on_decision(self, record: Decision, came_ms: int) -> None:
        """Count a decision, and what of it was heard before it."""
        name = id64(record.decision_id)
        if name in self.state.shown:
            return
        spec = self.campaigns.get(record.campaign_id)
        margin = 0.3 if spec is None else spec.pricing.margin_ratio
        discount = record.offer.discount_ratio
        kept = (margin - discount) / (1 - discount) if discount < 1 else 0.0
        segment = self.state.segments.get(record.user_id, "")
        shown = Shown(came_ms, record.campaign_id, record.channel, segment, kept)
        self.state.shown[name] = shown
        self._clock(record.decided_at_ms, came_ms)
        if record.status == "holdout":
            self._count(shown, record.decided_at_ms, Counted(held_out=1))
        else:
            cost = record.cost_micros / 1e6
            counted = Counted(sends=1, cost=cost, margin=-cost)
            self._count(shown, record.decided_at_ms, counted)
        for _, reward, outcome in self.state.waiting.pop(name, ()):
            if reward is not None:
                self._reward(shown, reward)
            elif outcome is not None:
                self._outcome(shown, outcome)

    def on_example(self, record: Example) -> None:
        """Let a customer be of one of a campaign's groups, the first that they were in."""
        campaign = record.campaign_id
        unit = self._unit(campaign, record.user_id)
        if unit.group:
            return
        unit.group = HELD if record.holdout else SPOKEN_TO
        unit.channel = record.channel
        unit.segment = self.state.segments.get(record.user_id, "")
        if record.feature_hash == FEATURE_HASH:
            orders = record.features[_ORDERS]
            unit.before = (orders, orders * record.features[_MEAN])
        groups = self.state.exposed.setdefault(campaign, {})
        groups[unit.group] = groups.get(unit.group, 0) + 1
        self._compare(campaign, unit, 1)

    def on_reward(self, record: Reward, came_ms: int) -> None:
        """Count what an outcome says of a decision."""
        parts = (record.decision_id, record.kind, record.outcome_id, record.order_id)
        if not self._first(_SEP.join(parts), came_ms):
            return
        self._clock(record.ts, came_ms)
        if not record.decision_id:
            segment = self.state.segments.get(record.user_id, "")
            self._reward(Shown(came_ms, ORGANIC, "", segment, 0.3), record)
            return
        if record.orders or record.order_value:
            unit = self._unit(record.campaign_id, record.user_id)
            if unit.group:
                self._compare(record.campaign_id, unit, -1)
            did = unit.did
            unit.did = (did[0] + record.orders, did[1] + record.order_value)
            if unit.group:
                self._compare(record.campaign_id, unit, 1)
        name = id64(record.decision_id)
        shown = self.state.shown.get(name)
        if shown is None:
            self.state.waiting.setdefault(name, []).append((came_ms, record, None))
        else:
            self._reward(shown, record)

    def on_outcome(self, record: Outcome, ts: int, came_ms: int) -> None:
        """Count a delivery, an opening or a bounce; the rest comes as rewards."""
        if record.kind not in _TOLD or record.decision_id is None:
            return
        if not self._first(_SEP.join((record.user_id, record.outcome_id)), came_ms):
            return
        self._clock(ts, came_ms)
        record = msgspec.structs.replace(record, ts=ts)
        name = id64(record.decision_id or "")
        shown = self.state.shown.get(name)
        if shown is None:
            self.state.waiting.setdefault(name, []).append((came_ms, None, record))
        else:
            self._outcome(shown, record)

    def forget(self) -> None:
        """Let go of what is older than the horizon."""
        state = self.state
        since_ms = state.came_ms - HORIZON_MS
        state.shown = {k: v for k, v in state.shown.items() if v.came_ms >= since_ms}
        state.seen = {k: v for k, v in state.seen.items() if v >= since_ms}
        for name, found in list(state.waiting.items()):
            if found[0][0] < since_ms:
                state.unattributed += len(found)
                del state.waiting[name]

    def take_effects(self) -> list[Effect]:
        """The cells that changed since the last call, with those that they are part of."""
        wanted: set[tuple[str, str | None, str | None, int | None]] = set()
        for key in self.touched:
            campaign, channel, segment, hour = _parts(key)
            wanted |= {
                (campaign, channel, segment, hour),
                (campaign, channel, None, None),
                (campaign, None, segment, None),
                (campaign, None, None, hour),
                (campaign, None, None, None),
            }
        for campaign in self.compared:
            wanted.add((campaign, None, None, None))
        sums = self._rollups({campaign for campaign, *_ in wanted})
        read = {campaign: self.readout(campaign) for campaign, *_ in wanted}
        self.touched.clear()
        self.compared.clear()
        found = sorted(wanted, key=lambda cell: tuple("" if p is None else str(p) for p in cell))
        return [self._effect(cell, sums.get(cell, Counted()), read[cell[0]]) for cell in found]

    def readout(self, campaign: str) -> Readout | None:
        """A campaign against its held-out customers; None where nobody is held out."""
        spec = self.campaigns.get(campaign)
        held = 1 - (1 - self.policy.holdout_ratio) * (1 - (spec.holdout_ratio if spec else 0.0))
        groups = self.state.exposed.get(campaign, {})
        if not 0 < held < 1 or not groups:
            return None
        variants = (Variant(HELD, held), Variant(SPOKEN_TO, 1 - held))
        cells = {Cell(*name.split(_SEP)): sums for name, sums in self.state.sums[campaign].items()}
        return readout(Experiment(campaign, variants), groups, cells)

    def whole(self, campaign: str) -> Counted:
        """A campaign's figures over all channels, segments and hours."""
        return self._rollups({campaign}).get((campaign, None, None, None), Counted())

    def over_limit(self) -> dict[str, str]:
        """Active campaigns that broke a guardrail since they last went on, and why to pause them.

        Asked of the campaigns that have changed; so ask before `take_effects`.
        """
        found = {}
        changed = {key.partition(_SEP)[0] for key in self.touched}
        for name in sorted(changed & self.campaigns.keys()):
            spec = self.campaigns[name]
            if spec.guardrails is None or spec.status != "active":
                continue
            now, before = self.whole(name), self.state.before_pause.get(name, Counted())
            total = now.sends - before.sends
            for what in ("unsubscribed", "complained"):
                limit = getattr(spec.guardrails, what)
                count = getattr(now, what) - getattr(before, what)
                if limit is not None and exceeds(count, total, limit):
                    found[name] = sentence(what, count, total, limit)
        return found

    def _reward(self, shown: Shown, record: Reward) -> None:
        match record.kind:
            case "clicked":
                counted = Counted(clicked=1)
            case "expired":
                counted = Counted(expired=1)
            case "unsubscribed":
                counted = Counted(unsubscribed=1)
            case "complained":
                counted = Counted(complained=1)
            case _:
                counted = Counted(
                    conversions=record.share,
                    revenue=record.value,
                    margin=record.value * shown.kept_ratio,
                )
        self._count(shown, record.ts, counted)

    def _outcome(self, shown: Shown, record: Outcome) -> None:
        assert isinstance(record.ts, int)
        self._count(shown, record.ts, Counted(**{record.kind: 1}))

    def _count(self, shown: Shown, ts: int, counted: Counted) -> None:
        hour = ts - ts % HOUR_MS
        key = _SEP.join((shown.campaign, shown.channel, shown.segment, str(hour)))
        self.state.cells.setdefault(key, Counted()).add(counted)
        self.touched.add(key)

    def _unit(self, campaign: str, user_id: str) -> Unit:
        return self.state.units.setdefault(campaign, {}).setdefault(user_id, Unit())

    def _compare(self, campaign: str, unit: Unit, sign: int) -> None:
        sums = self.state.sums.setdefault(campaign, {})
        for place, metric in enumerate(METRICS):
            for segment in {"", f"channel {unit.channel}", f"segment {unit.segment}"}:
                if segment != "segment ":
                    name = _SEP.join((unit.group, metric, segment))
                    found = sums.setdefault(name, Sums())
                    change = found.add if sign > 0 else found.remove
                    change(unit.did[place], unit.before[place])
        self.compared.add(campaign)

    def _first(self, name: str, came_ms: int) -> bool:
        digest = id64(name)
        if digest in self.state.seen:
            return False
        self.state.seen[digest] = came_ms
        return True

    def _clock(self, ts: int, came_ms: int) -> None:
        self.state.came_ms = max(self.state.came_ms, came_ms)
        self.state.newest_ms = max(self.state.newest_ms, ts)

    def _rollups(
        self, campaigns: set[str]
    ) -> dict[tuple[str, str | None, str | None, int | None], Counted]:
        found: dict[tuple[str, str | None, str | None, int | None], Counted] = {}
        for key, counted in self.state.cells.items():
            campaign, channel, segment, hour = _parts(key)
            if campaign in campaigns:
                for cell in (
                    (campaign, channel, segment, hour),
                    (campaign, channel, None, None),
                    (campaign, None, segment, None),
                    (campaign, None, None, hour),
                    (campaign, None, None, None),
                ):
                    found.setdefault(cell, Counted()).add(counted)
        return found

    def _effect(
        self,
        cell: tuple[str, str | None, str | None, int | None],
        counted: Counted,
        read: Readout | None,
    ) -> Effect:
        campaign, channel, segment, hour = cell
        lifts: tuple[EffectLift, ...] = ()
        if read is not None and hour is None:
            of = ""
            if channel is not None:
                of = f"channel {channel}"
            elif segment is not None:
                of = f"segment {segment}"
            groups = self.state.sums[campaign]
            lifts = tuple(
                EffectLift(
                    name.metric, each.control, each.treated, each.difference, each.low, each.high,
                    each.relative if abs(each.relative) < float("inf") else None,
                    sum(groups[_SEP.join((who, name.metric, of))].n for who in (HELD, SPOKEN_TO)),
                )
                for name, each in read.lifts.items()
                if name.segment == of
            )  # fmt: skip
        whole = cell[1:] == (None, None, None)
        return Effect(
            campaign,
            channel,
            segment,
            hour,
            counted,
            roi=counted.roi,
            click_through=counted.per_send("clicked"),
            conversion=counted.per_send("conversions"),
            unsubscribe_ratio=counted.per_send("unsubscribed"),
            complaint_ratio=counted.per_send("complained"),
            lifts=lifts,
            sample_ratio_p=read.ratio.always_valid_p if whole and read is not None else None,
            gap=self._gap(campaign, hour) if channel is None and segment is None else None,
            updated_ms=self.state.newest_ms,
        )

    def _gap(self, campaign: str, hour: int | None) -> EffectGap | None:
        spec = self.campaigns.get(campaign)
        if spec is None or spec.target is None:
            return None
        wanted = spec.target
        reached: dict[int, float] = {}
        for key, counted in self.state.cells.items():
            owner, _, _, at_ms = _parts(key)
            if owner == campaign:
                reached[at_ms] = reached.get(at_ms, 0.0) + getattr(counted, wanted.metric)
        target = Target(wanted.metric, wanted.amount, wanted.starts_ms, wanted.ends_ms)
        rows = gaps(target, reached, self.state.newest_ms)
        rows = [row for row in rows if hour is None or row.hour_ms == hour]
        return EffectGap(wanted.metric, rows[-1].due, rows[-1].reached) if rows else None


def _parts(key: str) -> tuple[str, str, str, int]:
    campaign, channel, segment, hour = key.split(_SEP)
    return campaign, channel, segment, int(hour)
