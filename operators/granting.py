"""The keeper of the budgets, without an engine: what shards ask in, loans to publish out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from operators.records import Output
from schemas.budget import Ask, Lease
from schemas.control import control_key
from schemas.topics import CONTROL
from schemas.wire import encode
from scoring.budget import Ledger, answer

_decode_ask: Final = msgspec.json.Decoder(Ask).decode


class Granter:
    """Answers what shards ask of campaigns' budgets, one campaign at a time.

    ``published`` are the loans on the control topic, which the state at hand may be older than.
    """

    def __init__(self, published: Mapping[str, Lease] | None = None) -> None:
        self._published = {} if published is None else dict(published)

    def on_asks(
        self, campaign: str, state: bytes | None, asks: Sequence[str]
    ) -> tuple[bytes, list[Output]]:
        """Answer a batch of asks (JSON text) of one campaign.

        Returns the ledger's new state and the loans to publish: none when nothing was lent or
        taken back.
        """
        ledger = Ledger(Lease(campaign)) if state is None else Ledger.decode(state)
        published = self._published.pop(campaign, None)
        if published is not None:
            ledger.learn(published)
        lease = answer(ledger, [_decode_ask(text.encode("latin-1")) for text in asks])
        if lease is None:
            return ledger.encode(), []
        return ledger.encode(), [Output(CONTROL, control_key(lease), encode(lease))]
