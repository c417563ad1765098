"""The kinds of campaign. A new kind is one file and one line here; the contract suite finds it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from schemas import triggers
from schemas.control import Campaign
from scoring.campaigns.absence import AbsenceWatch
from scoring.campaigns.base import Watch
from scoring.campaigns.count import CountWatch
from scoring.campaigns.coupon import CouponWatch
from scoring.campaigns.event import EventWatch
from scoring.campaigns.fence import FenceWatch
from scoring.campaigns.hours import HoursWatch
from scoring.campaigns.index import Index
from scoring.campaigns.membership import MembershipWatch
from scoring.campaigns.overdue import OverdueWatch
from scoring.campaigns.seasoned import SeasonedWatch
from scoring.campaigns.segment import SegmentWatch
from scoring.campaigns.silence import SilenceWatch
from scoring.campaigns.slot import SlotWatch
from scoring.campaigns.stock import StockWatch

CAMPAIGN_KINDS: Final[dict[type, type[Watch]]] = {
    triggers.EventTrigger: EventWatch,
    triggers.AbsenceTrigger: AbsenceWatch,
    triggers.CountTrigger: CountWatch,
    triggers.SilenceTrigger: SilenceWatch,
    triggers.SeasonedTrigger: SeasonedWatch,
    triggers.SegmentTrigger: SegmentWatch,
    triggers.CouponTrigger: CouponWatch,
    triggers.FenceTrigger: FenceWatch,
    triggers.HoursTrigger: HoursWatch,
    triggers.StockTrigger: StockWatch,
    triggers.MembershipTrigger: MembershipWatch,
    triggers.OverdueTrigger: OverdueWatch,
    triggers.SlotTrigger: SlotWatch,
}
"""Trigger of the contract → kind."""


def index(specs: Iterable[Campaign] = ()) -> Index:
    """Make campaigns ready to run.

    Raises:
        RefusedControl: one of them has a condition that cannot be read.
        KeyError, ValueError: one of them names a time zone that there is none of.
    """
    return Index(CAMPAIGN_KINDS, specs)
