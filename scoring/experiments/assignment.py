"""Which variant a customer gets: by a hash of who they are, and so the same one for ever."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace
from xxhash import xxh3_64_intdigest

from schemas.control import Campaign
from schemas.experiment import Experiment, Variant

_SLACK = 1e-9  # of all customers: shares such as 1/3 need not add up exactly


def variant_of(experiment: Experiment, user_id: str) -> str | None:
    """The variant of a customer; None for one who takes no part.

    Depends on the salt and the customer only. The variants lie side by side in the order given,
    so a greater share of the last one takes in customers and moves nobody else.
    """
    salt = experiment.salt or experiment.id
    point = xxh3_64_intdigest(f"experiment\x1f{salt}\x1f{user_id}".encode()) / 2**64
    edge = 0.0
    for variant in experiment.variants:
        edge += variant.share
        if point < edge:
            return variant.name
    return None


def treated(spec: Campaign, variant: Variant) -> Campaign:
    """A campaign as a variant has it; where the variant says what to offer, nothing is chosen."""
    stated: dict[str, Any] = {
        name: value
        for name in ("learning", "offer", "min_score")
        if (value := getattr(variant, name)) is not None
    }
    if variant.offer is not None and spec.pricing.choices:
        stated["pricing"] = replace(spec.pricing, choices=(), explore_ratio=0.0)
    return replace(spec, **stated) if stated else spec


def overlaps(experiment: Experiment, others: Iterable[Experiment]) -> list[str]:
    """The campaigns that another experiment is about, a sentence for each."""
    return [
        f"{campaign} is in experiment {other.id} already; one at a time can be told apart"
        for other in others
        for campaign in sorted({*experiment.campaigns} & {*other.campaigns})
    ]


def faults(experiment: Experiment) -> list[str]:
    """What is wrong with an experiment, a sentence for each."""
    found = []
    names = [variant.name for variant in experiment.variants]
    for name in sorted({name for name in names if names.count(name) > 1}):
        found.append(f"variant {name!r} is named twice; give each a name of its own")
    total = sum(variant.share for variant in experiment.variants)
    if total > 1 + _SLACK:
        found.append(f"the shares add up to {total:.1%}; lower them to 100% at most")
    for variant in experiment.variants:
        if variant.share <= 0:
            found.append(f"variant {variant.name!r} has no customers; give it a share or drop it")
    return found
