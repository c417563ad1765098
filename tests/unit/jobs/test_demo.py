"""The demo's screen and page, from records as the topics have them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from rich.console import Console

from jobs.archive.parity import CHECKED
from jobs.demo import report, screen
from jobs.demo.command import demo_settings
from jobs.demo.services import services
from jobs.demo.watch import Watch
from jobs.market.market import Market
from jobs.settings import Settings
from jobs.simulator import Schedule, Simulator
from jobs.trainers.base import Training
from schemas.control import Policy
from schemas.effect import Counted, Effect, EffectLift
from schemas.errors import UserMistake
from schemas.topics import AUDIT, CONTROL, EFFECTS
from schemas.wire import encode
from scoring.features import FEATURES
from scoring.onnx_export import model_record
from tests.published import posterior, shadow

LIFT = EffectLift("orders", 0.03, 0.05, 0.0213, 0.0102, 0.0324, 0.7, 900)


def effect(campaign: str, sends: int, channel: str | None = None, **fields: object) -> Effect:
    counted = Counted(sends=sends, held_out=7, clicked=4, conversions=2.5, revenue=90.0, cost=3.0)
    cell = (channel, "", 3_600_000) if channel else (None, None, None)
    return Effect(campaign, *cell, counted, 30.0, 0.1, 0.1, 0.0, 0.0, **fields)  # type: ignore[arg-type]


@pytest.fixture
def watch() -> Watch:
    settings = Settings()
    simulator = Simulator(settings, Market(1, 200), Schedule.of("10", 10, None))
    found = Watch(settings, simulator, Policy())
    for topic, record in (
        (CONTROL, posterior("spring", 3, 40)),
        (AUDIT, shadow(800)),
        (EFFECTS, effect("spring", 40, "sms")),
        (EFFECTS, effect("spring", 41, "sms")),
        (EFFECTS, effect("spring", 41, lifts=(LIFT,))),
        (EFFECTS, effect("organic", 0)),
    ):
        found._take(topic, encode(record))
    found.archived = {CHECKED: 1_234}
    return found


def text_of(watch: Watch) -> str:
    console = Console(width=180)
    with console.capture() as said:
        console.print(screen.live(watch, watch.sample(), 3.0))
    return said.get()


def test_the_screen_shows_effect_with_its_interval_and_the_challenger(watch: Watch) -> None:
    said = text_of(watch)
    row = next(line for line in said.splitlines() if "+0.0213" in line)
    for shown in ("spring", " 41 ", "90.00", "30.0", "(+0.0102 to +0.0324)"):
        assert shown in row
    assert "organic" not in said
    assert "log loss: champion 0.3000, challenger 0.2000" in said
    assert "challenger 0.2000" in screen.line(watch, watch.samples[-1])


def test_a_screen_of_nothing_yet_can_be_drawn() -> None:
    simulator = Simulator(Settings(), Market(1, 200), Schedule.of("10", 10, None))
    said = text_of(Watch(Settings(), simulator, Policy()))
    assert "no label yet" in said


def test_the_page_shows_effect_challenger_and_parity_and_needs_nothing_else(watch: Watch) -> None:
    watch.sample()
    model = model_record([0.1] * len(FEATURES), -2.0, "first")
    training = Training(model, 0.7, 0.3, 0.4, 900, 200, 80, [("orders_log", 0.2)])
    html = report.page(watch, {"balanced": True}, training)
    for shown in ("What campaigns brought", "+0.0213 (+0.0102 to +0.0324", "challenger", "1,234"):
        assert shown in html
    assert "src=" not in html


def test_the_demo_keeps_an_archive_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It deletes it at the start, so it must not be the one that the settings name."""
    monkeypatch.setenv("BECKON_ARCHIVE_DIR", str(tmp_path / "dear"))
    assert tmp_path / "dear" not in (own := demo_settings(Settings()).archive).parents
    assert own != tmp_path / "dear"


def test_the_demos_ports_lie_beside_the_configured_ones_and_none_is_made_of_none() -> None:
    mine, own = dict(Settings()), dict(demo_settings(Settings(archive_metrics_port=19500)))
    assert own["kafka_port"] != mine["kafka_port"]
    assert own["archive_metrics_port"] not in (0, 19500)
    assert own["projector_metrics_port"] == own["effects_metrics_port"] == 0


def test_a_process_beside_the_stream_that_ends_is_told_at_once_with_its_last_words(
    tmp_path: Path,
) -> None:
    settings = Settings(data_dir=tmp_path)

    def watched() -> None:
        with services(settings, (("effects", "--no-such-thing"),)) as check:
            while True:
                check()
                time.sleep(0.05)

    with pytest.raises(UserMistake, match=r"(?s)ended by itself \(exit code 2\).*No such option"):
        watched()
