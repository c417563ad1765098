"""``beckon ledger``: the proof of promise 1, that every input record has exactly one outcome.

The inputs are the offsets that the brokers say exist; their ends are the rows of the audit topic.
The two must cover each other, the dead-letter topic must hold a letter for each dead row, and no
decision may exist with two contents. A row read twice is a batch that was processed again after a
failure: harmless when both say the same, counted as revised when they do not, and the newer holds.

Memory is three bytes for each input and seventeen for each decision record.
"""

from __future__ import annotations

import json
import time
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import reduce
from operator import or_
from typing import Annotated, Any, Final, get_args

import msgspec
import numpy as np
import typer
from msgspec import Struct, defstruct, field
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from jobs.kafka import Place, place_of, read_to_end, watermarks
from jobs.settings import Settings
from schemas.audit import OUTCOMES, AuditRecord, Outcomes
from schemas.topics import AUDIT, CONTROL, DEAD_LETTERS, DECISIONS, INPUTS
from state.fact import id64

EXAMPLES: Final = 20
_PAUSE_S: Final = 0.5
_REVISED: Final = 1
_LETTER: Final = 2
_EXISTS: Final = 4
_GAP: Final = 65_535
"""Code of an offset without a record: a transaction's marker, or what an aborted one left."""


class _Skipped(Struct):
    """An audit record of another kind, which is no concern of the ledger's."""


class _Letter(Struct):
    topic: str
    partition: int
    offset: int


class _Decision(Struct):
    decision_id: str
    status: str


def _passed_over(kind: type[Struct]) -> type[Struct]:
    config = kind.__struct_config__
    return defstruct("_Passed", [], bases=(_Skipped,), tag_field=config.tag_field, tag=config.tag)


_kinds = [kind if kind is Outcomes else _passed_over(kind) for kind in get_args(AuditRecord)]
_audit: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(reduce(or_, _kinds))
_letter: Final = msgspec.json.Decoder(_Letter)
_decision: Final = msgspec.json.Decoder(_Decision)


class Decisions(Struct, frozen=True):
    """What the decisions topic holds; ``repeats`` are copies of a decision already counted."""

    records: int = 0
    sends: int = 0
    holdouts: int = 0
    repeats: int = 0
    conflicting: int = 0
    conflicting_ids: list[str] = []


class Ledger(Struct, frozen=True):
    """Every input and its end, summed up."""

    inputs: int
    outcomes: dict[str, int]
    reasons: dict[str, dict[str, int]]
    missing: int = 0
    missing_first: list[tuple[str, int, int]] = []
    repeated: int = 0
    revised: int = 0
    dead_letters: int = 0
    dead_without_letter: int = 0
    letters_without_dead: int = 0
    control_refused: int = 0
    unreadable: int = 0
    decisions: Decisions = field(default_factory=Decisions)

    @property
    def faults(self) -> list[str]:
        """What keeps the ledger from balancing, in words; empty when it balances."""
        found = {
            "inputs without an outcome": self.missing,
            "dead inputs without a dead letter": self.dead_without_letter,
            "dead letters of inputs that are not dead": self.letters_without_dead,
            "decision ids with two different contents": self.decisions.conflicting,
            "records that cannot be read": self.unreadable,
        }
        return [f"{count:,} {what}" for what, count in found.items() if count]

    @property
    def balanced(self) -> bool:
        """Whether every input has exactly one outcome and the topics agree with each other."""
        return not self.faults

    def as_json(self) -> dict[str, Any]:
        """Plain values, for machines."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return {"balanced": self.balanced, **found}

    def lines(self) -> list[str]:
        """The ledger for people."""
        found = [f"{self.inputs:,} inputs"]
        for end, count in self.outcomes.items():
            reasons = ", ".join(f"{name} {n:,}" for name, n in self.reasons.get(end, {}).items())
            found.append(f"  {end:<10} {count:>13,}  {reasons or OUTCOMES.get(end, '')}".rstrip())
        decisions = self.decisions
        found += [
            f"{decisions.sends:,} sends and {decisions.holdouts:,} held out, "
            f"{decisions.repeats:,} repeated records",
            f"{self.dead_letters:,} dead letters of inputs, {self.control_refused:,} of control",
            f"{self.repeated:,} audit rows read twice, {self.revised:,} revised",
        ]
        found += [f"  without outcome: {t}/{p}/{o}" for t, p, o in self.missing_first]
        found += [f"  two contents: {name}" for name in decisions.conflicting_ids]
        if self.balanced:
            found.append("balances: every input has exactly one outcome")
        else:
            found.append(f"DOES NOT BALANCE: {'; '.join(self.faults)}")
        return found


class _Page:
    """The inputs of one partition: a code of the end and a few flags for each offset."""

    def __init__(self, low: int, high: int) -> None:
        self.low = low
        self.codes = array("H", bytes(2 * (high - low)))
        self.flags = bytearray(high - low)

    def ends(self) -> NDArray[np.uint16]:
        """The codes as an array that shares their memory."""
        return np.frombuffer(self.codes, np.uint16)


class Book:
    """Adds up the topics, in whatever portions they are read."""

    def __init__(self, marks: Mapping[Place, tuple[int, int]]) -> None:
        """``marks`` are the first kept and the next offset of each input partition."""
        self._pages = {place: _Page(low, high) for place, (low, high) in marks.items()}
        self._codes: dict[tuple[str, str], int] = {}
        self._repeated = 0
        self._control_refused = 0
        self._unreadable = 0
        self._ids = array("Q")
        self._contents = array("Q")
        self._held = bytearray()

    def audit(self, value: bytes) -> None:
        """Enter an audit record; rows of inputs that are gone or newer are left out."""
        try:
            record = _audit.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._unreadable += 1
            return
        if isinstance(record, _Skipped):
            return
        codes, topics, pages = self._codes, record.topics, self._pages
        for topic, partition, offset, end, reason in record.rows:
            if topic >= len(topics):
                self._unreadable += 1
                continue
            page = pages.get((topics[topic], partition))
            if page is None:
                continue
            at = offset - page.low
            if not 0 <= at < len(page.codes):
                continue
            code = codes.get((end, reason))
            if code is None:
                code = codes[end, reason] = len(codes) + 1
            before = page.codes[at]
            if before:
                self._repeated += 1
                if before != code:
                    page.flags[at] |= _REVISED
            page.codes[at] = code

    def dead_letter(self, value: bytes) -> None:
        """Enter a dead letter."""
        try:
            letter = _letter.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._unreadable += 1
            return
        page = self._pages.get((letter.topic, letter.partition))
        if page is None:
            self._control_refused += letter.topic == CONTROL
        elif 0 <= letter.offset - page.low < len(page.flags):
            page.flags[letter.offset - page.low] |= _LETTER

    def decision(self, value: bytes) -> None:
        """Enter a decision."""
        try:
            decision = _decision.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._unreadable += 1
            return
        self._ids.append(id64(decision.decision_id))
        self._contents.append(xxh3_64_intdigest(value))
        self._held.append(decision.status == "holdout")

    def open_since(self) -> dict[Place, int]:
        """The first offset without an end of each partition that has one."""
        found = {}
        for place, page in self._pages.items():
            absent = np.flatnonzero(page.ends() == 0)
            if absent.size:
                found[place] = page.low + int(absent[0])
        return found

    def leave_out_gaps(self, records: Iterable[tuple[Place, int]]) -> None:
        """Take offsets without an end for gaps, unless they are among these records'."""
        for place, offset in records:
            page = self._pages[place]
            if offset - page.low < len(page.flags):
                page.flags[offset - page.low] |= _EXISTS
        for page in self._pages.values():
            exists = (np.frombuffer(page.flags, np.uint8) & _EXISTS) > 0
            page.ends()[(page.ends() == 0) & ~exists] = _GAP

    def close(self) -> Ledger:
        """Add up."""
        ends = {code: end for end, code in self._codes.items()}
        dead = [code for code, (end, _) in ends.items() if end == "dead"]
        counts: Counter[int] = Counter()
        missing = revised = letters = without_letter = without_dead = 0
        first: list[tuple[str, int, int]] = []
        for (topic, partition), page in sorted(self._pages.items()):
            codes = page.ends()
            flags = np.frombuffer(page.flags, np.uint8)
            counts.update(dict(enumerate(np.bincount(codes).tolist())))
            absent = np.flatnonzero(codes == 0)
            missing += absent.size
            first += [
                (topic, partition, page.low + int(at)) for at in absent[: EXAMPLES - len(first)]
            ]
            is_revised, has_letter = (flags & _REVISED) > 0, (flags & _LETTER) > 0
            is_dead = np.isin(codes, dead)
            revised += int(is_revised.sum())
            letters += int(has_letter.sum())
            without_letter += int((is_dead & ~has_letter).sum())
            without_dead += int((has_letter & ~is_dead & ~is_revised).sum())
        outcomes = dict.fromkeys(OUTCOMES, 0)
        reasons: dict[str, dict[str, int]] = {}
        for code, (end, reason) in sorted(ends.items(), key=lambda item: item[1]):
            outcomes[end] = outcomes.get(end, 0) + counts[code]
            if reason and counts[code]:
                reasons.setdefault(end, {})[reason] = counts[code]
        return Ledger(
            inputs=sum(counts.values()) - counts[_GAP],
            outcomes=outcomes,
            reasons=reasons,
            missing=missing,
            missing_first=first,
            repeated=self._repeated,
            revised=revised,
            dead_letters=letters,
            dead_without_letter=without_letter,
            letters_without_dead=without_dead,
            control_refused=self._control_refused,
            unreadable=self._unreadable,
            decisions=self._decisions(),
        )

    def conflicts(self) -> set[int]:
        """Hashes of the decision ids that have more than one content."""
        ids, contents = self._sorted()
        if not ids.size:
            return set()
        clash = (ids[1:] == ids[:-1]) & (contents[1:] != contents[:-1])
        return set(ids[1:][clash].tolist())

    def _decisions(self) -> Decisions:
        ids = np.frombuffer(self._ids, np.uint64)
        held = np.frombuffer(self._held, np.uint8)
        _, places = np.unique(ids, return_index=True)
        holdouts = int(held[places].sum())
        return Decisions(
            records=ids.size,
            sends=places.size - holdouts,
            holdouts=holdouts,
            repeats=ids.size - places.size,
            conflicting=len(self.conflicts()),
        )

    def _sorted(self) -> tuple[Any, Any]:
        ids = np.frombuffer(self._ids, np.uint64)
        contents = np.frombuffer(self._contents, np.uint64)
        order = np.lexsort((contents, ids))
        return ids[order], contents[order]


def read_ledger(settings: Settings) -> Ledger:
    """Read the topics and add them up.

    The inputs are those that exist when the reading begins; what comes after is not counted.
    """
    book = Book(watermarks(settings, INPUTS))
    enter = {AUDIT: book.audit, DEAD_LETTERS: book.dead_letter, DECISIONS: book.decision}
    for message in read_to_end(settings, list(enter)):
        enter[message.topic() or ""](message.value() or b"")
    if since := book.open_since():
        records = read_to_end(settings, INPUTS, since)
        book.leave_out_gaps((place_of(message), message.offset() or 0) for message in records)
    ledger = book.close()
    if not ledger.decisions.conflicting:
        return ledger
    clashing = book.conflicts()
    values = (message.value() or b"" for message in read_to_end(settings, [DECISIONS]))
    decisions = msgspec.structs.replace(
        ledger.decisions, conflicting_ids=_names_of(values, clashing)
    )
    return msgspec.structs.replace(ledger, decisions=decisions)


def _names_of(values: Iterable[bytes], hashes: set[int]) -> list[str]:
    names: set[str] = set()
    for value in values:
        try:
            name = _decision.decode(value).decision_id
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if id64(name) in hashes:
            names.add(name)
    return sorted(names)[:EXAMPLES]


def ledger(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for it to balance.")] = 0,
) -> None:
    """Prove that every input has exactly one outcome; exit code 1 when it does not balance."""
    settings = Settings()
    deadline_s = time.monotonic() + wait
    found = read_ledger(settings)
    while not found.balanced and time.monotonic() < deadline_s:
        time.sleep(_PAUSE_S)
        found = read_ledger(settings)
    if as_json:
        typer.echo(json.dumps(found.as_json()))
    else:
        for line in found.lines():
            typer.echo(line)
    if not found.balanced:
        raise typer.Exit(1)
