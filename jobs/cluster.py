"""A Flink cluster through its REST interface: jobs, their troubles, savepoints."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, Final

from schemas.errors import UserMistake

ENDED: Final = frozenset({"FAILED", "CANCELED", "FINISHED", "SUSPENDED"})
_POLL_S: Final = 0.1


class JobFailed(UserMistake):
    """The job does not run, or not all of it; the text ends with the root cause."""


class Cluster:
    """One JobManager."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def free_slots(self) -> int:
        """Slots that no job holds.

        Raises:
            UserMistake: nothing answers there.
        """
        try:
            return int(self._get("/overview")["slots-available"])
        except (OSError, ValueError) as error:
            why = getattr(error, "reason", error)
            raise UserMistake(
                f"no Flink cluster answers at {self.url} ({why}); `beckon stack up` starts one"
            ) from error

    def running(self, name: str) -> str | None:
        """The id of the job of that name that has not ended."""
        for job in self._get("/jobs/overview")["jobs"]:
            if job["name"] == name and job["state"] not in ENDED:
                return str(job["jid"])
        return None

    def state(self, job: str) -> str:
        """The job's state in Flink's words."""
        return str(self._get(f"/jobs/{job}")["state"])

    def wait_until_running(self, job: str, patience_s: float) -> None:
        """Wait until every task of the job runs.

        Raises:
            JobFailed: it failed at its start, and was cancelled, or a task did not come up.
        """
        waiting: list[str] = []

        def ready() -> bool:
            found = self._get(f"/jobs/{job}")
            waiting[:] = [each["name"] for each in found["vertices"] if each["status"] != "RUNNING"]
            cause = self.root_cause(job)
            if cause is not None or found["state"] in ENDED:
                self.cancel(job)
                raise JobFailed(f"job {job} failed at its start: {cause or found['state']}")
            return found["state"] == "RUNNING" and not waiting

        if not _wait(ready, patience_s):
            slots = self.free_slots()
            self.cancel(job)
            raise JobFailed(
                f"after {patience_s:.0f} s these steps of job {job} do not run, with {slots} free "
                f"slots: {'; '.join(name[:60] for name in waiting)}"
            )

    def root_cause(self, job: str) -> str | None:
        """The deepest cause of the job's newest failure, in one line or few."""
        history = self._get(f"/jobs/{job}/exceptions?maxExceptions=1")["exceptionHistory"]
        if not history["entries"]:
            return None
        return _deepest(str(history["entries"][0]["stacktrace"]))

    def stop(self, job: str, patience_s: float) -> str:
        """Stop the job with a savepoint; returns where that is."""
        asked = self._send("POST", f"/jobs/{job}/stop", {"drain": False})
        done: dict[str, Any] = {}

        def completed() -> bool:
            done.update(self._get(f"/jobs/{job}/savepoints/{asked['request-id']}"))
            return bool(done["status"]["id"] == "COMPLETED")

        if not _wait(completed, patience_s):
            raise JobFailed(f"job {job} took no savepoint within {patience_s:.0f} s; it still runs")
        operation = done["operation"]
        if "failure-cause" in operation:
            cause = _deepest(str(operation["failure-cause"]["stack-trace"]))
            raise JobFailed(
                f"no savepoint of job {job}, which goes on: {cause}\n"
                f"While it starts again after a failure it can take none; look at {self.url} and "
                "`beckon stop` again when all its tasks run"
            )
        _wait(lambda: self.state(job) in ENDED, patience_s)
        return str(operation["location"])

    def cancel(self, job: str) -> None:
        """Cancel the job and wait until it has ended; harmless when it already has."""
        if self.state(job) not in ENDED:
            self._send("PATCH", f"/jobs/{job}?mode=cancel")
            _wait(lambda: self.state(job) in ENDED, 30.0)

    def _get(self, path: str) -> Any:
        return self._send("GET", path)

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self.url}/v1{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


def _deepest(trace: str) -> str:
    """The last cause in a Java stack trace, without the places."""
    cause = trace.rsplit("Caused by: ", 1)[-1]
    lines = [line for line in cause.splitlines() if not line.startswith("\t")]
    return "\n".join(lines[:20]).strip()


def _wait(condition: Callable[[], bool], patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True
