"""An experiment: which customers are treated how, so that the difference can be measured."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from schemas.decision import Offer, Ratio
from schemas.event import SCHEMA_VERSION
from schemas.learning_rules import Learning
from schemas.triggers import Slug


class Variant(Struct, frozen=True):
    """A treatment, and the share of all customers who get it.

    What it states replaces what the campaign does; a variant that states nothing is the campaign as
    it is. An ``offer`` is made to everybody, where the campaign may choose one. ``model`` is the
    version that scores its customers (`schemas.model.variant_model_id`); while the stream does
    not hold it, the model in force does, and decisions say so. Each variant learns by itself, from
    its own customers only.
    """

    name: Slug
    share: Annotated[float, Meta(ge=0, le=1)]
    learning: Learning | None = None
    offer: Offer | None = None
    min_score: Ratio | None = None
    model: Annotated[str, Meta(max_length=64)] = ""


class Experiment(Struct, frozen=True, tag_field="kind", tag="experiment"):
    """Variants, the control first; a customer outside of their shares takes no part.

    It is about the campaigns it names, and no other experiment is. ``salt`` makes the assignment
    independent of every other; it stays for as long as the experiment does. Empty, it is the id.
    ``level`` is how often an interval may be wrong, ``planned`` the number of customers at which
    intervals are to be narrowest.
    """

    id: Slug
    variants: Annotated[tuple[Variant, ...], Meta(min_length=2, max_length=16)]
    salt: Annotated[str, Meta(max_length=64)] = ""
    level: Annotated[float, Meta(gt=0, le=0.5)] = 0.05
    planned: Annotated[int, Meta(ge=100)] = 10_000
    updated_ms: int = 0
    schema_version: int = SCHEMA_VERSION
    campaigns: Annotated[tuple[Slug, ...], Meta(max_length=64)] = ()
    version: Annotated[int, Meta(ge=1)] = 1
    description: str = ""
