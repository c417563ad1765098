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
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any, Final

from benchmarks.learning import account, response
from benchmarks.learning.stage import (
    Past,
    Sizes,
    archived,
    everything,
    no_caps,
    now_ms,
    play,
    proof_model,
    settle,
    speaks_at,
    stage,
    tell,
    times_sent,
    training_rows,
)
from benchmarks.live import Live
from jobs import kafka
from jobs.archive.parity import CHECKED, MISMATCHED, UNKNOWN
from jobs.archive.write import read_manifest
from jobs.cli import stop_in_order
from jobs.demo.command import publish
from jobs.demo.services import command, environment, service, start
from jobs.market.market import Market
from jobs.settings import Settings
from jobs.simulator import Schedule, Simulator
from jobs.views import open_view
from schemas import topics
from schemas.control import Posterior
from schemas.wire import encode

PARTS: Final = ("hour", "kills", "response", "parity", "views")
_ARCHIVE: Final = ("archive", "--every-s", "2")
_LEARNED_WITHIN_S: Final = 15.0


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
            "response": lambda: response.responded(stream, sizes.clicks_s),
            "parity": lambda: parity(stream, sizes),
            "views": lambda: views(stream),
        }
        for part in parts:
            began_s = time.monotonic()
            found |= steps[part]()
            tell(f"{part}: {time.monotonic() - began_s:.0f} s")
    return found


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
    moved = accounted(stream)[1].posterior_differences
    return {
        **found,
        "replay_sends": sum(after[name] > count for name, count in before.items()),
        "posteriors_unmoved": not moved,
    }


def accounted(stream: Live) -> tuple[list[account.Read], account.Account]:
    """All records, and their account, once what was decided last is learned; what is lost stays so.

    The clock of a shard may move on when nothing has come for a while, and with it what was due.
    """
    deadline_s = time.monotonic() + _LEARNED_WITHIN_S
    while True:
        records = list(everything(stream))
        found = account.account(records)
        if not found.posterior_differences or time.monotonic() > deadline_s:
            return records, found
        time.sleep(1.0)


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
        f"replay_lost{what}": found["lost"],
    }


def what_if(stream: Live, began_ms: int) -> dict[str, Any]:
    """What other campaigns with another model would have kept, and another policy earned."""
    settings = stream.settings
    model = settings.data_dir / "other-model.json"
    model.write_bytes(encode(proof_model(9)))
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
    records, found = accounted(stream)
    for line in found.told:
        tell(f"WRONG: {line}")
    examples = {each.key for each in records if each.topic == topics.EXAMPLES}
    with service(settings, *_ARCHIVE):
        archived(settings)
    kept, repeated = training_rows(settings)
    return {
        "kills": len(moments),
        **again(stream, began_ms, "_over_kills"),
        **{name: value for name, value in found._asdict().items() if name != "told"},
        "archive_lost": len(examples - kept),
        "archive_repeated": repeated,
    }


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


def parity(stream: Live, sizes: Sizes) -> dict[str, Any]:
    """Decisions at full speed under models that change; the archive computes each score again."""
    settings = stream.settings
    speaks = [speaks_at(f"on-{action}", action) for action in ("view", "cart", "search")]
    publish(settings, [*speaks, no_caps(3)])
    before = read_manifest(settings.archive).counted
    with service(settings, *_ARCHIVE):
        for part in range(4):
            publish(settings, [proof_model(part + 1)])
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
