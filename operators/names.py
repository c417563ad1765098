"""Names that Flink remembers us by: renaming one here loses its state at the next resume.

A uid ties an operator to its state in a savepoint, a state name ties a field of it.
"""

from __future__ import annotations

import re
from typing import Final

JOB: Final = "beckon"

# Operators: uid and display name are one.
INPUTS: Final = "inputs"
CONTROL: Final = "control"
DECIDE: Final = "decide"
REWARDS: Final = "rewards"
LEARN: Final = "learn"
ASKS: Final = "asks"
EXPOSED: Final = "exposed"
RULES: Final = "rules"
GRANT: Final = "grant"

# Suffixes for the steps of a stream that the planner builds and that keep state.
SOURCE: Final = "source"
BATCH: Final = "batch"
SINK: Final = "sink"

# State.
CUSTOMERS: Final = "customers-v1"
CONTROL_LOG: Final = "control-v1"
LEARNED: Final = "learned-v1"
UNLABELLED: Final = "unlabelled-v1"
LEDGER: Final = "ledger-v1"

CHALLENGER: Final = "*challenger"
"""The key of the challenger among campaigns, whose ids have no such sign."""

LOSSES: Final = (
    "beckon_challenger_examples_total",
    "beckon_champion_loss_micronats_total",
    "beckon_challenger_loss_micronats_total",
)
"""Metrics of `learn`: examples that were labelled, and the summed log loss over them of the model
that decided and of the challenger. The rate of a loss over that of the examples, in Prometheus, is
the log loss of the span that one looks at, in millionths of a nat."""

_NOT_A_WORD: Final = re.compile(r"[^a-z0-9]+")


def counter(what: str) -> str:
    """The metric of one of the core's counters: ``control_refused`` → a name that ends ``_total``.

    A topic's counter loses prefix and version: ``beckon.dead-letters.v1`` → ``dead_letters``.
    """
    word = what.removeprefix("beckon.").removesuffix(".v1")
    return f"beckon_{_NOT_A_WORD.sub('_', word)}_total"
