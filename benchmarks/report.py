"""Figures out of runs: ratios with their uncertainty, JSON, and the table in the README."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import geometric_mean
from typing import Any, Final

import numpy as np

from benchmarks.drain import Drained
from benchmarks.latency import PAUSE_MS, Measured

ROOT: Final = Path(__file__).resolve().parents[1]
RESULTS: Final = ROOT / "benchmarks" / "results"
BEGIN: Final = "<!-- bench:begin -->"
END: Final = "<!-- bench:end -->"

SUSTAINED_MS: Final = 1_000.0
"""Whose median answer takes longer falls behind ever more: there is no latency at such a rate."""
_RESAMPLES: Final = 2_000


def ratio(above: Sequence[float], below: Sequence[float]) -> dict[str, Any]:
    """Geometric mean of the rounds' ratios with its 95 % bootstrap interval."""
    logs = np.log(np.asarray(above) / np.asarray(below))
    drawn = np.random.default_rng(1).choice(logs, (_RESAMPLES, len(logs))).mean(axis=1)
    low, high = np.exp(np.quantile(drawn, [0.025, 0.975]))
    return {
        "value": round(float(np.exp(logs.mean())), 3),
        "interval": [round(float(low), 3), round(float(high), 3)],
        "rounds": len(logs),
    }


def summary(drained: Sequence[Drained], measured: Sequence[Measured]) -> dict[str, Any]:
    """The figures by name; void runs give none, and are named in ``void``."""
    good: dict[str, list[Drained]] = {}
    void = [f"{run.contender} drained: {run.void}" for run in drained if run.void]
    for run in drained:
        if not run.void:
            good.setdefault(run.contender, []).append(run)
    figures: dict[str, Any] = {}
    for name, runs in good.items():
        figures[f"{name}.drain_events_per_s"] = round(geometric_mean(r.events_per_s for r in runs))
        figures[f"{name}.cpu_us_per_event"] = round(
            geometric_mean(run.cpu_us_per_event for run in runs), 2
        )
    intervals = {}
    for key, one, other, figure in (
        ("ratio.throughput_vs_tutorial", "engine", "tutorial", "events_per_s"),
        ("ratio.throughput_vs_plain_loop", "engine", "plain_loop", "events_per_s"),
        ("ratio.cpu_vs_plain_loop", "engine", "plain_loop", "cpu_us_per_event"),
        ("ratio.cpu_vs_tutorial", "engine", "tutorial", "cpu_us_per_event"),
    ):
        rounds = min(len(good.get(one, ())), len(good.get(other, ())))
        if rounds:
            intervals[key] = ratio(
                [getattr(run, figure) for run in good[one][:rounds]],
                [getattr(run, figure) for run in good[other][:rounds]],
            )
            figures[key] = intervals[key]["value"]
    for leg in measured:
        kind = "" if leg.load.shape == "constant" else f"{leg.load.shape}_"
        if leg.load.pause:
            figures["selftest.p99_ms"] = _finite(leg.answers.latencies.percentile_ms(99))
            figures["selftest.shows_the_pause"] = pause_shows(leg, measured)
            continue
        void += [f"{leg.contender} at {leg.load.rate}/s: {reason}" for reason in leg.void]
        values = leg.answers.latencies.figures()
        for name in ("p50_ms", "p99_ms", "worst_second_p99_ms", "worst_ten_seconds_p99_ms"):
            key = f"{leg.contender}.{kind}{name}.{leg.load.rate}"
            figures[key] = None if leg.void else _finite(values[name])
    return {"figures": figures, "intervals": intervals, "void": void}


def pause_shows(paused: Measured, others: Sequence[Measured]) -> bool | None:
    """Whether the 500 ms for which the contender was stopped are in p99.

    Events of the pause wait up to all of it, and are several per cent of those counted, so p99
    lies in the upper half of it. None, which proves nothing: the run was void, or there was no
    good one of that rate without a pause, whose p99 lies below.
    """
    calm = [
        run.answers.latencies.percentile_ms(99)
        for run in others
        if not (run.load.pause or run.void)
        and (run.contender, run.load.rate) == (paused.contender, paused.load.rate)
    ]
    if paused.void or not calm or min(calm) >= PAUSE_MS / 2:
        return None
    return paused.answers.latencies.percentile_ms(99) >= PAUSE_MS / 2


def document(
    machine: Mapping[str, Any],
    settings: Mapping[str, Any],
    drained: Sequence[Drained],
    measured: Sequence[Measured],
) -> dict[str, Any]:
    """Everything that a run found, the figures on top, also nested by their dots."""
    found = summary(drained, measured)
    figures = found["figures"]
    return {
        **_nested(figures),
        "figures": figures,
        "intervals": found["intervals"],
        "void": found["void"],
        "machine": dict(machine),
        "settings": dict(settings),
        "drained": [
            {
                "contender": run.contender,
                "events": run.events,
                "decisions": run.decisions,
                "seconds": round(run.seconds, 3),
                "events_per_s": round(run.events_per_s),
                "cpu_us_per_event": round(run.cpu_us_per_event, 2),
                "cpu_us_per_event_by_part": {
                    part: round(used, 2) for part, used in run.parts.items()
                },
                "decisions_sha256": run.digest,
                "void": run.void,
            }
            for run in drained
        ],
        "latency": [_latency(run) for run in measured],
    }


def write(result: Mapping[str, Any], name: str) -> Path:
    """Write ``results/NAME.json`` and ``latest.json``."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(result, indent=2, allow_nan=False, default=str) + "\n"
    path = RESULTS / f"{name}.json"
    path.write_text(text)
    (RESULTS / "latest.json").write_text(text)
    return path


def table(result: Mapping[str, Any]) -> str:
    """The README's table."""
    figures, machine = result["figures"], result["machine"]
    settings = result["settings"]
    rows = ["| contender | drained events/s | CPU µs per event |", "|---|---:|---:|"]
    for name, label in (
        ("engine", "**Beckon**"),
        ("tutorial", "PyFlink, tutorial style"),
        ("plain_loop", "plain confluent-kafka loop, nothing durable"),
    ):
        speed = figures.get(f"{name}.drain_events_per_s")
        cpu = figures.get(f"{name}.cpu_us_per_event")
        if speed is not None:
            rows.append(f"| {label} | {speed:,} | {cpu:.1f} |")
    lines = ["\n".join(rows)]
    rates = sorted(
        int(key.rsplit(".", 1)[1]) for key in figures if key.startswith("engine.p99_ms.")
    )
    if rates:
        rows = [
            "| event → decision, ms | p50 | p99 | p99 of the worst second |",
            "|---|---:|---:|---:|",
        ]
        for rate in rates:
            names = ("p50_ms", "p99_ms", "worst_second_p99_ms")
            values = [figures.get(f"engine.{name}.{rate}") for name in names]
            kept_up = values[0] is None or values[0] <= SUSTAINED_MS
            cells = [_cell(value) for value in values] if kept_up else ["not sustained", "", ""]
            rows.append(f"| Beckon at {rate:,} events/s | {' | '.join(cells)} |")
        lines.append("\n".join(rows))
    ratios = []
    for key, words in (
        ("ratio.throughput_vs_tutorial", "times the throughput of PyFlink's tutorial style"),
        ("ratio.cpu_vs_plain_loop", "times the CPU per event of the plain loop"),
    ):
        if key in figures:
            low, high = result["intervals"][key]["interval"]
            ratios.append(f"{figures[key]:.2f} ({low:.2f}–{high:.2f}) {words}")
    if ratios:
        lines.append("; ".join(ratios) + "; in parentheses the 95 % interval over rounds.")
    load = machine["load_before"][0]
    lines.append(
        f"`{settings['command']}`, {settings['date']}: {machine['cores']} cores "
        f"({machine['cpu']}), {machine['memory_gib']:.0f} GiB, Linux {machine['kernel']}, load "
        f"before {load}; broker, generator and probe on the same machine; decisions identical in "
        f"all contenders. All figures: `benchmarks/results/latest.json`."
    )
    return "\n\n".join(lines)


def rewrite_readme(text: str, new: str) -> str:
    """The README with what is between the markers replaced; unchanged when it has none."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        return text
    return f"{head}{begin}\n{new}\n{end}{tail}"


def is_sustained(run: Measured) -> bool:
    """Whether a contender kept up with a load."""
    return run.answers.latencies.percentile_ms(50) <= SUSTAINED_MS


def _latency(run: Measured) -> dict[str, Any]:
    values = {key: _finite(value) for key, value in run.answers.latencies.figures().items()}
    return {
        "contender": run.contender,
        "rate": run.load.rate,
        "shape": run.load.shape,
        "seconds": run.load.seconds - run.load.warm_up_s,
        "paused": run.load.pause,
        **values,
        "repeated": run.answers.repeated,
        "generator_lag_p99_ms": run.sent.lag_p99_ms,
        "generator_lag_worst_ms": run.sent.lag_worst_ms,
        "generator_scheduling": run.sent.scheduling,
        "void": run.void,
    }


def _nested(figures: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in figures.items():
        *path, leaf = key.split(".")
        place = tree
        for step in path:
            place = place.setdefault(step, {})
        place[leaf] = value
    return tree


def _finite(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None


def _cell(value: float | None) -> str:
    return "void" if value is None else f"{value:.1f}"
