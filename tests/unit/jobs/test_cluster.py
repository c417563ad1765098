"""What is said when the cluster does not do what it was asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import ClassVar

import pytest

from jobs.cluster import Cluster, JobFailed
from schemas.errors import UserMistake

TRACE = (
    "java.util.concurrent.CompletionException: outer\n\tat a.B.c(B.java:1)\n"
    "Caused by: org.CheckpointException: task decide is not being executed at the moment\n"
    "\tat a.B.d(B.java:2)\n\t... 5 more\n"
)


class _JobManager(BaseHTTPRequestHandler):
    """Answers as a JobManager whose job is starting again."""

    answers: ClassVar[dict[str, object]] = {
        "/v1/jobs/j/stop": {"request-id": "r"},
        "/v1/jobs/j/savepoints/r": {
            "status": {"id": "COMPLETED"},
            "operation": {"failure-cause": {"stack-trace": TRACE}},
        },
    }

    def do_GET(self) -> None:
        body = json.dumps(self.answers[self.path]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with HTTPServer(("127.0.0.1", 0), _JobManager) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield Cluster(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()


def test_a_savepoint_that_could_not_be_taken_is_told_by_its_cause_and_what_to_do(
    cluster: Cluster,
) -> None:
    with pytest.raises(JobFailed) as told:
        cluster.stop("j", 5)
    text = str(told.value)
    assert "task decide is not being executed at the moment" in text
    assert "`beckon stop` again" in text
    assert "\tat" not in text
    assert isinstance(told.value, UserMistake), "so the command line makes a sentence of it"


def test_a_cluster_that_is_not_there_is_told_in_a_sentence() -> None:
    with pytest.raises(UserMistake, match=r"no Flink cluster answers .*\(\[Errno 111\]"):
        Cluster("http://127.0.0.1:9").free_slots()
