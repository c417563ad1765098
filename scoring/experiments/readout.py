"""What an experiment says now: are its groups sound, and what is the lift of each metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct

from schemas.experiment import Experiment
from scoring.experiments.lift import Lift, Plan, lift
from scoring.experiments.ratio import Ratio, ratio
from scoring.experiments.sums import Sums


class Cell(NamedTuple):
    """What sums are kept for; the segment is empty for all customers."""

    variant: str
    metric: str
    segment: str = ""


class Readout(Struct, frozen=True):
    """Group sizes against their shares, and the lift of each cell that is not the control's.

    Each interval is right with the experiment's level on its own; who looks for any that leaves
    zero among many cells should divide the level by their number.
    """

    ratio: Ratio
    lifts: dict[Cell, Lift]


def readout(
    experiment: Experiment, exposed: Mapping[str, int], cells: Mapping[Cell, Sums]
) -> Readout:
    """Compare every variant with the control, for each metric and segment of the cells.

    ``exposed`` counts the customers of each variant; a cell that says nothing yet is left out.
    """
    control, *others = experiment.variants
    plan = Plan(experiment.level, experiment.planned)
    counts = [exposed.get(variant.name, 0) for variant in experiment.variants]
    lifts = {}
    for variant in others:
        for cell in sorted(cell for cell in cells if cell.variant == variant.name):
            beside = cells.get(cell._replace(variant=control.name))
            found = None if beside is None else lift(beside, cells[cell], plan)
            if found is not None:
                lifts[cell] = found
    return Readout(ratio(counts, [variant.share for variant in experiment.variants]), lifts)
