"""Everything in force: campaigns, model, policy, posteriors, catalogue, shops, lists."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC
from math import inf
from typing import Final

from xxhash import xxh3_64_intdigest

from schemas.budget import Lease
from schemas.control import (
    Campaign,
    CatalogueItem,
    ChannelMix,
    ControlRecord,
    Forecast,
    ItemList,
    ItemSales,
    Pacing,
    Policy,
    Posterior,
    Segmentation,
    Shop,
    control_key,
)
from schemas.decision import Decision
from schemas.errors import InvalidRecord, RefusedControl
from schemas.experiment import Experiment
from schemas.learning_rules import CampaignRules, learning_faults
from schemas.model import Challenger, Model
from schemas.pricing import LearnedResponse
from schemas.triggers import fault
from schemas.wire import decode_control
from scoring.campaigns import index
from scoring.campaigns.grid import PlaceGrid
from scoring.campaigns.index import Index
from scoring.experiments.assignment import faults, overlaps, treated, variant_of
from scoring.gates import Chain, chain, check
from scoring.learning import NO_CASE
from scoring.mixes import Mixes
from scoring.model import LogisticModel, prior_model
from scoring.models_in_force import ModelsInForce
from scoring.offers import PriceList
from scoring.pacing import Prices
from scoring.policies import POLICIES
from scoring.policies.context import CONTEXTS, context_of
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


def is_audited(user_id: str, share: int = AUDITED_SHARE) -> bool:
    """Whether every refusal of this customer is audited in full."""
    return xxh3_64_intdigest(user_id.encode()) % share == 0


class World:
    """What a step reads besides the customer. Changed between batches, never within one.

    ``sealed`` holds decisions that a run before this one had already published after the state we
    resumed from was saved: they are made again as they were, whatever has been learned since.
    ``standing`` are the same by customer, None where they are not all that was published, as in a
    replay that takes some for granted; `seal` adds to both.
    ``campaigns`` are the active ones by id, ``sales`` what the night expects of each item in a day.
    ``shops`` are those of each chain, and ``every_shop`` all of them under ``<chain>/<id>``;
    ``lists`` is what to recommend, by the list's id and what it goes with.
    ``prices`` are those of the night's plan for the day's money, None without one.
    ``leases`` are what the shards were lent of the budgets, and ``metered`` the active campaigns
    that have one. ``audited_share`` is 1 where every refusal must be told, as in a preview.
    """

    def __init__(self) -> None:
        self.policy = Policy()
        self.campaigns: dict[str, Campaign] = {}
        self.models = ModelsInForce(self._prior())
        self.mixes = Mixes(self.policy)
        self.experiments: dict[str, Experiment] = {}
        self.catalogue: dict[str, CatalogueItem] = {}
        self.sales: dict[str, float] = {}
        self.shops: dict[str, PlaceGrid] = {}
        self.every_shop = PlaceGrid()
        self.lists: dict[tuple[str, str], ItemList] = {}
        self.forecasts: dict[str, Forecast] = {}
        self.responses: dict[str, LearnedResponse] = {}
        self.segmentation: Segmentation | None = None
        self.prices: Prices | None = None
        self.sealed: dict[str, Decision] = {}
        self.standing: dict[str, list[Decision]] | None = {}
        self.leases = Leases()
        self.metered: tuple[Campaign, ...] = ()
        self.audited_share = AUDITED_SHARE
        self._updated: dict[str, int] = {}
        self._index: Index | None = None
        self._chain_of: dict[str, str] = {}
        self._price_lists: dict[tuple[str, str], PriceList] = {}
        self._trials: dict[str, Experiment] = {}
        self._treated: dict[tuple[str, str], Campaign] = {}
        self._chains: dict[str, Chain] = {}

    @property
    def index(self) -> Index:
        """What the campaigns in force watch for."""
        found = self._index
        if found is None:
            found = self._index = index(self.campaigns.values())
        return found

    def seal(self, published: Iterable[Decision]) -> None:
        """Let these decisions stand as they were published, those that do not do so yet."""
        for decision in published:
            if decision.decision_id not in self.sealed:
                self.sealed[decision.decision_id] = decision
                if self.standing is not None:
                    self.standing.setdefault(decision.user_id, []).append(decision)

    def case(self, spec: Campaign, profile: Profile, at_ms: int) -> int:
        """The context to choose a channel in, `NO_CASE` where the policy has no use for one."""
        if self.mixes.rules(spec).policy not in _CONTEXTUAL:
            return NO_CASE
        where = zone_of(profile, zone(self.policy.default_zone) or UTC)
        hour = (at_ms + offset_ms(at_ms, where)) // HOUR_MS % 24
        return _CASES[context_of(profile, hour)]

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
        rules = {"": self.mixes.rules(spec)}
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

    def days_left(self, item: str) -> float | None:
        """How many days the stock of an item lasts; None where stock or sales are unknown."""
        offered = self.catalogue.get(item)
        if offered is None or offered.stock is None:
            return None
        sold = self.sales.get(item, offered.sales_per_day)
        if sold is None:
            return None
        return offered.stock / sold if sold else inf

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
                self.models.put(record)
            case Challenger():
                pass  # it is the night's to judge; nothing is decided by it
            case Policy():
                try:
                    check(record)
                except ValueError as error:
                    raise RefusedControl("refused_control", f"policy: {error}") from None
                self.policy = record
                self._chains.clear()
                self.mixes.follow(self.policy)
            case Posterior():
                self.mixes.learn(record)
            case ChannelMix():
                self.mixes.mix(record)
            case Experiment():
                self._check_experiment(record)
                self.experiments[record.id] = record
                self._try_out()
            case CatalogueItem():
                self.catalogue[record.id] = record
            case ItemSales():
                self.sales[record.id] = record.per_day
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
                self.models.withdraw(name, self._prior())
            case "policy":
                self.policy = Policy()
                self._chains.clear()
                self.mixes.follow(self.policy)
            case "posterior":
                self.mixes.forget(name)
            case "mix":
                self.mixes.unmix(name)
            case "experiment":
                self.experiments.pop(name, None)
                self._try_out()
            case "item":
                self.catalogue.pop(name, None)
            case "sales":
                self.sales.pop(name, None)
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

    def _try_out(self) -> None:
        """Experiments, or the campaigns that they are about, have changed."""
        self._treated.clear()
        self.mixes.plan_anew()
        self._price_lists.clear()
        self._trials = {
            campaign: trial for trial in self.experiments.values() for campaign in trial.campaigns
        }
        self.models.follow(self.experiments.values())

    def _forget_prices(self, campaign: str) -> None:
        for place in [each for each in self._price_lists if each[0] == campaign]:
            del self._price_lists[place]

    def _check_experiment(self, trial: Experiment) -> None:
        others = [each for each in self.experiments.values() if each.id != trial.id]
        for wrong in (*faults(trial), *overlaps(trial, others)):
            raise RefusedControl("refused_control", f"experiment {trial.id}: {wrong}")

    def _prior(self) -> LogisticModel:
        policy = self.policy
        return prior_model(policy.prior_alpha / (policy.prior_alpha + policy.prior_beta))


def _age(record: ControlRecord) -> int:
    match record:
        case Posterior():
            return record.version
        case ChannelMix():
            return record.at_ms
        case _:
            return record.updated_ms
