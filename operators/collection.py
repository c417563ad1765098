"""How a process that decides collects cyclic garbage."""

from __future__ import annotations

import gc


def collect_the_young_only() -> None:
    """Look through what was made last and no more; call it once the long-lived objects are made.

    What lives as long as the task is not looked through at each collection. What comes and goes is
    a cache of customers, without cycles: the default thresholds scan it a hundred times a second,
    and a full collection of it holds up decisions for half a second. So only what is young is
    collected, where the cycles of exceptions are, and a little at a time: 20,000 objects took 4 ms,
    and all that had survived twenty such collections 110 ms, in which no garbage was ever found.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(2_000, 1_000_000, 1_000_000)
