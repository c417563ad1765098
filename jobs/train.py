"""`beckon train`: fit the click model on what the stream has seen, show it, put it in force."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from math import exp
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from jobs.settings import Settings
from jobs.trainers import ctr
from jobs.trainers.base import Rows, Training, join
from schemas.control import control_key
from schemas.errors import UserMistake
from schemas.learning import Example, Reward
from schemas.model import Model
from schemas.topics import CONTROL, EXAMPLES, REWARDS
from schemas.wire import encode
from scoring.features import MEANING
from scoring.model import verify


def train(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE]...",
            help="JSON lines of examples and rewards; the topics of the stream when left out",
        ),
    ] = None,
    publish: Annotated[
        bool, typer.Option("--publish", help="put the model in force in the running stream")
    ] = False,
    top: Annotated[int, typer.Option(min=1, help="how many features to show")] = 12,
) -> None:
    """Fit the click model on examples and rewards, and say what it learned.

    An example is what the stream knew when it spoke; its label is whether the customer clicked
    before the attribution window closed. The newest fifth is held out and measures the model.

    Without --publish nothing changes. With it the model goes to the control topic; the stream
    proves it again (file, graph, features, golden vectors) and swaps it in without a restart,
    and every decision from then on names its version. To return to an older model, train from
    older files and publish that.

    `beckon train` shows what can be learned from the stream so far.

    `beckon train --publish` puts it in force as well.

    `beckon train history.jsonl` learns from a file instead.
    """
    settings = Settings()
    rows = join(from_files(files) if files else from_topics(settings))
    now = time.time()
    training = fit(rows, now)
    show(training, rows, top)
    if publish:
        put_in_force(training.model, settings)
        Console().print(f"Published. Decisions will name [bold]{training.model.version}[/].")
    else:
        Console().print("Not published; add --publish to put it in force.")


def fit(rows: Rows, now_s: float) -> Training:
    """Train on rows; the version names the minute and the rows. Proved before it is returned."""
    moment = datetime.fromtimestamp(now_s, UTC)
    training = ctr.fit(
        rows.features,
        rows.labels,
        version=f"ctr-{moment:%Y%m%dT%H%MZ}-{rows.digest()}",
        updated_ms=round(now_s * 1_000),
    )
    verify(training.model)
    return training


def from_files(files: Iterable[Path]) -> Iterator[Example | Reward]:
    """Examples and rewards of JSON-lines files, mixed in any order.

    Raises:
        UserMistake: no such file, or a line that is neither.
    """
    for path in files:
        try:
            lines = path.open("rb")
        except OSError as error:
            raise UserMistake(f"cannot read {path}: {error.strerror}") from error
        with lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    try:
                        yield decode_record(line)
                    except (msgspec.DecodeError, UnicodeDecodeError) as error:
                        raise UserMistake(
                            f"{path}, line {number} is neither an example nor a reward: {error}"
                        ) from error


def from_topics(settings: Settings) -> Iterator[Example | Reward]:
    """Examples and rewards that the stream has published."""
    from jobs.kafka import read_to_end

    for message in read_to_end(settings, [EXAMPLES, REWARDS]):
        value = message.value()
        if value is not None:
            yield decode_record(value)


def decode_record(line: bytes) -> Example | Reward:
    """An example or a reward, whichever it is."""
    record: Any = msgspec.json.decode(line)
    if isinstance(record, dict) and "features" in record:
        return msgspec.convert(record, Example)
    return msgspec.convert(record, Reward)


def put_in_force(model: Model, settings: Settings) -> None:
    """Publish a model to the control topic and wait until the broker has it."""
    from jobs.kafka import ensure_topics, producer

    ensure_topics(settings)
    out = producer(settings)
    failures: list[str] = []
    out.produce(
        CONTROL,
        key=control_key(model),
        value=encode(model),
        on_delivery=lambda error, _: failures.append(str(error)) if error else None,
    )
    if out.flush(30) or failures:
        raise UserMistake(
            f"the broker at {settings.bootstrap} did not take the model"
            + (f": {failures[0]}" if failures else " within 30 s; is it up? `beckon stack status`")
        )


def show(training: Training, rows: Rows, top: int) -> None:
    """Print how good a model is and what moves it, in words."""
    console = Console()
    left_out = ", ".join(
        f"{count} {reason.replace('_', ' ')}" for reason, count in rows.skipped.items() if count
    )
    console.print(
        f"[bold]{training.model.version}[/]: {training.rows} examples, {training.clicks} clicked"
        + (f" (left out: {left_out})" if left_out else "")
    )
    gain = 1 - training.log_loss / training.base_log_loss
    console.print(
        f"On the newest {training.held_out_rows}: AUC {training.auc:.3f}, log loss "
        f"{training.log_loss:.4f}, {gain:+.1%} against the mean for everybody "
        f"({training.base_log_loss:.4f})."
    )
    table = Table(
        "feature", "odds of a click", "what it is", title="What moves it, one deviation each"
    )
    for name, slope in training.importance[:top]:
        table.add_row(name, f"× {exp(slope):.2f}", MEANING[name])
    console.print(table)
