"""The click model as an ONNX file: written, read back and run.

Beckon serves one shape of graph, ``features → Gemm → Sigmoid → probability`` in double precision,
with the version and the features' hash among the file's properties. Importing this module imports
onnx; processes that never meet a model file do not.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Sequence
from typing import Any, Final

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto, helper

from schemas.model import Golden, Model
from scoring.features import BOUND, FEATURE_HASH, FEATURES
from scoring.model import LogisticModel

_IR_VERSION: Final = 8
_OPSET: Final = 13
_WIDTH: Final = len(FEATURES)


class WrongGraph(ValueError):
    """A file that is not the graph we serve; the message says in what."""


def to_onnx(weights: Sequence[float], bias: float, version: str) -> bytes:
    """The ONNX file of a logistic model; the same arguments give the same bytes."""
    return bytes(_graph(weights, bias, version).SerializeToString(deterministic=True))


def model_record(
    weights: Sequence[float],
    bias: float,
    version: str,
    *,
    rows: Sequence[Sequence[float]] = (),
    auc: float | None = None,
    trained_rows: int | None = None,
    updated_ms: int = 0,
    name: str = "ctr",
) -> Model:
    """A model ready for the control topic, with golden vectors.

    The golden inputs are ``rows`` (real examples, if there are any), the origin, and each feature
    by itself, so that no weight goes unproved.
    """
    model = LogisticModel(version, FEATURE_HASH, weights, bias)
    inputs = [[float(value) for value in row] for row in rows]
    inputs.append([0.0] * _WIDTH)
    reach = -bias if abs(bias) > 1 else 1.0  # to where the sigmoid is steep and shows a change
    for place, weight in enumerate(weights):
        step = max(-BOUND, min(BOUND, reach / weight)) if weight else 1.0
        inputs.append([step if column == place else 0.0 for column in range(_WIDTH)])
    data = to_onnx(weights, bias, version)
    return Model(
        id=name,
        version=version,
        onnx=base64.b64encode(data).decode("ascii"),
        sha256=hashlib.sha256(data).hexdigest(),
        feature_hash=FEATURE_HASH,
        golden=Golden(inputs, [model.score(row) for row in inputs]),
        auc=auc,
        trained_rows=trained_rows,
        updated_ms=updated_ms,
    )


def lift(data: bytes, version: str) -> tuple[tuple[float, ...], float]:
    """Weights and bias out of a file that `to_onnx` could have written for them.

    The file is only parsed, never run, and nothing it refers to is opened.

    Raises:
        WrongGraph: it is no ONNX file, or differs from ours in anything but the numbers.
    """
    try:
        found = onnx.ModelProto.FromString(data)
    except DecodeError as error:
        raise WrongGraph(f"its file is not ONNX: {error}") from error
    tensors = {tensor.name: tensor.raw_data for tensor in found.graph.initializer}
    weights = _doubles(tensors, "weights", _WIDTH)
    (bias,) = _doubles(tensors, "bias", 1)
    expected = _graph(weights, bias, version)
    if found != expected:
        raise WrongGraph(f"its file is not the graph we serve: {_difference(found, expected)}")
    return weights, bias


def run(data: bytes, inputs: Sequence[Sequence[float]]) -> list[float]:
    """The probabilities that ONNX Runtime gives; of a file that `lift` has approved."""
    return Graph(data).scores(inputs)


class Graph:
    """A file that `lift` has approved, ready to run many times."""

    def __init__(self, data: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            data, options, providers=["CPUExecutionProvider"]
        )

    def scores(self, inputs: Sequence[Sequence[float]]) -> list[float]:
        """The probabilities that ONNX Runtime gives."""
        import numpy as np

        (scores,) = self._session.run(None, {"features": np.array(inputs, dtype=np.float64)})
        return [float(score) for score in scores[:, 0]]


def _graph(weights: Sequence[float], bias: float, version: str) -> Any:
    if len(weights) != _WIDTH:
        raise ValueError(f"{len(weights)} weights; there are {_WIDTH} features")
    double = TensorProto.DOUBLE
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["features", "weights", "bias"], ["logit"]),
            helper.make_node("Sigmoid", ["logit"], ["probability"]),
        ],
        "ctr",
        [helper.make_tensor_value_info("features", double, ["rows", _WIDTH])],
        [helper.make_tensor_value_info("probability", double, ["rows", 1])],
        [
            helper.make_tensor("weights", double, [_WIDTH, 1], _packed(weights), raw=True),
            helper.make_tensor("bias", double, [1], _packed([bias]), raw=True),
        ],
    )
    model = helper.make_model(
        graph,
        ir_version=_IR_VERSION,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        producer_name="beckon",
    )
    helper.set_model_props(model, {"version": version, "feature_hash": FEATURE_HASH})
    return model


def _packed(values: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


def _doubles(tensors: dict[str, bytes], name: str, count: int) -> tuple[float, ...]:
    data = tensors.get(name)
    if data is None or len(data) != 8 * count:
        raise WrongGraph(f"it has no tensor {name!r} of {count} doubles")
    return struct.unpack(f"<{count}d", data)


def _difference(found: Any, expected: Any) -> str:
    """The first part in which two files differ."""
    for part in ("ir_version", "opset_import", "metadata_props", "functions", "producer_name"):
        if getattr(found, part) != getattr(expected, part):
            return f"its {part} is another"
    for part in ("node", "input", "output", "initializer", "name"):
        if getattr(found.graph, part) != getattr(expected.graph, part):
            return f"its graph's {part} is another"
    return "something is in it that does not belong there"
