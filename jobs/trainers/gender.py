"""The likely gender of customers who did not tell it; see `jobs.trainers.tag`."""

from __future__ import annotations

from typing import Final

import numpy as np

from jobs.trainers.base import Matrix, Trainer
from jobs.trainers.tag import LEAST_CONFIDENCE, About, fitting

POSITIVE, NEGATIVE = "female", "male"


def conclude(scores: Matrix) -> tuple[list[str | None], Matrix]:
    """What is said of each customer, None where it is withheld; and how sure it is."""
    confidence: Matrix = np.maximum(scores, 1 - scores)
    words = [
        None if sure < LEAST_CONFIDENCE else POSITIVE if score >= 0.5 else NEGATIVE
        for score, sure in zip(scores.tolist(), confidence.tolist(), strict=True)
    ]
    return words, confidence


TRAINER: Final = Trainer(
    "chance",
    fitting(
        About(
            "gender",
            POSITIVE,
            "the likely gender of a customer who did not tell it, to choose words and pictures",
            "prices, credit, eligibility; customers who told it; any without marketing consent",
            "the more frequent one for everybody",
        )
    ),
)
