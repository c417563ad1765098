"""Which customers have been measured to the end: a set in fixed space, that is never wrong one way.

A Bloom filter (Bloom, CACM 1970). Whoever was put in is found in it. Of those who were not, a few
are found as well: 2 of 100 once a million are in it, 14 once two million are. They are not measured
at all, and since that has nothing to do with the group that they are in, no comparison is moved by
it. No name can be read out of it; who has one can ask, and gets a guess.
"""

from __future__ import annotations

from typing import Final

from xxhash import xxh3_64_intdigest

BITS: Final = 1 << 23
_PLACES: Final = 4
_SEED: Final = 0x706173


def put(passed: bytearray, user_id: str) -> None:
    """Put a customer in; an empty array becomes one of the full size."""
    if not passed:
        passed.extend(bytes(BITS >> 3))
    for place in _places(user_id):
        passed[place >> 3] |= 1 << (place & 7)


def holds(passed: bytearray, user_id: str) -> bool:
    """Whether a customer was put in, or is one of the few who are taken for one who was."""
    return bool(passed) and all(passed[place >> 3] & 1 << (place & 7) for place in _places(user_id))


def _places(user_id: str) -> list[int]:
    """Kirsch & Mitzenmacher, "Less Hashing, Same Performance" (ESA 2006): two hashes make four."""
    digest = xxh3_64_intdigest(user_id.encode(), _SEED)
    one, other = digest & 0xFFFFFFFF, digest >> 32 | 1
    return [(one + number * other) % BITS for number in range(_PLACES)]
