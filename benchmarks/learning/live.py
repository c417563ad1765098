"""What only real servers can show of learning: Kafka, Flink, Redis, the archive, and kills.

One run of the stream, of a few minutes, in five parts:

- ``hour``: an hour of a market's event time, answered, in a minute; then `beckon replay --topic`
  decides it again while the stream runs, and the digests must be equal
- ``kills``: the market goes on while the TaskManager is killed with ``kill -9`` at random moments,
  the archive with it; then what was learned is held against `benchmarks.learning.account`
- ``response``: how long a click takes until a decision knows of it
- ``parity``: as many decisions as there is time for, under models that change; `beckon archive`
  computes each score again
- ``views``: Redis shows what was learned, and the challenger beside the champion

``python -m benchmarks.learning.live --only kills`` runs one part.
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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any, Final, cast

from msgspec.structs import replace

from benchmarks.learning import account, response
from jobs import kafka
from jobs.archive.parity import CHECKED, MISMATCHED, UNKNOWN
from jobs.archive.read import days, read_day
from jobs.archive.tables import BY_TOPIC, EXAMPLES
from jobs.archive.write import read_manifest
from jobs.cli import stop_in_order
from jobs.demo.command import demo_control, publish
from jobs.demo.services import command, environment, service, start
from jobs.ledger import read_ledger
from jobs.market.clock import EventClock
from jobs.market.market import Market
from jobs.run import start_stream, stop_stream
from jobs.settings import Settings
from jobs.simulator import Schedule, Simulator
from jobs.views import open_view
from schemas import topics
from schemas.control import Campaign, ControlRecord, EventTrigger, Policy, Posterior
from schemas.wire import encode
from scoring.features import FEATURES
from scoring.onnx_export import model_record
from tests.live import Live
from tests.servers import free_settings, running

PARTS: Final = ("hour", "kills", "response", "parity", "views")
KILLS: Final = 3
CHANNELS: Final = ("sms", "push", "email")
_LAG_MS: Final = 900_000
_DAY_MS: Final = 86_400_000
_PATIENCE_S: Final = 150.0
_ARCHIVE: Final = ("archive", "--every-s", "2")


class Sizes:
    """How much of everything; less for a test."""

    def __init__(self, *, small: bool = False) -> None:
        self.seconds = 25 if small else 60
        self.rate = 300 if small else 600
        self.kills = 2 if small else KILLS
        self.clicks_s = 8 if small else 25
        self.examples = 3_000 if small else 100_000
        self.customers = 3_000 if small else 20_000


@contextmanager
def stage(folder: Path) -> Iterator[Live]:
    """The stream on servers of its own, with a projector for Redis."""
    settings = free_settings(folder, checkpoint_interval_ms=2_000, task_manager_memory_mb=2_048)
    with running(settings, "kafka", "redis", "flink") as stack:
        kafka.ensure_topics(settings)
        publish(settings, control(settings))
        start_stream(settings, fresh=True)
        tell("Kafka, Redis and Flink are up, the stream runs")
        with service(settings, "projector", "--store", "redis"):
            yield Live(settings, stack)
            stop_stream(settings)


def control(settings: Settings) -> list[ControlRecord]:
    """The shipped campaigns, and a first model."""
    return [*demo_control(settings), _model(0)]


def prove(
    folder: Path, sizes: Sizes, parts: Sequence[str] = PARTS, seed: int = 1
) -> dict[str, Any]:
    """Run the parts; returns their figures."""
    draw = random.Random(seed)
    found: dict[str, Any] = {}
    with stage(folder) as stream:
        steps: dict[str, Callable[[], dict[str, Any]]] = {
            "hour": lambda: hour(stream, sizes),
            "kills": lambda: kills(stream, sizes, draw),
            "response": lambda: responded(stream, sizes),
            "parity": lambda: parity(stream, sizes),
            "views": lambda: views(stream),
        }
        for part in parts:
            began_s = time.monotonic()
            found |= steps[part]()
            tell(f"{part}: {time.monotonic() - began_s:.0f} s")
    return found


class Past(Schedule, frozen=True):
    """A market whose events happened a while ago, so that their time alone moves the clocks.

    Event time that runs fast meets the wall clock at the end; shards of such events would count as
    live by then, and the wall clock would move them ahead of what is still to come.
    """

    def clock(self, now_s: float) -> EventClock:
        """As of any schedule, but `_LAG_MS` before."""
        met = super().clock(now_s)
        return EventClock(met.wall_start_s, met.event_start_ms - _LAG_MS, met.scale)


def hour(stream: Live, sizes: Sizes) -> dict[str, Any]:
    """An hour of event time, and its audit while the stream runs on."""
    began_ms = now_ms()
    market = Past(sizes.rate * sizes.seconds, sizes.rate, 3_600 / sizes.seconds)
    play(stream, sizes, market, 11)
    settle(stream)
    before = times_sent(stream)
    found = again(stream, began_ms) | what_if(stream, began_ms)
    settle(stream)
    after = times_sent(stream)
    moved = account.account(everything(stream)).posterior_differences
    return {
        **found,
        "replay_sends": sum(after[name] > count for name, count in before.items()),
        "posteriors_unmoved": not moved,
    }


def again(stream: Live, began_ms: int, what: str = "") -> dict[str, Any]:
    """Decide again what was decided since then, by the command, while the stream runs."""
    ended_ms = now_ms()
    tell(f"what was decided in {(ended_ms - began_ms) / 1_000:.0f} s is decided again")
    found = json.loads(_replayed(stream.settings, began_ms, ended_ms))
    told = [f"{name} differs in {', '.join(how)}" for name, how in found["differing"].items()]
    told += [f"{name} {how}" for how in ("missing", "added") for name in found[how]]
    for line in told[: account.MOST_TOLD]:
        tell(f"NOT THE SAME: {line}")
    return {
        f"replayed{what}": found["decisions"],
        f"digest_equal{what}": found["digest_equal"],
        f"replay_differing{what}": len(found["differing"]),
        f"replay_missing{what}": len(found["missing"]),
        f"replay_added{what}": len(found["added"]),
    }


def what_if(stream: Live, began_ms: int) -> dict[str, Any]:
    """What other campaigns with another model would have kept, and another policy earned."""
    settings = stream.settings
    model = settings.data_dir / "other-model.json"
    model.write_bytes(encode(_model(9)))
    file = settings.infra / "campaigns" / "examples" / "five-searches.yaml"
    span = began_ms, now_ms()
    others = _replayed(settings, *span, "--campaigns", str(file), "--model", str(model))
    worth = json.loads(others)["worth"].values()
    policy = json.loads(_replayed(settings, *span, "--policy", "uniform"))["clicks"]
    if isinstance(policy, str):
        tell(f"the log cannot tell of a uniform policy: {policy}")
    return {
        "what_if_stay": sum(each["stay"]["sends"] for each in worth),
        "what_if_fall_away": sum(each["fall_away"]["sends"] for each in worth),
        "what_if_rounds": 0 if isinstance(policy, str) else policy["rounds"],
    }


def kills(stream: Live, sizes: Sizes, draw: random.Random) -> dict[str, Any]:
    """Kill the TaskManager at random moments, the archive with it; then everything is counted."""
    settings = stream.settings
    began_ms = now_ms()
    moments = sorted(draw.uniform(0.1, 0.9) * sizes.seconds for _ in range(sizes.kills))
    with ThreadPoolExecutor(1) as pool:
        began_s = time.monotonic()
        schedule = Schedule.of(str(sizes.rate), sizes.seconds, None)
        playing = pool.submit(play, stream, sizes, schedule, 12)
        for number, moment in enumerate(moments, 1):
            archiving = start(settings, *_ARCHIVE)
            time.sleep(max(0.0, began_s + moment - time.monotonic()))
            archiving.kill()
            archiving.wait()
            stream.kill_task_manager()
            tell(f"kill {number} of {len(moments)}, at {time.monotonic() - began_s:.1f} s")
        playing.result()
    settle(stream)
    records = list(everything(stream))
    found = account.account(records)
    for line in found.told:
        tell(f"WRONG: {line}")
    with service(settings, *_ARCHIVE):
        archived(settings)
    kept, repeated = training_rows(settings)
    examples = {each.key for each in records if each.topic == topics.EXAMPLES}
    return {
        "kills": len(moments),
        **again(stream, began_ms, "_over_kills"),
        **{name: value for name, value in found._asdict().items() if name != "told"},
        "archive_lost": len(examples - kept),
        "archive_repeated": repeated,
    }


def play(stream: Live, sizes: Sizes, schedule: Schedule, seed: int) -> Simulator:
    """Run a market against the stream, answers and all."""
    market = Market(seed, sizes.customers)
    simulator = Simulator(stream.settings, market, schedule)
    simulator.run(Event(), settle_s=3.0)
    return simulator


def settle(stream: Live) -> None:
    """Wait until every input has its end and nothing more is learned."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while not read_ledger(stream.settings).balanced:
        if time.monotonic() > deadline_s:
            raise SystemExit("some inputs have no end")
        time.sleep(0.5)
    seen = -1
    while (now := kafka.watermarks(stream.settings, [topics.CONTROL])[topics.CONTROL, 0][1]) > seen:
        seen = now
        time.sleep(1.5)


def everything(stream: Live) -> Iterator[account.Read]:
    """All that the account is made of."""
    for message in kafka.read_to_end(stream.settings, account.READ):
        topic, partition = kafka.place_of(message)
        key = (message.key() or b"").decode("utf-8", "replace")
        offset = cast(int, message.offset())
        yield account.Read(topic, partition, offset, message.timestamp()[1], key, message.value())


def times_sent(stream: Live) -> Counter[str]:
    """How often each decision was published; one that is decided again must not be so again."""
    return Counter(each["decision_id"] for each in stream.records(topics.DECISIONS))


def _replayed(settings: Settings, from_ms: int, to_ms: int, *more: str) -> str:
    """What ``beckon replay --topic`` says, whether the digests were equal or not."""
    words = ("replay", "--topic", topics.EVENTS, "--from", _moment(from_ms), "--to", _moment(to_ms))
    done = subprocess.run(
        command(*words, *more, "--json"), env=environment(settings), capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    if done.returncode > 1:
        raise SystemExit(done.stderr)
    return done.stdout


def _moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1_000, UTC).isoformat()


def archived(settings: Settings) -> None:
    """Wait until the archive has all of the topics."""
    marks = kafka.watermarks(settings, list(BY_TOPIC))
    ends = {f"{topic}/{number}": high for (topic, number), (_, high) in marks.items() if high}
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        offsets = read_manifest(settings.archive).offsets
        if all(offsets.get(name, 0) >= end for name, end in ends.items()):
            return
        if time.monotonic() > deadline_s:
            raise SystemExit(f"the archive came only to {offsets}")
        time.sleep(0.5)


def training_rows(settings: Settings) -> tuple[set[str], int]:
    """Decisions whose example is archived, and records that are kept more than once."""
    root = settings.archive
    places: Counter[tuple[int, int]] = Counter()
    kept: set[str] = set()
    for day in days(root, EXAMPLES):
        rows = read_day(root, EXAMPLES, day, ["topic_partition", "topic_offset", "decision_id"])
        columns = [rows[name].to_pylist() for name in rows.column_names]
        for partition, offset, name in zip(*columns, strict=True):
            places[partition, offset] += 1
            kept.add(name)
    return kept, sum(count > 1 for count in places.values())


def responded(stream: Live, sizes: Sizes) -> dict[str, Any]:
    """Clicks at a steady pace, and when decisions came to know of them."""
    name = "on-share"
    speaks = _campaign(name, "share")
    publish(stream.settings, [speaks, _policy(2)])
    began_ms = now_ms()
    answer_at_once(stream, sizes.clicks_s, name)
    settle(stream)
    found = response.responses(
        (each for each in everything(stream) if each.at_ms >= began_ms), name
    )
    used = [each.used_ms for each in found]
    told = [each.published_ms for each in found]
    return {
        "responses": len(found),
        "posterior_p50_ms": response.percentile(used, 50),
        "posterior_p99_ms": response.percentile(used, 99),
        "posterior_published_p99_ms": response.percentile(told, 99),
    }


def answer_at_once(stream: Live, seconds: float, campaign: str) -> None:
    """Let customers share things, three hundred times a second; click on a tenth of the messages.

    A click goes out the moment its decision is read.
    """
    draw = random.Random(3)
    out = kafka.producer(stream.settings)
    reader = kafka.consumer(stream.settings, "beckon-proof-clicks")
    kafka.read_from_now(reader, [topics.DECISIONS])
    users = [f"sharer-{number}" for number in range(2_000)]
    consent = {"marketing": True, "sms": True, "push": True, "email": True}
    for user in users:
        login = {"event_id": f"in-{user}", "user_id": user, "action": "login", "ts": now_ms()}
        out.produce(topics.EVENTS, json.dumps({**login, "consent": consent}), user)
    out.flush()
    began_s = time.monotonic()
    sent = 0
    while (elapsed_s := time.monotonic() - began_s) < seconds + 2:
        while sent < min(elapsed_s, seconds) * 300:
            user = draw.choice(users)
            event = {"event_id": f"sh-{sent}", "user_id": user, "action": "share", "ts": now_ms()}
            out.produce(topics.EVENTS, json.dumps(event), user)
            sent += 1
        for message in reader.consume(100, 0.002):
            decision = json.loads(message.value() or b"{}")
            if decision["campaign_id"] != campaign or decision["status"] != "send":
                continue
            if draw.random() < 0.1:
                name = decision["decision_id"]
                click = {
                    "outcome_id": f"c-{name}", "user_id": decision["user_id"], "kind": "clicked",
                    "ts": now_ms(), "decision_id": name,
                }  # fmt: skip
                out.produce(topics.OUTCOMES, json.dumps(click), decision["user_id"])
        out.poll(0)
    reader.close()
    out.flush()


def parity(stream: Live, sizes: Sizes) -> dict[str, Any]:
    """Decisions at full speed under models that change; the archive computes each score again."""
    settings = stream.settings
    speaks = [_campaign(f"on-{action}", action) for action in ("view", "cart", "search")]
    publish(settings, [*speaks, _policy(3)])
    before = read_manifest(settings.archive).counted
    with service(settings, *_ARCHIVE):
        for part in range(4):
            publish(settings, [_model(part + 1)])
            market = Market(20 + part, sizes.customers)
            events = Schedule.of("max", None, round(sizes.examples * 0.5))
            Simulator(settings, market, events, answers=False).run(Event())
            settle(stream)
        archived(settings)
    counted = read_manifest(settings.archive).counted
    return {
        "parity_examples": counted[CHECKED] - before.get(CHECKED, 0),
        "parity_mismatches": counted.get(MISMATCHED, 0),
        "parity_unknown": counted.get(UNKNOWN, 0),
        "parity_models": 4,
    }


def views(stream: Live) -> dict[str, Any]:
    """What Redis shows against what `learn` published; and the challenger."""
    control_now = kafka.control_snapshot(stream.settings)
    known = {key: value for key, value in control_now if key.startswith("posterior/")}
    view = open_view(stream.settings, "redis")
    try:
        deadline_s = time.monotonic() + 20
        while True:
            found = view.learned()
            shown = {k: encode(v) for k, v in found.lessons.items() if isinstance(v, Posterior)}
            if shown == known or time.monotonic() > deadline_s:
                break
            time.sleep(0.2)
    finally:
        view.close()
    shadow = found.shadow
    by_the_stream = {each["model_version"] for each in stream.records(topics.DECISIONS)} - {
        f"proof-{number}" for number in range(5)
    }
    return {
        "arms_in_redis": len(shown),
        "arms_in_redis_wrong": sum(shown.get(k) != known.get(k) for k in shown.keys() | known),
        "challenger_examples": 0 if shadow is None else shadow.examples,
        "challenger_log_loss": None if shadow is None else round(shadow.challenger_log_loss, 5),
        "champion_log_loss": None if shadow is None else round(shadow.champion_log_loss, 5),
        "decided_by_others_than_the_champion": len(by_the_stream),
    }


def _campaign(name: str, action: str) -> Campaign:
    return Campaign(
        name, 1, name, EventTrigger((action,)), CHANNELS, cooldown_ms=0,
        attribution_window_ms=_DAY_MS, updated_ms=now_ms(),
    )  # fmt: skip


def _policy(version: int) -> Policy:
    """No caps, so that every cause to speak is one."""
    return replace(Policy(), version=version, caps=(), holdout_ratio=0.0, updated_ms=now_ms())


def _model(number: int) -> Any:
    draw = random.Random(number)
    weights = [draw.uniform(-0.3, 0.3) for _ in FEATURES]
    return model_record(weights, -2.5, f"proof-{number}", updated_ms=now_ms())


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def figures(*, small: bool = False, only: Sequence[str] = PARTS, seed: int = 1) -> dict[str, Any]:
    """Run the parts in a folder that is gone afterwards."""
    stop_in_order()
    folder = Path(tempfile.mkdtemp(prefix="beckon-learning-"))
    try:
        return prove(folder, Sizes(small=small), only, seed)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--small", action="store_true", help="as little as the test does")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    options = parser.parse_args()
    print(json.dumps(figures(small=options.small, only=options.only, seed=options.seed)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
