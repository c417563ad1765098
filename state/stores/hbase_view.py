"""HBase, through its Thrift server: behaviour history, and a durable copy of each profile.

* ``beckon_behavior_history``: a row for each fact and decision, newest first within a customer.
  Its key is salt, customer, reversed time, id of the event or decision; a cell ``h:fact`` or
  ``h:decision`` holds JSON. Rows go `HISTORY_DAYS` after they were last written.
* ``beckon_profile``: a row for each customer with ``p:snapshot``, the bytes that
  `state.customer` reads, and ``p:version``, event time and revision. Dimensions are unfolded by
  the reader: two hundred cells a customer would be forty times the writing.

The customer stands in a key after its length, so that no customer's rows begin with another's
key whatever the ids contain. The salt spreads customers over regions; Thrift cannot create
pre-split tables, so on a cluster split both at the sixteen salts.

Thrift gives all rows of a request one timestamp, so a cell's own timestamp cannot keep the order
of versions. A batch therefore reads the versions that are there first and writes only what is not
older. A put that returned an error may still have been applied: every write is an absolute value.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import happybase
from thriftpy2.thrift import TException
from xxhash import xxh3_64_intdigest

from schemas.errors import StoreUnavailable
from state.fact import id64
from state.stores.base import Batch, Entry, Shown, Update, unfold
from state.stores.history import decision_json, entry, fact_json
from state.stores.learned import Learned

HISTORY: Final = "beckon_behavior_history"
PROFILE: Final = "beckon_profile"
HISTORY_DAYS: Final = 90
SALTS: Final = 16
ROWS: Final = 1_000
TIMEOUT_MS: Final = 10_000

_FAMILIES: Final[dict[str, dict[str, dict[str, Any]]]] = {
    HISTORY: {
        "h": {
            "max_versions": 1,
            "bloom_filter_type": "ROW",
            "time_to_live": HISTORY_DAYS * 86_400,
        }
    },
    PROFILE: {"p": {"max_versions": 1, "bloom_filter_type": "ROW"}},
}
_FACT: Final = b"h:fact"
_DECISION: Final = b"h:decision"
_SNAPSHOT: Final = b"p:snapshot"
_VERSION: Final = b"p:version"

_SALT_AND_LENGTH: Final = struct.Struct(">BH")
_PLACE: Final = struct.Struct(">QQ")
_PAIR: Final = struct.Struct(">qq")
_LAST_MS: Final = 2**63 - 1


class HBaseView:
    """See the module; ``url`` is ``thrift://host:port``. Missing tables are created."""

    UNFOLDS: ClassVar[bool] = False
    KEEPS_HISTORY: ClassVar[bool] = True
    SHOWS_LEARNED: ClassVar[bool] = False

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._host = address.hostname or "127.0.0.1"
        self._port = address.port or 9090
        self._connection: Any = None

    def write(self, batch: Batch) -> None:
        """Take a batch in: erasures, then history, then profiles."""
        with self._connected() as connection:
            for user in batch.erased:
                _erase(connection, user)
            if batch.erased:
                # A deletion hides what is put within the same millisecond, even after it.
                time.sleep(0.002)
            with connection.table(HISTORY).batch(batch_size=ROWS) as puts:
                for user, facts in batch.facts.items():
                    prefix = _prefix(user)
                    for fact in facts:
                        puts.put(
                            _history_row(prefix, fact.ts, fact.id64),
                            {_FACT: fact_json(fact)},
                        )
                for decision in batch.decisions:
                    row = _history_row(
                        _prefix(decision.user_id),
                        decision.decided_at_ms,
                        id64(decision.decision_id),
                    )
                    puts.put(row, {_DECISION: decision_json(decision)})
            _put_profiles(connection.table(PROFILE), batch.updates)

    def read(self, user: str) -> Shown | None:
        """A customer, unfolded from the snapshot; None for one who is not known."""
        with self._connected() as connection:
            cells = connection.table(PROFILE).row(_prefix(user))
        if not cells:
            return None
        event_ms, revision = _PAIR.unpack(cells[_VERSION])
        return unfold(user, event_ms, revision, cells[_SNAPSHOT])

    def history(self, user: str, limit: int) -> list[Entry]:
        """The newest entries first."""
        prefix = _prefix(user)
        with self._connected() as connection:
            rows = connection.table(HISTORY).scan(
                row_prefix=prefix, limit=limit, batch_size=min(limit, ROWS)
            )
            return [
                _entry(key[len(prefix) :], column, value)
                for key, cells in rows
                for column, value in cells.items()
            ]

    def learned(self) -> Learned:
        """Nothing: what was learned is shown elsewhere."""
        return Learned()

    def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """The connection, which does not outlive an error: its answers might be out of step."""
        try:
            if self._connection is None:
                self._connection = happybase.Connection(self._host, self._port, timeout=TIMEOUT_MS)
                _create_missing(self._connection)
            yield self._connection
        except (TException, OSError, EOFError) as error:
            self.close()
            raise StoreUnavailable(
                f"HBase Thrift server at {self._host}:{self._port}: {_cause(error)}"
            ) from error


def _create_missing(connection: Any) -> None:
    present = set(connection.tables())
    for name, families in _FAMILIES.items():
        if name.encode() not in present:
            connection.create_table(name, families)


def _put_profiles(table: Any, updates: dict[str, Update]) -> None:
    rows = {_prefix(user): update for user, update in updates.items()}
    keys = list(rows)
    for start in range(0, len(keys), ROWS):
        chunk = keys[start : start + ROWS]
        held = dict(table.rows(chunk, columns=[_VERSION]))
        with table.batch() as puts:
            for key in chunk:
                update = rows[key]
                version = update.event_ms, update.revision
                cells = held.get(key)
                if cells is None or _PAIR.unpack(cells[_VERSION]) <= version:
                    puts.put(key, {_VERSION: _PAIR.pack(*version), _SNAPSHOT: update.snapshot})


def _erase(connection: Any, user: str) -> None:
    prefix = _prefix(user)
    connection.table(PROFILE).delete(prefix)
    history = connection.table(HISTORY)
    keys = [key for key, _ in history.scan(row_prefix=prefix)]
    with history.batch(batch_size=ROWS) as deletions:
        for key in keys:
            deletions.delete(key)


def _prefix(user: str) -> bytes:
    raw = user.encode()
    return _SALT_AND_LENGTH.pack(xxh3_64_intdigest(raw) % SALTS, len(raw)) + raw


def _history_row(prefix: bytes, ts: int, digest: int) -> bytes:
    return prefix + _PLACE.pack(_LAST_MS - ts, digest)


def _entry(place: bytes, column: bytes, value: bytes) -> Entry:
    reversed_ms, _ = _PLACE.unpack(place)
    kind: Any = column.removeprefix(b"h:").decode()
    return entry(_LAST_MS - reversed_ms, kind, value)


def _cause(error: Exception) -> str:
    """What went wrong, without HBase's message: that quotes rows, and with them customers."""
    java = str(getattr(error, "message", "") or "").partition(":")[0].strip()
    named = java if java.replace(".", "").replace("$", "").isalnum() else ""
    return f"{type(error).__name__} {named}".strip()
