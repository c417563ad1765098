"""Files of three parties become rows of one archive, of one customer each, and can be erased."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from jobs.archive.identity import SECRET, read_identities, read_secret
from jobs.archive.imports import Importer
from jobs.archive.people import Agreed, Party, Person, merged, read_people
from jobs.archive.read import days, read_day
from jobs.archive.tables import DECISIONS, EVENTS, IDENTITY
from jobs.archive.upkeep import erase
from jobs.archive.write import Archive
from jobs.cli import app
from jobs.mapping import read_mapping
from jobs.replay.publish import Report
from schemas.errors import UserMistake

NOW = round(datetime(2026, 3, 9, tzinfo=UTC).timestamp() * 1_000)
AT = round(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp() * 1_000)
MAPPING = """event:
  user_id: who
  action: what
  ts: {from: when, time: epoch_ms}
  traits.email: mail
  traits.phone: phone
  consent.marketing: news
  consent.sms: sms
"""
HEAD = "who,what,when,mail,phone,news,sms\n"
SHOP = (
    f"u1,view,{AT},jen@a.example,,yes,yes\n"
    f"u1,purchase,{AT + 1},,,,\n"
    f"u2,view,{AT},bo@a.example,,yes,yes\n"
)
PARTNER = (
    f"7,view,{AT + 2},JEN@a.example,+49 151 23456789,yes,no\n"
    f"8,view,{AT + 3},eve@a.example,,yes,yes\n"
)


def bring(root: Path, name: str, text: str, party: Party, **other: Any) -> Report:
    path = root.parent / f"{name}.csv"
    path.write_text(HEAD + text)
    mapping = root.parent / f"{name}.yaml"
    mapping.write_text(MAPPING + f"  source: {{constant: {name}}}\n")
    report = Report("brought in")
    with Archive(root) as archive:
        ours = other.get("ours", party == "first")
        importer = Importer(archive, party, ours=ours, now_ms=NOW)
        importer.bring([path], read_mapping(mapping), report)
    return report


def rows(root: Path, table: Any) -> list[dict[str, Any]]:
    return [row for day in days(root, table) for row in read_day(root, table, day).to_pylist()]


def people(root: Path) -> dict[str, Person]:
    known = read_identities(root)
    return merged(read_people(root, known), known.customers)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "archive"
    assert bring(root, "shop", SHOP, "first").published == 3
    assert bring(root, "partner", PARTNER, "second").published == 2
    return root


def test_a_partners_customer_becomes_ours_by_the_address_they_share(root: Path) -> None:
    known = read_identities(root)
    assert known.customers == {"u1": "u1", "partner:7": "u1"}
    assert known.foreign() == {"partner:7", "partner:8"}
    person = people(root)["u1"]
    assert person.ids == {"u1", "partner:7"}
    assert person.actions == {"view": 2, "purchase": 1}


def test_the_order_in_which_files_come_does_not_matter(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "archive"
    other.parent.mkdir()
    bring(other, "partner", PARTNER, "second")
    bring(other, "shop", SHOP, "first")
    assert read_identities(other).customers == read_identities(root).customers
    assert people(other) == people(root)


def test_a_partners_refusal_counts_and_its_agreement_does_not(root: Path) -> None:
    agreed = people(root)["u1"].agreed
    assert agreed == Agreed(frozenset({"marketing", "sms"}), frozenset({"sms"}))
    assert not agreed.allows("sms")
    [eve] = [row for row in rows(root, EVENTS) if row["user_id"] == "partner:8"]
    assert eve["consent_marketing"] is None
    assert eve["consent_sms"] is None


def test_the_older_arm_of_two_ids_is_kept(root: Path) -> None:
    given = [("u1", AT + 9, "price/b"), ("partner:7", AT, "price/a"), ("u2", 0, "price/c")]
    with Archive(root) as archive:
        decisions = [
            {"decision_id": user, "user_id": user, "decided_at_ms": at_ms, "variant": variant}
            for user, at_ms, variant in given
        ]
        archive.append({DECISIONS.name: decisions})
    assert people(root)["u1"].arms == {"price": (AT, "a")}


def test_the_same_file_again_changes_nothing(root: Path) -> None:
    events, before = rows(root, EVENTS), people(root)
    bring(root, "partner", PARTNER, "second")
    assert rows(root, EVENTS) == events
    assert people(root) == before


def test_addresses_and_numbers_are_nowhere_in_the_archive(root: Path) -> None:
    for path in root.rglob("*"):
        if path.is_file():
            whole = path.read_bytes()
            if path.suffix == ".parquet":
                whole += str(pq.read_table(path, partitioning=None).to_pylist()).encode()
            for secret in (b"jen@a.example", b"JEN@a", b"23456789", b"eve@a"):
                assert secret not in whole
    assert (root / SECRET).stat().st_mode & 0o077 == 0


def test_an_erased_customer_goes_from_all_parties_and_stays_away(root: Path) -> None:
    assert erase(root, ["u1"]) == {"events": 3, "identity": 4}
    assert {row["user_id"] for row in rows(root, EVENTS)} == {"u2", "partner:8"}
    assert {row["user_id"] for row in rows(root, IDENTITY)} == {"u2", "partner:8"}
    report = bring(root, "broker", f"x,view,{AT},jen@a.example,,,\ny,view,{AT},,,,\n", "third")
    assert report.refused == {"the customer was erased": 1}
    assert {row["user_id"] for row in rows(root, EVENTS)} == {"u2", "partner:8", "broker:y"}


def test_what_no_party_may_say_is_refused_and_counted(root: Path) -> None:
    text = f"u3,tags,{AT},,,,\nu3,view,{NOW + 400_000},,,,\nu3,view,7,,,,\nu3,view,{AT},,,,\n"
    report = bring(root, "late", text, "first")
    assert (report.rows, report.published, sum(report.refused.values())) == (4, 1, 3)
    assert "it lies in the future" in report.refused
    bad = bring(root, "no space", f"u 3,view,{AT},,,,\n", "first")
    assert bad.lost_all


def test_a_lost_secret_is_told_before_anything_is_written(root: Path) -> None:
    (root / SECRET).unlink()
    with pytest.raises(UserMistake, match="is gone"):
        read_secret(root)


def test_the_command_brings_parquet_in_and_says_what_it_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BECKON_ARCHIVE_DIR", str(tmp_path / "archive"))
    mapping = tmp_path / "map.yaml"
    mapping.write_text(MAPPING)
    table = {
        "who": ["u1", "u9"],
        "what": ["view"] * 2,
        "when": [AT] * 2,
        "mail": ["a@b.example"] * 2,
        "phone": [None] * 2,
        "news": [True, None],
        "sms": [None, False],
    }
    pq.write_table(pa.table(table), tmp_path / "crm.parquet")
    file, run = str(tmp_path / "crm.parquet"), CliRunner().invoke
    done = run(app, ["import", file, "--mapping", str(mapping), "--party", "first"])
    assert done.exit_code == 0, done.output
    assert "2 rows, 2 brought in, 0 refused" in done.output
    assert "2 ids joined into 1 customers" in done.output
    refused = run(app, ["import", file, "--mapping", str(mapping), "--party", "third"])
    assert "source is missing" in str(refused.exception)
    refused = run(app, ["import", file, "--mapping", str(mapping), "--party", "fourth"])
    assert "--party 'fourth'" in str(refused.exception)
