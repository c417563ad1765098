"""Metrics of our own services, as Prometheus reads them: text over HTTP, and nothing else.

Off unless a service has a port. It listens on loopback unless told otherwise: ``/metrics`` has the
figures, ``/livez`` answers while the process lives. They are taken from what the service counts at
the moment at which somebody asks, so they cost nothing until then. No customer is in a label.

``python -m jobs.metrics`` writes the table of names, `infra/metrics.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Final, Literal, NamedTuple

from jobs.settings import Settings
from schemas.errors import UserMistake

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
Service = Literal["projector", "archive", "effects"]


class Metric(NamedTuple):
    """What a name stands for; a counter only grows until the process begins anew."""

    kind: Literal["counter", "gauge"]
    says: str
    labels: tuple[str, ...] = ()


METRICS: Final[dict[str, Metric]] = {
    "beckon_projector_records_total": Metric("counter", "records taken to a view", ("store",)),
    "beckon_projector_poison_total": Metric(
        "counter", "records that nobody can understand, passed over", ("store",)
    ),
    "beckon_projector_put_off_total": Metric(
        "counter", "batches that a store did not take, to be read again", ("store",)
    ),
    "beckon_projector_erased_total": Metric("counter", "customers erased from a view", ("store",)),
    "beckon_projector_kafka_errors_total": Metric(
        "counter", "errors that Kafka told of, and mends", ("store",)
    ),
    "beckon_projector_behind_ms": Metric(
        "gauge", "from when the newest batch was published until a view had it", ("store",)
    ),
    "beckon_projector_shadow_examples": Metric(
        "gauge", "labelled messages by which champion and challenger are compared", ("store",)
    ),
    "beckon_projector_champion_log_loss_nats": Metric(
        "gauge", "log loss over them of the models that decided", ("store",)
    ),
    "beckon_projector_challenger_log_loss_nats": Metric(
        "gauge", "log loss over them of the model that learns in the stream", ("store",)
    ),
    "beckon_archive_rows_total": Metric(
        "counter", "rows kept, since the archive was begun", ("table",)
    ),
    "beckon_archive_refused_total": Metric(
        "counter", "inputs not kept: the stream made dead letters of them"
    ),
    "beckon_archive_missed_total": Metric(
        "counter", "records that Kafka had deleted before they were kept"
    ),
    "beckon_archive_parity_checked_total": Metric(
        "counter", "examples whose score was computed again by the model's file"
    ),
    "beckon_archive_parity_mismatched_total": Metric(
        "counter", "those of them whose score differs: alert on the first"
    ),
    "beckon_archive_parity_unknown_total": Metric(
        "counter", "examples whose model is not known here, or was refused"
    ),
    "beckon_archive_held_rows": Metric("gauge", "rows in hand, not yet on disk"),
    "beckon_archive_behind_records": Metric("gauge", "records on the topics still to be read"),
    "beckon_effects_cells": Metric("gauge", "figures by campaign, channel, segment and hour"),
    "beckon_effects_messages": Metric("gauge", "messages whose answers can still be counted"),
    "beckon_effects_customers": Metric("gauge", "customers who are being compared"),
    "beckon_effects_waiting": Metric("gauge", "messages that were answered and not read yet"),
    "beckon_effects_unattributed_total": Metric(
        "counter", "answers whose message never came, since the state was begun"
    ),
    "beckon_effects_refused_total": Metric(
        "counter", "inputs passed over: the stream made dead letters of them"
    ),
    "beckon_effects_paused_campaigns": Metric("gauge", "campaigns in force that are paused"),
    "beckon_effects_mismatched_comparisons": Metric(
        "gauge", "campaigns and experiments whose groups are not of the sizes they should be"
    ),
    "beckon_effects_behind_records": Metric("gauge", "records on the topics still to be read"),
}
"""Every name, with its kind, its labels and what it says."""


class Sample(NamedTuple):
    """A figure of a name, with the values of its labels."""

    name: str
    value: float
    labels: tuple[str, ...] = ()


Collect = Callable[[], Iterable[Sample]]


def exposition(samples: Iterable[Sample]) -> str:
    """The figures in Prometheus' text format, in the order of `METRICS`.

    Raises:
        ValueError: a sample without all of its name's labels.
    """
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample.name, []).append(sample)
    lines = []
    for name, metric in METRICS.items():
        if name not in by_name:
            continue
        lines += [f"# HELP {name} {metric.says}", f"# TYPE {name} {metric.kind}"]
        for sample in by_name[name]:
            pairs = zip(metric.labels, sample.labels, strict=True)
            labels = ",".join(f'{label}="{_escaped(value)}"' for label, value in pairs)
            lines.append(f"{name}{f'{{{labels}}}' if labels else ''} {sample.value:.15g}")
    return "\n".join(lines) + "\n"


@contextmanager
def exposed(settings: Settings, service: Service, collect: Collect) -> Iterator[None]:
    """Answer whoever asks for a service's figures, where it has a port.

    Raises:
        UserMistake: the port is taken.
    """
    setting = f"{service}_metrics_port"
    host, port = settings.metrics_host, getattr(settings, setting)
    if not port:
        yield
        return
    try:
        server = ThreadingHTTPServer((host, port), _handler(collect))
    except OSError as error:
        raise UserMistake(
            f"metrics cannot be shown at {host}:{port} ({error.strerror}); set "
            f"BECKON_{setting.upper()} to a free port, or to 0 for none"
        ) from None
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.1,), name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(collect: Collect) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10
        server_version = "beckon"
        sys_version = ""

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, exposition(collect()))
            elif self.path == "/livez":
                self._answer(200, "ok\n")
            else:
                self._answer(404, "there are /metrics and /livez\n")

        def _answer(self, status: int, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing: a scrape every few seconds is no news."""

    return Handler


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def markdown() -> str:
    """The table of names as a document."""
    lines = [
        "# Metrics of Beckon's services",
        "",
        "`beckon projector`, `archive` and `effects` show these to Prometheus at `/metrics` when",
        "they have a port: `BECKON_PROJECTOR_METRICS_PORT`, `BECKON_ARCHIVE_METRICS_PORT`,",
        "`BECKON_EFFECTS_METRICS_PORT`; 0, the default, is none. They listen on",
        "`BECKON_METRICS_HOST`, loopback unless told otherwise. Made from `jobs/metrics.py`.",
        "",
        "| name | kind | labels | what it says |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{name}` | {metric.kind} | {', '.join(metric.labels)} | {metric.says} |"
        for name, metric in METRICS.items()
    ]
    return "\n".join(lines) + "\n"


def document() -> Path:
    """Where the table lies in a checkout."""
    return Path(__file__).resolve().parent.parent / "infra" / "metrics.md"


if __name__ == "__main__":
    document().write_text(markdown(), encoding="utf-8")
