"""The operator that lends the budgets to the shards; Flink's side of `operators.granting`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from operators import names
from operators.granting import Granter
from operators.layout import attempt_number, emitted
from operators.sealing import Sealing, published_leases
from operators.shipping import Shipped
from schemas.budget import Lease


class GrantConfig(NamedTuple):
    """What was lent before this submission, and where to read what was lent since."""

    published: dict[str, Lease]
    sealing: Sealing


class Grant(Shipped, KeyedProcessFunction):
    """(campaign, asks) in, (outputs, nothing that goes inward) out."""

    def __init__(self, config: GrantConfig, bundle: str = "") -> None:
        self._config = config
        self.bundle = bundle

    def open(self, runtime_context: RuntimeContext) -> None:
        """Take up the ledgers, and what was lent since they were saved."""
        self._state = runtime_context.get_state(
            ValueStateDescriptor(names.LEDGER, Types.PICKLED_BYTE_ARRAY())
        )
        first = attempt_number(runtime_context) == 0
        config = self._config
        self._granter = Granter(config.published if first else published_leases(config.sealing)[0])

    def process_element(self, value: Row, ctx: Any) -> Iterable[Row]:
        """Answer what was asked of one campaign's budget."""
        state, outputs = self._granter.on_asks(value[0], self._state.value(), value[1])
        self._state.update(state)
        return emitted(outputs)
