from __future__ import annotations

import random
from math import log
from pathlib import Path

import pytest
from msgspec.structs import replace

from jobs.audit.other_model import Foretold, foretold, read_model, sentence
from jobs.models.artefact import save
from jobs.settings import Settings
from schemas.errors import UserMistake
from schemas.learning import Example, Reward
from schemas.model import Model
from schemas.wire import encode
from scoring.features import FEATURE_HASH, FEATURES
from scoring.onnx_export import model_record
from tests.builders import policy
from tests.unit.models.made import artefact


def made(version: str = "other") -> Model:
    draw = random.Random(3)
    return model_record([draw.uniform(-0.3, 0.3) for _ in FEATURES], -2.0, version, updated_ms=1)


def shown(number: int, score: float) -> Example:
    features = [0.0] * len(FEATURES)
    return Example(
        f"d{number}", "ann", "spring", "sms", features, FEATURE_HASH, score, 1.0, "old", number,
        channels=("sms",),
    )  # fmt: skip


def answered(number: int, kind: str) -> Reward:
    return Reward(f"d{number}", "ann", "spring", "sms", kind, 0.0, number)  # type: ignore[arg-type]


def test_both_models_are_held_against_the_answers_that_are_all_in() -> None:
    records = [
        shown(1, 0.5), shown(2, 0.25), shown(3, 0.9),
        answered(1, "clicked"), answered(2, "expired"), answered(3, "clicked"),  # 3 is still open
    ]  # fmt: skip
    even = model_record([0.1] * len(FEATURES), 0.0, "other", updated_ms=1)
    found = foretold(records, even)
    assert found is not None
    assert (found.messages, found.clicks) == (2, 1)
    assert found.log_loss == pytest.approx(-(log(0.5) + log(0.75)) / 2)
    assert found.other_log_loss == pytest.approx(log(2), abs=1e-6)
    assert (found.promised, found.other_promised) == pytest.approx((0.75, 1.0))


def test_what_is_not_answered_says_so() -> None:
    found = foretold([shown(1, 0.5), answered(1, "clicked")], made())
    assert found is None
    assert "cannot be told" in sentence(found, "other")


def test_better_and_worse_are_said_with_both_figures() -> None:
    worse = Foretold(2_000, 90, 0.2, 0.3, 88.0, 140.2)
    assert sentence(worse, "v2") == (
        "v2 foretells clicks no better: log loss 0.30000 against 0.20000 of what decided, over "
        "2,000 messages; it expected 140.2 clicks, what decided 88.0, and 90 came"
    )
    assert "clicks better" in sentence(replace(worse, other_log_loss=0.1), "v2")


def test_a_model_is_a_version_a_record_or_an_artefact(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    record = replace(made(), id="canary")
    path = tmp_path / "model.json"
    path.write_bytes(encode(record))
    found = read_model(settings, str(path))
    assert (found.id, found.version) == ("ctr", "other")
    assert found.updated_ms > record.updated_ms
    kept = artefact()
    file = tmp_path / "models" / kept.version / "artefact.json"
    save(file, kept)
    assert read_model(settings, kept.version).version == kept.version
    assert read_model(settings, str(file)).version == kept.version


def test_what_is_no_model_is_refused_with_the_reason(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with pytest.raises(UserMistake, match=r"no model 'ctr-9' in .*; there are: none yet"):
        read_model(settings, "ctr-9")
    path = tmp_path / "model.json"
    path.write_bytes(encode(policy()))
    with pytest.raises(UserMistake, match="is a policy, not a model"):
        read_model(settings, str(path))
    path.write_bytes(encode(replace(made(), sha256="0" * 64)))
    with pytest.raises(UserMistake, match=r"the stream would refuse it: .*SHA-256"):
        read_model(settings, str(path))
    path.write_bytes(b"[]")
    with pytest.raises(UserMistake, match="no model artefact"):
        read_model(settings, str(path))
