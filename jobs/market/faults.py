"""What goes wrong on the way: duplicates, late and disordered events, and broken ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.errors import UserMistake
from schemas.event import MAX_EVENT_BYTES
from schemas.wire import encode

Fields = dict[str, Any]


class Breakage(NamedTuple):
    """One way to spoil an event, and the reason for which it must be refused."""

    reason: str
    spoil: Callable[[bytes], bytes]


def _set(**changes: Any) -> Callable[[bytes], bytes]:
    def spoil(payload: bytes) -> bytes:
        fields: Fields = msgspec.json.decode(payload)
        return encode({**fields, **changes})

    return spoil


def _drop(name: str) -> Callable[[bytes], bytes]:
    def spoil(payload: bytes) -> bytes:
        fields: Fields = msgspec.json.decode(payload)
        del fields[name]
        return encode(fields)

    return spoil


def _in_seconds(payload: bytes) -> bytes:
    fields: Fields = msgspec.json.decode(payload)
    return encode({**fields, "ts": fields["ts"] // 1_000})


BREAKAGES: Final[Mapping[str, Breakage]] = {
    "cut": Breakage("broken_json", lambda payload: payload[: len(payload) // 2]),
    "empty": Breakage("broken_json", lambda payload: b""),
    "not_json": Breakage("broken_json", lambda payload: b"user=" + payload[13:40]),
    "utf16": Breakage("broken_json", lambda payload: payload.decode().encode("utf-16")),
    "not_an_object": Breakage("wrong_type", lambda payload: b"[" + payload + b"]"),
    "no_user": Breakage("wrong_type", _drop("user_id")),
    "no_event_id": Breakage("wrong_type", _drop("event_id")),
    "control_character": Breakage("wrong_type", _set(user_id="u\x1f1")),
    "price_text": Breakage("wrong_type", _set(price="cheap")),
    "negative_quantity": Breakage("wrong_type", _set(quantity=-1)),
    "bad_action": Breakage("wrong_type", _set(action="View Item!")),
    "unknown_version": Breakage("unknown_version", _set(schema_version=99)),
    "oversized": Breakage("oversized", _set(query="x" * MAX_EVENT_BYTES)),
    "no_zone": Breakage("bad_timestamp", _set(ts="2024-02-30T00:00:00")),
    "in_seconds": Breakage("bad_timestamp", _in_seconds),
    "year_3000": Breakage("future_timestamp", _set(ts=32_503_680_000_000)),
}
"""The kinds of broken event, each as likely as any other."""

KINDS: Final = (
    "event",
    "bot",
    "duplicate",
    "late",
    "out_of_order",
    *(f"broken:{name}" for name in BREAKAGES),
)
"""What an emission can be; its place here is its code."""

EVENT, BOT, DUPLICATE, LATE, OUT_OF_ORDER, BROKEN = range(6)

_DISORDER_MS: Final = (1_000, 45_000)  # inside the policy's lateness of a minute
_LATE_MS: Final = (120_000, 1_200_000)
_REPEAT_WITHIN: Final = 400  # a retry comes at most so many events after the first


class Faults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rates, as shares of the events sent; ``bots`` is a share of the customers."""

    duplicates: float = 0.01
    late: float = 0.002
    out_of_order: float = 0.02
    broken: float = 0.005
    bots: float = 0.002

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"fault rate {name!r} must lie between 0 and 1")
        if self.duplicates + self.late + self.out_of_order + self.broken > 1:
            raise ValueError("fault rates must not add up to more than 1")

    @classmethod
    def parse(cls, text: str) -> Faults:
        """Read rates from JSON such as ``{"broken": 0.05}``; ``none`` is no fault at all."""
        if text == "none":
            return NO_FAULTS
        try:
            return msgspec.json.decode(text.encode(), type=cls)
        except msgspec.DecodeError as error:
            raise UserMistake(
                f"--faults {text!r}: {error}. Give JSON such as "
                '\'{"duplicates": 0.01, "late": 0.002, "broken": 0.005}\', or none.'
            ) from error


NO_FAULTS: Final = Faults(0, 0, 0, 0, 0)


class Disturbed(NamedTuple):
    """A block of rows as it is sent: which row, as what kind, how much later than it happened."""

    row: NDArray[np.int64]
    kind: NDArray[np.int64]
    delay_ms: NDArray[np.int64]


def disturb(faults: Faults, rng: np.random.Generator, bots: NDArray[np.bool_]) -> Disturbed:
    """Decide the fate of a block's rows, given which of them are a bot's."""
    size = len(bots)
    # Rates are of what is sent, and duplicates are sent besides the rows that they repeat.
    scale = 1 / max(1e-9, 1 - faults.duplicates)
    kind = np.where(bots, BOT, EVENT)
    fate = rng.random(size)
    edge = 0.0
    for code, ratio in (
        (LATE, faults.late * scale),
        (OUT_OF_ORDER, faults.out_of_order * scale),
        (BROKEN, faults.broken * scale),
    ):
        kind[(fate >= edge) & (fate < edge + ratio)] = code
        edge += ratio
    delay = np.zeros(size, np.int64)
    for code, (low, high) in ((LATE, _LATE_MS), (OUT_OF_ORDER, _DISORDER_MS)):
        delay[kind == code] = rng.integers(low, high, int((kind == code).sum()))
    ways = rng.integers(0, len(BREAKAGES), size)
    whole = kind != BROKEN
    kind = np.where(whole, kind, BROKEN + ways)

    share = min(1.0, faults.duplicates * scale / max(1e-9, 1 - faults.broken * scale))
    repeated = np.flatnonzero(whole & (rng.random(size) < share))
    place = np.minimum(repeated + rng.integers(1, _REPEAT_WITHIN, len(repeated)), size) + 0.5
    order = np.argsort(np.concatenate((np.arange(size), place)), kind="stable")
    return Disturbed(
        np.concatenate((np.arange(size), repeated))[order],
        np.concatenate((kind, np.full(len(repeated), DUPLICATE)))[order],
        np.concatenate((delay, delay[repeated]))[order],
    )
