"""Cleaning a table: duplicates, times, gaps and outliers, each with what it changed, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
from msgspec import Struct

from schemas.errors import UserMistake

Frame = Any
"""A pandas DataFrame; pandas comes with an extra, so its types are not named here."""

NEAR_MS: Final = 1_000
"""Two events of one kind about one thing so close together are one that was sent twice."""

YEAR_2000_MS: Final = 946_684_800_000


class Cleaned(Struct, frozen=True):
    """What a step did: rows before and after, and how many values it changed."""

    step: str
    before: int
    after: int
    changed: int = 0
    note: str = ""


def drop_exact_duplicates(frame: Frame, key: Sequence[str]) -> tuple[Frame, Cleaned]:
    """Keep the first row of each key; a retry of a producer's is one event."""
    kept = frame[~frame.duplicated(list(key), keep="first")]
    return kept, Cleaned("exact duplicates", len(frame), len(kept), note=f"by {', '.join(key)}")


def drop_near_duplicates(
    frame: Frame,
    of: Sequence[str] = ("user_id", "action", "item_id"),
    moment: str = "ts",
    within_ms: int = NEAR_MS,
) -> tuple[Frame, Cleaned]:
    """Drop a row that follows another of the same ``of`` by at most ``within_ms``, as double clicks
    do. A row that names nothing in one of ``of`` is kept: it cannot be told from another.
    """
    ordered = frame.sort_values([*of, moment], kind="stable")
    keys = ordered[list(of)]
    same = (keys == keys.shift()).all(axis=1) & keys.notna().all(axis=1)
    near = same & (ordered[moment].diff() <= within_ms)
    kept = frame.loc[~frame.index.isin(ordered.index[near.to_numpy()])]
    note = f"same {', '.join(of)} within {within_ms} ms"
    return kept, Cleaned("near duplicates", len(frame), len(kept), note=note)


def to_utc_ms(values: Any, zone: str | None = None) -> tuple[Any, Cleaned]:
    """One form of times: UTC milliseconds since the epoch, as whole numbers; `<NA>` for no time.

    Whole numbers are seconds or milliseconds, by their size; texts are ISO 8601, in ``zone`` where
    they name none. What lies before 2000, or is text without any zone, is no time that we believe.
    """
    import pandas as pd

    given = pd.Series(values).reset_index(drop=True)
    numbers = pd.to_numeric(given, errors="coerce")
    small = numbers.abs() < 1e11  # seconds until the year 5138, milliseconds after March 1973
    moments = (numbers * np.where(small, 1_000, 1)).round()
    for place in np.flatnonzero(numbers.isna() & given.notna()):
        try:
            moment = pd.Timestamp(given.iloc[place])
        except (ValueError, TypeError):
            continue
        if moment.tzinfo is None:
            if zone is None:
                continue
            moment = moment.tz_localize(zone, ambiguous=True, nonexistent="shift_forward")
        moments.iloc[place] = moment.value // 1_000_000
    moments = moments.where(moments >= YEAR_2000_MS)
    told = moments.round().astype("Int64")
    unread = int(told.isna().sum())
    changed = int((told.notna() & (numbers != moments)).sum())
    return told, Cleaned("timestamps", len(given), len(given) - unread, changed)


def fill_missing(
    frame: Frame,
    columns: Sequence[str],
    method: Literal["mean", "knn"] = "mean",
    *,
    neighbours: int = 5,
    recency: Sequence[str] = (),
) -> tuple[Frame, list[Cleaned]]:
    """Fill the gaps of numeric columns: by the mean, or by the nearest rows; `recency` columns by
    their maximum, for of whom no last time is known has been away longest.

    Raises:
        UserMistake: a column is missing, is not of numbers, or has no value at all.
    """
    filled, told = frame.copy(), []
    for name in (*columns, *recency):
        _check_numeric(frame, name)
    for name in recency:
        gaps = int(frame[name].isna().sum())
        filled[name] = frame[name].fillna(frame[name].max())
        told.append(Cleaned(f"missing {name}", len(frame), len(frame), gaps, "by the maximum"))
    if method == "knn" and columns:
        from sklearn.impute import KNNImputer
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler()
        scaled = scaler.fit_transform(frame[list(columns)])
        whole = KNNImputer(n_neighbors=neighbours).fit_transform(scaled)
        values = scaler.inverse_transform(whole)
    for place, name in enumerate(columns):
        gaps = frame[name].isna()
        if method == "mean":
            filled[name] = frame[name].fillna(frame[name].mean())
        else:
            filled.loc[gaps, name] = values[gaps.to_numpy(), place]
        note = "by the mean" if method == "mean" else f"by the {neighbours} nearest"
        told.append(Cleaned(f"missing {name}", len(frame), len(frame), int(gaps.sum()), note))
    return filled, told


def outlier_bounds(values: Any, factor: float = 1.5) -> tuple[float, float]:
    """The quartiles less and plus ``factor`` times their distance (Tukey's fences).

    Where the quartiles are equal there is no scale to judge by, and nothing is out of bounds.
    """
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    if not len(known):
        return -np.inf, np.inf
    low, high = np.quantile(known, [0.25, 0.75])
    if low == high:
        return -np.inf, np.inf
    reach = factor * (high - low)
    return float(low - reach), float(high + reach)


def tame_outliers(
    frame: Frame, columns: Sequence[str], how: Literal["winsorise", "drop"] = "winsorise"
) -> tuple[Frame, list[Cleaned]]:
    """Pull what lies outside the fences to them, or drop its row; gaps are left as they are.

    Raises:
        UserMistake: a column is missing, is not of numbers, or has no value at all.
    """
    tamed, told = frame, []
    bounds = {}
    for name in columns:
        _check_numeric(frame, name)
        bounds[name] = outlier_bounds(frame[name])
    for name, (low, high) in bounds.items():
        outside = (tamed[name] < low) | (tamed[name] > high)
        before, count = len(tamed), int(outside.sum())
        if how == "drop":
            tamed = tamed[~outside]
        elif count:
            tamed = tamed.assign(**{name: tamed[name].astype(float).clip(low, high)})
        note = f"outside {low:,.4g} to {high:,.4g}"
        told.append(
            Cleaned(f"outliers of {name}", before, len(tamed), 0 if how == "drop" else count, note)
        )
    return tamed, told


def _check_numeric(frame: Frame, name: str) -> None:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    if name not in frame:
        raise UserMistake(f"no column {name!r}; there are {', '.join(map(str, frame.columns))}")
    if not is_numeric_dtype(frame[name]) or is_bool_dtype(frame[name]):
        raise UserMistake(f"column {name!r} holds {frame[name].dtype}; it should hold numbers")
    if not frame[name].notna().any():
        raise UserMistake(f"column {name!r} has no value at all; leave it out or mend its source")
