"""Whether the region around a customer's usual position is the one they live in.

The region itself is read off the map of those who told theirs (`jobs.analytics.places`); what is
learned is how far that can be believed, from who told both.
"""

from __future__ import annotations

from typing import Final

from jobs.analytics.places import NAMES
from jobs.trainers.base import Trainer
from jobs.trainers.tag import About, fitting

TRAINER: Final = Trainer(
    "chance",
    fitting(
        About(
            "region",
            "the region around them being theirs",
            "the likely home region of a customer who did not tell it, for local offers",
            "law, tax, delivery; customers who told it; any without marketing consent",
            "the mean for everybody",
            least=8,  # wrong ones are few where everybody is at home
        )
    ),
    NAMES,
)
