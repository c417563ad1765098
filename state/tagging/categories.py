"""Which categories the customer is inclined to."""

from __future__ import annotations

from collections.abc import Sequence

from state.fact import Fact
from state.tagging.weights import FadingWeights


class Categories(FadingWeights):
    """Fading weights of item categories."""

    PREFIX = "category"
    NOUN = "category"

    def apply_all(self, facts: Sequence[Fact]) -> None:
        """Weigh each fact's category."""
        self.add_all([fact.category for fact in facts], facts)
