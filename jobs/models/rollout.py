"""A model's way into the stream, as one state machine: no file, no broker, no clock.

        won           enough rows, nothing broken          enough rows, nothing broken
    ──────────▶ shadow ──────────▶ canary 10 % ─▶ 50 % ──────────▶ all ──────────▶ settled
                   │                   │                            │
                   └───── a guardrail broke, or nothing to judge by came in time ──▶ rolled back

In ``shadow`` it scores the very rows that the champion decides, and decides nothing. In ``canary``
it decides for a share of the customers, chosen by a hash. In ``all`` it is the champion, and the
one before is held beside it, hot, so that the way back is one record. What a guardrail is, and when
it is broken, is `jobs.models.guard`.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from jobs.models.guard import Seen, breach
from schemas.audit import RollOut

Stage = Literal["shadow", "canary", "all"]
STAGES: Final[tuple[Stage, ...]] = ("shadow", "canary", "all")
HISTORY: Final = 200
HOUR_MS: Final = 3_600_000
ROLLED_BACK: Final = "rolled back"
NO_TRIAL: Final = "no model is on trial"


class OutOfOrder(Exception):
    """A move that the state does not allow; the text says which one it does."""


class Move(Struct, frozen=True):
    """One change of what is in force."""

    at_ms: int
    version: str
    stage: str
    why: str
    by: str = "hand"


class State(Struct, frozen=True):
    """What is in force since ``since_ms``.

    ``challenger`` is on trial in ``stage`` shadow or canary, where it scores a ``share`` of the
    customers. In stage all it has become the ``champion`` and is watched; an empty stage is
    settled. ``before`` are former champions, newest last.
    """

    champion: str = ""
    challenger: str = ""
    stage: str = ""
    share: float = 0.0
    before: tuple[str, ...] = ()
    history: tuple[Move, ...] = ()
    since_ms: int = 0

    @property
    def on_trial(self) -> str:
        """The version that guardrails look at; empty when all is settled."""
        return self.challenger or (self.champion if self.stage == "all" else "")

    @property
    def beside(self) -> str:
        """The version that the stream holds besides the champion; empty for none."""
        return self.challenger or (self.before[-1] if self.before else "")


class Rules(Struct, frozen=True):
    """What a stage needs before the next: answered rows, and time for daily habits to show.

    ``longest_ms`` without enough rows ends a trial: a model that nobody can judge goes no further.
    """

    rows: int = 1_000
    least_ms: int = HOUR_MS
    longest_ms: int = 7 * 24 * HOUR_MS
    shares: tuple[float, ...] = (0.1, 0.5)


def begin(state: State, version: str, at_ms: int, why: str, by: str) -> State:
    """Put a version into shadow, in the place of whatever is on trial.

    Raises:
        OutOfOrder: it is the champion already.
    """
    if version == state.champion:
        raise OutOfOrder(f"{version} is the champion already")
    if state.challenger not in ("", version):
        why = f"{why}; {state.challenger}, which was in {state.stage}, makes room"
    after = replace(state, challenger=version, stage="shadow", share=0.0)
    return _moved(after, Move(at_ms, version, "shadow", why, by))


def promote(
    state: State, version: str, stage: Stage, share: float, at_ms: int, why: str, by: str
) -> State:
    """Take a version one stage further; a canary's share may also grow.

    Raises:
        OutOfOrder: it has not been in the stage before.
    """
    if stage == "shadow":
        return begin(state, version, at_ms, why, by)
    before = "shadow" if stage == "canary" else "canary"
    stages = {before, stage} if stage == "canary" else {before}
    if version != state.challenger or state.stage not in stages:
        raise OutOfOrder(
            f"{version} has to be in {before} before it goes to {stage}; "
            f"`beckon models promote {version} --to {before if before == 'canary' else 'shadow'}`"
        )
    return force(state, version, stage, share, at_ms, why, by)


def force(
    state: State, version: str, stage: Stage, share: float, at_ms: int, why: str, by: str
) -> State:
    """Put a version into a stage, whatever it has been in."""
    if stage == "all":
        former = (
            state.before if state.champion in ("", version) else (*state.before, state.champion)
        )
        after = replace(
            state,
            champion=version,
            challenger="",
            stage="all" if former else "",
            share=0.0,
            before=former,
        )
    else:
        share = share if stage == "canary" else 0.0
        after = replace(state, challenger=version, stage=stage, share=share)
    return _moved(after, Move(at_ms, version, stage, why, by))


def roll_back(state: State, at_ms: int, why: str, by: str) -> State:
    """Withdraw what is on trial, else return to the champion before.

    Raises:
        OutOfOrder: there is nothing to return to.
    """
    if state.challenger:
        after = replace(state, challenger="", stage="", share=0.0)
        return _moved(after, Move(at_ms, state.challenger, ROLLED_BACK, why, by))
    if not state.before:
        raise OutOfOrder("no model was in force before this one; nothing to return to")
    after = replace(state, champion=state.before[-1], stage="", before=state.before[:-1])
    return _moved(after, Move(at_ms, state.champion, ROLLED_BACK, why, by))


def step(state: State, seen: Seen, rules: Rules, now_ms: int, by: str) -> tuple[State, str]:
    """What follows from what was seen since the stage began: the state to be in, and why.

    The same state means that the trial goes on as it is. It moves by one stage at most.
    """
    version = state.on_trial
    if not version:
        return state, NO_TRIAL
    broken = breach(seen)
    if broken:
        return roll_back(state, now_ms, broken, by), broken
    waited_ms, rows = now_ms - state.since_ms, seen.rows(state.stage)
    if rows < rules.rows:
        if waited_ms <= rules.longest_ms:
            return state, f"{rows:,} of {rules.rows:,} rows are answered; {seen.summary}"
        if state.stage == "all":  # it has stood its canary; there is nothing to hold against it
            return _settled(state, now_ms, "nothing broke in the longest time", by)
        why = f"{rows:,} of {rules.rows:,} rows in {waited_ms // HOUR_MS} hours"
        return roll_back(state, now_ms, why, by), why
    if waited_ms < rules.least_ms:
        return state, f"{rows:,} rows, but only {waited_ms // 60_000} minutes; {seen.summary}"
    why = f"{rows:,} rows, nothing broke: {seen.summary}"
    if state.stage == "all":
        return _settled(state, now_ms, why, by)
    larger = [share for share in rules.shares if share > state.share]
    stage: Stage = "canary" if larger else "all"
    after = promote(state, version, stage, larger[0] if larger else 1.0, now_ms, why, by)
    return after, why


def told(state: State) -> RollOut:
    """The newest move as the audit tells it."""
    move = state.history[-1]
    share = {"canary": state.share, "all": 1.0, "settled": 1.0}.get(move.stage, 0.0)
    return RollOut(
        move.version,
        move.stage,  # type: ignore[arg-type]
        share,
        state.champion,
        move.why,
        move.by,
        move.at_ms,
    )


def _settled(state: State, at_ms: int, why: str, by: str) -> tuple[State, str]:
    after = replace(state, stage="")
    return _moved(after, Move(at_ms, state.champion, "settled", why, by)), why


def _moved(after: State, move: Move) -> State:
    """Note a move. Its time is after the one before, whatever the clock says: the stream ignores a
    record that is older than the one in force.
    """
    since_ms = max(move.at_ms, after.since_ms + 1)
    move = replace(move, at_ms=since_ms)
    return replace(after, since_ms=since_ms, history=(*after.history, move)[-HISTORY:])
