"""Two states of the core against each other: `python -m benchmarks.compare OTHER_CHECKOUT`.

Each checkout's core runs in a process of its own over the same micro-batches. The two take turns,
some hundred events at a time, and of several rounds the least CPU time of each piece counts. What
else happens on the machine hits one piece in one round, so differences of two per cent can be seen
where whole runs differ by twenty. Both must publish the same and keep the same state.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Final

PIECES: Final = 60
NOW_MS: Final = 1_795_000_000_000
"""Both must see the same events, so they lie at the same time whenever this is run."""
SPAN_MS: Final = 7_200_000
CACHED: Final = 20_000
HERE: Final = Path(__file__).resolve().parents[1]
DIGEST: Final = "digest"


def work(asked: argparse.Namespace) -> None:
    """Be one of the two: take a piece, or tell the digest, for each line of standard input."""
    from benchmarks.control import control
    from benchmarks.core import TICK_EVENTS, Harness, batches
    from benchmarks.workload import Workload
    from operators.collection import collect_the_young_only
    from operators.records import Output

    workload = Workload(7, asked.events, asked.customers, NOW_MS - SPAN_MS - 600_000, SPAN_MS)
    every = list(batches(workload.messages(), NOW_MS, asked.batch))
    size = -(-len(every) // PIECES)
    pieces = [every[at : at + size] for at in range(0, len(every), size)]
    in_force = control(asked.campaigns)
    collect_the_young_only()
    print(len(pieces), sum(len(batch) for _, batch in every), flush=True)
    harness, waiting, told = Harness(in_force, CACHED), Counter[str](), hashlib.sha256()
    for line in sys.stdin:
        if line.strip() == DIGEST:
            stores = sorted(
                (*pair, shard) for shard, s in harness.stores.items() for pair in s.items()
            )
            told.update(repr(stores).encode())
            print(told.hexdigest(), flush=True)
            continue
        if int(line) == 0:
            harness, waiting, told = Harness(in_force, CACHED), Counter(), hashlib.sha256()
        published: list[Output] = []
        start = time.process_time()
        for shard, batch in pieces[int(line)]:
            published += harness.decider.on_batch(shard, harness.stores[shard], batch)
            waiting[shard] += len(batch)
            if waiting[shard] >= TICK_EVENTS:
                published += harness.decider.on_tick(shard, harness.stores[shard], 0)
                waiting[shard] = 0
        used = time.process_time() - start
        told.update("\n".join(each.message() for each in published).encode("latin-1"))
        print(used, flush=True)


class Side:
    """One of the two checkouts at work."""

    def __init__(self, checkout: Path, arguments: list[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(checkout), "--work", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        pieces, events = self._answer().split()
        self.events = int(events)
        self.least = [float("inf")] * int(pieces)

    def take(self, piece: int) -> None:
        """Run a piece once more."""
        self.least[piece] = min(self.least[piece], float(self.ask(str(piece))))

    def ask(self, what: str) -> str:
        """Its answer to a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Let it end."""
        self._process.communicate()

    @property
    def us_per_event(self) -> float:
        """The least CPU time that was seen of an event."""
        return sum(self.least) / self.events * 1e6

    def _answer(self) -> str:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline().strip()
        if not answer:
            raise SystemExit("a side has ended; its traceback is above")
        return answer


def main() -> None:
    """Compare, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path, help="another state of this repository")
    parser.add_argument("--events", type=int, default=16_000)
    parser.add_argument("--customers", type=int, default=4_000)
    parser.add_argument("--campaigns", type=int, default=0, help="0: the shipped ones")
    parser.add_argument("--batch", type=int, default=20, help="records of a micro-batch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work:
        sys.path[0] = str(asked.checkout.resolve())
        work(asked)
        return
    sizes = ("events", "customers", "campaigns", "batch")
    arguments = [text for name in sizes for text in (f"--{name}", str(getattr(asked, name)))]
    other, ours = sides = Side(asked.checkout, arguments), Side(HERE, arguments)
    for number in range(asked.rounds):
        for piece in range(len(ours.least)):
            for side in sides if (number + piece) % 2 else sides[::-1]:
                side.take(piece)
    digests = {side.ask(DIGEST) for side in sides}
    for side, name in ((other, asked.checkout), (ours, HERE)):
        print(f"{side.us_per_event:8.2f} µs per event  {name}")
        side.close()
    print(f"{ours.us_per_event / other.us_per_event:8.3f} ours / the other")
    print(
        "both published and kept the same" if len(digests) == 1 else "they DIFFER in what they did"
    )
    sys.exit(len(digests) - 1)


if __name__ == "__main__":
    main()
