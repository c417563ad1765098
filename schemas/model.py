"""Records of models: what scores in the stream, and what the stream's own learner came to."""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.decision import Ratio
from schemas.event import SCHEMA_VERSION
from schemas.triggers import Slug


class Golden(Struct, frozen=True):
    """Inputs (n rows of features) and the probabilities (n) that the model must give for them."""

    inputs: list[list[float]]
    outputs: list[float]


CANARY = "ctr-canary"
"""Id of the model that is tried out beside the one in force."""

VARIANT_MODEL = "variant-"
"""How the ids of models begin that score the customers of an experiment's variants only."""


def variant_model_id(version: str) -> str:
    """Under which id a version is published for the variants that name it."""
    return VARIANT_MODEL + sha256(version.encode()).hexdigest()[:16]


class Model(Struct, frozen=True, tag_field="kind", tag="model"):
    """A logistic CTR model as ONNX, with what is needed to prove it before use.

    That of the id `CANARY` scores only a ``share`` of the customers, by a hash of their id and its
    version. With a share of 0 it is proved and held, and scores nobody. One of a `variant_model_id`
    scores the customers of the variants that name its version; every other is in force for all the
    rest.
    """

    id: Slug
    version: Annotated[str, Meta(min_length=1, max_length=64)]
    onnx: Annotated[str, Meta(description="the ONNX file, base64")]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    feature_hash: str
    golden: Golden
    auc: float | None = None
    trained_rows: int | None = None
    updated_ms: int = 0
    schema_version: int = SCHEMA_VERSION
    share: Ratio = 1.0


class LearnedDay(Struct, frozen=True):
    """A logistic model as it was when labels up to ``until_ms`` had taught it.

    ``golden`` is what the learner itself said of some rows at that moment.
    """

    until_ms: int
    examples: Annotated[int, Meta(ge=0)]
    weights: tuple[float, ...]
    bias: float
    golden: Golden


class Challenger(Struct, frozen=True, tag_field="kind", tag="challenger"):
    """What the model that learns in the stream had come to at the end of each of its last days.

    The stream decides nothing by it. The night proves and judges it as it does its own models, on
    what came after, so more than one day is kept; the newest is last.
    """

    id: Literal["ctr"]
    feature_hash: str
    days: Annotated[tuple[LearnedDay, ...], Meta(max_length=7)]
    updated_ms: int = 0
    schema_version: int = SCHEMA_VERSION
