"""Conditions: the little language in which a campaign says whom and what it is about.

    rfm_monetary_90d >= 500 and (trait_member_level in [gold, silver] or not cart_open_count > 0)
    last_action_age_s < 30m and trait_city is known and price_bought_mean > price_viewed_mean

``audience`` speaks of the customer's profile, ``when`` of the event that sets the campaign off:

    price >= 100 and item_category != "gift cards" and device.type = phone

- ``and``, ``or``, ``not``, parentheses; ``not`` binds closest, then ``and``.
- ``=`` and ``!=`` for everything; ``<``, ``<=``, ``>``, ``>=`` for numbers, also of two names;
  ``in [...]`` and ``not in [...]``; ``is known`` and ``is not known``; a name alone for a flag.
- Numbers may have the unit that the name has: ``30m`` or ``7d`` for a time, ``20%`` for a share,
  ``2026-11-01`` for a moment. Text is a word, or stands in quotes.
- A comparison with something unknown is false. ``!=`` and ``not in`` are the opposites of ``=``
  and ``in``, and so true.

Text is parsed (`syntax`), checked against the names there are (`names`, `check`), and compiled to
closures (`compiled`), once, when the campaign is loaded; `meaning` finds what can never hold.
"""

from __future__ import annotations

from scoring.conditions.compiled import Condition, audience, when
from scoring.conditions.names import View
from scoring.conditions.syntax import ConditionError

__all__ = ["Condition", "ConditionError", "View", "audience", "when"]
