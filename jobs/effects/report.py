"""``beckon report``: what campaigns brought, for people, as JSON, or as one HTML page."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from msgspec import Struct
from rich.table import Table

from jobs.effects.process import read_effects
from jobs.evaluate import moment_of
from jobs.settings import Settings
from jobs.words import console, moment
from schemas.effect import (
    MISMATCH_P,
    Counted,
    Effect,
    EffectGap,
    EffectLift,
    EffectRecord,
    ExperimentEffect,
)
from schemas.errors import UserMistake
from schemas.learning import ORGANIC
from scoring.experiments.lift import LEAST


class Line(Struct, frozen=True):
    """Figures of a campaign, or of one of its channels, segments or hours (``of``)."""

    of: str
    counted: Counted
    roi: float
    click_through: float
    conversion: float
    unsubscribe_ratio: float
    complaint_ratio: float
    lifts: tuple[EffectLift, ...] = ()
    gap: EffectGap | None = None


class Arm(Struct, frozen=True):
    """A variant of an experiment; ``lifts`` and those of each segment are against the control."""

    name: str
    share: float
    customers: int
    counted: Counted
    roi: float
    click_through: float
    conversion: float
    clicks_each: float
    orders_each: float
    revenue_each: float
    lifts: tuple[EffectLift, ...]
    segments: dict[str, tuple[EffectLift, ...]]


class Compared(Struct, frozen=True):
    """Where an experiment stands, of all time since it was last changed."""

    experiment_id: str
    version: int
    since_ms: int
    campaigns: tuple[str, ...]
    level: float
    variants: list[Arm]
    sample_ratio_p: float
    mismatched: bool


class Campaigned(Struct, frozen=True):
    """A campaign's report. ``lifts`` and ``sample_ratio_p`` are of all time, whatever ``since``."""

    campaign_id: str
    whole: Line
    channels: list[Line]
    segments: list[Line]
    hours: list[Line]
    sample_ratio_p: float | None
    mismatched: bool


def compare(effects: Iterable[EffectRecord], campaign: str = "") -> list[Compared]:
    """The experiments, or those about a campaign."""
    found = [
        each
        for each in effects
        if isinstance(each, ExperimentEffect) and campaign in ("", *each.campaigns)
    ]
    return [_compared(each) for each in sorted(found, key=lambda each: each.experiment_id)]


def _compared(effect: ExperimentEffect) -> Compared:
    return Compared(
        effect.experiment_id,
        effect.version,
        effect.since_ms,
        effect.campaigns,
        effect.level,
        [
            Arm(
                each.name,
                each.share,
                each.customers,
                each.counted,
                each.counted.roi,
                each.counted.per_send("clicked"),
                each.counted.per_send("conversions"),
                each.clicks,
                each.orders,
                each.revenue,
                each.lifts,
                each.segments,
            )
            for each in effect.variants
        ],
        effect.sample_ratio_p,
        effect.sample_ratio_p < MISMATCH_P,
    )


def summarise(
    effects: Iterable[EffectRecord], campaign: str = "", since_ms: int = 0
) -> list[Campaigned]:
    """Reports by campaign, of the hours that begin at ``since_ms`` or later."""
    cells: dict[str, list[Effect]] = {}
    for effect in effects:
        if isinstance(effect, Effect) and campaign in ("", effect.campaign_id):
            cells.setdefault(effect.campaign_id, []).append(effect)
    return [_campaign(name, cells[name], since_ms) for name in sorted(cells)]


def _campaign(name: str, cells: Sequence[Effect], since_ms: int) -> Campaigned:
    fine = [each for each in cells if None not in (each.channel, each.segment, each.hour_ms)]
    fine = [each for each in fine if (each.hour_ms or 0) >= since_ms]
    rolled = {(each.channel, each.segment, each.hour_ms): each for each in cells}

    def lines(part: str) -> list[Line]:
        sums: dict[Any, Counted] = {}
        for each in fine:
            sums.setdefault(getattr(each, part), Counted()).add(each.counted)
        return [_line(str(key), sums[key], rolled.get(_cell(part, key))) for key in sorted(sums)]

    total = Counted()
    for each in fine:
        total.add(each.counted)
    top = rolled.get((None, None, None))
    p = None if top is None else top.sample_ratio_p
    return Campaigned(
        name,
        _line("all", total, top),
        [line for line in lines("channel") if line.of],
        [line for line in lines("segment") if line.of],
        lines("hour_ms"),
        p,
        p is not None and p < MISMATCH_P,
    )


def _cell(part: str, key: Any) -> tuple[str | None, str | None, int | None]:
    return (
        key if part == "channel" else None,
        key if part == "segment" else None,
        key if part == "hour_ms" else None,
    )


def _line(of: str, counted: Counted, effect: Effect | None) -> Line:
    return Line(
        of,
        counted,
        counted.roi,
        counted.per_send("clicked"),
        counted.per_send("conversions"),
        counted.per_send("unsubscribed"),
        counted.per_send("complained"),
        () if effect is None else effect.lifts,
        None if effect is None else effect.gap,
    )


def report(
    campaign: Annotated[str, typer.Option(help="This campaign alone.")] = "",
    since: Annotated[
        str, typer.Option(help="how far back: 7d, 12h, or an RFC 3339 time; all when left out")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write one HTML page with charts here.")] = None,
) -> None:
    """Show what campaigns brought: cost, revenue, ROI, lift against held-out customers, gap.

    Each experiment follows, variant by variant, with the difference to its first one. The figures
    are those of `beckon effects`, which must have run. An interval is right at all times at once:
    look as often as you like.
    """
    since_ms = moment_of(since, time.time()) if since else 0
    effects = read_effects(Settings())
    found, compared = summarise(effects, campaign, since_ms), compare(effects, campaign)
    if not found:
        known = ", ".join(each.campaign_id for each in summarise(effects))
        there = f"there are figures of {known}" if known else "is `beckon effects` running?"
        raise UserMistake(f"no figures{f' of {campaign!r}' if campaign else ''} yet; {there}")
    if since and not any(each.hours for each in found):
        raise UserMistake(f"nothing happened since {moment(since_ms)}; say more: --since 7d")
    if html is not None:
        from jobs.effects.page import page

        try:
            html.write_text(page(found, compared), encoding="utf-8")
        except OSError as error:
            raise UserMistake(f"--html: cannot write {html}: {error.strerror}") from error
    if as_json:
        told = {"campaigns": found, "experiments": compared}
        typer.echo(json.dumps(msgspec.to_builtins(told)))
    else:
        show(found)
        show_experiments(compared)
        if html is not None:
            typer.echo(f"written to {html}")


def show(found: Iterable[Campaigned]) -> None:
    """Print reports for people."""
    screen = console()
    for each in found:
        head = (
            "", "sent", "held out", "clicked", "conv.", "cost", "revenue", "margin", "ROI",
            "unsub.", "compl.",
        )  # fmt: skip
        table = _table(title_of(each), head)
        for line in (each.whole, *each.channels, *each.segments):
            table.add_row(line.of, *_figures(line))
        screen.print(table)
        if each.mismatched:
            screen.print(
                "  [red]the groups are not of the sizes they should be "
                f"(p {each.sample_ratio_p:.1e}): no comparison of them can be believed[/]"
            )
        for sentence in sentences(each):
            screen.print(f"  {sentence}", highlight=False, soft_wrap=True)


def title_of(each: Campaigned) -> str:
    """What stands above a campaign's figures."""
    return (
        f"{ORGANIC}: bought without a message"
        if each.campaign_id == ORGANIC
        else (each.campaign_id)
    )


def sentences(each: Campaigned) -> list[str]:
    """Each comparison with held-out customers, and where the campaign stands against its target."""
    said = [
        lift_sentence(line.of, lift)
        for line in (each.whole, *each.channels, *each.segments)
        for lift in line.lifts
    ]
    if each.whole.counted.held_out and not each.whole.lifts:
        said.append(
            f"what it adds cannot be told yet: it takes {LEAST} customers spoken to and as many "
            "held out"
        )
    if each.whole.gap is not None:
        said.append(gap_sentence(each.whole.gap))
    return said


def show_experiments(compared: Iterable[Compared]) -> None:
    """Print experiments for people."""
    screen = console()
    for each in compared:
        table = _table(f"experiment {each.experiment_id}", ("variant", *ARM_HEAD))
        for arm in each.variants:
            table.add_row(arm.name, *arm_figures(arm))
        screen.print(table)
        if each.mismatched:
            screen.print(f"  [red]{mismatch_sentence(each)}[/]", highlight=False)
        for sentence in difference_sentences(each):
            screen.print(f"  {sentence}", highlight=False, soft_wrap=True)


def _table(title: str, head: Iterable[str]) -> Table:
    """Where it is too narrow for a figure, that goes on in the next line: none is cut off."""
    found = Table(title=title, title_justify="left")
    for name in head:
        found.add_column(name, overflow="fold")
    return found


ARM_HEAD = (
    "customers", "sent", "click-through", "conversion", "clicks each", "orders each",
    "revenue each", "cost", "ROI",
)  # fmt: skip


def arm_figures(arm: Arm) -> list[str]:
    """The cells of a variant, under `ARM_HEAD`."""
    return [
        f"{arm.customers:,}", f"{arm.counted.sends:,}", f"{arm.click_through:.2%}",
        f"{arm.conversion:.2%}", f"{arm.clicks_each:.4f}", f"{arm.orders_each:.4f}",
        f"{arm.revenue_each:,.2f}", f"{arm.counted.cost:,.2f}", f"{arm.roi:,.2f}",
    ]  # fmt: skip


def mismatch_sentence(each: Compared) -> str:
    """What a sample-ratio mismatch means, in words."""
    total = sum(arm.customers for arm in each.variants)
    whole = sum(arm.share for arm in each.variants)
    seen = ", ".join(
        f"{arm.name} {arm.customers:,} (due {total * arm.share / whole:,.0f})"
        for arm in each.variants
    )
    return (
        f"The variants are not of the sizes they should be: {seen}; by chance at most once "
        f"in {1 / max(each.sample_ratio_p, 1e-9):,.0f}. Customers were lost or doubled on the way: "
        "do not believe any comparison below until it is known where."
    )


def difference_sentences(each: Compared) -> list[str]:
    """Every difference to the control, in words: of all customers, then by segment."""
    control = each.variants[0].name
    found = []
    for arm in each.variants[1:]:
        for segment, lifts in {"": arm.lifts, **arm.segments}.items():
            of = f"{arm.name} in {segment}" if segment else arm.name
            found += [difference_sentence(of, control, lift, each.level) for lift in lifts]
        if not arm.lifts:
            found.append(
                f"{arm.name} against {control}: nothing can be told yet, it takes {LEAST} "
                "customers of each"
            )
    return found


def difference_sentence(of: str, control: str, lift: EffectLift, level: float) -> str:
    """A difference between variants in words, and whether it is one."""
    relative = "" if lift.relative is None else f", {lift.relative:+.1%}"
    apart = "no difference is shown yet" if lift.low <= 0 <= lift.high else "a difference"
    return (
        f"{of} against {control}: {lift.metric} a customer {lift.treated:.4f} and "
        f"{lift.control:.4f}: {lift.difference:+.4f} ({1 - level:.0%}: {lift.low:+.4f} to "
        f"{lift.high:+.4f}{relative}), {lift.customers:,} customers; {apart}"
    )


def _figures(line: Line) -> list[str]:
    counted = line.counted
    return [
        f"{counted.sends:,}", f"{counted.held_out:,}",
        f"{counted.clicked:,} ({line.click_through:.2%})",
        f"{counted.conversions:,.1f} ({line.conversion:.2%})",
        f"{counted.cost:,.2f}", f"{counted.revenue:,.2f}", f"{counted.margin:,.2f}",
        f"{line.roi:,.2f}", f"{line.unsubscribe_ratio:.2%}", f"{line.complaint_ratio:.2%}",
    ]  # fmt: skip


def lift_sentence(of: str, lift: EffectLift) -> str:
    """A lift in words."""
    relative = "" if lift.relative is None else f", {lift.relative:+.1%}"
    return (
        f"{of}: {lift.metric} a customer {lift.treated:.4f} against {lift.control:.4f} held out: "
        f"{lift.difference:+.4f} ({lift.low:+.4f} to {lift.high:+.4f}{relative}), "
        f"{lift.customers:,} customers"
    )


def gap_sentence(gap: EffectGap) -> str:
    """Where a campaign stands against its target, in words."""
    short = gap.due - gap.reached
    ahead = "ahead by" if short <= 0 else "short of it by"
    return (
        f"{gap.metric}: {gap.reached:,.1f} of {gap.due:,.1f} due by now, {ahead} {abs(short):,.1f}"
    )
