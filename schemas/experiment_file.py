"""An experiment as people write it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from schemas.decision import Offer
from schemas.experiment import Experiment, Variant
from schemas.learning_rules import LearningForm
from schemas.triggers import Slug
from schemas.units import Form, Percent, ratio


class VariantOfferForm(Struct, frozen=True, forbid_unknown_fields=True):
    """What a variant offers to everybody, even where the campaign chooses; valid in whole days."""

    type: str = "none"
    discount: Percent = "0%"
    valid: Annotated[
        str, Meta(pattern=r"^[1-9][0-9]{0,2}d$", description="whole days, such as 7d")
    ] = "7d"

    def offer(self) -> Offer:
        """The offer as decisions carry it."""
        return Offer(self.type, ratio(self.discount), int(self.valid[:-1]))


class VariantForm(Struct, frozen=True, forbid_unknown_fields=True):
    """A treatment and the share of the customers who get it; what it leaves out stays as it is."""

    name: Slug
    share: Percent
    learning: LearningForm | None = None
    offer: VariantOfferForm | None = None
    min_score: Percent | None = None
    model: (
        Annotated[str, Meta(max_length=64, description="a version that `beckon models list` has")]
        | None
    ) = None


class ExperimentFile(Form, frozen=True, tag="experiment"):
    """One experiment: variants, the control first, of the campaigns that it names."""

    id: Slug
    campaigns: Annotated[
        tuple[Slug, ...], Meta(min_length=1, max_length=64, description="ids of campaigns")
    ]
    variants: Annotated[tuple[VariantForm, ...], Meta(min_length=2, max_length=16)]
    description: str = ""
    salt: Annotated[
        str, Meta(max_length=64, description="another draw of customers; leave it while it runs")
    ] = ""
    may_be_wrong: Annotated[
        Percent, Meta(description="how often an interval may miss the truth")
    ] = "5%"
    planned: Annotated[
        int, Meta(ge=100, description="customers at which intervals are narrowest")
    ] = 10_000

    def record(self) -> Experiment:
        """The experiment as the stream reads it, of version 1 and no date."""
        return Experiment(
            id=self.id,
            variants=tuple(
                Variant(
                    each.name,
                    ratio(each.share),
                    None if each.learning is None else each.learning.learning(),
                    None if each.offer is None else each.offer.offer(),
                    None if each.min_score is None else ratio(each.min_score),
                    each.model or "",
                )
                for each in self.variants
            ),
            salt=self.salt,
            level=ratio(self.may_be_wrong),
            planned=self.planned,
            campaigns=self.campaigns,
            description=self.description,
        )
