"""The graphs of the night's models: a linear part and the link behind it.

Importing this imports onnx.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Link = Literal["sigmoid", "exp", "cloglog"]
"""Chance of a logistic model; rate of a log-linear one; chance of an event whose hazard grows with
a power of time, 1 - exp(-exp(x)).
"""
CLIP: Final = 1e-6

_IR_VERSION: Final = 8
_OPSETS: Final = (helper.make_opsetid("", 13),)


def linear(weights: Sequence[float], bias: float, link: Link) -> bytes:
    """``features`` [rows, inputs] → ``prediction`` [rows, 1], in double precision."""
    width = len(weights)
    nodes = [helper.make_node("Gemm", ["features", "weights", "bias"], ["inner"])]
    nodes += {
        "sigmoid": [helper.make_node("Sigmoid", ["inner"], ["prediction"])],
        "exp": [helper.make_node("Exp", ["inner"], ["prediction"])],
        "cloglog": [
            helper.make_node("Exp", ["inner"], ["hazard"]),
            helper.make_node("Neg", ["hazard"], ["minus"]),
            helper.make_node("Exp", ["minus"], ["survival"]),
            helper.make_node("Sub", ["one", "survival"], ["prediction"]),
        ],
    }[link]
    values = {"weights": np.array(weights, float).reshape(-1, 1), "bias": np.array([bias], float)}
    if link == "cloglog":
        values["one"] = np.ones(1)
    graph = helper.make_graph(
        nodes,
        link,
        [helper.make_tensor_value_info("features", TensorProto.DOUBLE, ["rows", width])],
        [helper.make_tensor_value_info("prediction", TensorProto.DOUBLE, ["rows", 1])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    made = helper.make_model(graph, ir_version=_IR_VERSION, opset_imports=list(_OPSETS))
    return bytes(made.SerializeToString(deterministic=True))


def calibrated(exported: bytes, platt: tuple[float, float], *, chances: bool) -> bytes:
    """A classifier that skl2onnx wrote, with Platt's sigmoid built in behind it.

    ``chances`` for one that gives probabilities, of which the log-odds are taken; else it gives
    distances from its border.
    """
    model = onnx.ModelProto.FromString(exported)
    graph = model.graph
    raw = graph.output[1].name
    values: dict[str, Any] = {
        "platt_slope": np.float32(platt[0]),
        "platt_shift": np.float32(platt[1]),
    }
    nodes = []
    if chances:
        values |= {
            "platt_low": np.float32(CLIP),
            "platt_high": np.float32(1 - CLIP),
            "platt_one": np.float32(1),
            "platt_last": np.array([1], np.int64),
        }
        nodes += [
            helper.make_node("Gather", [raw, "platt_last"], ["platt_chance"], axis=1),
            helper.make_node(
                "Clip", ["platt_chance", "platt_low", "platt_high"], ["platt_clipped"]
            ),
            helper.make_node("Sub", ["platt_one", "platt_clipped"], ["platt_other"]),
            helper.make_node("Div", ["platt_clipped", "platt_other"], ["platt_odds"]),
            helper.make_node("Log", ["platt_odds"], ["platt_margin"]),
        ]
        margin = "platt_margin"
    else:
        values["platt_last"] = np.array([-1], np.int64)
        nodes.append(helper.make_node("Gather", [raw, "platt_last"], ["platt_distance"], axis=1))
        margin = "platt_distance"
    nodes += [
        helper.make_node("Mul", [margin, "platt_slope"], ["platt_scaled"]),
        helper.make_node("Add", ["platt_scaled", "platt_shift"], ["platt_logit"]),
        helper.make_node("Sigmoid", ["platt_logit"], ["prediction"]),
    ]
    graph.node.extend(nodes)
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()
    )
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["rows", 1]))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
