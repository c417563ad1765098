"""Which models there are, which is in force, which is on its way, and how it came to that.

On disk::

    <data_dir>/models/<version>/artefact.json     immutable
    <data_dir>/models/<version>/verdict.json      what the gate said of it
    <data_dir>/models/state.json                  champion, challenger and history
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from jobs.models.artefact import Artefact, load, save
from jobs.models.judge import Verdict
from schemas.control import CANARY, Model, control_key
from schemas.errors import UserMistake

Stage = Literal["shadow", "canary", "all"]
STAGES: Final[tuple[Stage, ...]] = ("shadow", "canary", "all")
CHAMPION: Final = "ctr"
HISTORY: Final = 200


class Move(Struct, frozen=True):
    """One change of what is in force."""

    at_ms: int
    version: str
    stage: str
    why: str


class State(Struct, frozen=True):
    """What is in force. ``before`` are former champions, newest last; ``share`` the canary's."""

    champion: str = ""
    challenger: str = ""
    stage: str = ""
    share: float = 0.0
    before: tuple[str, ...] = ()
    history: tuple[Move, ...] = ()


Announcement = tuple[str, Model | None]
"""Key of the control topic, and the record; None withdraws it."""


class Registry:
    """The models of one data folder. What it returns to be announced is not announced by it."""

    def __init__(self, data_dir: Path) -> None:
        self.root = data_dir / "models"

    @property
    def state(self) -> State:
        """What is in force.

        Raises:
            UserMistake: the file cannot be read.
        """
        path = self.root / "state.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=State)
        except FileNotFoundError:
            return State()
        except msgspec.DecodeError as error:
            raise UserMistake(f"{path} is damaged: {error}; restore it") from error

    def versions(self) -> list[str]:
        """All there are, oldest name first."""
        return sorted(path.parent.name for path in self.root.glob("*/artefact.json"))

    def path(self, version: str) -> Path:
        """Where a version's artefact lies.

        Raises:
            UserMistake: there is none of that name.
        """
        path = self.root / version / "artefact.json"
        if "/" in version or not path.exists():
            known = ", ".join(self.versions()) or "none yet"
            raise UserMistake(f"no model {version!r} in {self.root}; there are: {known}")
        return path

    def artefact(self, version: str) -> Artefact:
        """A version, proved.

        Raises:
            UserMistake: there is none, or it is not what was sealed.
        """
        path = self.path(version)
        found = load(path)
        if found.version != version:
            raise UserMistake(f"{path} holds the model {found.version!r}")
        return found

    def add(self, artefact: Artefact, verdict: Verdict | None = None) -> None:
        """Keep an artefact; the same again changes nothing.

        Raises:
            UserMistake: another artefact has that version.
        """
        path = self.root / artefact.version / "artefact.json"
        if path.exists():
            if load(path) != artefact:
                raise UserMistake(
                    f"{path} holds another model of that version; versions never change"
                )
        else:
            save(path, artefact)
        if verdict is not None:
            (path.parent / "verdict.json").write_bytes(
                msgspec.json.format(msgspec.json.encode(verdict))
            )

    def verdict(self, version: str) -> Verdict | None:
        """What the gate said of a version, if it was asked."""
        path = self.root / version / "verdict.json"
        return msgspec.json.decode(path.read_bytes(), type=Verdict) if path.exists() else None

    def promote(
        self, version: str, stage: Stage, share: float, now_ms: int, *, force: bool = False
    ) -> list[Announcement]:
        """Put a version into a stage; returns what to announce on the control topic.

        In ``shadow`` the stream proves and holds it and no customer is scored by it; in ``canary``
        a ``share`` of the customers is; ``all`` makes it the champion.

        Raises:
            UserMistake: it is not there, is refused, or did not win.
        """
        artefact = self.artefact(version)
        verdict = self.verdict(version)
        if not force and (verdict is None or not verdict.won):
            why = "it was never judged" if verdict is None else verdict.reason
            raise UserMistake(
                f"{version} did not win ({why}); `beckon nightly judge`, or --force to take the "
                "blame"
            )
        with self._changing() as state:
            model = artefact.model
            if stage == "all":
                before = (*state.before, state.champion) if state.champion else state.before
                after = replace(
                    state, champion=version, challenger="", stage="", share=0.0, before=before
                )
                announced: list[Announcement] = [_champion(model, now_ms), _no_canary()]
            else:
                share = share if stage == "canary" else 0.0
                after = replace(state, challenger=version, stage=stage, share=share)
                announced = [_canary(model, share, now_ms)]
            self._keep(after, Move(now_ms, version, stage, "forced" if force else "won"))
        return announced

    def rollback(self, now_ms: int, why: str) -> list[Announcement]:
        """Withdraw the challenger if one is on its way, else return to the champion before.

        Raises:
            UserMistake: there is nothing to return to.
        """
        with self._changing() as state:
            if state.challenger:
                gone = state.challenger
                self._keep(
                    replace(state, challenger="", stage="", share=0.0),
                    Move(now_ms, gone, "rolled back", why),
                )
                return [_no_canary()]
            if not state.before:
                raise UserMistake("no model was in force before this one; nothing to return to")
            version = state.before[-1]
            model = self.artefact(version).model
            self._keep(
                replace(state, champion=version, before=state.before[:-1]),
                Move(now_ms, version, "all", f"rolled back to: {why}"),
            )
            return [_champion(model, now_ms)]

    @contextmanager
    def _changing(self) -> Iterator[State]:
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.state

    def _keep(self, state: State, move: Move) -> None:
        state = replace(state, history=(*state.history, move)[-HISTORY:])
        part = self.root / "state.json.part"
        part.write_bytes(msgspec.json.format(msgspec.json.encode(state)))
        os.replace(part, self.root / "state.json")


def _champion(model: Model, now_ms: int) -> Announcement:
    record = replace(model, id=CHAMPION, updated_ms=now_ms)
    return control_key(record), record


def _canary(model: Model, share: float, now_ms: int) -> Announcement:
    record = replace(model, id=CANARY, share=share, updated_ms=now_ms)
    return control_key(record), record


def _no_canary() -> Announcement:
    return f"model/{CANARY}", None
