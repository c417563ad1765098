"""The archive's events as the steps want them: whole days, each event once, under joined ids.

Words become numbers as each day is read, so that memory holds a few bytes for each event.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any, Final

import numpy as np

from jobs.nightly.base import StepStopped
from jobs.nightly.context import Context
from jobs.nightly.people import joined, who_is_whom
from jobs.nightly.quality import admit
from schemas.event import TAGS

WORDS: Final = ("user_id", "action", "item_id", "item_category", "device_type")
TEXTS: Final = ("event_id", *WORDS)


def events(context: Context, columns: tuple[str, ...], days: int = 30) -> Any:
    """What customers did in the days up to the night's, by time; texts are pandas categories.

    Left out is what the night itself wrote, and what a producer sent twice.

    Raises:
        StepStopped: the night's partition is not fit, or a file cannot be read.
    """
    import pandas as pd
    from pyarrow import ArrowException
    from pyarrow.parquet import read_table

    admit(context, "events")
    known = who_is_whom(context)
    wanted = list(dict.fromkeys(("event_id", "user_id", "action", "ts", *columns)))
    files = context.table("events", days)
    parts: list[Any] = []
    for _, paths in groupby(files, lambda path: path.parent.name):
        frames = []
        for path in paths:
            try:
                frames.append(read_table(path, columns=wanted, partitioning=None).to_pandas())
            except (ArrowException, OSError, KeyError) as error:
                raise StepStopped(
                    f"{path} cannot be read ({error}); archive that day anew"
                ) from error
        day = pd.concat(frames, ignore_index=True)
        for column in set(wanted) - set(TEXTS):
            if day[column].dtype.kind not in "iufb":
                raise StepStopped(
                    f"{path.parent}: column {column!r} holds {day[column].dtype}, not numbers; "
                    "archive that day anew"
                )
        day = day[day["action"] != TAGS].drop_duplicates(["user_id", "event_id"])
        day = joined(day.drop(columns="event_id"), known)
        parts.append(day.astype({word: "category" for word in WORDS if word in day}))
    whole = _together(parts)
    return whole.sort_values("ts", kind="stable", ignore_index=True)


def moments(first_ms: int, end_ms: int, count: int) -> list[int]:
    """Times that part a span into ``count`` + 1 equal windows."""
    return [int(each) for each in np.linspace(first_ms, end_ms, count + 2)[1:-1]]


def _together(parts: list[Any]) -> Any:
    """One frame whose categories are those of all the parts."""
    import pandas as pd
    from pandas.api.types import union_categoricals

    words = [word for word in WORDS if word in parts[0]]
    whole = pd.concat([part.drop(columns=words) for part in parts], ignore_index=True)
    for word in words:
        whole[word] = union_categoricals([part[word] for part in parts], sort_categories=True)
    return whole
