"""Everything in force: campaigns, model, policy, posteriors, catalogue, shops, lists."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Final, NamedTuple

from msgspec.structs import replace
from xxhash import xxh3_64_intdigest

from schemas.budget import Lease
from schemas.control import (
    CANARY,
    VARIANT_MODEL,
    Campaign,
    CatalogueItem,
    ChannelMix,
    ControlRecord,
    Forecast,
    ItemList,
    Model,
    Pacing,
    Policy,
    Posterior,
    Segmentation,
    Shop,
    control_key,
    variant_model_id,
)
from schemas.decision import Decision
from schemas.errors import InvalidRecord, RefusedControl
from schemas.experiment import Experiment
from schemas.learning_rules import CampaignRules, Learning, learning_faults
from schemas.outcome import Channel
from schemas.pricing import LearnedResponse
from schemas.triggers import fault
from schemas.wire import decode_control
from scoring.campaigns import index
from scoring.campaigns.grid import PlaceGrid
from scoring.campaigns.index import Index
from scoring.experiments.assignment import faults, overlaps, treated, variant_of
from scoring.gates import Chain, chain, check
from scoring.learning import NO_CASE, limits_of, switched_off, wish_of
from scoring.model import LogisticModel, prior_model, verify
from scoring.offers import PriceList
from scoring.pacing import Prices
from scoring.policies import POLICIES
from scoring.policies.base import arm_of
from scoring.policies.context import CONTEXTS, context_of
from scoring.policies.steer import steered
from scoring.segments import check_segmentation
from scoring.zones import offset_ms, zone, zone_of
from state.loans import Leases
from state.mix import HOUR_MS
from state.profile import Profile

_CONTEXTUAL: Final = frozenset(name for name, policy in POLICIES.items() if policy.contextual)
_CASES: Final = {context: place for place, context in enumerate(CONTEXTS)}

AUDITED_SHARE: Final = 16
"""Refused candidates are audited in full for one customer in so many, by hash; the ends of all
inputs are counted exactly."""

HOT_MODELS: Final = 4
"""So many of the latest models stay proved, in force or not."""


def is_audited(user_id: str, share: int = AUDITED_SHARE) -> bool:
    """Whether every refusal of this customer is audited in full."""
    return xxh3_64_intdigest(user_id.encode()) % share == 0


class Sharing(NamedTuple):
    """Channels that are not switched off, their shares, and a message's mean cost, in money."""

    channels: tuple[Channel, ...]
    shares: tuple[float, ...]
    cost: float


class _Plan(NamedTuple):
    """The shares of all of a campaign's channels, and what was asked of them before."""

    shares: dict[str, float]
    sharings: dict[tuple[Channel, ...], Sharing]


class World:
    """What a step reads besides the customer. Changed between batches, never within one.

    ``sealed`` holds decisions that a run before this one had already published after the state we
    resumed from was saved: they are made again as they were, whatever has been learned since.
    ``campaigns`` are the active ones by id, ``shops`` those of each chain, and ``every_shop``
    all of them under ``<chain>/<id>``; ``lists`` is what to recommend, by the list's id and what it
    goes with.
    ``canary`` is a model on trial, which scores ``canary_share`` of the customers, or none of them
    and is only compared (`shadow_of`).
    ``prices`` are those of the night's plan for the day's money, None without one.
    ``leases`` are what the shards were lent of the budgets, and ``metered`` the active campaigns
    that have one. ``audited_share`` is 1 where every refusal must be told, as in a preview.
    """

    def __init__(self) -> None:
        self.policy = Policy()
        self.campaigns: dict[str, Campaign] = {}
        self.model: LogisticModel = self._prior()
        self.canary: LogisticModel | None = None
        self.canary_share = 0.0
        self.posteriors: dict[tuple[str, str, str], Posterior] = {}
        self.mixes: dict[tuple[str, str, int], ChannelMix] = {}
        self.experiments: dict[str, Experiment] = {}
        self.catalogue: dict[str, CatalogueItem] = {}
        self.shops: dict[str, PlaceGrid] = {}
        self.every_shop = PlaceGrid()
        self.lists: dict[tuple[str, str], ItemList] = {}
        self.forecasts: dict[str, Forecast] = {}
        self.responses: dict[str, LearnedResponse] = {}
        self.segmentation: Segmentation | None = None
        self.prices: Prices | None = None
        self.sealed: dict[str, Decision] = {}
        self.leases = Leases()
        self.metered: tuple[Campaign, ...] = ()
        self.audited_share = AUDITED_SHARE
        self._updated: dict[str, int] = {}
        self._index: Index | None = None
        self._chain_of: dict[str, str] = {}
        self._price_lists: dict[tuple[str, str], PriceList] = {}
        self._plans: dict[tuple[str, str, int], _Plan] = {}
        self._trials: dict[str, Experiment] = {}
        self._treated: dict[tuple[str, str], Campaign] = {}
        self._chains: dict[str, Chain] = {}
        self._hot: list[tuple[Model, LogisticModel]] = []
        self._held: dict[str, LogisticModel] = {}
        self._variant_models: dict[str, LogisticModel | None] = {}

    @property
    def index(self) -> Index:
        """What the campaigns in force watch for."""
        found = self._index
        if found is None:
            found = self._index = index(self.campaigns.values())
        return found

    def model_for(self, user_id: str, variant: str = "") -> LogisticModel:
        """The model that scores this customer: their variant's, the one in force, or on trial."""
        if variant and (named := self._variant_models.get(variant)) is not None:
            return named
        canary = self.canary
        if canary is None or not self.canary_share:
            return self.model
        drawn = xxh3_64_intdigest(f"{canary.version}\x1f{user_id}".encode())
        return canary if drawn < self.canary_share * 2**64 else self.model

    def shadow_of(self, version: str) -> LogisticModel | None:
        """The other model that is held, where one of this version scored; None without another."""
        canary = self.canary
        if canary is None or canary.version == self.model.version:
            return None
        if version == canary.version:
            return self.model
        return canary if version == self.model.version else None

    def lacks_model(self, variant: str) -> bool:
        """Whether a variant names a model that is not held here, or not yet."""
        return variant in self._variant_models and self._variant_models[variant] is None

    def rules(self, spec: Campaign) -> Learning:
        """How a campaign's channels are chosen: as it says itself, else as the policy does."""
        return spec.learning or self.policy.learning

    def case(self, spec: Campaign, profile: Profile, at_ms: int) -> int:
        """The context to choose a channel in, `NO_CASE` where the policy has no use for one."""
        if (spec.learning or self.policy.learning).policy not in _CONTEXTUAL:
            return NO_CASE
        where = zone_of(profile, zone(self.policy.default_zone) or UTC)
        hour = (at_ms + offset_ms(at_ms, where)) // HOUR_MS % 24
        return _CASES[context_of(profile, hour)]

    def sharing(
        self, spec: Campaign, variant: str, case: int, channels: tuple[Channel, ...]
    ) -> Sharing:
        """What these channels share: of the mix that `learn` has put in force.

        Where there is none yet, of what the policy makes of what is known.
        """
        plan = self._plans.get((spec.id, variant, case))
        if plan is None:
            plan = self._plans[spec.id, variant, case] = _Plan(self._plan(spec, variant, case), {})
        found = plan.sharings.get(channels)
        if found is None:
            found = plan.sharings[channels] = sharing(
                plan.shares, channels, self.policy.channel_cost
            )
        return found

    def _plan(self, spec: Campaign, variant: str, case: int) -> dict[str, float]:
        rules, channels = self.rules(spec), spec.channels
        if switched_off(rules, channels):
            return dict.fromkeys(channels, 0.0)
        mix = self.mixes.get((spec.id, variant, case))
        if rules.fixed is not None or mix is None or mix.channels != channels:
            prior = self.policy.prior_alpha, self.policy.prior_beta
            known = [self.posteriors.get((spec.id, each, variant)) for each in channels]
            arms = [arm_of(posterior, prior) for posterior in known]
            wish = wish_of(rules, channels, arms, prior, case)
            shares = steered(None, wish, 0, limits_of(rules, channels))
            found: dict[str, float] = dict(zip(channels, shares.shares, strict=True))
        else:
            found = dict(zip(channels, mix.shares, strict=True))
        return found | dict.fromkeys(rules.off, 0.0)

    def treatment(self, spec: Campaign, user_id: str) -> tuple[Campaign, str]:
        """A campaign as an experiment has it for a customer, and the variant's name, if any."""
        trial = self._trials.get(spec.id)
        name = None if trial is None else variant_of(trial, user_id)
        if trial is None or name is None:
            return spec, ""
        full = f"{trial.id}/{name}"
        found = self._treated.get((spec.id, full))
        if found is None:
            variant = next(each for each in trial.variants if each.name == name)
            found = self._treated[spec.id, full] = treated(spec, variant)
        return found, full

    def campaign_rules(self, spec: Campaign) -> CampaignRules:
        """What `learn` must know of a campaign in force."""
        rules = {"": self.rules(spec)}
        if (trial := self._trials.get(spec.id)) is not None:
            for variant in trial.variants:
                rules[f"{trial.id}/{variant.name}"] = variant.learning or rules[""]
        policy = self.policy
        return CampaignRules(spec.id, spec.channels, policy.prior_alpha, policy.prior_beta, rules)

    def chain(self, spec: Campaign) -> Chain:
        """The gates of a campaign in force, made ready for it under the policy in force."""
        found = self._chains.get(spec.id)
        if found is None:
            found = self._chains[spec.id] = chain(spec, self.policy)
        return found

    def price_list(self, spec: Campaign, variant: str = "") -> PriceList:
        """The offers of a campaign in force, by the response that was learned of it if any was."""
        found = self._price_lists.get((spec.id, variant))
        if found is None:
            learned = self.responses.get(spec.id)
            found = PriceList(spec, None if learned is None else learned.response)
            self._price_lists[spec.id, variant] = found
        return found

    def posterior_version(self, spec: Campaign, channel: str, variant: str = "") -> int:
        """How often the arm had changed; 0 where a fixed mix asks nobody."""
        if self.rules(spec).fixed is not None:
            return 0
        posterior = self.posteriors.get((spec.id, channel, variant))
        return 0 if posterior is None else posterior.version

    def accept(self, key: str, value: bytes | None) -> None:
        """Put a control record in force, or withdraw the one of this key when there is no value.

        A record older than the one in force is ignored, so order and repeats do not matter. Loans
        are never withdrawn: what was lent may have been spent.

        Raises:
            RefusedControl: it cannot be used; everything stays as it was.
        """
        if value is None:
            self._withdraw(key)
            return
        try:
            record = decode_control(value)
        except InvalidRecord as error:
            reason = {"model": "refused_model", "campaign": "refused_campaign"}
            kind = key.partition("/")[0]
            raise RefusedControl(reason.get(kind, "refused_control"), error.detail) from error
        if control_key(record) != key:
            raise RefusedControl(
                "refused_control", f"key {key!r} does not match its record {control_key(record)!r}"
            )
        if isinstance(record, Lease):
            self.leases.accept(record)  # which merges: each record has only grown
            return
        age = _age(record)
        if age < self._updated.get(key, -1):
            return
        self._put_in_force(record)
        self._updated[key] = age

    def _put_in_force(self, record: ControlRecord) -> None:
        match record:
            case Campaign():
                self._check(record)  # before anything is changed
                self._forget(record.id)
                if record.status == "active":
                    self.campaigns[record.id] = record
                    if record.budget is not None:
                        self.metered = (*self.metered, record)
            case Model():
                proved = self._proved(record)
                if record.id == CANARY:
                    self.canary, self.canary_share = proved, record.share
                elif record.id.startswith(VARIANT_MODEL):
                    self._held[record.id] = proved
                    self._hand_out()
                else:
                    self.model = proved
            case Policy():
                try:
                    check(record)
                except ValueError as error:
                    raise RefusedControl("refused_control", f"policy: {error}") from None
                self.policy = record
                self._chains.clear()
                self._plans.clear()
            case Posterior():
                size = len(record.won)
                if len(record.met) != size * (size + 1) // 2:
                    raise RefusedControl(
                        "refused_control",
                        f"{control_key(record)}: {len(record.met)} and {size} sums",
                    )
                self.posteriors[record.campaign_id, record.channel, record.variant] = record
                self._replan(record.campaign_id, record.variant)
            case ChannelMix():
                self._check_mix(record)
                place = record.campaign_id, record.variant, record.case
                self.mixes[place] = record
                self._plans.pop(place, None)
            case Experiment():
                self._check_experiment(record)
                self.experiments[record.id] = record
                self._try_out()
            case CatalogueItem():
                self.catalogue[record.id] = record
            case LearnedResponse():
                self.responses[record.campaign_id] = record
                self._forget_prices(record.campaign_id)
            case Shop():
                self._close_shop(record.id)
                self.shops.setdefault(record.chain, PlaceGrid()).put(
                    record.id, record.lat, record.lon
                )
                self.every_shop.put(f"{record.chain}/{record.id}", record.lat, record.lon)
                self._chain_of[record.id] = record.chain
            case ItemList():
                self.lists[record.id, record.of] = record
            case Forecast():
                if zone(record.zone) is None:
                    raise RefusedControl(
                        "refused_control", f"forecast {record.id}: no time zone {record.zone!r}"
                    )
                self.forecasts[record.id] = record
            case Segmentation():
                check_segmentation(record)
                self.segmentation = record
            case Pacing():
                self.prices = Prices(record)

    def _proved(self, record: Model) -> LogisticModel:
        """A model proved, or one of the latest that were: to return to it is a matter of a look."""
        bare = replace(record, id="ctr", share=1.0, updated_ms=0)
        for known, model in self._hot:
            if known == bare:
                return model
        model = verify(record)
        self._hot = [(bare, model), *self._hot[: HOT_MODELS - 1]]
        return model

    def _check(self, spec: Campaign) -> None:
        """Refuse a campaign that cannot run, whether it is active or not."""
        wrong = fault(spec.trigger)
        if wrong is not None:
            raise RefusedControl("refused_campaign", f"trigger.{wrong[0]}: {wrong[1]}")
        PriceList(spec)
        for field, what in learning_faults(spec.learning, spec.channels):
            raise RefusedControl("refused_campaign", f"learning.{field}: {what}")
        chain(spec, self.policy)
        try:
            index((spec,))
        except (KeyError, ValueError) as error:  # what a zone that there is none of raises
            raise RefusedControl("refused_campaign", f"trigger.zone: {error.args[0]}") from None

    def _forget(self, campaign: str) -> None:
        before = self.campaigns.pop(campaign, None)
        if before is not None and before.budget is not None:
            self.metered = tuple(spec for spec in self.metered if spec.id != campaign)
        self._forget_prices(campaign)
        self._chains.pop(campaign, None)
        self._try_out()
        self._index = None

    def _close_shop(self, shop: str) -> None:
        chain_id = self._chain_of.pop(shop, None)
        if chain_id is None:
            return
        shops = self.shops[chain_id]
        shops.remove(shop)
        self.every_shop.remove(f"{chain_id}/{shop}")
        if not shops:
            del self.shops[chain_id]

    def _withdraw(self, key: str) -> None:
        kind, _, name = key.partition("/")
        match kind:
            case "campaign":
                self._forget(name)
            case "model":
                if name == CANARY:
                    self.canary, self.canary_share = None, 0.0
                elif name.startswith(VARIANT_MODEL):
                    self._held.pop(name, None)
                    self._hand_out()
                else:
                    self.model = self._prior()
            case "policy":
                self.policy = Policy()
                self._chains.clear()
                self._plans.clear()
            case "posterior":
                campaign, channel, variant = _arm(name)
                self.posteriors.pop((campaign, channel, variant), None)
                self._replan(campaign, variant)
            case "mix":
                place, _, case = name.partition("#")
                campaign, _, variant = place.partition("/")
                self.mixes.pop((campaign, variant, int(case or NO_CASE)), None)
                self._plans.pop((campaign, variant, int(case or NO_CASE)), None)
            case "experiment":
                self.experiments.pop(name, None)
                self._try_out()
            case "item":
                self.catalogue.pop(name, None)
            case "response":
                self.responses.pop(name, None)
                self._forget_prices(name)
            case "shop":
                self._close_shop(name)
            case "list":
                listed, _, of = name.partition("/")
                self.lists.pop((listed, of), None)
            case "forecast":
                self.forecasts.pop(name, None)
            case "segmentation":
                self.segmentation = None
            case "pacing":
                self.prices = None
        self._updated.pop(key, None)

    def forget_plans(self) -> None:
        """Plan anew: what was learned is another than at the last decision, as in a replay."""
        self._plans.clear()

    def _replan(self, campaign: str, variant: str) -> None:
        """Plans that were made without a mix follow the posteriors."""
        for place in [each for each in self._plans if each[:2] == (campaign, variant)]:
            if place not in self.mixes:
                del self._plans[place]

    def _try_out(self) -> None:
        """Experiments, or the campaigns that they are about, have changed."""
        self._treated.clear()
        self._plans.clear()
        self._price_lists.clear()
        self._trials = {
            campaign: trial for trial in self.experiments.values() for campaign in trial.campaigns
        }
        self._hand_out()

    def _hand_out(self) -> None:
        """Give the variants that name a model theirs, as far as it is here."""
        self._variant_models = {
            f"{trial.id}/{variant.name}": self._held.get(variant_model_id(variant.model))
            for trial in self.experiments.values()
            for variant in trial.variants
            if variant.model
        }

    def _forget_prices(self, campaign: str) -> None:
        for place in [each for each in self._price_lists if each[0] == campaign]:
            del self._price_lists[place]

    def _check_mix(self, mix: ChannelMix) -> None:
        if len(mix.shares) != len(mix.channels) or not 0.999 < sum(mix.shares) < 1.001:
            raise RefusedControl(
                "refused_control",
                f"mix of {mix.campaign_id}: shares {mix.shares} for {mix.channels}",
            )

    def _check_experiment(self, trial: Experiment) -> None:
        others = [each for each in self.experiments.values() if each.id != trial.id]
        for wrong in (*faults(trial), *overlaps(trial, others)):
            raise RefusedControl("refused_control", f"experiment {trial.id}: {wrong}")

    def _prior(self) -> LogisticModel:
        policy = self.policy
        return prior_model(policy.prior_alpha / (policy.prior_alpha + policy.prior_beta))


def sharing(
    shares: Mapping[str, float], channels: tuple[Channel, ...], costs: Mapping[str, float]
) -> Sharing:
    """What some channels share, without those that are switched off."""
    awake = tuple([channel for channel in channels if shares[channel] > 0])
    mine = tuple([shares[channel] for channel in awake])
    spent = sum(share * costs.get(channel, 0.0) for share, channel in zip(mine, awake, strict=True))
    return Sharing(awake, mine, spent / sum(mine) if mine else 0.0)


def _age(record: ControlRecord) -> int:
    match record:
        case Posterior():
            return record.version
        case ChannelMix():
            return record.at_ms
        case _:
            return record.updated_ms


def _arm(name: str) -> tuple[str, str, str]:
    """Campaign, channel and variant of a posterior's key."""
    campaign, channel, *variant = name.split("/", 2)
    return campaign, channel, "".join(variant)
