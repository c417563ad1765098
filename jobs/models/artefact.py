"""A model that was trained once and never changes: its record, its card, and a seal over both."""

from __future__ import annotations

import hashlib
import hmac
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from jobs.trainers.card import Card
from jobs.trainers.learned import Learned, prove_learned
from schemas.errors import RefusedControl, UserMistake
from schemas.model import Model
from scoring.model import verify

KEY_VARIABLE: Final = "BECKON_MODEL_KEY"
"""Environment variable with the secret that signs artefacts; without it the seal shows damage,
with it also forgery."""


class Artefact(Struct, frozen=True, forbid_unknown_fields=True):
    """A model as it is kept. ``seal`` is over everything else, in the canonical encoding.

    ``made`` is the stream's click model, or one that the night itself scores with.
    """

    made: Model | Learned
    card: Card
    code_version: str
    signed: bool
    seal: str

    @classmethod
    def of(cls, model: Model | Learned, card: Card) -> Artefact:
        """Seal a model and its card, with the key of the environment if there is one."""
        key = os.environ.get(KEY_VARIABLE, "")
        bare = cls(model, card, _code_version(), bool(key), "")
        return msgspec.structs.replace(bare, seal=_seal(bare, key))

    @property
    def model(self) -> Model:
        """The click model.

        Raises:
            UserMistake: it is another, which the stream has no use for.
        """
        if isinstance(self.made, Model):
            return self.made
        raise UserMistake(
            f"{self.made.version} is the night's {self.made.id} model; only click models go into "
            "the stream"
        )

    @property
    def version(self) -> str:
        """Which one it is, of whatever kind."""
        return self.made.version


def save(path: Path, artefact: Artefact) -> None:
    """Write an artefact, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(msgspec.json.encode(artefact))
    os.replace(part, path)


def load(path: Path) -> Artefact:
    """Read an artefact and prove it: whole, unchanged, signed where it must be, and it scores.

    Raises:
        UserMistake: it cannot be read, or is refused, with what is wrong.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserMistake(f"cannot read {path}: {error.strerror}") from error
    return prove(data, str(path))


def prove(data: bytes, where: str) -> Artefact:
    """The artefact in these bytes, if they are exactly what was sealed.

    Raises:
        UserMistake: they are not, or the model does not pass its proof.
    """
    key = os.environ.get(KEY_VARIABLE, "")
    try:
        found = msgspec.json.decode(data, type=Artefact)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserMistake(f"{where} is no model artefact: {error}") from error
    if msgspec.json.encode(found) != data:
        raise UserMistake(f"{where} is not as it was written; take it from the backup")
    if key and not found.signed:
        raise UserMistake(f"{where} is not signed, and {KEY_VARIABLE} demands it")
    if found.signed and not key:
        raise UserMistake(f"{where} is signed; set {KEY_VARIABLE} to prove it")
    if not hmac.compare_digest(_seal(found, key), found.seal):
        raise UserMistake(f"{where}: its seal does not fit; it was changed since it was made")
    try:
        if isinstance(found.made, Model):
            verify(found.made)
        else:
            prove_learned(found.made)
    except RefusedControl as error:
        raise UserMistake(f"{where}: {error.detail}") from error
    except UserMistake as mistake:
        raise UserMistake(f"{where}: {mistake}") from mistake
    return found


def _seal(artefact: Artefact, key: str) -> str:
    bare = msgspec.json.encode(msgspec.structs.replace(artefact, seal=""))
    if key:
        return hmac.new(key.encode(), bare, "sha256").hexdigest()
    return hashlib.sha256(bare).hexdigest()


def _code_version() -> str:
    try:
        return version("beckon")
    except PackageNotFoundError:
        return "unknown"
