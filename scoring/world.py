"""Everything in force: campaigns, model, policy, posteriors, catalogue, shops, lists."""

from __future__ import annotations

from typing import Final

from xxhash import xxh3_64_intdigest

from schemas.budget import Lease
from schemas.control import (
    Campaign,
    CatalogueItem,
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
)
from schemas.decision import Decision
from schemas.errors import InvalidRecord, RefusedControl
from schemas.pricing import LearnedResponse
from schemas.triggers import fault
from schemas.wire import decode_control
from scoring.campaigns import index
from scoring.campaigns.grid import PlaceGrid
from scoring.campaigns.index import Index
from scoring.gates import Chain, chain, check
from scoring.model import LogisticModel, prior_model, verify
from scoring.offers import PriceList
from scoring.policies import POLICIES
from scoring.segments import check_segmentation
from scoring.zones import zone
from state.loans import Leases

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
    ``campaigns`` are the active ones by id, ``shops`` those of each chain, and ``every_shop``
    all of them under ``<chain>/<id>``; ``lists`` is what to recommend, by the list's id and what it
    goes with.
    ``leases`` are what the shards were lent of the budgets, and ``metered`` the active campaigns
    that have one. ``audited_share`` is 1 where every refusal must be told, as in a preview.
    """

    def __init__(self) -> None:
        self.policy = Policy()
        self.campaigns: dict[str, Campaign] = {}
        self.model: LogisticModel = self._prior()
        self.channel_policy = POLICIES["beta-thompson"]()
        self.posteriors: dict[tuple[str, str], Posterior] = {}
        self.catalogue: dict[str, CatalogueItem] = {}
        self.shops: dict[str, PlaceGrid] = {}
        self.every_shop = PlaceGrid()
        self.lists: dict[tuple[str, str], ItemList] = {}
        self.forecasts: dict[str, Forecast] = {}
        self.responses: dict[str, LearnedResponse] = {}
        self.segmentation: Segmentation | None = None
        self.pacing: Pacing | None = None
        self.sealed: dict[str, Decision] = {}
        self.leases = Leases()
        self.metered: tuple[Campaign, ...] = ()
        self.audited_share = AUDITED_SHARE
        self._updated: dict[str, int] = {}
        self._index: Index | None = None
        self._chain_of: dict[str, str] = {}
        self._price_lists: dict[str, PriceList] = {}
        self._chains: dict[str, Chain] = {}

    @property
    def index(self) -> Index:
        """What the campaigns in force watch for."""
        found = self._index
        if found is None:
            found = self._index = index(self.campaigns.values())
        return found

    def arms(self, spec: Campaign, channels: tuple[str, ...]) -> tuple[tuple[float, float], ...]:
        """Beta parameters of a campaign's channels; the policy's prior where nothing is known."""
        known, policy = self.posteriors, self.policy
        return tuple(
            (posterior.alpha, posterior.beta)
            if (posterior := known.get((spec.id, channel))) is not None
            else (policy.prior_alpha, policy.prior_beta)
            for channel in channels
        )

    def chain(self, spec: Campaign) -> Chain:
        """The gates of a campaign in force, made ready for it under the policy in force."""
        found = self._chains.get(spec.id)
        if found is None:
            found = self._chains[spec.id] = chain(spec, self.policy)
        return found

    def price_list(self, spec: Campaign) -> PriceList:
        """The offers of a campaign in force, by the response that was learned of it if any was."""
        found = self._price_lists.get(spec.id)
        if found is None:
            learned = self.responses.get(spec.id)
            found = PriceList(spec, None if learned is None else learned.response)
            self._price_lists[spec.id] = found
        return found

    def posterior_version(self, campaign: str, channel: str) -> int:
        """How many rewards the arm has learned from."""
        posterior = self.posteriors.get((campaign, channel))
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
        age = record.version if isinstance(record, Posterior) else record.updated_ms
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
                self.model = verify(record)
            case Policy():
                try:
                    check(record)
                except ValueError as error:
                    raise RefusedControl("refused_control", f"policy: {error}") from None
                self.policy = record
                self._chains.clear()
            case Posterior():
                self.posteriors[record.campaign_id, record.channel] = record
            case CatalogueItem():
                self.catalogue[record.id] = record
            case LearnedResponse():
                self.responses[record.campaign_id] = record
                self._price_lists.pop(record.campaign_id, None)
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
                self.pacing = record

    def _check(self, spec: Campaign) -> None:
        """Refuse a campaign that cannot run, whether it is active or not."""
        wrong = fault(spec.trigger)
        if wrong is not None:
            raise RefusedControl("refused_campaign", f"trigger.{wrong[0]}: {wrong[1]}")
        PriceList(spec)
        chain(spec, self.policy)
        try:
            index((spec,))
        except (KeyError, ValueError) as error:  # what a zone that there is none of raises
            raise RefusedControl("refused_campaign", f"trigger.zone: {error.args[0]}") from None

    def _forget(self, campaign: str) -> None:
        before = self.campaigns.pop(campaign, None)
        if before is not None and before.budget is not None:
            self.metered = tuple(spec for spec in self.metered if spec.id != campaign)
        self._price_lists.pop(campaign, None)
        self._chains.pop(campaign, None)
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
                self.model = self._prior()
            case "policy":
                self.policy = Policy()
                self._chains.clear()
            case "posterior":
                campaign, _, channel = name.partition("/")
                self.posteriors.pop((campaign, channel), None)
            case "item":
                self.catalogue.pop(name, None)
            case "response":
                self.responses.pop(name, None)
                self._price_lists.pop(name, None)
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
                self.pacing = None
        self._updated.pop(key, None)

    def _prior(self) -> LogisticModel:
        policy = self.policy
        return prior_model(policy.prior_alpha / (policy.prior_alpha + policy.prior_beta))
