from __future__ import annotations

import json

import pytest

from benchmarks.drain import Drained
from benchmarks.latency import Load, Measured
from benchmarks.openloop import Sent
from benchmarks.probe import Answers
from benchmarks.report import BEGIN, END, document, ratio, rewrite_readme, summary, table

MS = 1_000_000


def _drained(name: str, seconds: float, cpu: float = 10.0, void: str | None = None) -> Drained:
    return Drained(name, 100_000, 5_000, seconds, cpu, "0" * 64, void)


def _measured(load: Load, latency_ms: float, void: list[str] | None = None) -> Measured:
    answers = Answers()
    for at in range(100):
        answers.latencies.record(at * 100 * MS, round(latency_ms * MS))
    return Measured("engine", load, Sent(0, 100, 0, 0.1, 0.2, 0.3), answers, void or [])


ROUNDS = [
    _drained("engine", 2.0, 12.0),
    _drained("tutorial", 20.0, 90.0),
    _drained("plain_loop", 1.0, 10.0),
    _drained("engine", 2.2, 13.0),
    _drained("tutorial", 20.0, 90.0),
    _drained("plain_loop", 1.0, 10.0),
]


def test_figures_have_the_names_that_others_read() -> None:
    legs = [_measured(Load(3_000, 10, 2), 8), _measured(Load(3_000, 9, 2, pause=True), 400)]
    result = document({}, {}, ROUNDS, legs)
    assert result["figures"]["engine.drain_events_per_s"] == pytest.approx(47_673, abs=5)
    assert result["engine"]["p99_ms"]["3000"] == pytest.approx(8, rel=0.01)
    assert result["figures"]["engine.p50_ms.3000"] == pytest.approx(8, rel=0.01)
    assert result["ratio"]["throughput_vs_tutorial"] == pytest.approx(9.53, abs=0.01)
    assert result["ratio"]["cpu_vs_plain_loop"] == pytest.approx(1.249, abs=0.001)
    assert result["figures"]["selftest.shows_the_pause"] is True
    assert json.loads(json.dumps(result, allow_nan=False))["void"] == []


def test_a_void_run_gives_no_figure_and_is_named() -> None:
    rounds = [_drained("engine", 2.0, void="3 missing"), _drained("tutorial", 20.0)]
    result = summary(rounds, [_measured(Load(3_000, 10, 2), 8, ["the generator lagged"])])
    assert "engine.drain_events_per_s" not in result["figures"]
    assert "ratio.throughput_vs_tutorial" not in result["figures"]
    assert result["figures"]["engine.p99_ms.3000"] is None
    assert len(result["void"]) == 2


def test_the_interval_of_a_ratio_holds_its_mean_and_shrinks_to_it() -> None:
    steady, shaky = ratio([2.0] * 5, [1.0] * 5), ratio([1.0, 2.0, 4.0], [1.0, 1.0, 1.0])
    assert steady == {"value": 2.0, "interval": [2.0, 2.0], "rounds": 5}
    assert shaky["interval"][0] < shaky["value"] == 2.0 < shaky["interval"][1]


@pytest.mark.parametrize(
    ("calm_ms", "paused_ms", "void", "verdict"),
    [(8, 400, [], True), (8, 9, [], False), (300, 400, [], None), (8, 400, ["lagged"], None)],
)
def test_a_pause_must_show_where_it_can(
    calm_ms: float, paused_ms: float, void: list[str], verdict: bool | None
) -> None:
    calm = _measured(Load(3_000, 10, 2), calm_ms)
    paused = _measured(Load(3_000, 9, 2, pause=True), paused_ms, void)
    assert summary([], [calm, paused])["figures"]["selftest.shows_the_pause"] is verdict
    assert summary([], [paused])["figures"]["selftest.shows_the_pause"] is None


def test_the_readme_is_changed_between_the_markers_only() -> None:
    before = f"# Title\n{BEGIN}\nold\n{END}\nmore\n"
    assert rewrite_readme(before, "new") == f"# Title\n{BEGIN}\nnew\n{END}\nmore\n"
    assert rewrite_readme("# No markers\n", "new") == "# No markers\n"


def test_the_table_quotes_command_machine_and_every_rate() -> None:
    machine = {"cpu": "C", "cores": 2, "memory_gib": 24, "kernel": "K", "load_before": [0.1]}
    settings = {"command": "make bench", "date": "2000-01-01"}
    legs = [_measured(Load(rate, 10, 2), 8) for rate in (10_000, 3_000)]
    text = table(document(machine, settings, ROUNDS, legs))
    assert "`make bench`" in text
    assert text.index("3,000 events/s") < text.index("10,000 events/s")
    assert "PyFlink, tutorial style" in text
