"""What is remembered of a campaign's channels: its rules, arms, mixes, and what was told of them.

Arms are kept by ``<channel>|<variant>``, mixes by ``<variant>|<case>``, case -1 for a policy that
has no use for contexts (`schemas.learning.Example`). Bounded by the variants in force: an
experiment that ends takes its arms along.

Layout: all of it as one MessagePack array in an envelope ``BKL``.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct, field

from schemas.learning_rules import CampaignRules
from state.arm import Arm
from state.envelope import sealed, unsealed
from state.mix import Mix
from state.profile import CorruptState

VERSION: Final = 1

_MAGIC: Final = b"BKL"
_encode: Final = msgspec.msgpack.Encoder().encode


class Told(Struct, frozen=True, array_like=True):
    """The shares of a mix when its hour was last told of."""

    hour: int
    shares: tuple[float, ...]


class Learned(Struct, array_like=True):
    """A campaign as `learn` knows it; ``rules`` are None until they were first heard."""

    rules: CampaignRules | None = None
    arms: dict[str, Arm] = field(default_factory=dict)
    mixes: dict[str, Mix] = field(default_factory=dict)
    told: dict[str, Told] = field(default_factory=dict)

    def arm(self, channel: str, variant: str) -> Arm:
        """An arm; a new one where nothing is known of it."""
        return self.arms.setdefault(arm_key(channel, variant), Arm())

    def encode(self) -> bytes:
        """The bytes that `decode` reads."""
        return sealed(_MAGIC, VERSION, _encode(self))

    @classmethod
    def decode(cls, data: bytes) -> Learned:
        """Read what was learned.

        Raises:
            CorruptState: not of this version, or cut.
        """
        try:
            return _decode(unsealed(_MAGIC, VERSION, data))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise CorruptState(f"what was learned does not decode: {error}") from error


def arm_key(channel: str, variant: str) -> str:
    """Where an arm is kept."""
    return f"{channel}|{variant}"


def mix_key(variant: str, case: int) -> str:
    """Where a mix is kept."""
    return f"{variant}|{case}"


def of_mix(key: str) -> tuple[str, int]:
    """Variant and case of a mix's key."""
    variant, _, case = key.rpartition("|")
    return variant, int(case)


_decode: Final = msgspec.msgpack.Decoder(Learned).decode
