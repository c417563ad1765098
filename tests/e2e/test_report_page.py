"""Our reports in a real browser: everything is drawn, nothing is fetched, nothing spills."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from jobs.effects.page import page as effects_page
from jobs.effects.report import compare, summarise
from jobs.nightly.base import Fact, Manifest, StepReport, Table
from jobs.nightly.drawing import chart, figure
from jobs.nightly.report import page
from tests.unit.jobs.test_effect_report import HOUR, TRIAL, WHOLE

sync = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="needs Debian's chromium: apt-get install chromium"
    ),
]


def a_night() -> str:
    drawn, axes = figure()
    axes.plot([1, 2, 3], [3, 1, 2])
    report = StepReport(
        "Segments",
        (Fact("segments", 5, "the elbow is at 5"),),
        (Table("Who they are", ("segment", "customers"), (("champions", 1_200), ("new", 3))),),
        (chart("How many groups", drawn, "five were taken"),),
    )
    done = Manifest("segments", "2026-11-20", "done", "", "c", 42, "s", (), {"a": "b"}, 1.5, 0.3)
    model = StepReport(
        "Click model",
        (
            Fact("version", "ctr-1"), Fact("AUC", "0.8900 (0.8800 to 0.9000)"),
            Fact("log loss", "0.1400", "the mean for everybody: 0.2100"),
            Fact("calibration error", 0.004),
        ),
        (Table("By group", ("group", "rows"), tuple((f"g{n}", n) for n in range(40))),),
    )  # fmt: skip
    judged = StepReport("What is promoted", (Fact("verdict", "won"),))
    halted = StepReport("Budget", warnings=("stopped: a sum is missing",))
    stopped = Manifest(
        "budget", "2026-11-20", "stopped", "a sum is missing", "c", 42, "s", (), {}, 0.1, 0.3
    )
    parts = [("segments", report, done), ("ctr", model, done), ("judge", judged, done)]
    return page("2026-11-20", [*parts, ("budget", halted, stopped)])


class Seen(NamedTuple):
    """What a browser made of a page."""

    text: str
    warnings: list[str]
    drawing_px: float
    spills: bool


def seen(html: str, width: int, file: Path, warning: str) -> Seen:
    """Open a page; it must fetch nothing and complain of nothing."""
    file.write_text(html, encoding="utf-8")
    asked: list[str] = []
    trouble: list[str] = []
    with sync.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": width, "height": 900})
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("console", lambda message: trouble.append(message.text))
        tab.on("pageerror", lambda error: trouble.append(str(error)))
        tab.goto(file.as_uri())
        drawing = tab.locator("figure svg").first.bounding_box()
        found = Seen(
            tab.inner_text("body"),
            tab.locator(warning).all_inner_texts(),
            0.0 if drawing is None else drawing["width"],
            tab.evaluate("document.documentElement.scrollWidth > window.innerWidth"),
        )
        browser.close()
    assert asked == [file.as_uri()]
    assert trouble == []
    return found


@pytest.mark.parametrize("width", [400, 1_200])
def test_the_page_shows_all_of_the_night_and_fetches_nothing(tmp_path: Path, width: int) -> None:
    found = seen(a_night(), width, tmp_path / "report.html", "p.warn")
    assert found.drawing_px > 200
    assert "a sum is missing" in found.warnings[0]
    assert not found.spills
    assert "champions" in found.text
    assert "1,200" in found.text


@pytest.mark.parametrize("width", [400, 1_200])
def test_the_page_of_effects_shows_experiments_with_their_warning(
    tmp_path: Path, width: int
) -> None:
    lost = replace(TRIAL, sample_ratio_p=1e-9)
    html = effects_page(summarise([WHOLE, HOUR]), compare([lost]))
    found = seen(html, width, tmp_path / "effect.html", "p.wrong")
    assert found.drawing_px > 200
    [warning] = found.warnings
    assert "not of the sizes they should be" in warning
    assert not found.spills
    assert "b against a: clicks a customer" in found.text
