"""What a demo did, as one HTML page that needs nothing else."""

from __future__ import annotations

from html import escape
from typing import Any

from jobs.archive.parity import CHECKED, MISMATCHED
from jobs.demo.charts import bars, lines
from jobs.demo.watch import Watch
from jobs.effects.page import section
from jobs.trainers.base import Training

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1360px; color: #1b1f24 }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(560px, 1fr)); gap: 1.5rem }
figure { margin: 0; border: 1px solid #ddd; border-radius: 8px; padding: 1rem }
figcaption { font-weight: 600; margin-bottom: .5rem }
svg text { font: 11px system-ui, sans-serif; fill: #444 }
table { border-collapse: collapse; width: 100% } td, th { padding: .2rem .6rem; text-align: right }
td:first-child, th:first-child { text-align: left } tr + tr { border-top: 1px solid #eee }
.facts { display: flex; gap: 2.5rem; flex-wrap: wrap; margin: 1rem 0 2rem }
.facts b { display: block; font-size: 1.7rem }
"""


def page(watch: Watch, ledger: dict[str, Any], training: Training) -> str:
    """The report; ``ledger`` is what `beckon ledger --json` prints."""
    tally = watch.simulator.sender.tally
    histogram = watch.simulator.latencies.histogram
    p50, p99 = histogram.percentile(50), histogram.percentile(99)
    low, high = tally.lift_interval
    facts = {
        "events": f"{sum(watch.simulator.sent.values()):,}",
        "decisions": f"{sum(watch.simulator.sender.counts.values()):,}",
        "p50, intended send to decision": "–" if p50 is None else f"{p50:.1f} ms",
        "p99": "–" if p99 is None else f"{p99:.1f} ms",
        "click-through": f"{watch.click_through():.2%}",
        "lift in conversion": f"{tally.lift:+.2%} ({low:+.2%} to {high:+.2%})",
        "true lift": f"{tally.mean_true_lift:+.2%}",
        "scores computed again by the archive": _parity(watch),
        "ledger": "balances" if ledger.get("balanced") else "DOES NOT BALANCE",
    }
    samples = watch.samples
    rate = {
        "events": [(s.at_s, s.events_per_s) for s in samples],
        "decisions": [(s.at_s, s.decisions_per_s) for s in samples],
    }
    latency = {
        "p50": [(s.at_s, s.p50_ms) for s in samples],
        "p99": [(s.at_s, s.p99_ms) for s in samples],
    }
    figures = [
        lines("Events and decisions per second", "/s", rate),
        lines("From intended send to decision, second by second", "ms", latency),
        lines(
            "Click-through of all messages so far",
            "%",
            {"measured": [(s.at_s, s.click_through) for s in samples]},
        ),
        _arms(watch),
        *_posteriors(watch),
        _challenger(watch),
        _model(training),
        _ends(watch, ledger),
    ]
    head = "".join(f"<div><b>{escape(v)}</b>{escape(k)}</div>" for k, v in facts.items())
    effect = "".join(map(section, watch.brought())) or "<p>`beckon effects` told nothing.</p>"
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Beckon: a demo</title>"
        f"<style>{_STYLE}</style><h1>Beckon: what the demo did</h1>"
        f"<div class='facts'>{head}</div><main>{''.join(figures)}</main>"
        f"<h1>What campaigns brought</h1>{effect}</html>"
    )


def _arms(watch: Watch) -> str:
    rows = [
        (
            f"{campaign} by {channel} ({arm.sends:,})",
            arm.clicks / max(1, arm.sends),
            arm.true_clicks / max(1, arm.sends),
        )
        for (campaign, channel), arm in sorted(watch.simulator.sender.tally.arms.items())
    ]
    return bars("Click-through of each channel", rows, "clicks per message")


def _posteriors(watch: Watch) -> list[str]:
    arms = sorted({arm for sample in watch.samples for arm in sample.posterior_means})
    campaigns = sorted({arm.partition("/")[0] for arm in arms})
    return [
        lines(
            f"What the bandit believes of {campaign}",
            "%",
            {
                arm.partition("/")[2]: [
                    (sample.at_s, sample.posterior_means.get(arm)) for sample in watch.samples
                ]
                for arm in arms
                if arm.startswith(f"{campaign}/")
            },
        )
        for campaign in campaigns
    ]


def _parity(watch: Watch) -> str:
    """How many scores the archive computed again from the features, and how many differed."""
    counted = watch.archived
    return f"{counted.get(CHECKED, 0):,}, {counted.get(MISMATCHED, 0):,} differ"


def _challenger(watch: Watch) -> str:
    samples = watch.samples
    return lines(
        "Log loss of the model that decides, and of the challenger that learns beside it",
        "",
        {
            "champion": [(s.at_s, s.champion_log_loss) for s in samples],
            "challenger": [(s.at_s, s.challenger_log_loss) for s in samples],
        },
    )


def _model(training: Training) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}<td>{slope:+.3f}" for name, slope in training.importance[:10]
    )
    return (
        f"<figure><figcaption>The click model {escape(training.model.version)}: AUC "
        f"{training.auc:.3f} on the newest {training.held_out_rows:,} of {training.rows:,}"
        f"</figcaption><table><tr><th>what moves it<th>log-odds a deviation{rows}</table></figure>"
    )


def _ends(watch: Watch, ledger: dict[str, Any]) -> str:
    counts = ledger.get("outcomes") or dict(watch.ends)
    rows = "".join(f"<tr><td>{escape(str(k))}<td>{v:,}" for k, v in counts.items())
    letters = "".join(
        f"<tr><td>dead: {escape(reason)}<td>{count:,}"
        for reason, count in watch.refusals.most_common()
    )
    return (
        "<figure><figcaption>Every input has one end</figcaption><table>"
        f"<tr><th>end<th>inputs{rows}{letters}</table></figure>"
    )
