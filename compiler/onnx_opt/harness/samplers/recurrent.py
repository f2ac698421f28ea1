"""Recurrent networks: weights for the gates of each direction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_opt.harness.samplers.registry import sampler
from onnx_opt.harness.sketch import Unfit

if TYPE_CHECKING:
    from onnx_opt.harness.site import Site

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
LENGTHS, INITIAL_H, INITIAL_C, PEEPHOLES = 4, 5, 6, 7


@sampler(*GATES)
def recurrent(site: Site) -> None:
    """Sequences of full length, time first."""
    draw, gates = site.draw, GATES[site.op]
    x = site.operand(0, (draw.size(), draw.size(), draw.size()))
    if len(x.dims) != 3:
        raise Unfit(f"{site.op} needs time, batch and features")
    hidden = site.attr("hidden_size", draw.size())
    direction = site.attr("direction", draw.pick(["forward", "reverse", "bidirectional"]))
    both = 2 if direction == "bidirectional" else 1
    site.operand(1, (both, gates * hidden, x.dims[2]))
    site.operand(2, (both, gates * hidden, hidden))
    site.optional(3, (both, 2 * gates * hidden))
    site.optional(LENGTHS, array=np.full(x.dims[1], x.dims[0]))
    for index in (INITIAL_H, INITIAL_C):
        site.optional(index, (both, x.dims[1], hidden))
    site.optional(PEEPHOLES, (both, 3 * hidden))
