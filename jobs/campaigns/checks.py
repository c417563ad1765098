"""What refuses a campaign file besides its shape: conditions, dates, zones, limits, costs.

Each fault is the place in the file and a sentence that says what is wrong and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from jobs.campaigns.spelling import field, quantity
from jobs.campaigns.variant_models import unknown_model
from jobs.yaml_file import Document, Place, shown
from schemas import triggers
from schemas.campaign_file import CampaignFile
from schemas.control import Campaign, Policy, control_key
from schemas.errors import InvalidRecord, RefusedControl
from schemas.experiment_file import ExperimentFile
from schemas.learning_rules import learning_faults
from schemas.policy_file import PolicyFile
from schemas.trigger_forms import HoursForm, SegmentForm
from schemas.units import moment_ms
from schemas.wire import decode_control, encode
from scoring.conditions import Condition, ConditionError, audience, when
from scoring.experiments.assignment import faults as experiment_faults
from scoring.gates import check as check_policy
from scoring.offers import faults as offer_faults
from scoring.world import World
from scoring.zones import zone

Fault = tuple[Place, str]

_BOUND: Final = re.compile(r"Expected `\w+` (<=|>=|<|>) ([-0-9.e+]+)")
_STEP: Final = re.compile(r"\.(\w+)")
_ZONE: Final = "is no IANA time zone, such as Europe/Paris or Asia/Shanghai"


def faults(document: Document, content: CampaignFile | PolicyFile | ExperimentFile) -> list[Fault]:
    """Everything that is wrong with one file of the right shape."""
    if isinstance(content, ExperimentFile):
        return list(_of_experiment(content))
    if isinstance(content, PolicyFile):
        return list(_of_policy(document, content))
    found = [*_of_period(content), *_of_zones(content), *_of_conditions(document, content)]
    return found or list(_of_campaign(document, content)) or list(_of_stream(content.record()))


def _of_experiment(content: ExperimentFile) -> Iterator[Fault]:
    for what in experiment_faults(content.record()):
        yield ("variants",), what
    for number, campaign in enumerate(content.campaigns):
        if campaign in content.campaigns[:number]:
            yield ("campaigns", number), f"{campaign} is named twice; once is enough"
    for number, variant in enumerate(content.variants):
        if variant.model is not None and (what := unknown_model(variant.model)):
            yield ("variants", number, "model"), what


def _of_policy(document: Document, content: PolicyFile) -> Iterator[Fault]:
    policy = content.record()
    if zone(content.default_zone) is None:
        yield ("default_zone",), f"{content.default_zone!r} {_ZONE}"
        return
    hours = content.quiet_hours
    if hours is not None and hours.start == hours.end:
        yield (
            ("quiet_hours", "end"),
            "quiet hours that end when they start are none; leave them out",
        )
        return
    for number, cap in enumerate(content.caps):
        if (cap.within is None) == (cap.per is None):
            what = "give `within` (such as 1d) or `per` (day, week or month), one of the two"
            yield ("caps", number), what
            return
    yield from _of_record(document, policy)
    try:
        check_policy(policy)
    except ValueError as error:
        yield (), str(error)


def _of_campaign(document: Document, content: CampaignFile) -> Iterator[Fault]:
    record = content.record()
    channels = content.channels
    for number, channel in enumerate(channels):
        if channel in channels[:number]:
            yield ("channels", number), f"{channel} is named twice; once is enough"
    if record.ends_ms is not None and record.ends_ms <= (record.starts_ms or 0):
        yield ("period", "until"), "the campaign ends before it begins; swap `from` and `until`"
    for name, what in learning_faults(record.learning, channels):
        yield ("learning", name), what
    trigger = triggers.fault(record.trigger)
    if trigger is not None:
        yield ("trigger", trigger[0]), trigger[1]
    for sentence in offer_faults(record):
        yield ("offer", "choose"), sentence
    yield from _of_record(document, record)


def _of_period(content: CampaignFile) -> Iterator[Fault]:
    period = content.period
    if zone(period.zone) is None:
        yield ("period", "zone"), f"{period.zone!r} {_ZONE}"
        return
    for name, text in (("from", period.from_), ("until", period.until)):
        if text is not None:
            try:
                moment_ms(text, period.zone)
            except ValueError as error:
                yield ("period", name), f"{text!r} is no date: {error}"


def _of_zones(content: CampaignFile) -> Iterator[Fault]:
    if content.budget is not None and zone(content.budget.zone) is None:
        yield ("budget", "zone"), f"{content.budget.zone!r} {_ZONE}"
    if isinstance(content.trigger, HoursForm) and zone(content.trigger.zone) is None:
        yield ("trigger", "zone"), f"{content.trigger.zone!r} {_ZONE}"


def _of_conditions(document: Document, content: CampaignFile) -> Iterator[Fault]:
    yield from _unreadable(document, ("audience",), audience)
    yield from _unreadable(document, ("when",), when)
    if isinstance(content.trigger, SegmentForm):
        yield from _unreadable(document, ("trigger", "segment"), audience)


def _unreadable(
    document: Document, place: Place, read: Callable[[str], Condition[Any] | None]
) -> Iterator[Fault]:
    for at, text in phrases(document, place):
        try:
            read(text)
        except ConditionError as error:
            yield at, error.detail


def phrases(document: Document, place: Place) -> Iterable[tuple[Place, str]]:
    """The conditions of a field one by one, each with its place."""
    written = document.value(place)
    if isinstance(written, str):
        return [(place, written)]
    return [((*place, number), text) for number, text in enumerate(written or ())]


def _of_record(document: Document, record: Campaign | Policy) -> Iterator[Fault]:
    """What the contract itself would refuse, as the file would say it."""
    try:
        decode_control(encode(record))
    except InvalidRecord as error:
        place, what = _in_units(error.detail)
        written = document.value(place)
        yield place, what if written is None else f"{what}, not {shown(written)}"


def _of_stream(record: Campaign) -> Iterator[Fault]:
    """Whatever else the stream would refuse, should anything be forgotten here."""
    try:
        World().accept(control_key(record), encode(record))
    except RefusedControl as error:
        yield (), error.detail


def _in_units(detail: str) -> Fault:
    """Field and fault of a record as its file would say them: ``cooldown: at most 366d``."""
    what, _, path = detail.partition(" - at `$")
    steps = [step for step in _STEP.findall(path.rstrip("`")) if step]
    name = steps[-1] if steps else ""
    if found := _BOUND.match(what):
        most_or_least = "at most" if "<" in found[1] else "at least"
        what = f"{most_or_least} {quantity(name, float(found[2]))}"
    else:
        what = what[:1].lower() + what[1:]
    return tuple(filter(None, field(steps).split("."))), what
