"""The figures of campaigns as a process, on a real broker and Redis, killed while it adds up."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import time
from collections import Counter
from contextlib import AbstractContextManager

import pytest
from msgspec.structs import replace
from redis import Redis

from benchmarks.servers import free_port
from jobs import kafka
from jobs.campaigns.changes import history
from jobs.campaigns.changes import running as in_force
from jobs.effects.memory import state_file
from jobs.effects.process import AUTHOR, read_effects, redis_key
from jobs.effects.report import summarise
from jobs.settings import Settings
from schemas import topics
from schemas.control import Campaign, Guardrails, control_key
from schemas.effect import Counted, Effect
from schemas.experiment import Experiment, Variant
from schemas.wire import encode
from scoring.experiments.assignment import variant_of
from tests.builders import on_cart, policy
from tests.processes import PATIENCE_S, command, metrics, service, settings_with
from tests.unit.scoring.effect.test_tally import AT, decision, example, reward

pytestmark = pytest.mark.stack

SENDS = 3_000
TRIAL = Experiment(
    "which", (Variant("a", 0.5), Variant("b", 0.5)), updated_ms=1, campaigns=("on-cart",)
)

settings = settings_with("kafka", "redis", effects_metrics_port=free_port())


def process(settings: Settings) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return service(settings, "effects", "--every-s", "0.2", "--save-s", "0.3", says=b"counting")


def whole(settings: Settings, campaign: str) -> Effect | None:
    for each in read_effects(settings):
        if isinstance(each, Effect) and each.key == f"{campaign}/*/*/*":
            return each
    return None


def test_figures_are_exact_after_kills_and_a_bad_campaign_is_paused(settings: Settings) -> None:
    draw = random.Random(8)
    out = kafka.producer(settings)
    for record in (
        policy(),
        TRIAL,
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
            user = f"u{number % 400}"
            variant = f"which/{variant_of(TRIAL, user)}"
            made = decision(f"d{number}", AT + number, user_id=user, variant=variant)
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
                shown = replace(example(made), variant=made.variant)
                out.produce(topics.EXAMPLES, encode(shown), made.decision_id)
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
        shown = metrics(settings.effects_metrics_port)
        found.send_signal(signal.SIGTERM)
        assert found.wait(PATIENCE_S) == 0
    assert shown["beckon_effects_behind_records"] == 0
    assert shown["beckon_effects_paused_campaigns"] == 1
    assert shown["beckon_effects_messages"] == sent + 400
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
    view = json.loads(redis.hget(redis_key("on-cart"), "*/*/*") or b"{}")
    redis.close()
    assert view["counted"]["sends"] == sent
    (report,) = summarise(read_effects(settings), "on-cart")
    assert report.whole.counted.sends == sent
    assert sum(line.counted.clicked for line in report.channels) == expected.clicked


def test_the_report_is_printed_as_json_and_as_a_page(settings: Settings) -> None:
    page = settings.data_dir / "effect.html"
    reporting = command(settings, "report", "--json", "--html", str(page))
    output, _ = reporting.communicate(timeout=PATIENCE_S)
    assert reporting.returncode == 0, output.decode()
    told = json.loads(output)
    assert [each["campaign_id"] for each in told["campaigns"]] == ["noisy", "on-cart"]
    [experiment] = told["experiments"]
    names = [variant_of(TRIAL, f"u{number}") for number in range(400)]
    assert {each["name"]: each["customers"] for each in experiment["variants"]} == Counter(names)
    assert not experiment["mismatched"]
    html = page.read_text()
    assert "<svg" in html
    assert "src=" not in html
    assert "on-cart" in html
    assert "Experiment which" in html


def test_an_erased_customer_is_forgotten_while_it_runs_and_when_it_does_not(
    settings: Settings,
) -> None:
    def remembered() -> set[bytes]:
        return set(re.findall(rb"u\d+", state_file(settings).read_bytes()))

    assert {b"u17", b"u18", b"u19"} <= remembered()
    with process(settings) as found:
        erasing = command(settings, "archive", "erase", "u17")
        output, _ = erasing.communicate(timeout=PATIENCE_S)
        assert erasing.returncode == 0, output.decode()
        assert b"forgets them" in output
        deadline = time.monotonic() + PATIENCE_S
        while b"u17" in remembered():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        found.send_signal(signal.SIGTERM)
        assert found.wait(PATIENCE_S) == 0
    assert b"u18" in remembered()
    erasing = command(settings, "archive", "erase", "u18")
    output, _ = erasing.communicate(timeout=PATIENCE_S)
    assert erasing.returncode == 0, output.decode()
    assert b"forgets them" not in output
    assert not {b"u17", b"u18"} & remembered()
    assert b"u19" in remembered()


def test_two_of_it_never_keep_one_file(settings: Settings) -> None:
    with process(settings):
        second = command(settings, "effects")
        output, _ = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 2
    assert b"another process keeps" in output
