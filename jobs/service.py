"""What every process that runs until it is told to stop begins with."""

from __future__ import annotations

import signal
from threading import Event

import structlog


def begin_service() -> Event:
    """Log as JSON lines, and give an event that SIGTERM and Ctrl-C set."""
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(),
    )
    return stop
