"""The stream's own learner over an archive, and its way through the night's gate."""

from __future__ import annotations

import base64
import heapq
from collections.abc import Iterator
from datetime import date
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.archive.tables import CONTROL as CONTROL_TABLE
from jobs.archive.write import folder, write_file
from jobs.models.artefact import load
from jobs.models.judge import judge
from jobs.models.registry import Registry
from jobs.nightly import examples
from jobs.nightly.context import Context
from jobs.nightly.online import newest_published
from operators import challenging, names
from operators.shard import SEPARATOR
from schemas.control import control_key
from schemas.learning import LABELS, Example, Reward
from schemas.model import Challenger
from schemas.topics import CONTROL, REWARDS
from schemas.wire import encode
from scoring.features import FEATURE_HASH
from scoring.model import LogisticModel, prior_model, verify
from scoring.onnx_export import run

BATCH = 5_000


class _Waiting(dict[str, bytes]):
    """Examples without a label, as the operator's state has them."""

    def put(self, key: str, value: bytes) -> None:
        self[key] = value

    def remove(self, key: str) -> None:
        del self[key]


def learned_in_stream(archive: Path, *, one_in: int = 1) -> Challenger | None:
    """What `operators.challenging` publishes when it is told an archive's examples and rewards in
    the order of their time; of one in so many of the decisions.
    """
    state, waiting, found = None, _Waiting(), None
    messages = _messages(archive, one_in)
    while batch := list(islice(messages, BATCH)):
        state, outputs = challenging.on_messages(state, waiting, batch)
        for output in outputs:
            if output.topic == CONTROL:
                found = msgspec.json.decode(output.value, type=Challenger)
    return found


def _messages(archive: Path, one_in: int) -> Iterator[str]:
    shown = _told(archive, "examples", "decided_at_ms", Example, names.EXPOSED, one_in)
    answered = _told(archive, "rewards", "ts", Reward, REWARDS, one_in)
    for _, _, message in heapq.merge(shown, answered):
        yield message


def _told(
    archive: Path, table: str, time: str, kind: type[Example | Reward], topic: str, one_in: int
) -> Iterator[tuple[int, int, str]]:
    fields = kind.__struct_fields__
    for path in sorted((archive / table).glob("day=*/*.parquet")):
        rows = pq.read_table(path, partitioning=None)
        rows = rows.select([name for name in fields if name in rows.column_names])
        for row in rows.sort_by(time).to_pylist():
            if table == "rewards" and row["kind"] not in LABELS:
                continue
            if int(row["decision_id"].rpartition("-")[2], 16) % one_in:
                continue
            value = encode({name: each for name, each in row.items() if each is not None})
            place = 0 if table == "examples" else 1
            yield row[time], place, SEPARATOR.join((topic, "c", value.decode("latin-1")))


def archive_learner(archive: Path, day: date, *, one_in: int = 1) -> None:
    """Let the learner go through an archive and put what it publishes where the archiver would."""
    record = learned_in_stream(archive, one_in=one_in)
    if record is None:
        raise RuntimeError(f"{archive} is of less than two days; the learner has published nothing")
    row = {
        "topic_partition": 0, "topic_offset": 0, "ingested_ms": record.updated_ms,
        "key": control_key(record), "kind": "challenger", "value": encode(record),
    }  # fmt: skip
    path = folder(archive, CONTROL_TABLE, day) / "0000000001-0000000001.parquet"
    write_file(path, pa.Table.from_pylist([row], CONTROL_TABLE.schema))


def through_the_gate(archive: Path, data: Path, day: date) -> dict[str, float]:
    """How the learner's model does on the rows that came after it, what the gate says of it against
    the mean for everybody and against the night's own, and the file's largest difference to what
    the learner said.
    """
    context = Context("judge", archive_dir=archive, data_dir=data, day=day)
    found = load(context.result("online", "artefact.json"))
    record = newest_published(context)
    golden = next(
        each.golden for each in record.days if each.until_ms == found.card.trained_until_ms
    )
    rows = examples.read(context)
    mine = rows.at_ms > found.card.trained_until_ms
    mean = prior_model(float(rows.labels[~mine].mean()))
    verdict = judge(
        LogisticModel("mean", FEATURE_HASH, mean.weights, mean.bias),
        verify(found.model),
        np.asarray(rows.features[mine]),
        rows.labels[mine],
        rows.user[mine],
        {"campaign": rows.campaign[mine], "channel": rows.channel[mine]},
        rng=np.random.default_rng(13),
        size_bytes=len(found.model.onnx) * 3 // 4,
    )
    against = Registry(data).verdict(found.version)
    file = run(base64.b64decode(found.model.onnx), golden.inputs)
    return {
        "online_auc": round(found.card.metrics.auc.value, 5),
        "online_ece": round(found.card.metrics.ece, 5),
        "online_beats_mean": int(verdict.won),
        "online_beats_night": int(against is not None and against.won),
        "online_parity": float(np.abs(np.array(file) - golden.outputs).max()),
    }
