"""What the local stack refuses, in words that say what to do."""

from __future__ import annotations

from schemas.errors import UserMistake


class StackError(UserMistake):
    """A server, a port, a download or a Java is not as it must be; the text says what to do."""
