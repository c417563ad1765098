"""What every model must pass to go live, and what `beckon train` promises of its own."""

from __future__ import annotations

import base64
import hashlib
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper

from jobs.trainers import ctr
from schemas.errors import RefusedControl
from schemas.model import Golden, Model
from schemas.wire import decode_control, encode
from scoring import onnx_export
from scoring.features import BOUND, FEATURE_HASH, FEATURES
from scoring.model import MAX_ONNX_BYTES, verify
from scoring.onnx_export import lift, model_record, run, to_onnx

WIDTH = len(FEATURES)
LEAST_MUTANTS = 400

draw = random.Random(11)
WEIGHTS = [draw.gauss(0, 1) for _ in range(WIDTH)]
BIAS = -2.5
ROWS = [[draw.uniform(-3, 3) for _ in range(WIDTH)] for _ in range(16)]
GOOD = model_record(WEIGHTS, BIAS, "ctr-good", rows=ROWS)
DATA = base64.b64decode(GOOD.onnx)

Mutant = tuple[str, Model]


def with_file(data: bytes, **changes: object) -> Model:
    """The good record around another file, its hash put right."""
    return replace(
        GOOD,
        onnx=base64.b64encode(data).decode(),
        sha256=hashlib.sha256(data).hexdigest(),
        **changes,
    )


def with_weights(weights: list[float], bias: float = BIAS) -> Model:
    return with_file(to_onnx(weights, bias, GOOD.version))


def with_golden(change: Callable[[list[list[float]], list[float]], None]) -> Model:
    inputs = [list(row) for row in GOOD.golden.inputs]
    outputs = list(GOOD.golden.outputs)
    change(inputs, outputs)
    return replace(GOOD, golden=Golden(inputs, outputs))


def with_graph(change: Callable[[onnx.ModelProto], object]) -> Model:
    proto = onnx.ModelProto.FromString(DATA)
    change(proto)
    return with_file(proto.SerializeToString())


def flipped(bit: int) -> bytes:
    data = bytearray(DATA)
    data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


def weight_bytes() -> set[int]:
    """Where in the file the numbers themselves are."""
    proto = onnx.ModelProto.FromString(DATA)
    places: set[int] = set()
    for tensor in proto.graph.initializer:
        start = DATA.index(tensor.raw_data)
        places |= set(range(start, start + len(tensor.raw_data)))
    return places


def damaged_files() -> Iterator[Mutant]:
    chance = random.Random(1)
    for bit in chance.sample(range(8 * len(DATA)), 150):
        yield f"bit {bit} flipped", replace(GOOD, onnx=base64.b64encode(flipped(bit)).decode())
    numbers = weight_bytes()
    others = [bit for bit in range(8 * len(DATA)) if bit // 8 not in numbers]
    for bit in chance.sample(others, 150):
        yield f"bit {bit} flipped, hash put right", with_file(flipped(bit))
    for length in chance.sample(range(len(DATA)), 60):
        yield f"cut to {length} bytes", with_file(DATA[:length])
    for size in (1, 7, 100, 600, 5_000):
        yield f"{size} random bytes", with_file(chance.randbytes(size))
        yield f"{size} bytes appended", with_file(DATA + chance.randbytes(size))
    yield "larger than allowed", with_file(DATA + bytes(MAX_ONNX_BYTES))
    yield "far larger than allowed", replace(GOOD, onnx="A" * 50_000_000)
    yield "not base64", replace(GOOD, onnx="?" + GOOD.onnx)
    yield "not even ASCII", replace(GOOD, onnx="ü" + GOOD.onnx)
    yield "the hash of something else", replace(GOOD, sha256="0" * 64)


def wrong_numbers() -> Iterator[Mutant]:
    chance = random.Random(2)
    for _ in range(40):
        first, second = chance.sample(range(WIDTH), 2)
        weights = list(WEIGHTS)
        weights[first], weights[second] = weights[second], weights[first]
        yield f"features {first} and {second} exchanged", with_weights(weights)
    for _ in range(10):
        yield "features permuted", with_weights(chance.sample(WEIGHTS, WIDTH))
    for place in range(WIDTH):
        weights = list(WEIGHTS)
        weights[place] += chance.choice([-1e-3, 1e-3])
        yield f"weight {place} off by a thousandth", with_weights(weights)
    for value in (math.nan, math.inf, -math.inf, 1e300, -1e7):
        for place in (0, WIDTH - 1):
            weights = list(WEIGHTS)
            weights[place] = value
            yield f"weight {place} is {value}", with_weights(weights)
        yield f"the bias is {value}", with_weights(WEIGHTS, value)
    for width in (0, 1, WIDTH - 1, WIDTH + 1, 2 * WIDTH):
        yield f"{width} weights", with_graph(lambda proto, width=width: resize(proto, width))


def resize(proto: onnx.ModelProto, width: int) -> None:
    tensor = proto.graph.initializer[0]
    tensor.raw_data = (tensor.raw_data * 2)[: 8 * width]
    tensor.dims[0] = width
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = width


def foreign_graphs() -> Iterator[Mutant]:
    def extra(kind: str, domain: str = "") -> Callable[[onnx.ModelProto], object]:
        node = helper.make_node(kind, ["probability"], ["more"], domain=domain)
        return lambda proto: proto.graph.node.append(node)

    for kind in ("Identity", "Relu", "Exp", "If", "Loop", "Scan"):
        yield f"an extra node {kind}", with_graph(extra(kind))
    for domain in ("ai.onnx.ml", "com.microsoft", "evil.example"):
        yield f"an operator of {domain}", with_graph(extra("Custom", domain))
        opset = helper.make_opsetid(domain, 1)
        yield (
            f"operators of {domain} imported",
            with_graph(lambda proto, opset=opset: proto.opset_import.append(opset)),
        )
    for location in ("/etc/passwd", "../../secret", "weights.bin", "/dev/zero"):
        for keep in (False, True):
            yield (
                f"weights in {location}, {keep=}",
                with_graph(
                    lambda proto, location=location, keep=keep: refer(proto, location, keep)
                ),
            )
    changes: dict[str, Callable[[onnx.ModelProto], object]] = {
        "another activation": lambda p: setattr(p.graph.node[1], "op_type", "Tanh"),
        "no activation": lambda p: p.graph.node.pop(),
        "no nodes": lambda p: p.graph.ClearField("node"),
        "no graph": lambda p: p.ClearField("graph"),
        "no weights": lambda p: p.graph.initializer.pop(0),
        "weights twice": lambda p: p.graph.initializer.append(p.graph.initializer[0]),
        "an attribute": lambda p: p.graph.node[0].attribute.append(
            helper.make_attribute("alpha", 2.0)
        ),
        "single precision": lambda p: setattr(
            p.graph.initializer[0], "data_type", TensorProto.FLOAT
        ),
        "another input": lambda p: setattr(p.graph.input[0], "name", "x"),
        "two inputs": lambda p: p.graph.input.append(p.graph.input[0]),
        "another output": lambda p: setattr(p.graph.output[0], "name", "logit"),
        "another opset": lambda p: setattr(p.opset_import[0], "version", 9),
        "a later format": lambda p: setattr(p, "ir_version", 99),
        "a function": lambda p: p.functions.append(
            helper.make_function("evil", "f", ["x"], ["y"], [], [helper.make_opsetid("", 13)])
        ),
        "no properties": lambda p: p.ClearField("metadata_props"),
        "the properties of another model": lambda p: helper.set_model_props(
            p, {"version": "ctr-other", "feature_hash": FEATURE_HASH}
        ),
        "the properties of other features": lambda p: helper.set_model_props(
            p, {"version": GOOD.version, "feature_hash": "0" * 16}
        ),
        "training instructions": lambda p: p.training_info.add(),
        "sparse weights": lambda p: p.graph.sparse_initializer.add(),
    }
    for what, change in changes.items():
        yield what, with_graph(change)


def refer(proto: onnx.ModelProto, location: str, keep: bool) -> None:
    tensor = proto.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    if not keep:
        tensor.ClearField("raw_data")


def wrong_papers() -> Iterator[Mutant]:
    for other in ("", "0" * 16, FEATURE_HASH.upper(), FEATURE_HASH[:-1], FEATURE_HASH + "0"):
        if other != FEATURE_HASH:
            yield f"made for the features {other!r}", replace(GOOD, feature_hash=other)
    yield "another version than its file", replace(GOOD, version="ctr-other")
    yield (
        "the name of no model",
        replace(model_record(WEIGHTS, BIAS, "prior", rows=ROWS), version="prior"),
    )
    yield "no golden vectors", replace(GOOD, golden=Golden([], []))
    yield "goldens without an end", replace(GOOD, golden=Golden(ROWS * 100, [0.5] * 1_600))
    yield "one output too few", with_golden(lambda _, outputs: outputs.pop())
    yield "a golden row too narrow", with_golden(lambda inputs, _: inputs[3].pop())
    yield "a golden row too wide", with_golden(lambda inputs, _: inputs[3].append(0.0))
    for value in (math.nan, math.inf, 2 * BOUND):
        yield (
            f"a golden input of {value}",
            with_golden(lambda inputs, _, value=value: inputs[0].__setitem__(0, value)),
        )
    for value in (math.nan, -0.1, 1.1, math.inf):
        yield (
            f"a golden output of {value}",
            with_golden(lambda _, outputs, value=value: outputs.__setitem__(0, value)),
        )
    for row in range(10):
        yield (
            f"golden output {row} off by 1e-5",
            with_golden(lambda _, outputs, row=row: outputs.__setitem__(row, outputs[row] + 1e-5)),
        )
    for place in range(5):
        yield (
            f"goldens that do not try feature {place}",
            with_golden(
                lambda inputs, _, place=place: [row.__setitem__(place, 0.0) for row in inputs]
            ),
        )


MUTANTS = [*damaged_files(), *wrong_numbers(), *foreign_graphs(), *wrong_papers()]


def test_a_good_model_goes_live() -> None:
    assert verify(GOOD).score(ROWS[0]) == pytest.approx(GOOD.golden.outputs[0], abs=1e-12)


def test_a_good_model_goes_live_after_the_wire() -> None:
    record = decode_control(encode(GOOD))
    assert isinstance(record, Model)
    assert verify(record).version == GOOD.version


class _Ran(Exception):
    """A model that must be refused was handed to the runtime."""


def test_every_mutant_is_refused_with_a_reason_and_reaches_no_runtime(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: object) -> list[float]:
        raise _Ran

    monkeypatch.setattr(onnx_export, "run", never)
    refusals: dict[str, RefusedControl] = {}
    survivors = []
    for what, record in MUTANTS:
        try:
            verify(record)
        except RefusedControl as refusal:
            refusals[what] = refusal
        except _Ran:
            survivors.append(what)
        else:
            survivors.append(what)
    assert not survivors
    assert all(refusal.reason == "refused_model" for refusal in refusals.values())
    assert all(10 < len(refusal.detail) < 400 for refusal in refusals.values())
    assert len(MUTANTS) >= LEAST_MUTANTS


def test_a_flip_within_a_number_is_refused_or_moves_no_score() -> None:
    """With its hash put right it is another model, which may differ by nothing that shows."""
    numbers = sorted(weight_bytes())
    chance = random.Random(3)
    refused = 0
    for _ in range(200):
        bit = 8 * chance.choice(numbers) + chance.randrange(8)
        try:
            model = verify(with_file(flipped(bit)))
        except RefusedControl:
            refused += 1
            continue
        for row, promised in zip(GOOD.golden.inputs, GOOD.golden.outputs, strict=True):
            assert model.score(row) == pytest.approx(promised, abs=1e-6)
    assert refused > 50


def test_a_file_outside_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even with weights lying ready where the model points, it is refused."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(bytes(8 * WIDTH))
    with pytest.raises(RefusedControl, match="no tensor 'weights'"):
        verify(with_graph(lambda proto: refer(proto, "weights.bin", keep=False)))


def test_a_runtime_that_disagrees_with_the_lifted_weights_refuses_the_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def off(data: bytes, inputs: list[list[float]]) -> list[float]:
        return [score + 1e-5 for score in run(data, inputs)]

    monkeypatch.setattr(onnx_export, "run", off)
    with pytest.raises(RefusedControl, match="ONNX Runtime give"):
        verify(GOOD)


@pytest.mark.parametrize("bias", [-9.0, -3.0, 0.0, 1e-9, 4.0])
def test_golden_vectors_try_every_weight_whatever_the_bias(bias: float) -> None:
    record = model_record(WEIGHTS, bias, "ctr-1")
    verify(record)
    for place in range(WIDTH):
        weights = list(WEIGHTS)
        weights[place] += 0.05
        data = to_onnx(weights, bias, "ctr-1")
        worse = replace(
            record, onnx=base64.b64encode(data).decode(), sha256=hashlib.sha256(data).hexdigest()
        )
        with pytest.raises(RefusedControl):
            verify(worse)


@pytest.fixture(scope="module")
def trained() -> tuple[object, ...]:
    features, labels = market(4_000, seed=5)
    return ctr.fit, features, labels, ctr.fit(features, labels, version="t-1", updated_ms=7)


def market(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose clicks follow three features; one column never moves."""
    rng = np.random.default_rng(seed)
    features = rng.normal(2.0, 0.8, size=(rows, WIDTH)).clip(-BOUND, BOUND)
    features[:, 7] = 1.0
    logit = 1.5 * features[:, 0] - 1.0 * features[:, 3] + 0.8 * features[:, 20] - 5.2
    labels = (rng.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.float64)
    return features, labels


def test_what_a_trainer_makes_passes_verification(trained: tuple) -> None:  # type: ignore[type-arg]
    training = trained[3]
    model = verify(training.model)
    assert model.version == training.model.version == "t-1"
    assert training.model.updated_ms == 7
    assert training.model.auc == training.auc


def test_offline_and_online_scores_are_the_same(trained: tuple) -> None:  # type: ignore[type-arg]
    _, features, _, training = trained
    model = verify(training.model)
    data = base64.b64decode(training.model.onnx)
    rows = features[:200].tolist()
    assert run(data, rows) == pytest.approx([model.score(row) for row in rows], abs=1e-9)


def test_the_same_rows_give_the_same_model(trained: tuple) -> None:  # type: ignore[type-arg]
    fit, features, labels, training = trained
    again = fit(features.copy(), labels.copy(), version="t-1", updated_ms=7)
    assert again.model == training.model


def test_a_trained_model_ranks_and_is_calibrated(trained: tuple) -> None:  # type: ignore[type-arg]
    training = trained[3]
    fresh, answers = market(6_000, seed=6)
    model = verify(training.model)
    scores = np.array([model.score(row) for row in fresh.tolist()])
    assert training.auc > 0.75
    assert training.log_loss < 0.95 * training.base_log_loss
    assert scores.mean() == pytest.approx(answers.mean(), rel=0.12)
    top = scores > np.quantile(scores, 0.8)
    assert scores[top].mean() == pytest.approx(answers[top].mean(), rel=0.25)
    assert {name for name, _ in training.importance[:3]} == {
        FEATURES[0],
        FEATURES[3],
        FEATURES[20],
    }


def test_a_feature_that_never_moved_gets_no_weight(trained: tuple) -> None:  # type: ignore[type-arg]
    data = base64.b64decode(trained[3].model.onnx)
    weights, _ = lift(data, "t-1")
    assert weights[7] == 0.0
