from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner

from jobs import train as command
from jobs.trainers.base import join
from jobs.trainers.ctr import LEAST_ROWS, fit
from schemas.errors import UserMistake
from schemas.learning import Example, Reward
from schemas.model import Model
from schemas.wire import encode
from scoring.features import FEATURE_HASH, FEATURES

WIDTH = len(FEATURES)


def example(number: int, at_ms: int | None = None, **fields: object) -> Example:
    return Example(
        **{
            "decision_id": f"d{number}",
            "user_id": f"u{number}",
            "campaign_id": "on-cart",
            "channel": "sms",
            "features": [float(number)] * WIDTH,
            "feature_hash": FEATURE_HASH,
            "score": 0.1,
            "propensity": 0.5,
            "model_version": "prior",
            "decided_at_ms": number if at_ms is None else at_ms,
            **fields,
        }
    )


def reward(number: int, kind: str) -> Reward:
    return Reward(f"d{number}", f"u{number}", "on-cart", "sms", kind, float(kind == "clicked"), 1)  # type: ignore[arg-type]


def history(rows: int) -> Iterator[Example | Reward]:
    rng = np.random.default_rng(1)
    for number in range(rows):
        features = rng.normal(size=WIDTH)
        clicked = rng.random() < 1 / (1 + np.exp(1.5 - 2 * features[0]))
        yield example(number, features=features.tolist())
        yield reward(number, "clicked" if clicked else "expired")


def test_examples_get_the_label_of_their_reward_in_the_order_of_time() -> None:
    rows = join(
        [
            reward(2, "clicked"),
            example(1, 30),
            example(2, 10),
            example(3, 20),
            reward(1, "expired"),
            reward(3, "clicked"),
        ]
    )
    assert rows.features[:, 0].tolist() == [2.0, 3.0, 1.0]
    assert rows.labels.tolist() == [1.0, 1.0, 0.0]


def test_a_click_outweighs_an_expiry_in_either_order_and_a_conversion_is_no_label() -> None:
    rows = join(
        [
            *(example(number) for number in (1, 2, 3, 4)),
            reward(1, "clicked"),
            reward(1, "expired"),
            reward(2, "expired"),
            reward(2, "clicked"),
            reward(3, "converted"),
            reward(4, "expired"),
        ]
    )
    assert rows.labels.tolist() == [1.0, 1.0, 0.0]
    assert rows.skipped["not_answered"] == 1


def test_clicks_whose_window_is_still_open_are_left_out_campaign_by_campaign() -> None:
    """Their neighbours that will not click are not known yet: they would look like sure things."""
    rows = join(
        [
            *(example(number) for number in (1, 2, 3)),
            *(example(number, campaign_id="win-back") for number in (4, 5, 6)),
            *(reward(number, "clicked") for number in (1, 3, 4, 6)),
            *(reward(number, "expired") for number in (2, 5)),
        ]
    )
    assert rows.features[:, 0].tolist() == [1.0, 2.0, 4.0, 5.0]
    assert rows.skipped["window_open"] == 2


def test_repeated_records_change_nothing() -> None:
    once = list(history(20))
    assert join(once * 2).digest() == join(once).digest()


def test_what_cannot_be_learned_from_is_left_out_and_counted() -> None:
    rows = join(
        [
            example(1, holdout=True),
            example(2, feature_hash="other"),
            example(3, features=[1.0]),
            example(4),
            example(5),
            reward(1, "expired"),
            reward(2, "clicked"),
            reward(3, "clicked"),
            reward(5, "clicked"),
        ]
    )
    assert len(rows.labels) == 0
    assert rows.skipped == {
        "held_out": 1,
        "other_features": 2,
        "not_answered": 1,
        "window_open": 1,
    }


def test_too_few_rows_are_a_mistake_that_says_how_many_are_needed() -> None:
    rows = join(history(LEAST_ROWS - 1))
    with pytest.raises(UserMistake, match=rf"{LEAST_ROWS - 1} labelled.*{LEAST_ROWS} are needed"):
        fit(rows.features, rows.labels, version="v", updated_ms=0)


def test_rows_without_clicks_are_a_mistake() -> None:
    with pytest.raises(UserMistake, match="0 clicks"):
        fit(np.ones((500, WIDTH)), np.zeros(500), version="v", updated_ms=0)


def test_a_version_names_the_trainer_the_minute_and_the_rows() -> None:
    rows = join(history(600))
    training = command.fit(rows, 1_795_466_580.0)
    assert training.model.version == f"ctr-20261123T2043Z-{rows.digest()}"
    assert training.model.updated_ms == 1_795_466_580_000


@pytest.fixture
def run_train() -> object:
    app = Typer(pretty_exceptions_enable=False)
    app.command()(command.train)
    return lambda *args: CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "history.jsonl"
    path.write_bytes(b"\n".join(encode(record) for record in history(600)) + b"\n\n")
    return path


def test_training_from_a_file_says_what_it_learned_and_publishes_nothing(
    run_train, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[Model] = []
    monkeypatch.setattr(command, "put_in_force", lambda model, _: published.append(model))
    result = run_train(file)
    assert result.exit_code == 0, result.output
    assert "600 examples" in result.output
    assert "AUC 0." in result.output
    assert FEATURES[0] in result.output
    assert "Not published" in result.output
    assert not published


def test_publish_puts_the_model_in_force(
    run_train, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[Model] = []
    monkeypatch.setattr(command, "put_in_force", lambda model, _: published.append(model))
    result = run_train(file, "--publish")
    assert result.exit_code == 0, result.output
    assert [model.id for model in published] == ["ctr"]
    assert published[0].version in result.output


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"{broken", "line 1 is neither"),
        (b"[1, 2]", "line 1 is neither"),
        (b'{"features": 3}', "line 1 is neither"),
        (b"\xff\xfe", "line 1 is neither"),
    ],
)
def test_a_line_that_is_no_record_is_named(
    run_train, tmp_path: Path, content: bytes, complaint: str
) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_bytes(content)
    result = run_train(path)
    assert isinstance(result.exception, UserMistake)
    assert complaint in str(result.exception)


def test_a_missing_file_is_a_mistake(run_train, tmp_path: Path) -> None:
    missing = run_train(tmp_path / "none.jsonl")
    assert isinstance(missing.exception, UserMistake)
    assert "cannot read" in str(missing.exception)
