"""Which categories the customer is inclined to."""

from __future__ import annotations

from state.fact import Fact
from state.tagging.weights import FadingWeights


class Categories(FadingWeights):
    """Fading weights of item categories."""

    PREFIX = "category"
    NOUN = "category"

    def apply(self, fact: Fact) -> None:
        """Weigh the fact's category."""
        category = fact.category
        if category is not None:
            self.add(category, fact)
