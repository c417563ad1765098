"""A sampling profiler for the core: where the time goes, without slowing what it looks at.

A timer interrupts the main thread and notes which phase of the batch loop it is in. A C call is
seen when it returns, in the Python function that made it, so functions are exact and lines are not.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

INTERVAL_S: Final = 0.001

PHASES: Final[tuple[tuple[str, str, str], ...]] = (
    ("parse the records", "operators/shard.py", "_in_order"),
    ("decode the event", "schemas/wire.py", "_decode"),
    ("decode the event", "schemas/wire.py", "decode_"),
    ("event time", "schemas/wire.py", "instant_ms"),
    ("read the customer", "state/customer.py", "Customer.decode"),
    ("read the customer", "state/customer.py", "Customer.__init__"),
    ("settle", "state/customer.py", "Customer.settle"),
    ("known before?", "state/customer.py", "Customer.knows"),
    ("accept the fact", "state/customer.py", "Customer.accept"),
    ("make the fact", "state/fact.py", ""),
    ("fold the profile", "state/customer.py", "Customer.profile"),
    ("campaigns", "scoring/campaigns/", ""),
    ("gates", "scoring/gates/", ""),
    ("offer", "scoring/offers.py", ""),
    ("features", "scoring/features.py", ""),
    ("score", "scoring/model.py", ""),
    ("channel", "scoring/policies/", ""),
    ("decide", "scoring/decide.py", ""),
    ("step", "scoring/step.py", ""),
    ("write the customer", "state/customer.py", "Customer.encode"),
    ("due list and clock", "state/due.py", ""),
    ("due list and clock", "state/clock.py", ""),
    ("encode emits", "operators/shard.py", "_Batch._publish"),
    ("commit: profiles, store", "operators/shard.py", "_Batch._commit"),
    ("loop, audit", "operators/shard.py", ""),
)
"""Phase, file and start of the function's qualified name; the first that fits, leaf first."""


def phase_of(frame: FrameType | None) -> str:
    """The phase of the innermost frame that belongs to one."""
    while frame is not None:
        code = frame.f_code
        for phase, file, name in PHASES:
            if file in code.co_filename and code.co_qualname.startswith(name):
                return phase
        frame = frame.f_back
    return "harness"


def function_of(frame: FrameType | None) -> str:
    """File and name of a frame's function."""
    if frame is None:
        return "?"
    file = "/".join(frame.f_code.co_filename.rsplit("/", 2)[1:])
    return f"{file}:{frame.f_code.co_qualname}"


class Samples:
    """How often each phase and each function (itself, not what it calls) was seen."""

    def __init__(self) -> None:
        self.phases: Counter[str] = Counter()
        self.functions: Counter[str] = Counter()

    def take(self, _signal: int, frame: FrameType | None) -> None:
        """A signal handler."""
        self.phases[phase_of(frame)] += 1
        self.functions[function_of(frame)] += 1


@contextmanager
def sampling() -> Iterator[Samples]:
    """Sample the main thread for the length of the block."""
    samples = Samples()
    before = signal.signal(signal.SIGALRM, samples.take)
    signal.setitimer(signal.ITIMER_REAL, INTERVAL_S, INTERVAL_S)
    try:
        yield samples
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
