"""The operator that turns exposures and rewards into posteriors and mixes; and the challenger's.

Flink's side of `operators.learning` and `operators.challenging`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from operators import challenging, layout, names
from operators.learning import Learner, Published
from operators.records import Output
from operators.shipping import Shipped
from operators.store import NamedValues


class LearnConfig(NamedTuple):
    """Where arms start: the prior, and what was published before this submission."""

    prior: tuple[float, float]
    published: Published


class Learn(Shipped, KeyedProcessFunction):
    """(campaign or `names.CHALLENGER`, messages) in, (outputs, nothing that goes inward) out."""

    def __init__(self, config: LearnConfig, bundle: str = "") -> None:
        self._config = config
        self.bundle = bundle

    def open(self, runtime_context: RuntimeContext) -> None:
        """Take up what was learned."""
        self._state = runtime_context.get_state(
            ValueStateDescriptor(names.LEARNED, Types.PICKLED_BYTE_ARRAY())
        )
        self._unlabelled = NamedValues(runtime_context, names.UNLABELLED)
        self._learner = Learner(*self._config)
        metrics = runtime_context.get_metrics_group()
        self._losses = [metrics.counter(name) for name in names.LOSSES]

    def process_element(self, value: Row, ctx: Any) -> Iterable[Row]:
        """Learn from a batch of one campaign, or of all for the challenger."""
        key, messages, before = value[0], value[1], self._state.value()
        if key == names.CHALLENGER:
            state, outputs = challenging.on_messages(before, self._unlabelled, messages)
            self._count(outputs)
        else:
            state, outputs = self._learner.on_messages(key, before, messages)
        if state is not None:
            self._state.update(state)
        return layout.emitted(outputs)

    def _count(self, outputs: list[Output]) -> None:
        examples, champion, challenger = challenging.losses(outputs)
        for metric, what in zip(
            self._losses, (examples, champion * 1e6, challenger * 1e6), strict=True
        ):
            metric.inc(round(what))
