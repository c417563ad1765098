"""Who will buy: four classifiers on what was known before, judged on what came after."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from jobs.nightly.base import Fact, StepReport, StepStopped, Table
from jobs.nightly.context import Context
from jobs.nightly.quality import admit
from jobs.trainers.purchase import compare
from schemas.errors import UserMistake

DAYS: Final = 30
DAY_MS: Final = 86_400_000
FILE: Final = "purchase.onnx"
INCOMES: Final = {"low": 1.0, "middle": 2.0, "high": 3.0}
COLUMNS: Final = (
    "user_id", "ts", "action", "price", "traits_birth_year", "traits_gender", "traits_income_band",
)  # fmt: skip


def run(context: Context) -> StepReport:
    """Compare the classifiers and export the best.

    Rows are customers at two moments, a third and two thirds into the archive; the label is
    whether they bought in the third that followed. What was known at the moment is all they see.

    Raises:
        StepStopped: the events are not fit, or too few bought.
    """
    import pandas as pd
    from pyarrow.parquet import read_table

    admit(context, "events")
    events = pd.concat(
        [
            read_table(path, columns=list(COLUMNS), partitioning=None).to_pandas()
            for path in context.table("events", DAYS)
        ],
        ignore_index=True,
    )
    first, last = int(events["ts"].min()), int(events["ts"].max())
    third = max(1, (last - first) // 3)
    parts = [_known(events, first + n * third, first + (n + 1) * third) for n in (1, 2)]
    try:
        found = compare(
            np.concatenate([x for x, _ in parts]),
            np.concatenate([y for _, y in parts]),
            seed=context.seed,
        )
    except UserMistake as mistake:
        raise StepStopped(str(mistake)) from mistake
    context.output(FILE).write_bytes(found.onnx)
    best = next(each for each in found.compared if each.name == found.best)
    return StepReport(
        "Who will buy",
        facts=(
            Fact("best", found.best, "of least log loss on the newest fifth"),
            Fact("AUC", str(found.auc)),
            Fact("ONNX parity", found.parity, "largest difference to the model itself"),
        ),
        tables=(
            Table("Compared", ("model", "accuracy", "recall", "F1", "AUC", "log loss", "ECE",
                               "AUC by fold"),
                  tuple((c.name, c.accuracy, c.recall, c.f1, c.auc, c.log_loss, c.ece,
                         " ".join(f"{each:.3f}" for each in c.folds)) for c in found.compared),
                  "a buyer is said where the score is above the usual rate; all calibrated by "
                  "Platt on rows after those they learned from"),
        ),
        warnings=()
        if best.log_loss < found.base_log_loss
        else ("none beats the mean for everybody",),
    )  # fmt: skip


def _known(events: Any, until_ms: int, end_ms: int) -> tuple[Any, Any]:
    """Age, income, gender and history of everybody at a moment, and whether they then bought."""
    past = events[events["ts"] < until_ms]
    later = events[(events["ts"] >= until_ms) & (events["ts"] < end_ms)]
    people = past.groupby("user_id", sort=True).agg(
        last=("ts", "max"), events=("ts", "size"), born=("traits_birth_year", "last"),
        gender=("traits_gender", "last"), income=("traits_income_band", "last"),
    )  # fmt: skip
    for action in ("view", "cart", "purchase"):
        mine = past[past["action"] == action]
        people[action] = mine.groupby("user_id").size()
    bought = past[past["action"] == "purchase"]
    people["spent"] = bought.groupby("user_id")["price"].sum()
    buyers = set(later.loc[later["action"] == "purchase", "user_id"])
    x = np.column_stack(
        (
            np.nan_to_num((2026 - people["born"].astype(float)).to_numpy(), nan=40.0),
            people["income"].map(INCOMES).fillna(2.0).to_numpy(float),
            (people["gender"] == "female").to_numpy(float),
            (people["gender"] == "male").to_numpy(float),
            (until_ms - people["last"].to_numpy(float)) / DAY_MS,
            *(np.log1p(people[name].fillna(0).to_numpy(float))
              for name in ("events", "view", "cart", "purchase", "spent")),
        )
    )  # fmt: skip
    shuffled = np.random.default_rng(0).permutation(len(x))  # within a moment order says nothing
    labels = people.index.isin(buyers).astype(float)
    return x[shuffled], labels[shuffled]
