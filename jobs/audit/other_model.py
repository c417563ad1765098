"""Another click model on the log: how well it would have foretold who clicks.

What was shown is scored again on the features that the stream saw at the decision, so both models
are held against the same messages and the same answers.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from jobs.evaluate import labelled
from jobs.models.artefact import load
from jobs.models.registry import CHAMPION, Registry
from jobs.settings import Settings
from schemas.control import control_key
from schemas.errors import InvalidRecord, RefusedControl, UserMistake
from schemas.learning import Example, Reward
from schemas.model import Model
from schemas.wire import decode_control
from scoring.model import log_loss, verify


class Foretold(Struct, frozen=True):
    """Log losses of the messages whose answers are all in: of what decided, and of the other.

    ``promised`` and ``other_promised`` are the clicks that each expected.
    """

    messages: int
    clicks: int
    log_loss: float
    other_log_loss: float
    promised: float
    other_promised: float


def read_model(settings: Settings, name: str) -> Model:
    """A version of ``beckon models list``, or the file of a control record or an artefact.

    It comes as the champion, newer than any.

    Raises:
        UserMistake: there is none, or the stream would refuse it, with the reason.
    """
    path = Path(name)
    if not path.is_file():
        found = Registry(settings.data_dir).artefact(name).model
    else:
        try:
            record = decode_control(path.read_bytes())
        except InvalidRecord:
            found = load(path).model
        else:
            if not isinstance(record, Model):
                kind = control_key(record).partition("/")[0]
                raise UserMistake(f"{path} is a {kind}, not a model")
            found = record
    try:
        verify(found)
    except RefusedControl as error:
        raise UserMistake(f"{name}: the stream would refuse it: {error.detail}") from error
    return replace(found, id=CHAMPION, updated_ms=time.time_ns() // 1_000_000)


def foretold(records: Iterable[Example | Reward], model: Model) -> Foretold | None:
    """Hold the model against what decided; None where no answer is all in."""
    other = verify(model)
    shown = [
        (example.score, other.score(example.features), clicked)
        for example, clicked, _ in labelled(records, "clicks")
        if example.feature_hash == other.feature_hash
    ]
    if not shown:
        return None
    count = len(shown)
    return Foretold(
        count,
        sum(clicked for *_, clicked in shown),
        sum(log_loss(score, clicked) for score, _, clicked in shown) / count,
        sum(log_loss(score, clicked) for _, score, clicked in shown) / count,
        sum(score for score, *_ in shown),
        sum(score for _, score, _ in shown),
    )


def sentence(found: Foretold | None, version: str) -> str:
    """The same in words."""
    if found is None:
        return f"how well {version} foretells clicks cannot be told: no answer is all in yet"
    better = "better" if found.other_log_loss < found.log_loss else "no better"
    return (
        f"{version} foretells clicks {better}: log loss {found.other_log_loss:.5f} against "
        f"{found.log_loss:.5f} of what decided, over {found.messages:,} messages; it expected "
        f"{found.other_promised:,.1f} clicks, what decided {found.promised:,.1f}, and "
        f"{found.clicks:,} came"
    )
