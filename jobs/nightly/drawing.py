"""Charts of the night's report: matplotlib figures as SVG text that is the same each time."""

from __future__ import annotations

import io
from typing import Any

from jobs.nightly.base import Chart

INK, SOFT, WARM, COOL = "#1f2933", "#cbd2d9", "#d9622b", "#2b6cb0"


def figure(width: float = 6.0, height: float = 3.4, **kw: Any) -> tuple[Any, Any]:
    """A figure and its axes in the report's look; ``kw`` as for ``subplots``."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), layout="constrained")
    axes = drawn.subplots(**kw)
    for each in getattr(axes, "flat", [axes]):
        each.spines[["top", "right"]].set_visible(False)
        each.grid(visible=True, color=SOFT, linewidth=0.4)
    return drawn, axes


def chart(title: str, drawn: Any, note: str = "") -> Chart:
    """A figure as a chart of a report."""
    import matplotlib

    text = io.StringIO()
    # A fixed salt and no date: the same data gives the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": "beckon", "svg.fonttype": "none"}):
        drawn.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    return Chart(title, svg[svg.index("<svg") :], note)
