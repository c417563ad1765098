"""A mix: how a campaign's messages are shared among its arms, and how the shares moved of late.

What a policy may make of a mix depends on where it was in the last hour (`scoring.policies.steer`),
so the mix remembers that itself: replaying the same updates gives the same mixes.

Layout: arms, shares, time and past as one MessagePack array in an envelope ``BKM``.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from state.envelope import sealed, unsealed
from state.profile import CorruptState

VERSION: Final = 1
HOUR_MS: Final = 3_600_000
SPAN_MS: Final = 300_000

_MAGIC: Final = b"BKM"
_encode: Final = msgspec.msgpack.Encoder().encode


class Span(Struct, frozen=True, array_like=True):
    """The least and the greatest share of each arm in the `SPAN_MS` from ``start_ms`` on."""

    start_ms: int
    least: tuple[float, ...]
    most: tuple[float, ...]


class Mix(Struct, frozen=True, array_like=True):
    """The shares in force since ``at_ms``, and the spans of the hour before, oldest first."""

    arms: tuple[str, ...]
    shares: tuple[float, ...]
    at_ms: int
    past: tuple[Span, ...] = ()

    def extremes(self, at_ms: int) -> Span:
        """Where the shares were in the hour before ``at_ms``, and a span more at its start."""
        least, most = self.shares, self.shares
        for span in _since(self.past, at_ms):
            least = tuple(map(min, least, span.least))
            most = tuple(map(max, most, span.most))
        return Span(at_ms, least, most)

    def moved(self, shares: tuple[float, ...], at_ms: int) -> Mix:
        """The mix with other shares in force, from ``at_ms`` on; time does not go back."""
        at_ms = max(at_ms, self.at_ms)
        start_ms = at_ms - at_ms % SPAN_MS
        past = _since(self.past, at_ms)
        # A span begins with the shares that were in force until then.
        begun = Span(start_ms, self.shares, self.shares)
        if past and past[-1].start_ms == start_ms:
            *past, begun = past
        least = tuple(map(min, begun.least, shares))
        most = tuple(map(max, begun.most, shares))
        return Mix(self.arms, shares, at_ms, (*past, Span(start_ms, least, most)))

    def encode(self) -> bytes:
        """The bytes that `decode` reads."""
        return sealed(_MAGIC, VERSION, _encode(self))

    @classmethod
    def decode(cls, data: bytes) -> Mix:
        """Read a mix.

        Raises:
            CorruptState: not a mix of this version, or shares that do not fit the arms.
        """
        try:
            mix = _decode(unsealed(_MAGIC, VERSION, data))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CorruptState(f"mix does not decode: {error}") from error
        rows = (mix.shares, *(row for span in mix.past for row in (span.least, span.most)))
        if any(len(row) != len(mix.arms) for row in rows):
            raise CorruptState(f"mix of {len(mix.arms)} arms has another number of shares")
        return mix


_decode: Final = msgspec.msgpack.Decoder(Mix).decode


def _since(past: tuple[Span, ...], at_ms: int) -> list[Span]:
    return [span for span in past if span.start_ms + SPAN_MS > at_ms - HOUR_MS]
