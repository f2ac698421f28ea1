"""Signal processing."""

from __future__ import annotations

from typing import Any

from onnx_opt.analysis.infer.registry import NodeView, Unknown, infer
from onnx_opt.types import Type


@infer("STFT")
def stft(n: NodeView) -> Type:
    """[batch, length, 1 or 2] -> [batch, frames, bins, 2] with frames = (length - frame) / step + 1."""
    data = n.known_dims(0)
    if len(data) not in {2, 3}:
        raise Unknown
    step, window = n.scalar(1), n.dims(2)
    frame: Any = n.scalar(3) if n.present(3) else window[0] if window is not None and len(window) == 1 else None
    shapes = n.shapes
    frames: Any = n.fresh()
    bins: Any = n.fresh()
    if frame is not None:
        bins = shapes.add(shapes.floordiv(frame, 2), 1) if n.attr("onesided", 1) else frame
        if step is not None:
            frames = shapes.add(shapes.floordiv(shapes.sub(data[1], frame), step), 1)
    return n.result(n.elem(0), (data[0], frames, bins, 2))
