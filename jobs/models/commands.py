"""``beckon models``: what models there are, what they promise, and which is in force."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from jobs.models.artefact import Artefact
from jobs.models.guard import LEAST
from jobs.models.judge import Verdict
from jobs.models.registry import Announce, Announcement, Registry
from jobs.models.rollout import (
    HOUR_MS,
    NO_TRIAL,
    ROLLED_BACK,
    STAGES,
    Rules,
    State,
    roll_back,
    step,
)
from jobs.settings import Settings
from jobs.trainers.learned import Learned
from jobs.words import moment
from schemas.audit import RollOut
from schemas.errors import UserMistake

NONE = "No model yet: `beckon nightly` trains one and judges it."

app = typer.Typer(
    help="List, show, promote, guard, roll back and verify models.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list")
def list_() -> None:
    """All models, newest last, with what each promises and where it is in force."""
    registry = _registry()
    state = registry.state
    if not registry.versions():
        Console().print(NONE)
        return
    table = Table("version", "AUC", "log loss", "ECE", "verdict", "in force")
    damaged = []
    for version in registry.versions():
        try:
            artefact = registry.artefact(version)
        except UserMistake as mistake:
            damaged.append(str(mistake))
            table.add_row(version, "", "", "", "damaged", "")
            continue
        metrics = artefact.card.metrics
        where = "all" if version == state.champion else ""
        if version == state.champion and state.stage == "all":
            where = "all, watched"
        elif version == state.challenger:
            where = state.stage + (f" {state.share:.0%}" if state.share else "")
        elif version == state.beside:
            where = "hot"
        table.add_row(
            version,
            f"{metrics.auc.value:.4f}",
            f"{metrics.log_loss.value:.4f}",
            f"{metrics.ece:.4f}",
            _said(artefact, registry.verdict(version)),
            where,
        )
    Console().print(table)
    if damaged:
        raise UserMistake("; ".join(damaged))


@app.command()
def show(version: Annotated[str, typer.Argument()]) -> None:
    """A model's card, its verdict and its history."""
    registry, console = _registry(), Console()
    found = registry.artefact(version)
    card = found.card
    for name, value in (
        ("version", version),
        ("for", card.purpose),
        ("not for", card.not_for),
        ("trained on", f"{card.rows:,} rows, {card.window[0]} to {card.window[1]}"),
        ("AUC", str(card.metrics.auc)),
        ("log loss", f"{card.metrics.log_loss}, baseline {card.metrics.base_log_loss:.4f}"),
        ("ECE", f"{card.metrics.ece:.4f}"),
        ("features", found.made.feature_hash),
        ("SHA-256", found.made.sha256),
        ("code", found.code_version),
        ("signed", "yes" if found.signed else "no"),
        *(("note", note) for note in card.notes),
    ):
        console.print(f"{name:<11} {value}", highlight=False, soft_wrap=True)
    table = Table("group", "rows", "rate", "predicted", "log loss")
    for group in card.groups:
        table.add_row(group.group, f"{group.rows:,}", f"{group.rate:.4f}",
                      f"{group.predicted:.4f}", f"{group.log_loss:.4f}")  # fmt: skip
    console.print(table)
    verdict = registry.verdict(version)
    if verdict is not None:
        said = "won" if verdict.won else f"lost: {verdict.reason}"
        console.print(f"against {verdict.champion}: {said}", highlight=False, soft_wrap=True)
    for move in registry.state.history:
        if move.version == version:
            console.print(
                f"{moment(move.at_ms)}  {move.stage}, by {move.by}: {move.why}", highlight=False
            )


@app.command()
def promote(
    version: Annotated[str, typer.Argument()],
    to: Annotated[str, typer.Option(help=", ".join(STAGES) + ", in this order")] = "shadow",
    share: Annotated[
        float, typer.Option(min=0.001, max=0.5, help="of the customers, in canary")
    ] = 0.1,
    force: Annotated[
        bool, typer.Option("--force", help="although it did not win, or skips a stage")
    ] = False,
) -> None:
    """Put a model into the next stage in the running stream: shadow, canary, all.

    The stream proves it again before it is used. In shadow it scores what the champion decides, and
    decides nothing; in canary it decides for a share of the customers, chosen by a hash. Each
    decision names the one version that scored it. `beckon models guard` takes it further by itself.
    """
    stage = next((each for each in STAGES if each == to), None)
    if stage is None:
        raise UserMistake(f"--to {to!r}: one of {', '.join(STAGES)}")
    settings = Settings()
    registry = Registry(settings.data_dir)
    after = registry.promote(
        version, stage, share, _now_ms(), "hand", announcer(settings), force=force
    )
    _say(after)


@app.command()
def rollback(why: Annotated[str, typer.Option(help="kept in the history")] = "by hand") -> None:
    """Withdraw the model on trial; without one, return to the champion before, which is at hand."""
    settings = Settings()
    after = Registry(settings.data_dir).move(
        lambda state: roll_back(state, _now_ms(), why, "hand"), announcer(settings)
    )
    _say(after)


@app.command()
def guard(
    every_s: Annotated[
        float, typer.Option("--every", min=0, help="Seconds between two looks; 0: one look.")
    ] = 0,
    rows: Annotated[
        int, typer.Option(min=LEAST, help="Answered rows that a stage needs before the next.")
    ] = Rules().rows,
    hours: Annotated[
        float, typer.Option(min=0, help="That a stage lasts at least.")
    ] = Rules().least_ms / HOUR_MS,
    days: Annotated[
        float, typer.Option(min=0, help="After which a trial without enough rows is ended.")
    ] = Rules().longest_ms / HOUR_MS / 24,
) -> None:
    """Take the model on trial one stage further if it may, or roll it back if a guardrail broke.

    Evidence is what the stream published since the stage began: both models' scores of the same
    rows, and what became of the customers of each. Every move is audited with its reason.

    One look by default; the exit code is 1 after a rollback. With --every it goes on looking, until
    SIGTERM. Labels come when attribution windows close, so looking more often than every few
    minutes finds nothing new.
    """
    settings = Settings()
    rules = Rules(rows, round(hours * HOUR_MS), round(days * 24 * HOUR_MS))
    if every_s:
        _keep_looking(settings, rules, every_s)
        return
    before, after, why = look(settings, rules, "guard", _now_ms())
    if after == before:
        about = f"{before.on_trial}, in {before.stage}: " if before.on_trial else ""
        Console().print(about + why, soft_wrap=True, highlight=False)
        return
    _say(after)
    if after.history[-1].stage == ROLLED_BACK:
        raise typer.Exit(1)


def look(settings: Settings, rules: Rules, by: str, now_ms: int) -> tuple[State, State, str]:
    """Judge the trial by what came in since its stage began; the state before and after, and why.

    Raises:
        UserMistake: no broker answers, or it did not take the move.
    """
    from jobs.evaluate import from_topics
    from jobs.models.served import seen

    registry = Registry(settings.data_dir)
    before = registry.state
    if not before.on_trial:
        return before, before, NO_TRIAL
    found = seen(from_topics(settings, before.since_ms), before.on_trial)
    said = ""

    def change(state: State) -> State:
        nonlocal said
        if state != before:  # somebody moved it by hand meanwhile
            said = "it was moved meanwhile; what was seen is of another stage"
            return state
        after, said = step(state, found, rules, now_ms, by)
        return after

    return before, registry.move(change, announcer(settings)), said


def _keep_looking(settings: Settings, rules: Rules, every_s: float) -> None:
    import structlog

    from jobs.service import begin_service

    stop = begin_service()
    log = structlog.get_logger()
    while True:
        try:
            before, after, why = look(settings, rules, "guard", _now_ms())
        except UserMistake as error:  # a broker that is away comes back
            log.warning("not looked", error=str(error))
        else:
            if after != before:
                move = after.history[-1]
                log.warning("moved", version=move.version, stage=move.stage, why=why)
            else:
                log.info("looked", version=before.on_trial, stage=before.stage, why=why)
        if stop.wait(every_s):
            return


@app.command()
def verify(version: Annotated[str | None, typer.Argument()] = None) -> None:
    """Prove artefacts as the stream would: seal, graph, features, golden vectors."""
    registry = _registry()
    names = [version] if version else registry.versions()
    damaged = []
    for name in names:
        try:
            registry.artefact(name)
        except UserMistake as mistake:
            damaged.append(str(mistake))
            Console().print(f"{name}: damaged")
        else:
            Console().print(f"{name}: whole")
    if damaged:
        raise UserMistake("; ".join(damaged))
    if not names:
        Console().print(NONE)


def announcer(settings: Settings) -> Announce:
    """Publishes to the control and audit topics, the champion first, and waits for the broker."""
    return lambda announced, told: announce(announced, settings, told)


def announce(
    announced: Iterable[Announcement], settings: Settings, told: RollOut | None = None
) -> None:
    """Publish models, or withdraw them, in this order, and what is told of it.

    Raises:
        UserMistake: the broker did not take all of it.
    """
    from jobs.kafka import ensure_topics, producer
    from schemas.topics import AUDIT, CONTROL
    from schemas.wire import encode

    ensure_topics(settings)
    out = producer(settings)
    failures: list[str] = []

    def note(error: object, _: object) -> None:
        if error:
            failures.append(str(error))

    for key, record in announced:
        value = None if record is None else encode(record)
        out.produce(CONTROL, key=key, value=value, on_delivery=note)
    if told is not None:
        out.produce(AUDIT, key=f"model/{told.version}", value=encode(told), on_delivery=note)
    if out.flush(30) or failures:
        raise UserMistake(
            f"the broker at {settings.bootstrap} did not take the model"
            + (f": {failures[0]}" if failures else " within 30 s")
            + "; is it up? `beckon stack status`"
        )


def _say(state: State) -> None:
    move = state.history[-1]
    share = f" for {state.share:.0%} of the customers" if state.share else ""
    console = Console()
    console.print(
        f"{move.version}: {move.stage}{share} ({move.why})", soft_wrap=True, highlight=False
    )
    beside = f"; beside it, hot: {state.beside}" if state.beside else ""
    console.print(f"In force: {state.champion or 'no model'}{beside}", highlight=False)


def _said(artefact: Artefact, verdict: Verdict | None) -> str:
    """What the gate said of a click model; of the night's own, whether it is worth using."""
    if isinstance(artefact.made, Learned):
        return "used by night" if artefact.card.beats_baseline else "not used"
    return "" if verdict is None else "won" if verdict.won else "lost"


def _registry() -> Registry:
    return Registry(Settings().data_dir)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
