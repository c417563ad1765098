"""A model that the night itself scores with: an ONNX file, what goes into it, and rows to prove it.

The stream's click model is `schemas.model.Model`; this is every other. Each takes ``features``
[rows, inputs] and gives ``prediction`` [rows, 1], whatever it was trained as.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
from msgspec import Struct

from jobs.trainers.base import Matrix
from schemas.errors import UserMistake
from schemas.model import Golden

TOLERANCE: Final = 1e-5
GOLDEN_ROWS: Final = 16
MOST_BYTES: Final = 32 * 2**20
DOMAINS: Final = ("", "ai.onnx", "ai.onnx.ml")


class Learned(Struct, frozen=True, tag_field="kind", tag="learned"):
    """``id`` is the trainer's name, ``feature_hash`` that of the names of the inputs in order."""

    id: str
    version: str
    onnx: str
    sha256: str
    inputs: tuple[str, ...]
    feature_hash: str
    golden: Golden
    updated_ms: int = 0


def learned(
    name: str, version: str, data: bytes, inputs: Sequence[str], rows: Matrix, updated_ms: int
) -> Learned:
    """A model ready to be sealed; the golden outputs are what its file gives for some ``rows``."""
    golden = np.asarray(rows[:: max(1, len(rows) // GOLDEN_ROWS)][:GOLDEN_ROWS], float)
    return Learned(
        id=name,
        version=version,
        onnx=base64.b64encode(data).decode("ascii"),
        sha256=hashlib.sha256(data).hexdigest(),
        inputs=tuple(inputs),
        feature_hash=hash_of(inputs),
        golden=Golden(golden.tolist(), run(data, golden).tolist()),
        updated_ms=updated_ms,
    )


def hash_of(inputs: Sequence[str]) -> str:
    """Names what the columns mean; a model for other inputs has another."""
    return hashlib.sha256("\n".join(inputs).encode()).hexdigest()[:16]


def predict(record: Learned, rows: Matrix) -> Matrix:
    """What a proved model says of rows of its inputs."""
    return run(base64.b64decode(record.onnx), rows)


def prove_learned(record: Learned) -> None:
    """The file is whole, for these inputs, self-contained, and gives the golden outputs.

    Raises:
        UserMistake: what is wrong with it.
    """

    def refuse(why: str) -> UserMistake:
        return UserMistake(f"model {record.version!r}: {why}; train it anew")

    if len(record.onnx) > MOST_BYTES * 4 // 3 + 4:
        raise refuse(f"its file is larger than {MOST_BYTES} bytes")
    try:
        data = base64.b64decode(record.onnx, validate=True)
    except ValueError as error:
        raise refuse(f"its file is not base64: {error}") from error
    if hashlib.sha256(data).hexdigest() != record.sha256:
        raise refuse("its file is not the one that was hashed")
    if record.feature_hash != hash_of(record.inputs):
        raise refuse("its inputs are not those it was made for")
    wrong = _foreign(data)
    if wrong:
        raise refuse(wrong)
    rows, promised = np.array(record.golden.inputs, float), np.array(record.golden.outputs, float)
    if rows.ndim != 2 or rows.shape != (len(promised), len(record.inputs)) or not len(rows):
        raise refuse("its golden rows do not fit its inputs")
    given = run(data, rows)
    if not (np.abs(given - promised) <= TOLERANCE * np.maximum(1.0, np.abs(promised))).all():
        raise refuse("it does not give its golden outputs")


def run(data: bytes, rows: Matrix) -> Matrix:
    """What ONNX Runtime gives for rows; of a file of our own making or one that was proved."""
    session = _session(data)
    single = session.get_inputs()[0].type == "tensor(float)"
    given = np.asarray(rows, np.float32 if single else np.float64)
    if not len(given):
        return np.zeros(0)
    (found,) = session.run(["prediction"], {"features": given})
    column: Matrix = np.asarray(found, np.float64).reshape(len(given), -1)[:, -1]
    return column


@lru_cache(maxsize=4)
def _session(data: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _foreign(data: bytes) -> str:
    """What there is in a file that a night's model never has; empty for none."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        found = onnx.ModelProto.FromString(data)
    except DecodeError as error:
        return f"its file is not ONNX: {error}"
    if any(node.domain not in DOMAINS for node in found.graph.node) or found.functions:
        return "it has operators of its own"
    if any(tensor.external_data for tensor in found.graph.initializer):
        return "it refers to other files"
    if [each.name for each in found.graph.output] != ["prediction"]:
        return "it gives something else than a prediction"
    return ""
