"""The tally of campaigns: decisions, examples, rewards and outcomes in, absolute figures out.

Topics arrive at different speeds, so a reward may be read before its decision: it waits for it, and
the figures do not depend on who was first. Each record counts once, however often it is read. What
is remembered is bounded (`scoring.effect.memory`); a repeat or an answer that comes when its
message is forgotten is not counted twice but not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from schemas.audit import Candidate
from schemas.control import Campaign, ControlRecord, Policy
from schemas.decision import Decision
from schemas.effect import Counted, Effect, EffectGap, EffectLift, ExperimentEffect
from schemas.experiment import Experiment, Variant
from schemas.learning import Example, Reward
from schemas.outcome import Outcome
from scoring.effect.cells import Cells, Place, hour_of, places_of
from scoring.effect.groups import MEASURED_MS, SEP, Groups
from scoring.effect.guard import exceeds, sentence
from scoring.effect.memory import (
    HORIZON_MS,
    HOURS_MS,
    SEGMENTS_LIMIT,
    TOLD_LATE_MS,
    Answer,
    Shown,
    State,
)
from scoring.effect.trials import NOTHING, Trials, told_of
from scoring.experiments.gap import Target, gaps
from scoring.experiments.readout import Readout, readout
from scoring.features import FEATURE_HASH, did_before
from state.fact import id64

ORGANIC: Final = "organic"
METRICS: Final = ("orders", "revenue")
HELD, SPOKEN_TO = "held-out", "spoken-to"
_TOLD: Final = frozenset({"delivered", "opened", "bounced"})
_COUNTS: Final = _TOLD | {"clicked", "expired", "unsubscribed", "complained"}


class Tally:
    """The fold.

    ``touched`` has the cells and ``compared`` the campaigns to be told anew, ``folded`` the keys of
    effects that are to be withdrawn: their hours have been added to those before.
    """

    def __init__(self, state: State | None = None) -> None:
        self.state = State() if state is None else state
        self.policy = Policy()
        self.campaigns: dict[str, Campaign] = {}
        self.trials = Trials(self.state.trials)
        self.touched: set[str] = set(self.state.cells)
        self.compared: set[str] = set(self.state.groups)
        self.folded: list[str] = []
        self._gone: Callable[[str], bool] | None = None
        self._cells = Cells(self.state.cells)

    def on_control(self, record: ControlRecord) -> None:
        """Take in a campaign, an experiment or the policy; the rest is passed over."""
        if isinstance(record, Campaign):
            self.campaigns[record.id] = record
            self.compared.add(record.id)
            if record.status == "paused":
                self.state.paused.add(record.id)
            elif record.id in self.state.paused:  # somebody let it go on: it is judged anew
                self.state.paused.remove(record.id)
                self.state.before_pause[record.id] = self.whole(record.id)
        elif isinstance(record, Experiment):
            self.trials.on_experiment(record)
        elif isinstance(record, Policy):
            self.policy = record

    def on_withdrawal(self, key: str) -> None:
        """A control record is no more; a campaign's figures stay as they are."""
        kind, _, name = key.partition("/")
        if kind == "campaign":
            self.campaigns.pop(name, None)
        elif kind == "experiment":
            self.trials.end(name)

    def on_segment(self, user_id: str, segment: str) -> None:
        """A customer is of this segment from now on; of too many, who was told of first is not."""
        segments = self.state.segments
        if self._is_gone(user_id):
            return
        segments.pop(user_id, None)
        segments[user_id] = segment
        if len(segments) > SEGMENTS_LIMIT:
            del segments[next(iter(segments))]

    def on_decision(self, record: Decision, came_ms: int) -> None:
        """Count a decision, and what of it was heard before it."""
        name = _message(record.decision_id, record.user_id)
        if name in self.state.shown:
            return
        spec = self.campaigns.get(record.campaign_id)
        margin = 0.3 if spec is None else spec.pricing.margin_ratio
        discount = record.offer.discount_ratio
        kept = (margin - discount) / (1 - discount) if discount < 1 else 0.0
        segment = self.state.segments.get(record.user_id, "")
        variant = self.trials.variant_of(record, came_ms)
        shown = Shown(came_ms, record.campaign_id, record.channel, segment, kept, variant)
        self.state.shown[name] = shown
        self._clock(record.decided_at_ms, came_ms)
        if record.status == "holdout":
            self._count(shown, record.decided_at_ms, Counted(held_out=1))
        else:
            cost = record.cost_micros / 1e6
            counted = Counted(sends=1, cost=cost, margin=-cost)
            self._count(shown, record.decided_at_ms, counted)
        for answer in self.state.waiting.pop(name, ()):
            self._answered(shown, answer)

    def on_example(self, record: Example, came_ms: int) -> None:
        """Let a customer be of one of a campaign's groups, the first that they were in."""
        if self._is_gone(record.user_id):
            return
        segment = self.state.segments.get(record.user_id, "")
        known = record.feature_hash == FEATURE_HASH
        _, orders, money = did_before(record.features) if known else NOTHING
        group = HELD if record.holdout else SPOKEN_TO
        first = record.decided_at_ms, id64(record.decision_id)
        if self._groups(record.campaign_id).enter(
            record.user_id, group, first, record.channel, segment, (orders, money), came_ms
        ):
            self.compared.add(record.campaign_id)
        self.trials.on_example(record, segment, came_ms)

    def on_candidate(self, record: Candidate, came_ms: int) -> None:
        """A campaign was set off and did not speak: of use where it was under an experiment."""
        if not self._is_gone(record.user_id):
            self.trials.on_candidate(record, self.state.segments.get(record.user_id, ""), came_ms)

    def on_reward(self, record: Reward, came_ms: int) -> None:
        """Count what an outcome says of a decision."""
        parts = (record.decision_id, record.kind, record.outcome_id, record.order_id)
        if not self._first(SEP.join(parts), came_ms):
            return
        self._clock(record.ts, came_ms)
        gone = self._is_gone(record.user_id)
        if not gone:
            self.trials.on_reward(record, came_ms)
        if record.kind == "bounced":
            return  # its outcome is counted
        answer = Answer(came_ms, record.kind, record.ts, record.share, record.value)
        if not record.decision_id:
            segment = self.state.segments.get(record.user_id, "")
            self._answered(Shown(came_ms, ORGANIC, "", segment, 0.3), answer)
            return
        if (record.orders or record.order_value) and not gone:
            amounts = (record.orders, record.order_value)
            self._groups(record.campaign_id).did(record.user_id, amounts, came_ms)
            self.compared.add(record.campaign_id)
        self._answer(_message(record.decision_id, record.user_id), answer)

    def on_outcome(self, record: Outcome, ts: int, came_ms: int) -> None:
        """Count a delivery, an opening or a bounce; the rest comes as rewards."""
        if record.kind not in _TOLD or record.decision_id is None:
            return
        if ts - came_ms > self.policy.future_tolerance_ms:
            return  # the stream made a dead letter of it
        if not self._first(SEP.join((record.user_id, record.outcome_id)), came_ms):
            return
        self._clock(ts, came_ms)
        message = _message(record.decision_id, record.user_id)
        self._answer(message, Answer(came_ms, record.kind, ts))

    def forget(self) -> None:
        """Let go of what is older than `scoring.effect.memory` says."""
        state = self.state
        windows = {name: self._horizon_ms(spec) for name, spec in self.campaigns.items()}
        state.shown = {
            name: shown
            for name, shown in state.shown.items()
            if shown.came_ms >= state.came_ms - windows.get(shown.campaign, HORIZON_MS)
        }
        since_ms = state.came_ms - max(windows.values(), default=HORIZON_MS)
        state.seen = {k: v for k, v in state.seen.items() if v >= since_ms}
        for name, found in list(state.waiting.items()):
            if found[0].came_ms < since_ms:
                state.unattributed += len(found)
                del state.waiting[name]
        for groups in state.groups.values():
            groups.settle(state.came_ms - MEASURED_MS)
        self.trials.settle(state.came_ms - MEASURED_MS)
        self._fold()

    def erase(self, gone: Callable[[str], bool]) -> int:
        """Forget customers, and remember nothing that comes of them later.

        What they did stays in the figures, which are of nobody. Returns in how many places they
        were.
        """
        self._gone = gone
        named = [user_id for user_id in self.state.segments if gone(user_id)]
        for user_id in named:
            del self.state.segments[user_id]
        found = sum(groups.erase(gone) for groups in self.state.groups.values())
        return len(named) + found + self.trials.erase(gone)

    def take_effects(self) -> list[Effect]:
        """The cells that changed since the last call, with those that they are part of."""
        wanted = {place for key in self.touched for place in places_of(key)}
        for campaign in self.compared:
            wanted.add((campaign, None, None, None))
        read = {campaign: self.readout(campaign) for campaign, *_ in wanted}
        self.touched.clear()
        self.compared.clear()
        found = sorted(wanted, key=lambda cell: tuple("" if p is None else str(p) for p in cell))
        return [self._effect(cell, self._cells.of(cell), read[cell[0]]) for cell in found]

    def take_trials(self) -> list[ExperimentEffect]:
        """The experiments that changed since the last call."""
        return list(self.trials.take(self.state.newest_ms))

    def take_folded(self) -> list[str]:
        """Keys of effects to be withdrawn, since the last call."""
        found, self.folded = self.folded, []
        return found

    def readout(self, campaign: str) -> Readout | None:
        """A campaign against its held-out customers; None where nobody is held out."""
        spec = self.campaigns.get(campaign)
        held = 1 - (1 - self.policy.holdout_ratio) * (1 - (spec.holdout_ratio if spec else 0.0))
        groups = self.state.groups.get(campaign)
        if not 0 < held < 1 or groups is None or not groups.exposed:
            return None
        variants = (Variant(HELD, held), Variant(SPOKEN_TO, 1 - held))
        return readout(Experiment(campaign, variants), groups.exposed, groups.cells())

    def whole(self, campaign: str) -> Counted:
        """A campaign's figures over all channels, segments and hours."""
        found = Counted()
        found.add(self._cells.of((campaign, None, None, None)))
        return found

    def over_limit(self) -> dict[str, str]:
        """Active campaigns that broke a guardrail since they last went on, and why to pause them.

        Asked of the campaigns that have changed; so ask before `take_effects`.
        """
        found = {}
        changed = {key.partition(SEP)[0] for key in self.touched}
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

    def _answer(self, name: int, answer: Answer) -> None:
        shown = self.state.shown.get(name)
        if shown is None:
            self.state.waiting.setdefault(name, []).append(answer)
        else:
            self._answered(shown, answer)

    def _answered(self, shown: Shown, answer: Answer) -> None:
        kind = answer.kind
        if kind in _COUNTS:
            counted = Counted(**{kind: 1})
        else:
            margin = answer.value * shown.kept_ratio
            counted = Counted(conversions=answer.share, revenue=answer.value, margin=margin)
        self._count(shown, answer.ts, counted)

    def _count(self, shown: Shown, ts: int, counted: Counted) -> None:
        hour = hour_of(ts)
        if hour < self._oldest_ms(shown.campaign):
            hour = 0
        key = self._cells.add(shown.campaign, shown.channel, shown.segment, hour, counted)
        self.touched.add(key)
        if shown.variant:
            self.trials.count(shown.variant, counted)

    def _oldest_ms(self, campaign: str) -> int:
        """The first hour of a campaign that is kept by itself."""
        oldest_ms = self.state.newest_ms - HOURS_MS
        spec = self.campaigns.get(campaign)
        if spec is not None and spec.target is not None and spec.target.ends_ms > oldest_ms:
            oldest_ms = min(oldest_ms, spec.target.starts_ms)
        return hour_of(oldest_ms)

    @staticmethod
    def _horizon_ms(spec: Campaign) -> int:
        """For how long something may become of a campaign's messages, and be told late."""
        return max(HORIZON_MS, spec.attribution_window_ms + TOLD_LATE_MS)

    def _fold(self) -> None:
        """Add the figures of old hours to those of all that went before."""
        gone, moved = self._cells.fold(self._oldest_ms)
        self.folded += gone
        self.touched = {key for key in self.touched if key not in moved} | set(moved.values())

    def _groups(self, campaign: str) -> Groups:
        return self.state.groups.setdefault(campaign, Groups(METRICS))

    def _is_gone(self, user_id: str) -> bool:
        return self._gone is not None and self._gone(user_id)

    def _first(self, name: str, came_ms: int) -> bool:
        digest = id64(name)
        if digest in self.state.seen:
            return False
        self.state.seen[digest] = came_ms
        return True

    def _clock(self, ts: int, came_ms: int) -> None:
        self.state.came_ms = max(self.state.came_ms, came_ms)
        self.state.newest_ms = max(self.state.newest_ms, ts)

    def _effect(self, cell: Place, counted: Counted, read: Readout | None) -> Effect:
        campaign, channel, segment, hour = cell
        lifts: tuple[EffectLift, ...] = ()
        if read is not None and hour is None:
            of = ""
            if channel is not None:
                of = f"channel {channel}"
            elif segment is not None:
                of = f"segment {segment}"
            groups = self._groups(campaign)
            lifts = tuple(
                told_of(
                    name.metric,
                    each,
                    sum(groups.of(name._replace(variant=who)).n for who in (HELD, SPOKEN_TO)),
                )
                for name, each in read.lifts.items()
                if name.segment == of
            )
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
        reached = self._cells.by_hour(campaign, wanted.metric)
        target = Target(wanted.metric, wanted.amount, wanted.starts_ms, wanted.ends_ms)
        rows = gaps(target, reached, self.state.newest_ms)
        rows = [row for row in rows if hour is None or row.hour_ms == hour]
        return EffectGap(wanted.metric, rows[-1].due, rows[-1].reached) if rows else None


def _message(decision_id: str, user_id: str) -> int:
    """By what a message is known; who names another's has none to answer."""
    return id64(SEP.join((decision_id, user_id)))
