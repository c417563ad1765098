"""The operator that turns a shard's batches into decisions; Flink's side of `operators.shard`.

It declares state, hands batches to the core, keeps the control log, ticks idle shards, counts.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from pyflink.common import Row, Types
from pyflink.datastream import KeyedBroadcastProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor

from operators import names
from operators.collection import collect_the_young_only
from operators.control_log import ControlLog, Snapshot
from operators.layout import attempt_number, emitted
from operators.records import Output
from operators.routes import bulk, inward, prompt
from operators.sealing import Published, Sealing, Unread, leases_in, published_leases
from operators.shard import Decider, DeciderConfig, nothing_published
from operators.shipping import Shipped
from operators.store import NamedValues
from schemas.audit import TakenUp

TICK_MS: Final = 200

CONTROL_LOG: Final = MapStateDescriptor(
    names.CONTROL_LOG, Types.STRING(), Types.PICKLED_BYTE_ARRAY()
)


class DecideConfig(NamedTuple):
    """What a submission gives each subtask.

    Attributes:
        run: names the submission; no two have the same.
        control: the control topic at the time of submission.
        sealing: how to find what an earlier attempt published.
    """

    run: str
    control: Snapshot
    sealing: Sealing
    core: DeciderConfig = DeciderConfig()


class Decide(Shipped, KeyedBroadcastProcessFunction):
    """(shard, records) and control records in, (outputs, what goes to `learn` and `grant`) out."""

    def __init__(self, config: DecideConfig, bundle: str = "") -> None:
        self._config = config
        self.bundle = bundle

    def open(self, runtime_context: RuntimeContext) -> None:
        """Take up state; build the world now if no control log of this run can exist yet."""
        config = self._config
        self._store = NamedValues(runtime_context, names.CUSTOMERS)
        first = attempt_number(runtime_context) == 0
        resumes = not first or config.sealing.resumed
        self._published = Published(config.sealing) if resumes else nothing_published
        self._unread = Unread(config.sealing, first=first)
        self._leases, self._lent = ({}, -1) if first else published_leases(config.sealing)
        self._decider: Decider | None = None
        self._log_saved = False
        self._ticking: set[str] = set()
        self._metrics = runtime_context.get_metrics_group()
        self._counters: dict[str, Any] = {}
        self._flushed: Counter[str] = Counter()
        self._flush_at = 0.0
        if first:
            self._build(ControlLog(config.run, config.control))

    def process_element(self, value: Row, ctx: Any) -> Iterable[Row]:
        """Decide a batch."""
        decider = self._decider or self._resume(ctx)
        shard, records = value[0], value[1]
        before: list[Output] = []
        if shard not in self._ticking:
            self._ticking.add(shard)
            timers = ctx.timer_service()
            now_ms = timers.current_processing_time()
            timers.register_processing_time_timer(_next_tick(shard, now_ms))
            # It must know the time before it reads: what lies in the topics may be a backlog.
            before = decider.on_tick(shard, self._store, now_ms)
        return _row(before + decider.on_batch(shard, self._store, records))

    def process_broadcast_element(self, value: Row, ctx: Any) -> Iterable[Row]:
        """Put a control record in force and save it."""
        decider = self._decider or self._resume(ctx)
        key, text, offset = value[0], value[1], value[2]
        data = None if text is None else text.encode("latin-1")
        if self._log.is_past(key, data, offset):
            return ()
        changed = self._log.put(key, data, offset)
        saved = ctx.get_broadcast_state(CONTROL_LOG)
        for name, entry in (changed if self._log_saved else self._log.entries()).items():
            saved.put(name, entry)
        self._log_saved = True
        return _row(decider.on_control(key, data, offset=offset))

    def on_timer(self, timestamp: int, ctx: Any) -> Iterable[Row]:
        """Let the wall clock move an idle shard."""
        decider = self._decider or self._resume(ctx)
        timers = ctx.timer_service()
        now_ms = timers.current_processing_time()
        shard = ctx.get_current_key()[0]
        timers.register_processing_time_timer(_next_tick(shard, max(now_ms, timestamp)))
        self._ticking.add(shard)
        self._flush()
        return _row(decider.on_tick(shard, self._store, now_ms, now_ms - timestamp))

    def _resume(self, ctx: Any) -> Decider:
        """The world after a restart: the control log this run saved, else the snapshot."""
        config = self._config
        log = ControlLog.saved(config.run, ctx.get_broadcast_state(CONTROL_LOG).get)
        self._log_saved = log is not None
        return self._build(log or ControlLog(config.run, config.control))

    def _build(self, log: ControlLog) -> Decider:
        self._log = log
        control = self._config.control
        self._decider = Decider(
            self._config.core,
            log,
            self._published,
            leases_in(control.records),
            self._unread,
            heard=log.heard,
            taken_up=TakenUp(control.until, self._lent),
        )
        for lease in self._leases.values():  # a purse must know at once what it had given back
            self._decider.world.leases.accept(lease)
        self._leases = {}
        collect_the_young_only()
        return self._decider

    def _flush(self) -> None:
        now = time.monotonic()
        if now < self._flush_at or self._decider is None:
            return
        self._flush_at = now + 1.0
        for what, count in self._decider.counters.items():
            metric = self._counters.get(what)
            if metric is None:
                metric = self._counters[what] = self._metrics.counter(names.counter(what))
            metric.inc(count - self._flushed[what])
            self._flushed[what] = count


def _next_tick(shard: str, now_ms: int) -> int:
    """When to look at a shard again.

    Ticks of a shard lie on a grid, so that a timer restored and a timer set anew are one, and each
    shard has a grid of its own, so that not all publish at one moment and hold up decisions.
    """
    offset_ms = int(shard, 16) * TICK_MS >> 4 * len(shard)
    return ((now_ms - offset_ms) // TICK_MS + 1) * TICK_MS + offset_ms


def _row(outputs: list[Output]) -> tuple[Row, ...]:
    return emitted(prompt(outputs), bulk(outputs), inward(outputs))
