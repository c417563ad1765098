"""What the control topic says now, in a form that Flink's broadcast state can hold.

Broadcast state can be read by key but, in thread mode, not listed; and rewriting all of it for each
posterior would cost too much. So records live in a fixed number of buckets, each one entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple
from zlib import crc32

import msgspec

BUCKETS: Final = 256
_RUN: Final = "run"
_HEARD: Final = "heard"

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(dict[str, bytes]).decode


class Snapshot(NamedTuple):
    """The control records that were in force once, and the topic's last offset by then, or -1."""

    records: tuple[tuple[str, bytes], ...] = ()
    until: int = -1


class ControlLog:
    """The newest value of each control key, up to an offset of the topic: ``heard``.

    ``run`` names the submission of the job that wrote it. A log that the same run saved is newer
    than the snapshot the job was submitted with; a log of an earlier run is older.
    """

    def __init__(self, run: str, snapshot: Snapshot) -> None:
        self._run = run
        self.heard = snapshot.until
        self._buckets: list[dict[str, bytes]] = [{} for _ in range(BUCKETS)]
        for key, value in snapshot.records:
            self._buckets[_bucket(key)][key] = value

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        for bucket in self._buckets:
            yield from bucket.items()

    def is_past(self, key: str, value: bytes | None, offset: int) -> bool:
        """Whether a later value of the key is known already, as of one read from the beginning."""
        return offset <= self.heard and self._buckets[_bucket(key)].get(key) != value

    def put(self, key: str, value: bytes | None, offset: int) -> Mapping[str, bytes]:
        """Keep a value, or forget the key when there is none; returns the entries to save."""
        self.heard = max(self.heard, offset)
        number = _bucket(key)
        bucket = self._buckets[number]
        if value is None:
            bucket.pop(key, None)
        else:
            bucket[key] = value
        return {str(number): _encode(bucket), **self._heard()}

    def entries(self) -> Mapping[str, bytes]:
        """Everything to save, by the name of the entry."""
        buckets = {str(number): _encode(bucket) for number, bucket in enumerate(self._buckets)}
        return {**buckets, **self._heard(), _RUN: self._run.encode()}

    @classmethod
    def saved(cls, run: str, get: Callable[[str], bytes | None]) -> ControlLog | None:
        """The log that this run saved, None when it has saved none yet."""
        if get(_RUN) != run.encode():
            return None
        log = cls(run, Snapshot(until=int(get(_HEARD) or -1)))
        for number in range(BUCKETS):
            data = get(str(number))
            if data is not None:
                log._buckets[number] = _decode(data)
        return log

    def _heard(self) -> Mapping[str, bytes]:
        return {_HEARD: str(self.heard).encode()}


def _bucket(key: str) -> int:
    return crc32(key.encode()) % BUCKETS
