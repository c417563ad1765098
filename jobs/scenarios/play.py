"""Scenarios played: the stream's own core, with a clock that the story moves.

Everything that happens is told to the core in order; what it says is gathered, and held against
what the story expects once all of it is over. A campaign spends its budget on the story alone, and
the channel is drawn as ever, so a story that names one had better offer one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from jobs.sandbox import Said, Sandbox
from jobs.scenarios.form import Case, CustomerForm, Scenario, Step
from jobs.words import because
from jobs.yaml_file import in_words
from schemas.control import ControlRecord, control_key
from schemas.decision import Decision
from schemas.errors import InvalidRecord, UserMistake
from schemas.event import BehaviorEvent, Consent
from schemas.topics import EVENTS, OUTCOMES
from schemas.units import duration_ms
from schemas.wire import decode_event, decode_outcome, encode
from scoring.gates.holdout import held_out
from scoring.model import prior_model
from state.customer import Customer
from state.fact import fact_of_event, id64

LONG_AGO_MS: Final = 86_400_000
"""How long before the start of a story its customers said what they agree to."""

_TRIES: Final = 100_000
_SECOND_MS: Final = 1_000


class Fault(Struct, frozen=True):
    """What a story expected and did not get, or got and did not expect."""

    line: int
    case: str
    what: str


def play(scenario: Scenario) -> list[Fault]:
    """Play all cases; no faults means that the campaigns do as they should.

    Raises:
        UserMistake: a step cannot be told to the core, such as an event without a valid action.
    """
    return [fault for case in scenario.cases for fault in _Stage(scenario, case).faults()]


class _Stage:
    """One case while it is played."""

    def __init__(self, scenario: Scenario, case: Case) -> None:
        self._scenario = scenario
        self._case = case
        records: list[ControlRecord] = [scenario.policy, *scenario.around, *scenario.campaigns]
        self._sandbox = Sandbox([(control_key(each), encode(each)) for each in records])
        if case.score is not None:
            self._sandbox.decider.world.models.champion = prior_model(case.score)
        self._said = Said()
        self._letters: list[tuple[Step, str]] = []
        self._users = {name: self._put(name, form) for name, form in case.customers.items()}

    def faults(self) -> list[Fault]:
        """Play the case and judge it."""
        steps = self._case.steps
        for number, step in enumerate(steps):
            self._tell(step, f"{step.who}-{number}")
        self._hear(self._sandbox.wait(steps[-1].at_ms + self._sandbox.patience_ms()))
        return [Fault(line, self._case.name, what) for line, what in sorted(self._judged())]

    def _put(self, name: str, form: CustomerForm) -> str:
        """Let a customer be there who is held out or not, as wanted; gives the id of one."""
        campaigns, policy = self._scenario.campaigns, self._scenario.policy
        user = next(
            (
                each
                for each in (name, *(f"{name}-{number}" for number in range(_TRIES)))
                if all(held_out(each, spec, policy) is form.holdout for spec in campaigns)
            ),
            None,
        )
        if user is None:
            raise UserMistake(
                f"{self._scenario.path}:{self._case.line}: {name} cannot be held out: neither the "
                "campaign nor the policy keeps anybody back"
            )
        at_ms = self._case.start_ms - LONG_AGO_MS
        consent = Consent(bool(form.consent) or None, **dict.fromkeys(form.consent, True))
        event = BehaviorEvent("before", user, "login", at_ms, consent=consent, traits=form.traits)
        customer = Customer()
        customer.accept(fact_of_event(event, at_ms, id64(event.event_id), 1))
        self._sandbox.put(user, customer.encode())
        return user

    def _tell(self, step: Step, name: str) -> None:
        form, user = step.form, self._users[step.who]
        self._hear(self._sandbox.wait(step.at_ms))
        if form.item is not None:
            item = replace(form.item, updated_ms=step.at_ms)
            self._sandbox.control(control_key(item), encode(item))
        if form.event is not None:
            late_ms = 0 if form.late is None else duration_ms(form.late)
            fields = {"action": form.event} if isinstance(form.event, str) else form.event
            own = {"event_id": name, "user_id": user, "ts": step.at_ms - late_ms}
            self._take(step, EVENTS, own | fields)
        if form.outcome is not None:
            fields = {"kind": form.outcome} if isinstance(form.outcome, str) else form.outcome
            last = self._last(step)
            own = {
                "outcome_id": name,
                "user_id": user,
                "ts": step.at_ms,
                "decision_id": last.decision_id,
                "campaign_id": last.campaign_id,
                "channel": last.channel,
            }
            self._take(step, OUTCOMES, own | fields)

    def _take(self, step: Step, topic: str, fields: dict[str, Any]) -> None:
        payload = encode(fields)
        try:
            (decode_event if topic == EVENTS else decode_outcome)(payload)
        except InvalidRecord as error:
            what, _, at = error.detail.partition(" - at `$.")
            field = at.rstrip("`")
            said = f"{field}: {in_words(what, fields.get(field))}" if field else error.detail
            raise UserMistake(f"{self._scenario.path}:{step.line}: {said}") from None
        heard = self._sandbox.take(topic, self._users[step.who], payload, step.at_ms)
        if heard.letter is not None:
            raise UserMistake(f"{self._scenario.path}:{step.line}: {heard.letter.detail}")
        self._hear(heard)

    def _last(self, step: Step) -> Decision:
        user = self._users[step.who]
        for decision in reversed(self._said.decisions):
            if (decision.user_id, decision.campaign_id) == (user, step.campaign):
                return decision
        patience = self._sandbox.patience_ms() // _SECOND_MS
        raise UserMistake(
            f"{self._scenario.path}:{step.line}: there is no decision of {step.campaign} for "
            f"{step.who} yet; what time brings is said {patience}s after it is due, as late events "
            "are waited for"
        )

    def _hear(self, said: Said) -> None:
        self._said.decisions += said.decisions
        self._said.refusals += said.refusals

    def _judged(self) -> Iterator[tuple[int, str]]:
        unexpected = list(self._said.decisions)
        for step in self._case.steps:
            if step.form.expect is None:
                continue
            said = next((each for each in unexpected if self._is_of(step, each)), None)
            if said is not None:
                unexpected.remove(said)
            what = self._wrong(step, said)
            if what:
                yield step.line, what
        who = {user: name for name, user in self._users.items()}
        for each in unexpected:
            at = self._clock(each.decided_at_ms)
            yield (
                self._case.line,
                f"at {at} {each.campaign_id} said something to {who[each.user_id]} ({each.status} "
                f"by {each.channel}), which nothing here expects",
            )

    def _wrong(self, step: Step, said: Decision | None) -> str:
        """What a step has against what was said at its time; empty for nothing."""
        form = step.form
        about = f"{step.campaign} to {step.who} at {self._clock(step.at_ms)}"
        if form.expect == "silence":
            if said is not None:
                return f"expected silence of {about}; it was {said.status} by {said.channel}"
            return "" if form.because is None else self._other_reason(step, form.because, about)
        if said is None:
            return f"expected a {form.expect} of {about}; {self._instead(step)}"
        if said.status != form.expect:
            return f"expected a {form.expect} of {about}; it was a {said.status}"
        channels = (form.channel,) if isinstance(form.channel, str) else form.channel
        if channels and said.channel not in channels:
            return f"expected {about} by {' or '.join(channels)}; it was by {said.channel}"
        return ""

    def _other_reason(self, step: Step, reason: str, about: str) -> str:
        found = [each for each in self._said.refusals if self._is_of(step, each)]
        if any(each.reason == reason for each in found):
            return ""
        why = "; ".join(map(because, found)) or "the campaign did not want to speak"
        return f"expected silence of {about} because of {reason}; the reason is: {why}"

    def _instead(self, step: Step) -> str:
        """What happened where something else was expected."""
        why = [because(each) for each in self._said.refusals if self._is_of(step, each)]
        if why:
            return f"it was silent because of {'; '.join(why)}"
        user = self._users[step.who]
        others = [
            self._clock(each.decided_at_ms)
            for each in self._said.decisions
            if (each.user_id, each.campaign_id) == (user, step.campaign)
        ]
        return f"it spoke at {', '.join(others)}" if others else "it never wanted to speak"

    def _is_of(self, step: Step, each: Any) -> bool:
        """Whether a decision or a refusal is of a step's customer, campaign and second."""
        at_ms: int = each.decided_at_ms if isinstance(each, Decision) else each.ts
        return (
            each.user_id == self._users[step.who]
            and each.campaign_id == step.campaign
            and at_ms // _SECOND_MS == step.at_ms // _SECOND_MS
        )

    def _clock(self, at_ms: int) -> str:
        return _clock(at_ms, self._case.start_ms, self._scenario.zone)


def _clock(at_ms: int, start_ms: int, zone: tzinfo) -> str:
    """A moment of a story: by the clock, and how long after the start."""
    minutes, seconds = divmod((at_ms - start_ms) // _SECOND_MS, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = zip((days, hours, minutes, seconds), "dhms", strict=True)
    passed = "".join(f"{number}{unit}" for number, unit in parts if number)
    clock = datetime.fromtimestamp(at_ms / 1_000, zone)
    return f"{passed or '0s'} ({clock:%Y-%m-%d %H:%M:%S})"
