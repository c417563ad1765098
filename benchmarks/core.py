"""What the core costs by itself: `python -m benchmarks.core`.

Runs `operators.shard.Decider` over the benchmark's workload with state in memory, in one process,
without Kafka or Flink, and prints µs per event: in all, by phase, and by function. `--cprofile`
adds the deterministic profile, whose shares are biased towards small functions.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.control import control
from benchmarks.sampling import sampling
from benchmarks.workload import Message, Workload
from operators.collection import collect_the_young_only
from operators.records import Output
from operators.shard import SEPARATOR, Decider, DeciderConfig, MemoryStore, shard_of
from schemas.topics import DECISIONS, EVENTS

SHARDS: Final = 4
TICK_EVENTS: Final = 4_000 // SHARDS
"""A shard ticks five times a second; this many of its events are 20 000 a second."""

Batch = tuple[str, list[str]]
"""A shard and its records, as the stream hands them to `Decider.on_batch`."""


def records(messages: Sequence[Message], ingested_ms: int) -> Iterator[tuple[str, str]]:
    """Shard and record string of each message, as if Kafka had taken all in at one moment."""
    shards: dict[bytes, str] = {}
    for offset, (key, value) in enumerate(messages):
        shard = shards.get(key)
        if shard is None:
            shard = shards[key] = shard_of(key.decode(), SHARDS)
        fields = (EVENTS, "0", str(offset), str(ingested_ms), value.decode("latin-1"))
        yield shard, SEPARATOR.join(fields)


def batches(messages: Sequence[Message], ingested_ms: int, size: int) -> Iterator[Batch]:
    """Micro-batches of about ``size`` records of one shard, in order of arrival."""
    window: defaultdict[str, list[str]] = defaultdict(list)
    for count, (shard, record) in enumerate(records(messages, ingested_ms), start=1):
        window[shard].append(record)
        if count % (SHARDS * size) == 0:
            yield from window.items()
            window = defaultdict(list)
    yield from window.items()


@dataclass
class Outcome:
    """What a run cost and made."""

    events: int
    cpu_s: float
    counters: Counter[str]
    output_bytes: int
    state_bytes: int
    customers: int

    @property
    def us_per_event(self) -> float:
        """CPU time of one event."""
        return self.cpu_s / self.events * 1e6


class Harness:
    """A decider with its campaigns, its model and a store for each shard."""

    def __init__(
        self, records: Iterable[tuple[str, bytes]], cached_customers: int = 200_000
    ) -> None:
        self.decider = Decider(DeciderConfig(cached_customers), records)
        self.stores: defaultdict[str, MemoryStore] = defaultdict(MemoryStore)

    def outputs(self, work: Iterable[Batch]) -> Iterator[Output]:
        """Everything that batches make the decider publish."""
        for shard, batch in work:
            yield from self.decider.on_batch(shard, self.stores[shard], batch)

    def run(self, work: Sequence[Batch]) -> Outcome:
        """Take batches through the decider."""
        on_batch, stores = self.decider.on_batch, self.stores
        for shard, _ in work:
            stores[shard]
        self.decider.counters.clear()
        written = 0
        start = time.process_time()
        waiting: Counter[str] = Counter()
        for shard, batch in work:
            outputs = on_batch(shard, stores[shard], batch)
            waiting[shard] += len(batch)
            if waiting[shard] >= TICK_EVENTS:
                outputs += self.decider.on_tick(shard, stores[shard], 0)
                waiting[shard] = 0
            for output in outputs:
                written += sum(map(len, output))
        cpu_s = time.process_time() - start
        return Outcome(
            sum(len(batch) for _, batch in work),
            cpu_s,
            Counter(self.decider.counters),
            written,
            sum(len(data) for store in stores.values() for data in store.values()),
            sum(1 for store in stores.values() for key in store if key[0] != "\0"),
        )


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--customers", type=int, default=50_000)
    parser.add_argument("--campaigns", type=int, default=0, help="0: the shipped ones")
    parser.add_argument("--batch", type=int, default=20, help="records of a micro-batch")
    parser.add_argument("--cache", type=int, default=20_000, help="decoded customers at hand")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cprofile", action="store_true")
    parser.add_argument("--top", type=int, default=25, help="functions shown")
    asked = parser.parse_args()

    now_ms = time.time_ns() // 1_000_000
    workload = Workload(7, asked.events, asked.customers, now_ms - 7_800_000, 7_200_000)
    work = list(batches(workload.messages(), now_ms, asked.batch))
    in_force = control(asked.campaigns)
    print(f"{asked.events} events, {len(work)} batches of {asked.events / len(work):.1f}")

    collect_the_young_only()  # as the job does
    results = [Harness(in_force, asked.cache).run(work) for _ in range(asked.runs)]
    for result in results:
        print(f"{result.us_per_event:8.2f} µs per event  ({1e6 / result.us_per_event:,.0f}/s)")
    result = results[-1]
    print(
        f"{result.counters[DECISIONS] / result.events:.2%} of the events decide; "
        f"{result.output_bytes / result.events:.0f} bytes out an event; "
        f"{result.state_bytes / max(1, result.customers):.0f} bytes of state a customer"
    )
    print(", ".join(f"{name} {count}" for name, count in sorted(result.counters.items())))
    best = min(each.us_per_event for each in results)

    with sampling() as samples:
        Harness(in_force, asked.cache).run(work)
    print("\nby phase\n" + _table(samples.phases, best, 30))
    print("\nby function, itself\n" + _table(samples.functions, best, asked.top))

    if asked.cprofile:
        harness = Harness(in_force, asked.cache)
        with cProfile.Profile() as profile:
            harness.run(work)
        pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(asked.top)


def _table(seen: Counter[str], us_per_event: float, rows: int) -> str:
    """Samples as a share and as µs per event of the unsampled run."""
    inside = {name: count for name, count in seen.items() if name != "harness"}
    total = sum(inside.values()) or 1
    ranked = sorted(inside.items(), key=lambda row: -row[1])[:rows]
    return "\n".join(
        f"{count / total * us_per_event:8.2f} µs {count / total:6.1%}  {name}"
        for name, count in ranked
    )


if __name__ == "__main__":
    main()
