"""``make prove-decisions``: a day with crashes, judged by a stranger; one JSON line of figures.

Kafka and Flink of its own take a simulated day of a million events (``--events``) at full speed:
customers in two zones, one of which changes its clocks that day; three ``kill -9`` of the
TaskManager; one rescale from one to two; senders that report bounces and complaints. Then

- an independent judge looks for any message that must not have been sent;
- the ledger must balance, and ``why`` must have one answer for each of a thousand candidates;
- the day is replayed without effects and must give the same decisions;
- live, what becomes true by the passing of time must be acted on within a second, and a new
  campaign be in force within one;
- the twentieth action on real shop events must be an oracle's, a thousand campaigns must not cost
  half as much again as ten, and every broken campaign file must be refused in plain words.

Progress goes to the standard error; exit code 1 when anything is wrong.
"""

from __future__ import annotations

import argparse
import gc
import heapq
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from confluent_kafka import Message

from benchmarks import many_campaigns, twenty_actions
from benchmarks.day import punctual, rules
from benchmarks.day.driver import Day, tell
from benchmarks.day.events import BEGINS_MS, SPAN_MS
from benchmarks.day.judge import Judge
from benchmarks.day.reasons import unexplained
from benchmarks.day.replay import Recorded, digest, replay
from benchmarks.live import TAOBAO
from benchmarks.prove_stream import balanced
from benchmarks.servers import free_settings, running
from jobs import kafka
from jobs.cli import stop_in_order
from jobs.demo.command import publish
from jobs.demo.services import environment
from jobs.run import start_stream
from jobs.settings import Settings
from jobs.why.answers import Record
from schemas import topics
from schemas.control import ControlRecord
from schemas.decision import Decision

EVENTS: Final = 1_000_000
EXIT_LIMIT_MS: Final = 1_000
APPLY_LIMIT_MS: Final = 1_000
BROKEN: Final = Path(__file__).resolve().parents[1] / "tests" / "broken_campaigns"
MUST_OCCUR: Final = (
    "no_purpose",
    "no_opt_in",
    "quiet_hours",
    "deferred",
    "global_cap",
    "category_cap",
    "channel_cap",
    "no_budget",
    "cooldown",
    "not_in_audience",
    "duplicate",
)
"""What a day without it would prove nothing about."""

_decision: Final = msgspec.json.Decoder(Decision).decode


class _When(msgspec.Struct):
    ts: int


_when: Final = msgspec.json.Decoder(_When).decode


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="prove_decisions", description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS, help="of the day")
    parser.add_argument("--seed", type=int, default=1, help="of the day, and of the kills")
    parser.add_argument("--live", type=int, default=400, help="customers of the live measurement")
    options = parser.parse_args(arguments)
    stop_in_order()
    began_s = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="beckon-day-"))
    try:
        figures = prove(free_settings(folder, checkpoint_interval_ms=2_000), options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    figures["seconds"] = round(time.monotonic() - began_s, 1)
    print(json.dumps(figures))
    return 0 if figures["proved"] else 1


def prove(settings: Settings, options: argparse.Namespace) -> dict[str, Any]:
    """Run it all; returns the figures."""
    control = rules.control(options.events)
    with running(settings, "kafka", "flink") as stack:
        kafka.ensure_topics(settings)
        publish(settings, control)
        start_stream(settings, fresh=True)
        tell("Kafka, Flink and the stream run")
        day = Day(settings, stack, options.events, options.seed)
        reasons = day.run()
        ledger = balanced(settings)
        tell("the ledger is read; the judge looks")
        inputs = recorded(settings, day.marks)
        values = [message.value() or b"" for message in read(settings, topics.DECISIONS)]
        judge = judged(inputs, values, options.events)
        asked, silent = asked_why(settings, control, options.seed)
        tell(f"asked why of {asked:,} candidates; replaying")
        published = [_decision(value) for value in values]
        before = kafka.watermarks(settings, [topics.DECISIONS])
        again = list(replay(inputs, control, published))
        sends_of_replay = int(kafka.watermarks(settings, [topics.DECISIONS]) != before)
        equal = digest(published, control) == digest(again, control)
        differing = differences(published, again)
        tell("replayed; measuring live")
        live = punctual.measure(day.settings, rules.campaigns(options.events), options.live)
        applied_ms = punctual.applied_ms(day.settings)
    gc.collect()
    gc.freeze()  # what the day left in memory is no cost of a campaign's
    small = options.events < EVENTS
    twenty = twenty_actions.measure(TAOBAO)
    many = many_campaigns.measure(20_000, 5_000, 2) if small else many_campaigns.measure()
    refused, tracebacks = broken_files(settings)
    absent = [reason for reason in MUST_OCCUR if not reasons[reason]]
    for line in [*judge.examples[:20], *silent[:10], *differing[:10]]:
        tell(f"WRONG: {line}")
    violations = {kind: count for kind, count in judge.violations.items()}
    proved = (
        not any(violations.values())
        and not silent
        and not absent
        and ledger.balanced
        and equal
        and not sends_of_replay
        and live["missing"] == 0
        and live["p99_ms"] <= EXIT_LIMIT_MS
        and applied_ms is not None
        and applied_ms < APPLY_LIMIT_MS
        and twenty["ok"]
        and many["ok"]
        and not tracebacks
        and all(judge.by_campaign[spec.id] for spec in rules.campaigns(options.events))
    )
    return {
        "proved": proved,
        "events": day.sent,
        "sends": judge.sends,
        "sends_by_campaign": dict(sorted(judge.by_campaign.items())),
        "held_out": ledger.decisions.holdouts,
        "answers": dict(sorted(day.answers.items())),
        "violations": violations,
        "spent_micros": dict(judge.spent),
        "refusals": {reason: reasons[reason] for reason in MUST_OCCUR},
        "never_occurred": absent,
        "kills": 3,
        "rescales": 1,
        "ledger_balances": ledger.balanced,
        "ledger_faults": ledger.faults,
        "repeated": ledger.decisions.repeats,
        "candidates_asked": asked,
        "unexplained": len(silent),
        "digest_equal": equal,
        "sends_of_replay": sends_of_replay,
        "exit_p99_ms": live.get("p99_ms"),
        "exit": live,
        "apply_ms": applied_ms,
        "twenty_actions": twenty,
        "cpu_ratio_1000_campaigns": many["cpu_ratio_1000_campaigns"],
        "broken_files_refused": refused,
        "tracebacks": tracebacks,
    }


def judged(inputs: Sequence[Sequence[Recorded]], decisions: Sequence[bytes], events: int) -> Judge:
    """The verdict on what was decided of these inputs."""
    judge = Judge(rules.campaigns(events))
    for part in inputs:
        for record in part:
            if record.topic == topics.EVENTS:
                judge.event(record.payload)
            else:
                judge.answer(record.payload)
    for value in decisions:
        judge.decision(value)
    judge.verdict()
    return judge


def recorded(settings: Settings, marks: Sequence[dict[kafka.Place, int]]) -> list[list[Recorded]]:
    """The inputs as Kafka has them, part by part."""
    log: dict[kafka.Place, list[Recorded]] = {place: [] for place in marks[-1]}
    for message in kafka.read_to_end(settings, topics.INPUTS):
        record = _recorded(message)
        log[record.topic, record.partition].append(record)
    return side_by_side(log, marks)


def side_by_side(
    log: Mapping[kafka.Place, Sequence[Recorded]], marks: Sequence[dict[kafka.Place, int]]
) -> list[list[Recorded]]:
    """The parts of a log that end at these marks, the partitions of each side by side in time."""
    of_place: dict[kafka.Place, list[tuple[int, Recorded]]] = {}
    for place, records in log.items():
        rows = of_place[place] = []
        newest_ms = 0
        for record in records:
            newest_ms = max(newest_ms, _when(record.payload).ts)
            rows.append((newest_ms, record))
    found = []
    since = dict.fromkeys(of_place, 0)
    for mark in marks:
        spans = [rows[since[place] : mark[place]] for place, rows in of_place.items()]
        found.append([row for _, row in heapq.merge(*spans, key=lambda row: row[0])])
        since = mark
    return found


def asked_why(
    settings: Settings, control: Sequence[ControlRecord], seed: int
) -> tuple[int, list[str]]:
    """Ask ``why`` of the product, for a thousand candidates."""
    rows = {
        topic: [
            Record(topic, m.partition() or 0, m.offset() or 0, m.key() or b"", m.value() or b"")
            for m in read(settings, topic)
        ]
        for topic in (*topics.INPUTS, topics.AUDIT, topics.DECISIONS)
    }
    inputs = [record for topic in topics.INPUTS for record in rows[topic]]
    over_ms = BEGINS_MS + SPAN_MS - rules.POLICY.lateness_ms
    audits, decisions = rows[topics.AUDIT], rows[topics.DECISIONS]
    return unexplained(inputs, audits, decisions, control, seed, over_ms)


def differences(published: Sequence[Decision], again: Sequence[Decision]) -> list[str]:
    """Decisions that only one of the two runs made, in order of time."""
    ours = {each.decision_id: each for each in published}
    theirs = {each.decision_id: each for each in again}
    found = [(each, "not made in the replay") for each in ours.values()]
    found += [(each, "made in the replay alone") for each in theirs.values()]
    return [
        f"{each.decision_id} of {each.campaign_id} for {each.user_id} at {each.decided_at_ms}, "
        f"{each.status} by {each.channel}, was {what}"
        for each, what in sorted(found, key=lambda pair: pair[0].decided_at_ms)
        if (each.decision_id in ours) != (each.decision_id in theirs)
    ]


def broken_files(settings: Settings) -> tuple[int, int]:
    """How many of the broken campaign files are refused, and how many with a traceback."""
    refused = tracebacks = 0
    for path in sorted(BROKEN.iterdir()):
        if path.name in ("odd", "said.txt"):
            continue
        ran = subprocess.run(
            [sys.executable, "-c", "from jobs.cli import main; main()", "campaigns", "check", path],
            env=environment(settings),
            capture_output=True,
            text=True,
            check=False,
        )
        refused += ran.returncode != 0
        tracebacks += "Traceback" in ran.stderr + ran.stdout or ran.returncode == 0
    return refused, tracebacks


def read(settings: Settings, topic: str) -> Iterator[Message]:
    """Every record of a topic by now."""
    return kafka.read_to_end(settings, [topic])


def _recorded(message: Message) -> Recorded:
    return Recorded(
        str(message.topic()),
        message.partition() or 0,
        message.offset() or 0,
        message.timestamp()[1],
        (message.key() or b"").decode(),
        message.value() or b"",
    )


if __name__ == "__main__":
    sys.exit(main())
