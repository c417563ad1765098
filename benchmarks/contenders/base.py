"""What every contender is: started on full topics, stopped, its processes named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Contender(Protocol):
    """One way to run the same core between the same topics. One is alive at a time."""

    name: str
    describes: str
    """One line for the results: what it is and how it was set up."""

    def start(self) -> None:
        """Start from no state and from the first record of the topics."""
        ...

    def stop(self) -> None:
        """Stop; a later `start` begins anew. Harmless when nothing runs."""
        ...

    def pids(self) -> Sequence[int]:
        """Roots of the process trees whose CPU time counts."""
        ...

    def worker_pids(self) -> Sequence[int]:
        """The processes that do the work: stopping them stops the decisions."""
        ...

    def check(self) -> None:
        """Raise when it has died."""
        ...
