"""Who is whom: customers of several parties joined by the e-mail addresses and phones they share.

An import leaves a row for each id and key in the table ``identity``, with a keyed hash in place of
the address or number, so that the archive says of nobody how to reach them. Ids that share a key
are one customer, over any number of steps. The rows themselves stay under the ids they came with:
`read_identities` joins them when they are read, so nothing is rewritten as more becomes known.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from msgspec import Struct

from jobs.archive.read import read
from jobs.archive.tables import IDENTITY
from schemas.errors import UserMistake
from schemas.event import Traits

SECRET: Final = ".identity-key"
MOST_HOLDERS: Final = 5
"""A key of more ids than this joins nobody: it is a shop's own number, or somebody's placeholder.
"""
LEAST_DIGITS: Final = 8

Held = tuple[str, bool, str]
"""An id, whether it is one of ours, and the digest of a key it holds."""


def keys_of(traits: Traits | None, secret: bytes) -> dict[str, str]:
    """Kind of key → keyed hash of it; of what is too short to tell anybody by, nothing."""
    if traits is None:
        return {}
    found = {}
    email = (traits.email or "").strip().casefold()
    if re.fullmatch(r"[^@\s*]+@[^@\s*]+", email):
        found["email"] = _hash(secret, email)
    phone = traits.phone or ""
    digits = re.sub(r"\D", "", phone).lstrip("0")
    if len(digits) >= LEAST_DIGITS and "*" not in phone:
        found["phone"] = _hash(secret, digits)
    return found


def own_key(user_id: str, secret: bytes) -> str:
    """Of an id that is not ours: a key that nobody else has, so that its row says whose it is."""
    return _hash(secret, f"id {user_id}")


def read_secret(root: Path) -> bytes:
    """The key of an archive's hashes; made when there is none.

    Raises:
        UserMistake: it is gone and the archive has hashes made with it.
    """
    path = root / SECRET
    try:
        return path.read_bytes()
    except FileNotFoundError:
        if any((root / IDENTITY.name).glob("day=*/*")):
            raise UserMistake(
                f"{path} is gone; without it nobody imported before is known again. Restore it, or "
                f"remove {root / IDENTITY.name} and import all files again"
            ) from None
    secret = secrets.token_bytes(32)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(secret)
        out.flush()
        os.fsync(out.fileno())
    return secret


class Identities(Struct, frozen=True):
    """Each joined id → the id that stands for the customer; which ids are ours; each one's keys."""

    customers: dict[str, str]
    ours: frozenset[str]
    keys: dict[str, frozenset[str]]

    def foreign(self) -> frozenset[str]:
        """The ids that are a party's own; the stream knows nobody by them."""
        return frozenset(self.keys) - self.ours

    def together(self, users: Iterable[str]) -> set[str]:
        """These ids, and all others of the same customers."""
        wanted = set(users)
        theirs = {self.customers[user] for user in wanted if user in self.customers}
        return wanted | {user for user, one in self.customers.items() if one in theirs}


def customer_of(held: Iterable[Held]) -> dict[str, str]:
    """Each id that is joined with others → the customer's: the first of ours, or of all.

    The same whatever the order of the rows, and however often each comes.
    """
    ours: set[str] = set()
    holders: dict[str, set[str]] = {}
    for user, own, key in held:
        if own:
            ours.add(user)
        holders.setdefault(key, set()).add(user)
    leader: dict[str, str] = {}

    def lead(user: str) -> str:
        while (above := leader.setdefault(user, user)) != user:
            leader[user] = user = leader[above]
        return user

    for users in holders.values():
        if 1 < len(users) <= MOST_HOLDERS:
            first, *others = users
            for other in others:
                leader[lead(other)] = lead(first)
    groups: dict[str, list[str]] = {}
    for user in list(leader):
        groups.setdefault(lead(user), []).append(user)
    chosen = {top: min(users, key=lambda user: (user not in ours, user))
              for top, users in groups.items()}  # fmt: skip
    return {user: chosen[lead(user)] for user in leader}


def read_identities(root: Path) -> Identities:
    """Who is whom by all that was imported into an archive; of an empty one, nobody."""
    columns = ("user_id", "ours", "digest")
    held = {
        row
        for _, table in read(root, IDENTITY, columns=columns)
        for row in zip(*(table[name].to_pylist() for name in columns), strict=True)
    }
    keys: dict[str, set[str]] = {}
    for user, _, key in held:
        keys.setdefault(user, set()).add(key)
    return Identities(
        customer_of(sorted(held)),
        frozenset(user for user, own, _ in held if own),
        {user: frozenset(theirs) for user, theirs in keys.items()},
    )


def _hash(secret: bytes, text: str) -> str:
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
