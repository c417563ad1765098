"""``beckon offer``: what a campaign would offer a customer now, by the stream's own core."""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape

from jobs.kafka import control_snapshot
from jobs.preview import published
from jobs.sandbox import Sandbox
from jobs.settings import Settings
from jobs.words import meaning, moment, share
from schemas.wire import encode
from scoring.engine import MarketingEngine, PersonalOffer
from state.customer import Customer

EXAMPLES: Final = """\b
Examples:
  beckon offer u0000042 personal-coupon
  beckon offer u0000042 personal-coupon --item i7 --price 59.9 --json
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(epilog=EXAMPLES)
def offer(
    user: Annotated[str, typer.Argument(help="The customer's id.")],
    campaign: Annotated[str, typer.Argument(help="A campaign in force.")],
    item: Annotated[str | None, typer.Option(help="The item that it is about.")] = None,
    price: Annotated[
        float | None, typer.Option(min=0, help="Its price; default: the catalogue's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show what a campaign would offer a customer now; nothing is sent and nothing changes.

    Type and size of the discount are those of the highest expected margin within the campaign's
    limits. The gates that a message must pass, such as consent and caps, are not asked: `preview`
    asks them.
    """
    settings = Settings()
    engine = MarketingEngine(
        Sandbox(control_snapshot(settings)).decider.world, lambda name: _customer(settings, name)
    )
    now_ms = time.time_ns() // 1_000_000
    found = engine.generate_offer(user, campaign, now_ms, item_id=item, price=price)
    if as_json:
        typer.echo(encode(found).decode())
    else:
        Console().print(shown(found))


def shown(found: PersonalOffer) -> str:
    """The offer for people."""
    head = f"{escape(found.campaign_id)} would offer {escape(found.user_id)} "
    tail = (
        f"\n[dim]campaign version {found.campaign_version}, model {escape(found.model_version)}. "
        "Nothing was sent and nothing changed.[/]"
    )
    if found.reason:
        return f"{head}[yellow]nothing[/]: {found.reason}: {meaning(found.reason)}{tail}"
    what = "its message without a discount"
    if found.offer_type != "none":
        what = f"{escape(found.offer_type)} of {share(found.discount)}"
    return (
        f"{head}[green]{what}[/], valid {found.valid_period} days, until "
        f"{moment(found.valid_until_ms)}; expected click-through {share(found.click)}, worth "
        f"{found.expected_value:.4g}{tail}"
    )


def _customer(settings: Settings, user: str) -> Customer | None:
    state, _ = published(settings, user)
    return None if state is None else Customer.decode(state)
