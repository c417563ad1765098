"""``beckon learned``: what the stream has learned of each channel, as Redis shows it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer
from msgspec import Struct
from rich.table import Table

from jobs.settings import Settings
from jobs.views import open_view
from jobs.words import console
from schemas.audit import Shadow
from schemas.control import ChannelMix, Posterior
from schemas.errors import StoreUnavailable, UserMistake
from schemas.wire import encode
from state.stores.learned import Learned

CONFIDENCE = 0.95


class ArmShown(Struct, frozen=True):
    """An arm, its belief as mean and interval of 95 %, and its share of the mix in force.

    ``exposures`` and ``clicks`` are decayed, where the campaign forgets. ``share`` is None where
    there is no mix of its own: one for each case, or none yet.
    """

    campaign_id: str
    channel: str
    variant: str
    exposures: float
    clicks: float
    mean: float
    low: float
    high: float
    share: float | None
    version: int


def arms(found: Learned, campaign: str = "") -> list[ArmShown]:
    """The arms, by campaign, variant and channel."""
    lessons = found.lessons.values()
    shares = {
        (mix.campaign_id, mix.variant, channel): share
        for mix in lessons
        if isinstance(mix, ChannelMix) and mix.case < 0
        for channel, share in zip(mix.channels, mix.shares, strict=True)
    }
    known = [each for each in lessons if isinstance(each, Posterior)]
    return [
        _shown(each, shares.get((each.campaign_id, each.variant, each.channel)))
        for each in sorted(known, key=lambda each: (each.campaign_id, each.variant, each.channel))
        if campaign in ("", each.campaign_id)
    ]


def _shown(arm: Posterior, share: float | None) -> ArmShown:
    from scipy.special import betaincinv

    outside = (1 - CONFIDENCE) / 2
    low, high = betaincinv(arm.alpha, arm.beta, [outside, 1 - outside])
    return ArmShown(
        arm.campaign_id,
        arm.channel,
        arm.variant,
        arm.met[0] if arm.met else 0.0,
        arm.won[0] if arm.won else 0.0,
        arm.alpha / (arm.alpha + arm.beta),
        float(low),
        float(high),
        share,
        arm.version,
    )


def learned(
    campaign: Annotated[str, typer.Argument(help="This campaign alone.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show what is believed of each channel, its share of the messages, and the challenger.

    What is shown are absolute values that `beckon projector` keeps in Redis (arms:CAMPAIGN and
    challenger); the truth is what the stream's own state has.
    """
    view = open_view(Settings(), "redis")
    try:
        found = view.learned()
    except StoreUnavailable as error:
        raise UserMistake(f"{error}. Start it with `beckon stack up`.") from error
    finally:
        view.close()
    shown = arms(found, campaign)
    if as_json:
        typer.echo(encode({"arms": shown, "challenger": found.shadow}).decode())
        return
    if not shown:
        raise UserMistake(
            f"nothing was learned{f' of {campaign!r}' if campaign else ''} yet, or `beckon "
            "projector` has not come to it"
        )
    screen = console()
    screen.print(table(shown))
    if found.shadow is not None:
        screen.print(challenger_sentence(found.shadow), highlight=False, soft_wrap=True)


def table(shown: Iterable[ArmShown]) -> Table:
    """A row for each arm."""
    found = Table()
    for name in ("campaign", "variant", "channel"):
        found.add_column(name, overflow="fold")
    for name in ("exposures", "clicks", "click-through", f"{CONFIDENCE:.0%}", "share", "version"):
        found.add_column(name, justify="right", overflow="fold")
    for each in shown:
        found.add_row(
            each.campaign_id, each.variant, each.channel, f"{each.exposures:,.1f}",
            f"{each.clicks:,.1f}", f"{each.mean:.2%}", f"{each.low:.2%} … {each.high:.2%}",
            "" if each.share is None else f"{each.share:.1%}", f"{each.version:,}",
        )  # fmt: skip
    return found


def challenger_sentence(shadow: Shadow) -> str:
    """How the challenger does beside the champion, in words."""
    gap = shadow.champion_log_loss - shadow.challenger_log_loss
    said = "better" if gap > 0 else "worse"
    return (
        f"challenger: log loss {shadow.challenger_log_loss:.4f}, champion "
        f"{shadow.champion_log_loss:.4f}, the mean alone {shadow.base_log_loss:.4f}, over "
        f"{shadow.examples:,} labelled messages; {abs(gap):.4f} {said}, and it decides nothing"
    )
