"""What a pure function refuses stops the step that called it, with the same words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from jobs.nightly.base import StepStopped
from schemas.errors import UserMistake


@contextmanager
def stopping() -> Iterator[None]:
    """Turn a `UserMistake` into the end of the step."""
    try:
        yield
    except StepStopped:
        raise
    except UserMistake as mistake:
        raise StepStopped(str(mistake)) from mistake
