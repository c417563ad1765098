"""Experiments as the tally sees them: who came into which variant, and what they did since.

A customer takes part from the moment at which a campaign of the experiment was about to speak to
them and the variant had its first say: the offer, the score, the choice of the channel. Whether a
message came of it or not. Up to there the variant has changed nothing, so the groups are alike
however differently the variants speak; a variant that speaks less is not compared by its happy few.
Held-out customers take no part.

What counts of them is every click on the experiment's messages and all that they bought, whoever is
credited, from when the experiment was last changed. What was bought before they took part is in it;
it cannot depend on the variant, and CUPED takes most of it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from schemas.audit import Candidate
from schemas.decision import Decision
from schemas.effect import Counted, EffectLift, ExperimentEffect, VariantEffect
from schemas.experiment import Experiment
from schemas.learning import Example, Reward
from scoring.effect.groups import Groups
from scoring.effect.memory import Trial
from scoring.experiments.assignment import variant_of
from scoring.experiments.lift import Lift
from scoring.experiments.readout import Cell, readout
from scoring.features import FEATURE_HASH, did_before
from state.fact import id64

METRICS: Final = ("clicks", "orders", "revenue")
NOTHING: Final = (0.0, 0.0, 0.0)


class Trials:
    """The experiments in force; ``touched`` are those to be told anew."""

    def __init__(self, memory: dict[str, Trial]) -> None:
        self._memory = memory
        self.running: dict[str, Experiment] = {}
        self.touched: set[str] = set(memory)

    def on_experiment(self, record: Experiment) -> None:
        """An experiment is in force; one that was changed is compared from now on only."""
        known = self._memory.get(record.id)
        if known is not None and record.updated_ms < known.since_ms:
            return  # the topic still has what it once was
        if known is None or record.updated_ms > known.since_ms:
            self._memory[record.id] = Trial(record.updated_ms, Groups(METRICS))
        self.running[record.id] = record
        self.touched.add(record.id)

    def end(self, experiment: str) -> None:
        """An experiment is withdrawn: what was told of it last stands."""
        self.running.pop(experiment, None)
        self._memory.pop(experiment, None)
        self.touched.discard(experiment)

    def variant_of(self, decision: Decision, came_ms: int) -> str:
        """The variant whose figures a message belongs to; empty for none that is compared."""
        trial = self._of(decision.variant, came_ms)
        return "" if trial is None or decision.status == "holdout" else decision.variant

    def count(self, variant: str, counted: Counted) -> None:
        """Add to a variant's figures."""
        name, _, arm = variant.partition("/")
        trial = self._memory.get(name)
        if trial is not None:
            trial.counted.setdefault(arm, Counted()).add(counted)
            self.touched.add(name)

    def on_example(self, record: Example, segment: str, came_ms: int) -> None:
        """A message was decided on under a variant."""
        if record.variant and not record.holdout:
            first = record.decided_at_ms, id64(record.decision_id)
            before = NOTHING if record.feature_hash != FEATURE_HASH else did_before(record.features)
            self._enter(record.variant, record.user_id, first, segment, before, came_ms)

    def on_candidate(self, record: Candidate, segment: str, came_ms: int) -> None:
        """A campaign was about to speak under a variant, and did not."""
        if record.considered and record.variant:
            first = record.ts, id64(record.decision_id)
            self._enter(record.variant, record.user_id, first, segment, record.before, came_ms)

    def on_reward(self, record: Reward, came_ms: int) -> None:
        """What a customer did, be it of an experiment's message or not."""
        clicks = 1.0 if record.kind == "clicked" else 0.0
        if record.kind == "bounced":  # never seen after all
            clicks = -record.reward
        if not (clicks or record.share or record.value):
            return
        of = record.variant.partition("/")[0]
        for name, experiment in self.running.items():
            trial = self._memory[name]
            counts = clicks if of == name else 0.0
            if came_ms < trial.since_ms or not (counts or record.share or record.value):
                continue
            if variant_of(experiment, record.user_id) is not None:
                trial.groups.did(record.user_id, (counts, record.share, record.value), came_ms)
                self.touched.add(name)

    def settle(self, since_ms: int) -> None:
        """Let go of the customers who were first heard of before then."""
        for trial in self._memory.values():
            trial.groups.settle(since_ms)

    def erase(self, gone: Callable[[str], bool]) -> int:
        """Forget customers; returns how many places they were in."""
        return sum(trial.groups.erase(gone) for trial in self._memory.values())

    def take(self, updated_ms: int) -> Iterator[ExperimentEffect]:
        """The figures of the experiments that changed since the last call."""
        for name in sorted(self.touched & self.running.keys()):
            yield _effect(self.running[name], self._memory[name], updated_ms)
        self.touched.clear()

    def _of(self, variant: str, came_ms: int) -> Trial | None:
        name = variant.partition("/")[0]
        trial = self._memory.get(name) if name in self.running else None
        return trial if trial is not None and came_ms >= trial.since_ms else None

    def _enter(
        self,
        variant: str,
        user_id: str,
        first: tuple[int, int],
        segment: str,
        before: tuple[float, float, float],
        came_ms: int,
    ) -> None:
        trial = self._of(variant, came_ms)
        name, _, arm = variant.partition("/")
        if trial is not None and trial.groups.enter(
            user_id, arm, first, "", segment, before, came_ms
        ):
            self.touched.add(name)


def _effect(experiment: Experiment, trial: Trial, updated_ms: int) -> ExperimentEffect:
    groups = trial.groups
    found = readout(experiment, groups.exposed, groups.cells())
    control, *others = (variant.name for variant in experiment.variants)
    by_variant: dict[str, dict[str, list[EffectLift]]] = {name: {} for name in others}
    for cell, lift in found.lifts.items():
        if not cell.segment or cell.segment.startswith("segment "):
            segment = cell.segment.removeprefix("segment ")
            customers = groups.of(cell).n + groups.of(cell._replace(variant=control)).n
            told = told_of(cell.metric, lift, customers)
            by_variant[cell.variant].setdefault(segment, []).append(told)
    return ExperimentEffect(
        experiment.id,
        experiment.version,
        trial.since_ms,
        experiment.campaigns,
        experiment.level,
        tuple(
            _variant(
                each.name,
                each.share,
                groups,
                trial.counted.get(each.name, Counted()),
                by_variant.get(each.name, {}),
            )
            for each in experiment.variants
        ),
        found.ratio.always_valid_p,
        updated_ms,
    )


def _variant(
    name: str,
    share: float,
    groups: Groups,
    counted: Counted,
    lifts: Mapping[str, list[EffectLift]],
) -> VariantEffect:
    sums = [groups.of(Cell(name, metric)) for metric in METRICS]
    clicks, orders, revenue = (each.y / each.n if each.n else 0.0 for each in sums)
    return VariantEffect(
        name,
        share,
        groups.exposed.get(name, 0),
        counted,
        clicks,
        orders,
        revenue,
        tuple(lifts.get("", ())),
        {segment: tuple(found) for segment, found in sorted(lifts.items()) if segment},
    )


def told_of(metric: str, lift: Lift, customers: int) -> EffectLift:
    """A lift as it is told."""
    return EffectLift(
        metric,
        lift.control,
        lift.treated,
        lift.difference,
        lift.low,
        lift.high,
        lift.relative if abs(lift.relative) < float("inf") else None,
        customers,
    )
