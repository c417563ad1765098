"""The night's report in a real browser: everything is drawn, nothing is fetched, nothing spills."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from jobs.nightly.base import Fact, Manifest, StepReport, Table
from jobs.nightly.drawing import chart, figure
from jobs.nightly.report import page

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


@pytest.mark.parametrize("width", [400, 1_200])
def test_the_page_shows_all_of_the_night_and_fetches_nothing(tmp_path: Path, width: int) -> None:
    file = tmp_path / "report.html"
    file.write_text(a_night(), encoding="utf-8")
    asked: list[str] = []
    trouble: list[str] = []
    with sync.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": width, "height": 900})
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("console", lambda message: trouble.append(message.text))
        tab.on("pageerror", lambda error: trouble.append(str(error)))
        tab.goto(file.as_uri())
        drawing = tab.locator("figure svg").bounding_box()
        stopped = tab.locator("p.warn").first.inner_text()
        spills = tab.evaluate("document.documentElement.scrollWidth > window.innerWidth")
        text = tab.inner_text("body")
        lights = tab.locator("nav i").evaluate_all("each => each.map(i => i.className)")
        tiles = tab.locator(".tile b").all_inner_texts()
        folded = tab.locator("td", has_text="g39").first
        before = folded.is_visible()
        tab.locator("summary", has_text="By group").click()
        after = folded.is_visible()
        tab.locator("nav a", has_text="Budget").click()
        hit = tab.evaluate("location.hash")
        browser.close()
    assert asked == [file.as_uri()]
    assert trouble == []
    assert drawing is not None
    assert drawing["width"] > 200
    assert "a sum is missing" in stopped
    assert not spills
    assert "champions" in text
    assert "1,200" in text
    assert lights == ["done", "done", "done", "stopped"]
    assert tiles[:3] == ["3 of 4", "1", "won"]
    assert "the mean for everybody: 0.2100" in text
    assert (before, after) == (False, True), "a long table is folded until somebody wants it"
    assert hit == "#budget"
