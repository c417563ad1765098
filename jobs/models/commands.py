"""``beckon models``: what models there are, what they promise, and which is in force."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from jobs.models.guard import breach
from jobs.models.registry import STAGES, Announcement, Registry
from jobs.settings import Settings
from jobs.words import moment
from schemas.errors import UserMistake

app = typer.Typer(
    help="List, show, promote, roll back, watch and verify models.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list")
def list_() -> None:
    """All models, newest last, with what each promises and where it is in force."""
    registry = _registry()
    state = registry.state
    table = Table("version", "AUC", "log loss", "ECE", "verdict", "in force")
    for version in registry.versions():
        metrics = registry.artefact(version).card.metrics
        verdict = registry.verdict(version)
        where = "all" if version == state.champion else ""
        if version == state.challenger:
            where = state.stage + (f" {state.share:.0%}" if state.share else "")
        table.add_row(
            version,
            f"{metrics.auc.value:.4f}",
            f"{metrics.log_loss.value:.4f}",
            f"{metrics.ece:.4f}",
            "" if verdict is None else "won" if verdict.won else "lost",
            where,
        )
    Console().print(table)


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
        ("features", found.model.feature_hash),
        ("SHA-256", found.model.sha256),
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
            console.print(f"{moment(move.at_ms)}  {move.stage}: {move.why}", highlight=False)


@app.command()
def promote(
    version: Annotated[str, typer.Argument()],
    to: Annotated[str, typer.Option(help=", ".join(STAGES) + ", in this order")] = "shadow",
    share: Annotated[
        float, typer.Option(min=0.001, max=0.5, help="of the customers, in canary")
    ] = 0.1,
    force: Annotated[bool, typer.Option("--force", help="although it did not win")] = False,
) -> None:
    """Put a model into the next stage in the running stream: shadow, canary, all.

    The stream proves it again before it is used. Each customer is scored by one version: in canary
    a share of them, chosen by a hash, by the new one; each decision names its version.
    """
    stage = next((each for each in STAGES if each == to), None)
    if stage is None:
        raise UserMistake(f"--to {to!r}: one of {', '.join(STAGES)}")
    announce(_registry().promote(version, stage, share, _now_ms(), force=force), Settings())
    Console().print(f"{version}: {to}")


@app.command()
def rollback(why: Annotated[str, typer.Option(help="kept in the history")] = "by hand") -> None:
    """Withdraw the model on trial; without one, return to the champion before."""
    registry = _registry()
    announce(registry.rollback(_now_ms(), why), Settings())
    Console().print(f"In force: {registry.state.champion or 'no model'}")


@app.command()
def guard() -> None:
    """Hold the canary against its guardrails by what it did so far; roll it back if it broke one.

    Run it every few minutes while a canary is out. The exit code is 1 after a rollback.
    """
    from jobs.models.served import served
    from jobs.train import from_topics

    registry, console = _registry(), Console()
    state = registry.state
    if not state.challenger:
        console.print("No model is on trial.")
        return
    found = served(from_topics(Settings()))
    canary, champion = found[state.challenger], found[state.champion or "prior"]
    console.print(
        f"{state.challenger}: {canary.clicks:,} of {canary.answered:,} clicked; champion: "
        f"{champion.clicks:,} of {champion.answered:,}"
    )
    why = breach(canary, champion)
    if why:
        announce(registry.rollback(_now_ms(), why), Settings())
        console.print(f"[bold red]rolled back:[/] {why}")
        raise typer.Exit(1)


@app.command()
def verify(version: Annotated[str | None, typer.Argument()] = None) -> None:
    """Prove artefacts as the stream would: seal, graph, features, golden vectors."""
    registry = _registry()
    for name in [version] if version else registry.versions():
        registry.artefact(name)
        Console().print(f"{name}: whole")


def announce(announced: Iterable[Announcement], settings: Settings) -> None:
    """Publish to the control topic, champion before withdrawal, and wait for the broker.

    Raises:
        UserMistake: the broker did not take it.
    """
    from jobs.kafka import ensure_topics, producer
    from schemas.topics import CONTROL
    from schemas.wire import encode

    ensure_topics(settings)
    out = producer(settings)
    failures: list[str] = []
    for key, record in announced:
        out.produce(
            CONTROL,
            key=key,
            value=None if record is None else encode(record),
            on_delivery=lambda error, _: failures.append(str(error)) if error else None,
        )
    if out.flush(30) or failures:
        raise UserMistake(
            f"the broker at {settings.bootstrap} did not take the model"
            + (f": {failures[0]}" if failures else " within 30 s; is it up? `beckon stack status`")
        )


def _registry() -> Registry:
    return Registry(Settings().data_dir)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
