"""The operator that turns rewards into posteriors; Flink's side of `operators.learning`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from operators import names
from operators.learning import Learner
from operators.shipping import Shipped
from schemas.control import Posterior


class LearnConfig(NamedTuple):
    """Where arms start: the prior, and the posteriors published before this submission."""

    prior: tuple[float, float]
    published: dict[str, Posterior]


class Learn(Shipped, KeyedProcessFunction):
    """(arm, rewards) in, (outputs, no rewards) out."""

    def __init__(self, config: LearnConfig, bundle: str = "") -> None:
        self._config = config
        self.bundle = bundle

    def open(self, runtime_context: RuntimeContext) -> None:
        """Take up the arm's state."""
        self._state = runtime_context.get_state(
            ValueStateDescriptor(names.ARM, Types.PICKLED_BYTE_ARRAY())
        )
        self._learner = Learner(*self._config)

    def process_element(self, value: Row, ctx: Any) -> Iterable[Row]:
        """Learn from a batch of rewards of one arm."""
        state, outputs = self._learner.on_rewards(value[0], self._state.value(), value[1])
        self._state.update(state)
        return (Row(outputs, []),) if outputs else ()
