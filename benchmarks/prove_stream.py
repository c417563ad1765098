"""``make prove-stream``: real events, bad input and crashes; then everything is accounted for.

Servers, stream and projector of its own take a replay of real shop events at full speed, every kind
of bad input several times, and three ``kill -9`` of the TaskManager while all that is under way.
Then each input must have exactly one end, each customer's tags must be what the oracle works out
from the file, and no decision may exist with two contents. Progress goes to the standard error; the
last line is JSON with the figures. Exit code 1 when anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException

from benchmarks.bad_input import BadInput, bad_control, bad_inputs
from benchmarks.live import TAOBAO, Live, Place, live, shop_events
from benchmarks.servers import free_settings
from jobs import kafka
from jobs.cli import stop_in_order
from jobs.cluster import Cluster
from jobs.demo.services import beckon, environment
from jobs.ledger import Ledger, read_ledger
from jobs.run import stop_stream
from jobs.settings import Settings
from operators import names
from schemas import topics
from tests.judge import by_customer, differences_in_hbase, differences_in_redis

KILLS: Final = 3
HBASE_SAMPLE: Final = 500
PATIENCE_S: Final = 300.0
TOO_LARGE: Final = 1_100_000


class Ends:
    """How many inputs have come to an end, followed as it happens."""

    def __init__(self, settings: Settings) -> None:
        self._reader = kafka.consumer(settings, "beckon-proof")
        self._reader.subscribe([topics.AUDIT])
        self._ended: set[Place] = set()

    def count(self) -> int:
        """Inputs with an end by now."""
        for message in self._reader.consume(500, timeout=0.1):
            audit = json.loads(message.value() or b"{}") if message.error() is None else {}
            if audit.get("kind") == "outcomes":
                self._ended.update((row[0], row[1], row[2]) for row in audit["rows"])
        return len(self._ended)

    def close(self) -> None:
        """Leave the broker alone."""
        self._reader.close()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="prove_stream", description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=TAOBAO)
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    options = parser.parse_args(arguments)
    stop_in_order()
    if not options.file.is_file():
        print(
            f"there is no file {options.file}: name one of the Taobao format "
            "(user,item,category,behaviour,seconds)",
            file=sys.stderr,
        )
        return 2
    folder = Path(tempfile.mkdtemp(prefix="beckon-proof-"))
    try:
        figures = prove(free_settings(folder, checkpoint_interval_ms=2_000), options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(figures))
    return 0 if figures["proved"] else 1


def prove(settings: Settings, options: argparse.Namespace) -> dict[str, Any]:
    """Run it all; returns the figures."""
    began_s = time.monotonic()
    draw = random.Random(options.seed)
    events = shop_events(settings, options.file)
    tell(f"{len(events):,} events in {options.file.name}")
    with live(settings, ()) as stream:
        beckon(settings, "campaigns", "apply")
        tell("servers, stream and projector run")
        bad = send_bad(stream, "bad-before")
        for record in bad_control():
            publish_raw(settings, record.key, record.value)
        replay = start_replay(settings, options.file)
        moments = sorted(draw.uniform(0.05, 0.9) for _ in range(KILLS))
        ends = Ends(settings)
        for number, moment in enumerate(moments, 1):
            wait_for(stream, ends, round(moment * len(events)))
            stream.kill_task_manager()
            tell(f"kill {number} of {KILLS}, after {ends.count():,} inputs")
            bad += send_bad(stream, f"bad-after-{number}")
        if replay.wait():
            raise SystemExit("the replay failed")
        wait_for(stream, ends, len(events) + len(bad))
        ends.close()
        ledger = balanced(settings)
        tell("the ledger is read; waiting for the views")
        stream.projected()
        histories = by_customer(events)
        differing = differences_in_redis(settings, histories)
        sample = draw.sample(sorted(histories), min(HBASE_SAMPLE, len(histories)))
        differing += differences_in_hbase(settings, {user: histories[user] for user in sample})
        mistaken = mistaken_ends(stream, bad)
        refused = Counter(
            letter["reason"] for letter in unique_letters(stream.records(topics.DEAD_LETTERS))
        )
        stop_stream(settings)
    for line in [*differing[:10], *mistaken[:10]]:
        tell(f"WRONG: {line}")
    return {
        "proved": ledger.balanced and not (ledger.revised or differing or mistaken),
        "inputs": ledger.inputs,
        "outcomes": ledger.outcomes,
        "lost": ledger.missing,
        "double": ledger.revised,
        "differing_tags": len(differing),
        "kills": KILLS,
        "decisions": ledger.decisions.sends + ledger.decisions.holdouts,
        "repeated": ledger.decisions.repeats,
        "conflicting_decisions": ledger.decisions.conflicting,
        "dead_letters": dict(sorted(refused.items())),
        "kinds_of_bad_input": len(bad_inputs("any")) + len(bad_control()) + 1,
        "bad_inputs": len(bad),
        "mistaken_ends": len(mistaken),
        "customers_compared": len(histories),
        "histories_compared": len(sample),
        "faults": ledger.faults,
        "seconds": round(time.monotonic() - began_s, 1),
    }


def start_replay(settings: Settings, file: Path) -> subprocess.Popen[bytes]:
    """``beckon replay`` at full speed."""
    mapping = settings.infra / "mappings" / "taobao.yaml"
    command = [sys.executable, "-c", "from jobs.cli import main; main()"]
    return subprocess.Popen(
        [*command, "replay", str(file), "--mapping", str(mapping)],
        env=environment(settings),
        stdout=sys.stderr,
    )


def send_bad(stream: Live, name: str) -> list[tuple[BadInput, Place | None]]:
    """Send each kind of bad input; what is too large for a broker, a client must refuse."""
    bad = bad_inputs(name)
    sent = []
    for topic in (topics.EVENTS, topics.OUTCOMES):
        some = [each for each in bad if each.topic == topic]
        sent += list(zip(some, stream.send(*(e.value for e in some), topic=topic), strict=True))
    try:
        publish_raw(stream.settings, "", b"x" * TOO_LARGE, topics.EVENTS)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
            raise
    else:
        raise SystemExit(f"the client took a message of {TOO_LARGE:,} bytes")
    return sent


def publish_raw(settings: Settings, key: str, value: bytes, topic: str = topics.CONTROL) -> None:
    out = kafka.producer(settings)
    out.produce(topic, value, key)
    out.flush(30)


def wait_for(stream: Live, ends: Ends, wanted: int) -> None:
    """Wait until so many inputs have an end."""
    deadline_s = time.monotonic() + PATIENCE_S
    told_s = time.monotonic()
    while (count := ends.count()) < wanted:
        now_s = time.monotonic()
        if now_s > deadline_s:
            cluster = Cluster(stream.settings.flink)
            job = cluster.running(names.JOB)
            cause = "the job has ended" if job is None else cluster.root_cause(job)
            tell(f"only {count:,} of {wanted:,} inputs have an end: {cause}")
            return
        if now_s > told_s + 5:
            told_s = now_s
            tell(f"{count:,} inputs have an end")


def balanced(settings: Settings) -> Ledger:
    """The ledger once it balances, or after a while as it is."""
    deadline_s = time.monotonic() + PATIENCE_S / 5
    while not (ledger := read_ledger(settings)).balanced and time.monotonic() < deadline_s:
        time.sleep(1)
    return ledger


def mistaken_ends(stream: Live, bad: Sequence[tuple[BadInput, Place | None]]) -> list[str]:
    """The bad inputs that came to another end than the one promised."""
    found = stream.ends(place for _, place in bad)
    return [
        f"{each.name}: {ends}, not {each.end} {each.reason}"
        for (each, _), ends in zip(bad, found, strict=True)
        if ends != {(each.end, each.reason)}
    ]


def unique_letters(letters: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each dead letter once; after a crash some are written again."""
    places = {(each["topic"], each["partition"], each["offset"]): each for each in letters}
    return list(places.values())


def tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
