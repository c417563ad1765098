"""Campaigns and policies that tests start from."""

from __future__ import annotations

from typing import Any

from schemas.control import AbsenceTrigger, Campaign, Cap, EventTrigger, Policy
from schemas.learning_rules import Learning

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
EVEN = Learning(fixed={"sms": 1.0, "push": 1.0, "email": 1.0})
"""Channels alike whatever is learned: decisions do not hang on when anything is heard."""


def policy(cap_sends: int = 3, cap_window_ms: int = DAY, **fields: Any) -> Policy:
    """A policy without a holdout, of one cap unless ``caps`` says otherwise."""
    caps = (Cap(cap_sends, cap_window_ms),)
    return Policy(**{"holdout_ratio": 0.0, "lateness_ms": MINUTE, "caps": caps, **fields})


def viewed_again(**fields: Any) -> Campaign:
    """Speaks at the third view of a category within an hour."""
    trigger = EventTrigger(("view",), at_least=3, within_ms=HOUR, same="category")
    return Campaign(
        **{
            "id": "viewed-again",
            "version": 1,
            "name": "Viewed again",
            "trigger": trigger,
            "channels": ("sms", "push", "email"),
            **fields,
        }
    )


THIRD_VIEW_FILE = """\
kind: campaign
id: third-view
name: Third view
trigger: {kind: event, actions: [view], at_least: 3}
channels: [push]
"""
"""A campaign as a marketer writes it."""


def on_cart(**fields: Any) -> Campaign:
    """Speaks at every cart event."""
    return Campaign(
        **{
            "id": "on-cart",
            "version": 1,
            "name": "On cart",
            "trigger": EventTrigger(("cart",)),
            "channels": ("sms", "push", "email"),
            "cooldown_ms": 0,
            **fields,
        }
    )


def abandonment(**fields: Any) -> Campaign:
    """Speaks half an hour after a cart that no purchase followed."""
    return Campaign(
        **{
            "id": "cart-abandonment",
            "version": 1,
            "name": "Cart abandonment",
            "trigger": AbsenceTrigger(("cart",), ("purchase",), 30 * MINUTE),
            "channels": ("push", "email"),
            **fields,
        }
    )


def win_back(**fields: Any) -> Campaign:
    """Speaks to a customer of whom nothing was heard for thirty days."""
    return Campaign(
        **{
            "id": "win-back",
            "version": 1,
            "name": "Win back",
            "trigger": AbsenceTrigger(("*",), ("*",), 30 * DAY),
            "channels": ("email",),
            **fields,
        }
    )
