"""The models that score: the champion, one on trial, and those that experiments name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace
from xxhash import xxh3_64_intdigest

from schemas.experiment import Experiment
from schemas.model import CANARY, VARIANT_MODEL, Model, variant_model_id
from scoring.model import LogisticModel, verify

HOT_MODELS: Final = 4
"""So many of the latest models stay proved, in force or not."""


class ModelsInForce:
    """Which model scores whom. Changed between batches, never within one.

    ``canary`` is a model on trial, which scores ``canary_share`` of the customers, or none of them
    and is only compared (`shadow_of`).
    """

    def __init__(self, prior: LogisticModel) -> None:
        self.champion = prior
        self.canary: LogisticModel | None = None
        self.canary_share = 0.0
        self._hot: list[tuple[Model, LogisticModel]] = []
        self._held: dict[str, LogisticModel] = {}
        self._named: dict[str, str] = {}

    def of(self, user_id: str, variant: str = "") -> LogisticModel:
        """The model that scores this customer: their variant's, the champion, or on trial."""
        if variant and (own := self._held.get(self._named.get(variant, ""))) is not None:
            return own
        canary = self.canary
        if canary is None or not self.canary_share:
            return self.champion
        drawn = xxh3_64_intdigest(f"{canary.version}\x1f{user_id}".encode())
        return canary if drawn < self.canary_share * 2**64 else self.champion

    def shadow_of(self, version: str) -> LogisticModel | None:
        """The other model that is held, where one of this version scored; None without another."""
        canary = self.canary
        if canary is None or canary.version == self.champion.version:
            return None
        if version == canary.version:
            return self.champion
        return canary if version == self.champion.version else None

    def lacks(self, variant: str) -> bool:
        """Whether a variant names a model that is not held here, or not yet."""
        named = self._named.get(variant)
        return named is not None and named not in self._held

    def put(self, record: Model) -> None:
        """Prove a model and let it score.

        Raises:
            RefusedControl: it is not what it says; those in force stay.
        """
        proved = self._proved(record)
        if record.id == CANARY:
            self.canary, self.canary_share = proved, record.share
        elif record.id.startswith(VARIANT_MODEL):
            self._held[record.id] = proved
        else:
            self.champion = proved

    def withdraw(self, name: str, prior: LogisticModel) -> None:
        """Let a model score no more; ``prior`` follows the champion."""
        if name == CANARY:
            self.canary, self.canary_share = None, 0.0
        elif name.startswith(VARIANT_MODEL):
            self._held.pop(name, None)
        else:
            self.champion = prior

    def follow(self, experiments: Iterable[Experiment]) -> None:
        """Take note of the models that the variants of experiments name."""
        self._named = {
            f"{trial.id}/{variant.name}": variant_model_id(variant.model)
            for trial in experiments
            for variant in trial.variants
            if variant.model
        }

    def _proved(self, record: Model) -> LogisticModel:
        """A model proved, or one of the latest that were: to return to it is a matter of a look."""
        bare = replace(record, id="ctr", share=1.0, updated_ms=0)
        for known, model in self._hot:
            if known == bare:
                return model
        model = verify(record)
        self._hot = [(bare, model), *self._hot[: HOT_MODELS - 1]]
        return model
