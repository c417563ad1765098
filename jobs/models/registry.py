"""Which models there are, which is in force, which is on its way, and how it came to that.

On disk::

    <data_dir>/models/<version>/artefact.json     immutable
    <data_dir>/models/<version>/verdict.json      what the gate said of it
    <data_dir>/models/state.json                  champion, challenger and history
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from jobs.models import rollout
from jobs.models.artefact import Artefact, load, save
from jobs.models.judge import Verdict
from jobs.models.rollout import OutOfOrder, Stage, State
from schemas.audit import RollOut
from schemas.control import control_key
from schemas.errors import UserMistake
from schemas.model import CANARY, Model

CHAMPION: Final = "ctr"
Announcement = tuple[str, Model | None]
"""Key of the control topic, and the record; None withdraws it."""

Announce = Callable[[list[Announcement], RollOut], None]
"""Brings announcements, and the audit of the move, to the broker; raises `UserMistake` if not."""


class Registry:
    """The models of one data folder."""

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
            raise UserMistake(
                f"{path} is damaged: {error}; restore it from the backup: it says which "
                "model is in force and how it came to that"
            ) from error

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
        self,
        version: str,
        stage: Stage,
        share: float,
        now_ms: int,
        by: str,
        announce: Announce,
        *,
        force: bool = False,
    ) -> State:
        """Put a version into a stage, as `jobs.models.rollout` has them.

        Raises:
            UserMistake: it is not there, is refused, did not win, or skips a stage.
        """
        self.artefact(version)
        verdict = self.verdict(version)
        if force:
            return self.move(
                lambda state: rollout.force(state, version, stage, share, now_ms, "forced", by),
                announce,
            )
        if verdict is None or not verdict.won:
            why = "it was never judged" if verdict is None else verdict.reason
            raise UserMistake(
                f"{version} did not win ({why}); `beckon nightly judge`, or --force to take the "
                "blame"
            )
        won = f"log loss lower by {verdict.gain:.5f} on {verdict.rows:,} rows"
        return self.move(
            lambda state: rollout.promote(state, version, stage, share, now_ms, won, by), announce
        )

    def move(self, change: Callable[[State], State], announce: Announce) -> State:
        """Change what is in force, announce it, and only then keep it; nobody else can meanwhile.

        What was announced and not kept is announced again by whoever tries again.

        Raises:
            UserMistake: the change is not allowed, or ``announce`` did not reach the stream.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = self.state
            try:
                after = change(before)
            except OutOfOrder as error:
                raise UserMistake(str(error)) from None
            if after != before:
                announce(self.announcements(after), rollout.told(after))
                self._keep(after)
            return after

    def announcements(self, state: State) -> list[Announcement]:
        """All that the stream must hold in this state: the champion, and whoever is beside it.

        In this order: at no moment is the champion's place empty or held by what is withdrawn.
        """
        now_ms = state.since_ms
        found: list[Announcement] = []
        if state.champion:
            model = self.artefact(state.champion).model
            found.append(_announced(replace(model, id=CHAMPION, updated_ms=now_ms)))
        if state.beside:
            model = self.artefact(state.beside).model
            beside = replace(model, id=CANARY, share=state.share, updated_ms=now_ms)
            found.append(_announced(beside))
        else:
            found.append((f"model/{CANARY}", None))
        return found

    def _keep(self, state: State) -> None:
        part = self.root / "state.json.part"
        part.write_bytes(msgspec.json.format(msgspec.json.encode(state)))
        os.replace(part, self.root / "state.json")


def _announced(record: Model) -> Announcement:
    return control_key(record), record
