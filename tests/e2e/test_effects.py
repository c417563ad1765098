"""The figures of campaigns as a process, on a real broker and Redis, killed while it adds up."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from redis import Redis

from jobs import kafka
from jobs.campaigns.changes import history
from jobs.campaigns.changes import running as in_force
from jobs.effects.process import AUTHOR, read_effects, redis_key
from jobs.effects.report import summarise
from jobs.settings import Settings
from schemas import topics
from schemas.control import Campaign, Guardrails, control_key
from schemas.effect import Counted, Effect
from schemas.wire import encode
from tests.builders import on_cart, policy
from tests.servers import environment, free_settings, running
from tests.unit.scoring.effect.test_tally import AT, decision, example, reward

pytestmark = pytest.mark.stack

PATIENCE_S = 90
SENDS = 3_000


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    found = free_settings(tmp_path_factory.mktemp("effects"))
    with running(found, "kafka", "redis"):
        kafka.ensure_topics(found)
        yield found


@contextmanager
def process(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """The process, from when it counts; killed at the end unless it has ended."""
    words = ("effects", "--every-s", "0.2", "--save-s", "0.3")
    with subprocess.Popen(
        [sys.executable, "-c", "from jobs.cli import main; main()", *words],
        env=environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as found:
        assert found.stdout is not None
        try:
            while b"counting" not in (line := found.stdout.readline()):
                assert line, "it ended by itself"
            yield found
        finally:
            if found.poll() is None:
                found.kill()
            found.stdout.close()


def whole(settings: Settings, campaign: str) -> Effect | None:
    found = [each for each in read_effects(settings) if each.key == f"{campaign}/*/*/*"]
    return found[0] if found else None


def test_figures_are_exact_after_kills_and_a_bad_campaign_is_paused(settings: Settings) -> None:
    draw = random.Random(8)
    out = kafka.producer(settings)
    for record in (
        policy(),
        on_cart(updated_ms=1),
        on_cart(id="noisy", guardrails=Guardrails(unsubscribed=0.01), updated_ms=1),
    ):
        out.produce(topics.CONTROL, encode(record), control_key(record))
    out.flush()
    expected = Counted()
    sent = 0

    def send(count: int) -> None:
        nonlocal sent
        for number in range(sent, sent + count):
            made = decision(f"d{number}", AT + number, user_id=f"u{number % 400}")
            answers = [reward(made, "clicked")] if number % 5 == 0 else []
            if number % 9 == 0:
                answers.append(reward(made, "converted", value=20.0, share=1.0, order_id="o"))
            expected.add(
                Counted(
                    sends=1, cost=0.05, clicked=number % 5 == 0, revenue=20.0 * (number % 9 == 0)
                )
            )
            for _ in range(1 + (number % 50 == 0)):  # as after a crash of the stream
                for answer in answers:
                    out.produce(topics.REWARDS, encode(answer), "on-cart/sms")
                out.produce(topics.DECISIONS, encode(made), made.user_id)
                out.produce(topics.EXAMPLES, encode(example(made)), made.decision_id)
        sent += count
        out.flush()

    for _ in range(4):
        with process(settings) as found:
            until = time.monotonic() + draw.uniform(0.1, 1.5)
            while time.monotonic() < until:
                send(50)
                time.sleep(0.02)
            found.send_signal(signal.SIGKILL)
            found.wait()
    send(max(1, SENDS - sent))
    for number in range(400):
        made = decision(f"n{number}", user_id=f"n{number}", campaign_id="noisy")
        out.produce(topics.DECISIONS, encode(made), made.user_id)
        if number % 10 == 0:
            out.produce(topics.REWARDS, encode(reward(made, "unsubscribed")), "noisy/sms")
    out.flush()
    with process(settings) as found:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            assert time.monotonic() < deadline, whole(settings, "on-cart")
            seen = whole(settings, "on-cart")
            noisy = in_force(settings)["campaign/noisy"]
            if seen and seen.counted.sends == sent and noisy.version == 2:
                break
            time.sleep(0.2)
        time.sleep(1)
        found.send_signal(signal.SIGTERM)
        assert found.wait(PATIENCE_S) == 0
    seen = whole(settings, "on-cart")
    assert seen is not None
    assert seen.counted.clicked == expected.clicked
    assert seen.counted.revenue == pytest.approx(expected.revenue)
    assert seen.counted.cost == pytest.approx(expected.cost)
    noisy = in_force(settings)["campaign/noisy"]
    assert isinstance(noisy, Campaign)
    assert noisy.status == "paused"
    (change,) = history(settings)
    assert (change.verb, change.author) == ("paused", AUTHOR)
    assert "unsubscribed" in change.reason
    redis = Redis.from_url(settings.redis)
    shown = json.loads(redis.hget(redis_key("on-cart"), "*/*/*") or b"{}")
    redis.close()
    assert shown["counted"]["sends"] == sent
    (report,) = summarise(read_effects(settings), "on-cart")
    assert report.whole.counted.sends == sent
    assert sum(line.counted.clicked for line in report.channels) == expected.clicked


def test_the_report_is_printed_as_json_and_as_a_page(settings: Settings) -> None:
    page = settings.data_dir / "effect.html"
    done = subprocess.run(
        [sys.executable, "-c", "from jobs.cli import main; main()", "report", "--json",
         "--html", str(page)],
        env=environment(settings), capture_output=True, timeout=PATIENCE_S, check=True,
    )  # fmt: skip
    names = [each["campaign_id"] for each in json.loads(done.stdout)]
    assert names == ["noisy", "on-cart"]
    html = page.read_text()
    assert "<svg" in html
    assert "src=" not in html
    assert "on-cart" in html
