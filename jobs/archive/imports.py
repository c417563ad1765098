"""``beckon import``: what first, second and third parties know, brought into the archive.

    file ─▶ mapping ─▶ events ─┬─▶ ids of the party's own ─▶ table events
                               └─▶ e-mail, phone ─▶ hash ─▶ table identity

A first party's ids are ours. A second or third party's are its own and become ``source:id``; they
are joined with ours where both hold the same e-mail address or phone (`jobs.archive.identity`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Final, cast

import typer
from msgspec.structs import replace

from jobs.archive.gone import digest, erased, erased_key
from jobs.archive.identity import keys_of, own_key, read_identities, read_secret
from jobs.archive.people import PARTIES, Party, spoken_to
from jobs.archive.tables import EVENTS, IDENTITY, Row, event_row
from jobs.archive.write import Archive
from jobs.mapping import Mapping, Unmappable, read_mapping
from jobs.replay.files import id_prefix, read_rows
from jobs.replay.publish import Report, Ticker
from jobs.settings import Settings
from schemas.errors import InvalidRecord, UserMistake
from schemas.event import TAGS, BehaviorEvent
from schemas.wire import decode_event, encode

BATCH: Final = 50_000
"""Rows that come into the archive together or not at all."""
AHEAD_MS: Final = 300_000
"""How far ahead of us a party's clock may be."""


class Importer:
    """Brings rows into an archive. ``ours`` says that user ids are ours; ``now_ms`` is UTC."""

    def __init__(self, archive: Archive, party: Party, *, ours: bool, now_ms: int) -> None:
        self._archive = archive
        self._party = party
        self._ours = ours
        self._now_ms = now_ms
        self._secret = read_secret(archive.root)
        self._gone = erased(archive.root)
        self._events: list[Row] = []
        self._held: dict[tuple[str, str], Row] = {}

    def bring(
        self,
        paths: Iterable[Path],
        mapping: Mapping,
        report: Report,
        progress: Callable[[Report], None] = lambda _: None,
    ) -> None:
        """Bring in the rows of files; what makes no event is counted in ``report``, by reason.

        Raises:
            UserMistake: a file cannot be read or lacks a column; whole batches before it are kept.
        """
        for path in paths:
            prefix = id_prefix(path)
            for number, row in enumerate(read_rows(path, mapping), 1):
                report.rows += 1
                try:
                    if isinstance(row, Unmappable):
                        raise row
                    self._take(mapping.event(row, f"{prefix}-{number}")[0])
                except Unmappable as error:
                    report.refuse(path, number, error)
                else:
                    report.published += 1
                if len(self._events) >= BATCH:
                    self._keep()
                if not report.rows % 1_000:
                    progress(report)
        self._keep()

    def _take(self, event: BehaviorEvent) -> None:
        if event.action == TAGS:
            raise Unmappable(f"the action {TAGS} is kept for the night's own conclusions")
        if cast(int, event.ts) > self._now_ms + AHEAD_MS:
            raise Unmappable("it lies in the future", str(event.ts))
        event = replace(event, consent=spoken_to(event.consent, self._party))
        if not self._ours:
            event = _under_own_id(event)
        keys = keys_of(event.traits, self._secret)
        if not self._ours:
            keys["id"] = own_key(event.user_id, self._secret)
        if digest(event.user_id) in self._gone or any(
            erased_key(key) in self._gone for key in keys.values()
        ):
            raise Unmappable("the customer was erased")
        row = event_row(event)
        row["ingested_ms"] = self._now_ms
        self._events.append(row)
        for kind, key in keys.items():
            self._held.setdefault(
                (event.user_id, key),
                {
                    "user_id": event.user_id,
                    "ours": self._ours,
                    "party": self._party,
                    "kind": kind,
                    "digest": key,
                    "ts": row["ts"],
                    "ingested_ms": self._now_ms,
                },
            )

    def _keep(self) -> None:
        if self._events:
            rows = {EVENTS.name: self._events, IDENTITY.name: list(self._held.values())}
            counted = {f"rows_{name}": len(of) for name, of in rows.items()}
            self._archive.append(rows, counted=counted)
            self._events, self._held = [], {}


def _under_own_id(event: BehaviorEvent) -> BehaviorEvent:
    """The event under the id that a party's customer has with us: ``source:id``."""
    if not event.source:
        raise Unmappable("source is empty; it tells the party's ids from ours")
    try:
        return decode_event(encode(replace(event, user_id=f"{event.source}:{event.user_id}")))
    except InvalidRecord as error:
        raise Unmappable("source and user_id make no id", error.detail) from None


def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help=".csv .jsonl .parquet .gz")],
    mapping: Annotated[Path, typer.Option(help="Which column is what, as of `beckon replay`.")],
    party: Annotated[str, typer.Option(help="Who it comes from: first, second or third.")],
    ids: Annotated[
        str, typer.Option(help="Whose ids user_id holds, ours or theirs; by the party if left out.")
    ] = "",
) -> None:
    """Bring files of events into the archive, where the night finds them; nothing is published.

    Customers are joined by the e-mail address (traits.email) or phone (traits.phone) that they have
    with several parties; only a keyed hash of these is kept. Of a second or third party's word on
    consent only a refusal counts. The same file a second time changes nothing. The archiver must
    not be running.
    """
    if party not in PARTIES:
        raise UserMistake(f"--party {party!r}: write one of {', '.join(PARTIES)}")
    if ids not in ("", "ours", "theirs"):
        raise UserMistake(f"--ids {ids!r}: write ours or theirs")
    ours = ids == "ours" or (not ids and party == "first")
    ready = read_mapping(mapping)
    if not ours and "source" not in ready.file.event:
        raise UserMistake(
            f"{mapping}: source is missing; it tells this party's ids from ours, such as "
            "`source: {constant: partner}`"
        )
    for path in files:
        if not path.is_file():
            raise UserMistake(f"there is no file {path}")
    report = Report("brought in")
    ticker = Ticker()
    with Archive(Settings().archive) as archive:
        importer = Importer(archive, PARTIES[party], ours=ours, now_ms=int(time.time() * 1_000))
        try:
            importer.bring(files, ready, report, ticker)
        finally:
            ticker.close()
            for line in report.lines(ticker.seconds):
                typer.echo(line)
        customers = read_identities(archive.root).customers
    typer.echo(f"{len(customers):,} ids joined into {len(set(customers.values())):,} customers")
    if report.lost_all:
        raise typer.Exit(1)
