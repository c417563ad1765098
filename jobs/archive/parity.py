"""Parity: the score that an example carries against the one that its model's file gives it.

The stream scores with weights lifted out of the model's graph; this runs the graph itself, on the
features that the example logged, and compares to `scoring.model.TOLERANCE`. A model is looked up by
the version that the example names, so a swap in between does not matter.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable
from typing import Final

import structlog

from jobs.archive.tables import Row
from schemas.errors import InvalidRecord, RefusedControl
from schemas.model import Model
from schemas.wire import decode_control
from scoring.model import PRIOR_VERSION, TOLERANCE, verify
from state.fact import id64

CHECKED: Final = "parity_checked"
MISMATCHED: Final = "parity_mismatched"
UNKNOWN: Final = "parity_unknown_model"
WITHOUT: Final = "parity_without_model"
OF: Final = (CHECKED, MISMATCHED, UNKNOWN, WITHOUT)
"""What is counted: examples compared, those of them that differ, those whose model is not known
here or was refused, and those that were scored before there was a model."""


class Parity:
    """Compares one example in ``share``, by a hash of its decision."""

    def __init__(self, share: int = 1) -> None:
        self._share = share
        self._models: dict[str, Model] = {}
        self._graphs: dict[str, object | None] = {}
        self._log = structlog.get_logger()

    def learn(self, value: bytes | None) -> None:
        """Remember a model of the control topic; anything else is passed over."""
        if value is None:
            return
        try:
            record = decode_control(value)
        except InvalidRecord:
            return
        if isinstance(record, Model):
            self._models[record.version] = record
            self._graphs.pop(record.version, None)

    def unknown(self, examples: Iterable[Row]) -> bool:
        """Whether an example names a model that was never seen here."""
        known = {*self._models, PRIOR_VERSION}
        return any(row["model_version"] not in known for row in examples)

    def check(self, examples: Iterable[Row]) -> Counter[str]:
        """Compare examples, rows of their table; returns the counts."""
        counts: Counter[str] = Counter()
        by_version: dict[str, list[Row]] = {}
        for row in examples:
            if self._share == 1 or id64(row["decision_id"]) % self._share == 0:
                by_version.setdefault(row["model_version"], []).append(row)
        for version, rows in by_version.items():
            if version == PRIOR_VERSION:
                counts[WITHOUT] += len(rows)
                continue
            graph = self._graph(version)
            if graph is None:
                counts[UNKNOWN] += len(rows)
                continue
            scores = graph.scores([row["features"] for row in rows])  # type: ignore[attr-defined]
            counts[CHECKED] += len(rows)
            for row, score in zip(rows, scores, strict=True):
                if not abs(score - row["score"]) <= TOLERANCE:  # so that NaN differs
                    counts[MISMATCHED] += 1
                    self._log.error(
                        "parity",
                        decision_id=row["decision_id"],
                        model_version=version,
                        in_stream=row["score"],
                        offline=score,
                    )
        return counts

    def _graph(self, version: str) -> object | None:
        if version not in self._graphs and version in self._models:
            from scoring.onnx_export import Graph

            record = self._models[version]
            try:
                verify(record)
            except RefusedControl:
                self._graphs[version] = None
            else:
                self._graphs[version] = Graph(base64.b64decode(record.onnx))
        return self._graphs.get(version)
