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
    halted = StepReport("Budget", warnings=("stopped: a sum is missing",))
    stopped = Manifest(
        "budget", "2026-11-20", "stopped", "a sum is missing", "c", 42, "s", (), {}, 0.1, 0.3
    )
    return page("2026-11-20", [("segments", report, done), ("budget", halted, stopped)])


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
        browser.close()
    assert asked == [file.as_uri()]
    assert trouble == []
    assert drawing is not None
    assert drawing["width"] > 200
    assert "a sum is missing" in stopped
    assert not spills
    assert "champions" in text
    assert "1,200" in text
