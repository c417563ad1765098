"""Scenario files: what happens to customers, when, and what must come of it.

    kind: scenario
    campaigns: [../cart-abandonment.yaml]   # default: the file of the same name one folder up
    start: 2026-03-02 12:00                 # by the clock of `zone`

    cases:
      - name: A cart and nothing more
        story:
          - {at: 0m, event: {action: cart, item_id: lamp}}
          - {at: 30m, expect: send}

Whatever is said and not expected is a fault as well, so a silence need not be written down, except
to let the clock run up to it or to check its reason (``expect: silence, because: cooldown``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct, field

from jobs.campaigns.files import read_file
from jobs.yaml_file import Document, Place
from schemas.control import Campaign, CatalogueItem, ItemList, Policy, Shop, Slug
from schemas.errors import UserMistake
from schemas.event import Traits
from schemas.outcome import CHANNELS, Channel
from schemas.reasons import REASONS
from schemas.units import Duration, Percent, duration_ms, ratio

T = TypeVar("T", Campaign, Policy)
When = Annotated[
    str | Literal[0],
    Meta(description="a while after start (90s, 1h30m), a time of day (22:30), or both with date"),
]
Someone = Annotated[
    str, Meta(pattern=r"^[a-z][a-z0-9-]{0,31}$", description="a name in lower case")
]

Around = tuple[CatalogueItem | Shop | ItemList, ...]

_WHILE: Final = re.compile(r"(\d+(?:ms|[smhd]) ?)+")
_PART: Final = re.compile(r"\d+(?:ms|[smhd])")
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")


class CustomerForm(Struct, frozen=True, forbid_unknown_fields=True):
    """A customer at the beginning of a story.

    ``holdout`` picks one who is kept back; all others are picked so that they are not.
    """

    consent: tuple[Channel, ...] = CHANNELS
    holdout: bool = False
    traits: Traits = Traits()


class StepForm(Struct, frozen=True, forbid_unknown_fields=True):
    """Something that happens or must have happened: exactly one of the first four.

    ``late`` is how long before ``at`` an event had happened that arrives only then. ``who`` is the
    first customer, and ``campaign`` the first campaign, unless said otherwise.
    """

    at: When
    event: Annotated[str | dict[str, Any] | None, Meta(description="an action, or its fields")] = (
        None
    )
    outcome: Annotated[
        str | dict[str, Any] | None,
        Meta(description="of the campaign's last decision: clicked, bounced, or fields"),
    ] = None
    item: Annotated[CatalogueItem | None, Meta(description="a new state of the catalogue")] = None
    expect: Literal["send", "holdout", "silence"] | None = None
    who: Someone | None = None
    campaign: Slug | None = None
    channel: Channel | tuple[Channel, ...] | None = None
    because: str | None = None
    late: Duration | None = None


class CaseForm(Struct, frozen=True, forbid_unknown_fields=True):
    """One story."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    story: Annotated[tuple[StepForm, ...], Meta(min_length=1)]
    customers: dict[Someone, CustomerForm] | None = None
    score: Annotated[Percent | None, Meta(description="what the model says, such as 5%")] = None


class ScenarioFile(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="scenario"
):
    """Stories about the same campaigns; what is said of customers holds for all of them."""

    cases: Annotated[tuple[CaseForm, ...], Meta(min_length=1)]
    campaigns: tuple[str, ...] = ()
    policy: str | None = None
    start: str = "2026-03-02 12:00"
    zone: str = "UTC"
    customers: dict[Someone, CustomerForm] = field(default_factory=lambda: {"ann": CustomerForm()})
    catalogue: tuple[CatalogueItem, ...] = ()
    shops: tuple[Shop, ...] = ()
    lists: tuple[ItemList, ...] = ()


class Step(Struct, frozen=True):
    """A step with its time, and the line of the file that it stands on."""

    at_ms: int
    line: int
    who: str
    campaign: str
    form: StepForm


class Case(Struct, frozen=True):
    """A story made ready to be played."""

    name: str
    line: int
    start_ms: int
    customers: dict[str, CustomerForm]
    steps: list[Step]
    score: float | None


class Scenario(Struct, frozen=True):
    """A file made ready to be played; ``around`` is what there is besides campaigns and policy."""

    path: Path
    zone: tzinfo
    campaigns: list[Campaign]
    policy: Policy
    around: Around
    cases: list[Case]


def read_scenario(path: Path) -> Scenario:
    """Read a scenario and the campaigns and policy that it names.

    Raises:
        UserMistake: a line for each mistake, with file, line, field and fix.
    """
    document = Document(path)
    if document.data.get("kind") != "scenario":
        raise UserMistake(document.mistake(("kind",), "expected scenario"))
    content = document.into(ScenarioFile)
    try:
        zone = ZoneInfo(content.zone)
    except (ValueError, OSError, KeyError):
        what = f"{content.zone!r} is no IANA time zone, such as Asia/Shanghai"
        raise UserMistake(document.mistake(("zone",), what)) from None
    campaigns = [
        _record(document, ("campaigns", place), name, Campaign)
        for place, name in enumerate(content.campaigns or (f"../{path.name}",))
    ]
    reader = _Reader(document, content, zone, [campaign.id for campaign in campaigns])
    cases = [reader.case(place, form) for place, form in enumerate(content.cases)]
    if reader.mistakes:
        raise UserMistake("\n".join(reader.mistakes))
    around: Around = (*content.catalogue, *content.shops, *content.lists)
    return Scenario(path, zone, campaigns, _policy(document, content), around, cases)


def _policy(document: Document, content: ScenarioFile) -> Policy:
    """The one that is named, else the one beside the first campaign, else the default."""
    if content.policy is not None:
        return _record(document, ("policy",), content.policy, Policy)
    first = content.campaigns[0] if content.campaigns else f"../{document.path.name}"
    beside = (document.path.parent / first).parent / "policy.yaml"
    if not beside.is_file():
        return Policy()
    return _record(document, ("policy",), str(beside.resolve()), Policy)


def _record(document: Document, place: Place, name: str, kind: type[T]) -> T:
    path = document.path.parent / name
    if not path.is_file():
        raise UserMistake(document.mistake(place, f"there is no file {path}"))
    record = read_file(path).record
    if not isinstance(record, kind):
        raise UserMistake(document.mistake(place, f"{path} is no {kind.__name__.lower()}"))
    return record


class _Reader:
    """Turns cases into what can be played, and gathers what is wrong with them."""

    def __init__(
        self, document: Document, content: ScenarioFile, zone: tzinfo, campaigns: list[str]
    ) -> None:
        self.mistakes: list[str] = []
        self._document = document
        self._content = content
        self._zone = zone
        self._campaigns = campaigns
        self._start = self._beginning()

    def case(self, number: int, form: CaseForm) -> Case:
        """One case."""
        place: Place = ("cases", number)
        customers = self._content.customers | (form.customers or {})
        if form.customers:  # those of the case come first, so that `who` can be left out
            customers = form.customers | {
                n: c for n, c in customers.items() if n not in form.customers
            }
        steps = list(self._steps((*place, "story"), form.story, customers))
        score = None if form.score is None else ratio(form.score)
        if score is not None and not 0 < score < 1:
            self._fault((*place, "score"), "a score lies between 0% and 100%, both left out")
            score = None
        return Case(
            form.name,
            self._document.line(place),
            _ms(self._start),
            customers,
            steps,
            score,
        )

    def _steps(
        self, place: Place, story: tuple[StepForm, ...], customers: dict[str, CustomerForm]
    ) -> Iterator[Step]:
        now = self._start
        for number, form in enumerate(story):
            at = (*place, number)
            given = [
                n for n in ("event", "outcome", "item", "expect") if getattr(form, n) is not None
            ]
            if len(given) != 1:
                found = " and ".join(given) or "none of them"
                self._fault(at, f"give one of event, outcome, item and expect; found {found}")
            self._check_names(at, form, customers)
            moment = self._moment(form.at, now)
            if moment is None:
                self._fault(
                    (*at, "at"),
                    f"{form.at!r} is no time: 90s or 1h30m after start, 22:30, or 2026-03-29 22:30",
                )
                continue
            if moment < now:
                self._fault((*at, "at"), "comes before the step above it; a story goes forward")
                continue
            now = moment
            yield Step(
                _ms(moment),
                self._document.line(at),
                form.who or next(iter(customers)),
                form.campaign or self._campaigns[0],
                form,
            )

    def _check_names(self, at: Place, form: StepForm, customers: dict[str, CustomerForm]) -> None:
        if form.who is not None and form.who not in customers:
            self._fault((*at, "who"), f"no customer {form.who!r}; there are {', '.join(customers)}")
        if form.campaign is not None and form.campaign not in self._campaigns:
            known = ", ".join(self._campaigns)
            self._fault((*at, "campaign"), f"no campaign {form.campaign!r} here; there are {known}")
        if form.because is not None:
            if form.expect != "silence":
                self._fault((*at, "because"), "only a silence has a reason to check")
            elif form.because not in REASONS:
                known = ", ".join(REASONS)
                self._fault((*at, "because"), f"no reason {form.because!r}; there are {known}")
        if form.channel is not None and form.expect not in ("send", "holdout"):
            self._fault((*at, "channel"), "only goes with expect: send and expect: holdout")
        if form.late is not None and form.event is None:
            self._fault((*at, "late"), "only goes with an event")

    def _moment(self, text: str | int, now: datetime) -> datetime | None:
        """The time that is written, by the clock of the zone; ``now`` is the step's before."""
        if text == 0 or isinstance(text, int):
            return self._start
        if _WHILE.fullmatch(text.strip()):
            passed = sum(duration_ms(part) for part in _PART.findall(text))
            # Through UTC: an hour is an hour in the night in which the clocks change, too.
            return datetime.fromtimestamp((_ms(self._start) + passed) / 1_000, self._zone)
        if clock := _CLOCK.fullmatch(text.strip()):
            hour, minute, second = (int(part or 0) for part in clock.groups())
            at = now.replace(hour=hour, minute=minute, second=second, microsecond=0)
            return at if at >= now else at + timedelta(days=1)
        try:
            at = datetime.fromisoformat(text.strip())
        except ValueError:
            return None
        return at.replace(tzinfo=self._zone) if at.tzinfo is None else at.astimezone(self._zone)

    def _beginning(self) -> datetime:
        try:
            start = datetime.fromisoformat(self._content.start)
        except ValueError:
            what = f"{self._content.start!r} is no date and time, such as 2026-03-02 12:00"
            raise UserMistake(self._document.mistake(("start",), what)) from None
        return start.replace(tzinfo=self._zone)

    def _fault(self, place: Place, what: str) -> None:
        self.mistakes.append(self._document.mistake(place, what))


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000)
