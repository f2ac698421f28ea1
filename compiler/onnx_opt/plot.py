"""Drawings as SVG files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from onnx_opt.errors import single_line
from onnx_opt.report import human_bytes

if TYPE_CHECKING:
    from onnx_opt.analysis.memory import Memory

WIDTH, HEIGHT = 1000, 360
LEFT, TOP, RIGHT, BOTTOM = 90, 60, 24, 44
"""Margins around the plot."""
POINTS = 900
"""Steps that are drawn at most; of what falls into one, the most counts."""

STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #5c6773 } .title { font-size: 16px; font-weight: 600; fill: #1a2027 }
  .back { fill: #fff } .grid { stroke: #e1e5ea } .area { fill: #2f74e0; fill-opacity: .3; stroke: #2f74e0 }
  .peak { stroke: #c4501b; stroke-dasharray: 4 3 } .mark { fill: #c4501b }
  @media (prefers-color-scheme: dark) {
    text { fill: #96a1ae } .title { fill: #e4e8ed } .back { fill: #12161b } .grid { stroke: #2b333d }
  }
"""


def memory_plot(memory: Memory, title: str) -> str:
    """The bytes held while each node runs, in execution order, with the peak marked: an SVG document."""
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    most, steps = max(memory.peak, 1), max(len(memory.live), 1)
    held = thinned(memory.live)
    path = "".join(
        f"H{LEFT + wide * place / max(len(held), 1):.1f}V{TOP + high * (1 - amount / most):.1f}"
        for place, amount in enumerate(held)
    )
    ticks = [(TOP + high * (1 - share), human_bytes(float(most * share))) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    peak = memory.live.index(memory.peak) if memory.live else 0
    x = LEFT + wide * (peak + 0.5) / steps
    anchor = "end" if x > WIDTH / 2 else "start"
    said = f"peak {human_bytes(memory.peak)} at node {peak + 1} of {steps}: {memory.peak_node}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
            f"<style>{STYLE}</style>",
            f'<rect class="back" width="{WIDTH}" height="{HEIGHT}"/>',
            f'<text class="title" x="{LEFT}" y="26">{_text(f"Activation memory of {title}")}</text>',
            *(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>' for y, _ in ticks),
            *(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>' for y, label in ticks),
            f'<path class="area" d="M{LEFT} {TOP + high}{path}H{WIDTH - RIGHT}V{TOP + high}Z"/>',
            f'<path class="peak" d="M{x:.1f} {TOP}V{TOP + high}"/>',
            f'<text class="mark" x="{x + (-6 if anchor == "end" else 6):.1f}" y="{TOP - 8}" text-anchor="{anchor}">'
            f"{_text(said)}</text>",
            f'<text x="{LEFT}" y="{HEIGHT - 16}">first node</text>',
            f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 16}" text-anchor="end">last of {steps}</text>',
            "</svg>",
            "",
        ]
    )


def thinned(amounts: Sequence[int], points: int = POINTS) -> list[int]:
    """At most `points` of the amounts: of each stretch the largest."""
    step = max(1, math.ceil(len(amounts) / points))
    return [max(amounts[start : start + step]) for start in range(0, len(amounts), step)]


def _text(text: str) -> str:
    line = single_line(text)
    return escape(line if len(line) <= 110 else f"{line[:60]} … {line[-48:]}")
