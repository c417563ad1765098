"""What can go wrong, as a tree; where an error stands in it says what happens to the record.

    BeckonError
    ├── InvalidRecord      → dead letter, with its reason, the raw bytes' hash and coordinates
    ├── RefusedControl     → dead letter; what ran before goes on running
    ├── StoreUnavailable   → retry with back-off, then fail the task
    └── UserMistake        → a sentence for whoever typed the command, exit code 2

Anything else is a bug and crashes loudly.
"""

from __future__ import annotations


class BeckonError(Exception):
    """Root of every error that Beckon raises on purpose."""


class InvalidRecord(BeckonError):
    """An input record that cannot be used; ``reason`` is one of `schemas.deadletter.REASONS`."""

    def __init__(self, reason: str, detail: str) -> None:
        """Keep the machine's reason and the sentence for people."""
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class RefusedControl(BeckonError):
    """A campaign, model, policy or posterior that must not go live."""

    def __init__(self, reason: str, detail: str) -> None:
        """Keep the machine's reason and the sentence for people."""
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class StoreUnavailable(BeckonError):
    """A store does not answer; the same call may succeed later."""


class UserMistake(BeckonError):
    """Something the caller can mend: the message says what, where and how."""
